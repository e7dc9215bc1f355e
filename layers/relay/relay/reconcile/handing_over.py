"""Handing over: a profile that became an alias leaves what it stands for to the profile that it is an alias of.

The survivor's assignment comes first, then the survivor takes the alias' place in each identity record, and then it is
looked at. So the identity is never without a claimant, and never leaves the destination on the way. The alias'
assignment goes last: whoever dies before begins again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from relay.clock import Clock
from relay.domain.assignment import Pair
from relay.domain.exports import Export
from relay.domain.identity import hand_over
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Conflict, StaleSettings
from relay.reconcile.job import Job
from relay.reconcile.survey import Case
from relay.reconcile.waking import Sleeper, Waking
from relay.stores import assignments, identities
from relay.stores.database import Database

LOST_RACES = 12


@dataclass(frozen=True, slots=True)
class HandingOver:
    """Lets survivors take over from aliases."""

    database: Database
    keyed: KeyedHash
    clock: Clock
    waking: Waking

    def hand_over(self, job: Job, cases: Iterable[Case]) -> None:
        """Hand over what the aliases among the cases stand for, and ask for looks at the survivors.

        Raises StaleSettings when a survivor was assigned under newer settings, Conflict when others kept writing.
        """
        survivors = set()
        for case in cases:
            if case.survivor is not None:
                self._assign(job.export, case, case.survivor)
                for key, pair in self._keys(job.export, case.assigned.assignment.pairs).items():
                    self._take_place(job, key, pair, case.profile, case.survivor)
                survivors.add(Sleeper(job.export.connection, job.export.name, job.export.version, case.survivor))
        self.waking.look(survivors)
        for case in cases:
            if case.survivor is not None:
                rest = assignments.NONE.assignment
                self.database.write([assignments.save(job.export.key, case.profile, rest, case.assigned.version)])

    def _keys(self, export: Export, pairs: Iterable[Pair]) -> dict[str, Pair]:
        return {
            identities.key_of(self.keyed, export.connection, pair.target, pair.identity): pair for pair in sorted(pairs)
        }

    def _assign(self, export: Export, case: Case, survivor: str) -> None:
        handed = case.assigned.assignment
        for _ in range(LOST_RACES):
            held = assignments.load(self.database, export.key, [survivor])[survivor]
            if held.assignment.settings > export.version:
                newer = held.assignment.settings
                raise StaleSettings("settings", "newer settings were acted on", version=newer)
            if handed.pairs <= held.assignment.pairs:
                return
            now = self.clock.now()
            since = handed.since if held.assignment.since is None else held.assignment.since
            grown = held.assignment.grown(handed.pairs, export.version, since or now)._replace(took_over_at=now)
            if self.database.write([assignments.save(export.key, survivor, grown, held.version)])[0]:
                return
        raise Conflict("contention", "others kept writing what an alias hands over")

    def _take_place(self, job: Job, key: str, pair: Pair, alias: str, survivor: str) -> None:
        authority = job.authority(pair.target)
        for _ in range(LOST_RACES):
            held = identities.load(self.database, [key])[key]
            if authority is None or held.record.authority.epoch != authority.epoch:
                # Its claimants are another export's, which hands over by itself.
                return
            record = hand_over(held.record, authority, alias, survivor)
            if record == held.record:
                return
            if self.database.write([identities.save(key, record, held.version, self.clock.now())])[0]:
                return
        raise Conflict("contention", "others kept writing what an alias hands over")
