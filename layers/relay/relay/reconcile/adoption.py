"""Adoption: when a target passes from one export to another, its assignments pass with it.

The DELIVER phase of the new owner's first run lists the former owner's assignments, too. Their pairs at the target are
written into the new owner's assignments first, and then taken out of the former owner's. A claim of a new member drops
the former claimants by itself; whoever nobody claims leaves in the run's REMOVE phase.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from relay.reconcile.job import Job
from relay.reconcile.survey import Case
from relay.stores import assignments
from relay.stores.database import Database


@dataclass(frozen=True, slots=True)
class Adoption:
    """Takes what was adopted out of the former owner's assignments."""

    database: Database

    def take_out(self, job: Job, cases: Iterable[Case]) -> None:
        """Take what cases have adopted out of the former owners' assignments.

        Where somebody else wrote one meanwhile, a pair too many stays there, which does no harm.
        """
        adopted = [case for case in cases if case.adopted]
        if not adopted:
            return
        for former in sorted(set().union(*job.adopts.values())):
            held = assignments.load(self.database, former, [case.profile for case in adopted])
            writes = []
            for case in adopted:
                stored = held[case.profile]
                gone = {pair for pair in case.adopted if former in job.adopts.get(pair.target, ())}
                if stored.assignment.pairs & gone:
                    rest = stored.assignment._replace(pairs=stored.assignment.pairs - gone)
                    writes.append(assignments.save(former, case.profile, rest, stored.version))
            self.database.write(writes)
