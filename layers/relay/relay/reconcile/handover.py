"""Handing over: a profile that became an alias leaves what it stands for to the profile that it is an alias of.

The survivor's assignment comes first, then the survivor takes the alias' place in each identity record, and then it is
looked at. So the identity is never without a claimant, and never leaves the destination on the way. The alias'
assignment goes last: whoever dies before begins again.

Looks at the survivor may come between, since it may be of another shard. One that has read a record before it named the
survivor takes the pair out of the survivor's assignment. Therefore that is written once more after the records: either
it gets the pair back, or the other look, which has read an older version, writes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from relay.clock import Clock
from relay.domain.assignment import Pair
from relay.domain.identity import Authority, hand_over
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Conflict, StaleSettings
from relay.reconcile.enqueue import Due, Enqueuer
from relay.reconcile.job import Job
from relay.reconcile.survey import Case
from relay.stores import assignments, identities
from relay.stores.assignments import Stored
from relay.stores.database import Database

LOST_RACES = 12


@dataclass(frozen=True, slots=True)
class Handover:
    """Lets survivors take over from aliases."""

    database: Database
    keyed: KeyedHash
    clock: Clock
    enqueuer: Enqueuer

    def hand_over(self, job: Job, cases: Iterable[Case]) -> dict[str, Stored]:
        """Hand over what the aliases among the cases stand for, and ask for looks at the survivors.

        Returns the survivors' assignments. Raises StaleSettings when somebody acted under newer settings, Conflict when
        others kept writing.
        """
        held: dict[str, Stored] = {}
        aliases = [case for case in cases if case.survivor is not None and _handed(job, case)]
        for case in aliases:
            if case.survivor is not None:
                self._assign(job, case, case.survivor)
                self._take_places(job, case, case.survivor)
                held[case.survivor] = self._assign(job, case, case.survivor)
        self.enqueuer.look(
            Due(job.export.connection, job.export.name, job.export.version, survivor) for survivor in held
        )
        for case in aliases:
            if case.assigned.version > 0:
                rest = case.assigned.assignment.pairs - _handed(job, case)
                left = assignments.NONE.assignment._replace(pairs=rest, settings=case.assigned.assignment.settings)
                self.database.write([assignments.save(job.export.key, case.profile, left, case.assigned.version)])
        return held

    def keys(self, job: Job, case: Case) -> dict[str, Pair]:
        """Return the identity records that an alias hands over, by their keys."""
        connection = job.export.connection
        pairs = sorted(_handed(job, case))
        return {identities.key_of(self.keyed, connection, pair.target, pair.identity): pair for pair in pairs}

    def _assign(self, job: Job, case: Case, survivor: str) -> Stored:
        """Write what the alias stands for into the survivor's assignment, and when: also where it stood there before.

        A run under way has not counted the survivor as leaving it.
        """
        export, handed, assigned_since = job.export, _handed(job, case), case.assigned.assignment.since
        for _ in range(LOST_RACES):
            held = assignments.load(self.database, export.key, [survivor])[survivor]
            old = held.assignment
            if old.settings > export.version:
                raise StaleSettings("settings", "newer settings were acted on", version=old.settings)
            now = self.clock.now()
            since = assigned_since if old.since is None else old.since
            grown = old.grown(handed, export.version, since or now)._replace(took_over_at=now)
            if self.database.write([assignments.save(export.key, survivor, grown, held.version)])[0]:
                return Stored(grown, held.version + 1)
        raise Conflict("contention", "others kept writing what an alias hands over")

    def _take_places(self, job: Job, case: Case, survivor: str) -> None:
        """Put the survivor in the alias' place in every record that names the alias."""
        waiting = self.keys(job, case)
        for _ in range(LOST_RACES):
            held, now = identities.load(self.database, list(waiting)), self.clock.now()
            changed = {}
            for key, pair in waiting.items():
                record = held[key].record
                authority = _in_whose_name(job, pair.target, record.authority)
                # Where there is none, the claimants are another export's, which hands over by itself.
                after = record if authority is None else hand_over(record, authority, case.profile, survivor)
                if after != record:
                    changed[key] = after
            writes = [identities.save(key, record, held[key].version, now) for key, record in changed.items()]
            are_written = dict(zip(changed, self.database.write(writes), strict=True))
            waiting = {key: waiting[key] for key, is_written in are_written.items() if not is_written}
            if not waiting:
                return
        raise Conflict("contention", "others kept writing what an alias hands over")


def _handed(job: Job, case: Case) -> frozenset[Pair]:
    """Return the pairs that an alias hands over.

    What it has at another export's target stays with it: that export takes it over from there, and hands it over then.
    """
    return frozenset(pair for pair in case.stands_for if job.authority(pair.target) is not None)


def _in_whose_name(job: Job, target: str, last: Authority) -> Authority | None:
    """Return in whose name the claimants of a record are changed that was changed last in the name of `last`.

    Claims of before the target passed to another export stay what they are: only the claimant gets another name. None
    where they are none of this export's business. Raises StaleSettings when it was changed under newer settings.
    """
    own = job.authority(target)
    if own is None:
        return None
    if last.epoch != own.epoch:
        return last if last.epoch < own.epoch else None
    if last > own:
        raise StaleSettings("settings", "newer settings were acted on", version=last.settings)
    return own
