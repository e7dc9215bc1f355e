"""Settling: outstanding profiles of a run move to their columns, by what their identity records say."""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final

from relay.clock import Clock
from relay.domain import ledger
from relay.domain.identity import Record
from relay.domain.keyed_hash import KeyedHash
from relay.domain.ledger import Column, LeaverColumn
from relay.domain.runs import ENDED, Run
from relay.reconcile import verdict
from relay.reconcile.recording import Recorder
from relay.stores import assignments, identities, outstanding, runs, waits
from relay.stores.database import Database
from relay.stores.outstanding import Outstanding
from relay.stores.waits import OutstandingWait

ASKED_AGAIN: Final = timedelta(minutes=5)
"""How often outstanding profiles are looked at of whom nobody has told what became of them."""

BOUND: Final = timedelta(hours=26)
"""How long a run waits for outstanding profiles: an import may be open for a day."""

LOST_RACES: Final = 20


class Settling:
    """Moves profiles out of `outstanding`, each once."""

    def __init__(self, database: Database, keyed: KeyedHash, clock: Clock, recorder: Recorder) -> None:
        self._database = database
        self._keyed = keyed
        self._clock = clock
        self._recorder = recorder

    def answered(self, run_id: str, page: str, answered: Mapping[str, Mapping[str, Record]]) -> None:
        """Settle profiles of a page that an import has answered; `answered` are all records of each profile."""
        run = runs.load(self._database, run_id)
        if run is not None:
            for record in outstanding.of_page(self._database, run_id, page):
                known = {profile: answered[profile] for profile in record.profiles if profile in answered}
                self._settle(run, record, known)

    def due(self, wait: OutstandingWait) -> str | None:
        """Look at a record whose wait is due; return the export of its run while that goes on, else None."""
        run = runs.load(self._database, wait.run)
        record = outstanding.load(self._database, wait.run, wait.record)
        if run is None or record is None:
            return None if run is None else run.export
        now = self._clock.now()
        is_over = run.state in ENDED or now - run.started_at > BOUND
        if not is_over:
            # First: whoever dies after settling would leave a record that nobody looks at any more.
            waits.put(self._database, [wait._replace(due=now + ASKED_AGAIN)])
        self._settle(run, record, self._records_of(run, record))
        return run.export

    def _records_of(self, run: Run, record: Outstanding) -> dict[str, dict[str, Record]]:
        """Read the records of everybody in a record, and make sure that somebody goes on with each."""
        connection = run.export.partition("/")[0]
        assigned = assignments.load(self._database, run.export, record.profiles)
        keys = {
            profile: [
                identities.key_of(self._keyed, connection, pair.target, pair.identity)
                for pair in stored.assignment.pairs
            ]
            for profile, stored in assigned.items()
        }
        found = identities.load(self._database, sorted({key for named in keys.values() for key in named}))
        records = {key: stored.record for key, stored in found.items()}
        self._recorder.see_to(connection, records)
        return {profile: {key: records[key] for key in named} for profile, named in keys.items()}

    def _settle(self, run: Run, record: Outstanding, known: Mapping[str, Mapping[str, Record]]) -> None:
        for _ in range(LOST_RACES):
            counts: Counter[str] = Counter()
            rest = []
            for profile in record.profiles:
                move = self._move(run, record, profile, known.get(profile))
                counts.update(move)
                if not move:
                    rest.append(profile)
            if len(rest) == len(record.profiles):
                return
            if outstanding.settle(self._database, record, rest, runs.count(run.id, record.shard, counts)):
                return
            again = outstanding.load(self._database, run.id, record.id)
            if again is None:
                return
            record = again

    def _move(
        self, run: Run, record: Outstanding, profile: str, known: Mapping[str, Record] | None
    ) -> Counter[str]:
        """Return the move of one profile, empty while it is outstanding or nothing is known of it."""
        if known is None:
            return Counter()
        now = self._clock.now()
        if record.leavers:
            left = [one for one in known.values() if one.winner != profile]
            return ledger.leaver_settled(verdict.on_leaver(left, profile, now))
        claimed = [one for one in known.values() if one.winner is not None]
        return ledger.settled(*verdict.on_member(claimed, profile, run.started_at, now))
