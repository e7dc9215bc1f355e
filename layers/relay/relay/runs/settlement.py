"""Settlement: outstanding profiles of a run move to their columns, by what their identity records say."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from relay.clock import Clock
from relay.domain import ledger
from relay.domain.identity import Record
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import DEFECT
from relay.domain.runs import ENDED, Phase, Run
from relay.reconcile import verdict
from relay.reconcile.recorder import Recorder
from relay.reconcile.set_aside import SetAside
from relay.stores import assignments, defects, identities, imports, outstanding, runs, waits
from relay.stores.database import Database
from relay.stores.outstanding import Outstanding
from relay.stores.waits import OutstandingWait

ASKED_AGAIN: Final = timedelta(minutes=5)
SELDOM: Final = timedelta(minutes=30)
"""How often outstanding profiles are looked at of whom nobody has said what became of them: at first, and in a run that
has gone on for hours."""

LOST_RACES: Final = 20

Known = Mapping[str, Mapping[str, Record]]
"""All identity records of profiles: by profile, by key."""


class Settlement:
    """Moves profiles out of `outstanding`, each once."""

    def __init__(self, database: Database, keyed: KeyedHash, clock: Clock, recorder: Recorder, aside: SetAside) -> None:
        self._database = database
        self._keyed = keyed
        self._clock = clock
        self._recorder = recorder
        self._aside = aside

    def answered(self, run_id: str, page: str, known: Known, partly: Sequence[str], aside: Sequence[str] = ()) -> None:
        """Settle profiles of a page that an import has answered.

        `known` are all records of some profiles; those of the profiles `partly` are read. Those `aside` met a defect.
        """
        run = runs.load(self._database, run_id)
        if run is None:
            return
        read, failed = self._read(run, partly) if partly else ({}, ())
        for record in outstanding.of_page(self._database, run_id, page):
            self._settle(run, record, {**known, **read}, (*aside, *failed))

    def due(self, wait: OutstandingWait) -> Run | None:
        """Look at a record whose wait is due; return its run."""
        run = runs.load(self._database, wait.run)
        record = outstanding.load(self._database, wait.run, wait.record)
        if run is None or record is None:
            return run
        if run.state not in ENDED:
            # The wait that is due is dropped later: whoever dies in between leaves one too many, never one too few.
            now = self._clock.now()
            pause = min(max(ASKED_AGAIN, (now - run.started_at) / 4), SELDOM)
            waits.put(self._database, [wait._replace(due=now + pause)])
        known, failed = self._read(run, record.profiles)
        # Looks that this record asked for last time may have met a defect: then nobody else goes on with the profile.
        met = defects.of_export(self._database, run.export, defects.MOST_SHOWN)
        since = [one.profile for one in met if one.at >= wait.due - SELDOM]
        self._settle(run, record, known, (*failed, *since))
        return run

    def _read(self, run: Run, profiles: Sequence[str]) -> tuple[Known, Sequence[str]]:
        """Return all records of profiles, and who met a defect."""
        known: dict[str, Mapping[str, Record]] = {}
        failed = self._aside.by_halves(profiles, lambda part: known.update(self._records_of(run, part)))
        self._aside.note(run.export, failed)
        return known, tuple(failed)

    def _records_of(self, run: Run, profiles: Sequence[str]) -> Known:
        """Read the records of profiles, and make sure that somebody goes on with each."""
        connection = run.export.partition("/")[0]
        assigned = assignments.load(self._database, run.export, profiles)
        keys = {
            profile: [
                identities.key_of(self._keyed, connection, pair.target, pair.identity)
                for pair in stored.assignment.pairs
            ]
            for profile, stored in assigned.items()
        }
        found = identities.load(self._database, sorted({key for named in keys.values() for key in named}))
        records = {key: stored.record for key, stored in found.items()}
        calls = {record.open.id for record in records.values() if record.open is not None}
        queued = imports.still_open(self._database, connection, {call for call in calls if call})
        self._recorder.see_to(connection, records, queued=queued)
        return {profile: {key: records[key] for key in named} for profile, named in keys.items()}

    def _settle(self, run: Run, record: Outstanding, known: Known, aside: Sequence[str]) -> None:
        for _ in range(LOST_RACES):
            moves = self._moves(run, record, known, aside)
            rest = [profile for profile, move in moves.items() if not move]
            counts: Counter[str] = Counter()
            for move in moves.values():
                counts.update(move)
            if len(rest) == len(record.profiles):
                return
            if outstanding.settle(self._database, record, rest, runs.count(run.id, record.phase, record.shard, counts)):
                return
            again = outstanding.load(self._database, run.id, record.id)
            if again is None:
                return
            record = again

    def _moves(self, run: Run, record: Outstanding, known: Known, aside: Sequence[str]) -> Mapping[str, Counter[str]]:
        """Return the move of each profile, empty while it is outstanding or nothing is known of it."""
        moves: dict[str, Counter[str]] = {}
        failed = self._aside.by_halves(
            record.profiles,
            lambda part: moves.update(
                {one: self._move(run, record.phase, one, known[one].values()) for one in part if one in known}
            ),
        )
        self._aside.note(run.export, failed)
        is_leaver = record.phase is Phase.REMOVE
        left = (
            ledger.leaver_settled(ledger.LeaverColumn.KEPT)
            if is_leaver
            else ledger.settled(ledger.Column.REJECTED, DEFECT)
        )
        return {
            one: moves.get(one) or (left if one in aside or one in failed else Counter()) for one in record.profiles
        }

    def _move(self, run: Run, phase: Phase, profile: str, records: Iterable[Record]) -> Counter[str]:
        now = self._clock.now()
        # Pages change every record of theirs in the name of the export, under the run's settings. What is left from
        # before, at a target that another export has or had, is nothing that this run waits for.
        name = run.export.partition("/")[2]
        ours = [one for one in records if one.authority.export == name and one.authority.settings >= run.settings]
        if phase is Phase.REMOVE:
            return ledger.leaver_settled(verdict.on_leaver(ours, profile, now))
        claimed = [one for one in ours if one.winner is not None]
        return ledger.settled(*verdict.on_member(claimed, profile, run.started_at, now))
