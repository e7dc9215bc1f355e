"""Recording answers: what a destination said about each row becomes the acknowledged state of its identity record."""

import random
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from relay.clock import Clock
from relay.domain.identity import Answer, Do, Record, Rejected, answered, next_step
from relay.domain.problems import UNCONFIRMED, Busy
from relay.reconcile.enqueue import Due, Enqueuer
from relay.stores import identities, waits
from relay.stores.database import Database
from relay.stores.identities import Stored
from relay.stores.waits import ConfirmWait, IdentityWait

LOST_RACES = 40
"""How often an answer is written again because others wrote the record meanwhile."""

LOOKED_UP_AFTER = (timedelta(hours=1), timedelta(hours=4), timedelta(hours=12))
"""When the destination is asked again about what ended as unconfirmed, from then on."""


def next_look_up(since: datetime, now: datetime) -> datetime | None:
    """Return when the destination is asked next about what is unconfirmed since then; None when no more."""
    return next((since + after for after in LOOKED_UP_AFTER if since + after > now), None)


class Recorder:
    """Writes answers into identity records, each one conditional write, and asks whoever has to go on."""

    def __init__(self, database: Database, clock: Clock, enqueuer: Enqueuer) -> None:
        self._database = database
        self._clock = clock
        self._enqueuer = enqueuer

    def record(
        self,
        connection: str,
        call: str,
        answers: Mapping[str, Answer],
        known: Mapping[str, Stored] | None = None,
        *,
        tries: int = 0,
        besides: Collection[str] = (),
    ) -> dict[str, Stored]:
        """Record the answers to a call by the keys of its records, and return the records as they are then.

        `known` are records as the caller last wrote them; without it they are read. An answer that came before changes
        nothing. `tries` is how often the rows were sent, for whoever is sent again; `besides` is as in `see_to`. Raises
        Busy when others keep writing: the call was made, so it is not taken for one that failed.
        """
        done: dict[str, Stored] = {}
        current = dict(known) if known is not None else identities.load(self._database, list(answers))
        for _ in range(LOST_RACES):
            now = self._clock.now()
            changed = {key: answered(stored.record, call, answers[key], now) for key, stored in current.items()}
            news = {key: record for key, record in changed.items() if record is not current[key].record}
            writes = [identities.save(key, record, current[key].version, now) for key, record in news.items()]
            applied = dict(zip(news, self._database.write(writes), strict=True))
            lost = [key for key, is_written in applied.items() if not is_written]
            for key, stored in current.items():
                if key not in applied:
                    done[key] = stored
                elif applied[key]:
                    done[key] = Stored(news[key], stored.version + 1)
            if not lost:
                self._see_to_unconfirmed(connection, answers, now)
                records = {key: stored.record for key, stored in done.items()}
                self.see_to(connection, records, tries=tries, besides=besides)
                return done
            self._clock.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret
            current = identities.load(self._database, lost)
        raise Busy("contention", "an answer could not be recorded")

    def _see_to_unconfirmed(self, connection: str, answers: Mapping[str, Answer], now: datetime) -> None:
        due = now + LOOKED_UP_AFTER[0]
        self.look_up_at(
            due,
            connection,
            [key for key, one in answers.items() if isinstance(one, Rejected) and one.code == UNCONFIRMED],
        )

    def look_up_at(self, due: datetime, connection: str, keys: Iterable[str]) -> None:
        """Have the destination asked at a due time what it holds of records."""
        waits.put(self._database, [ConfirmWait(due, connection, key) for key in keys])

    def see_to(
        self,
        connection: str,
        records: Mapping[str, Record],
        *,
        queued: Collection[str] = (),
        asked_at: Mapping[str, datetime] | None = None,
        tries: int = 0,
        besides: Collection[str] = (),
    ) -> None:
        """Make sure that the next steps of records are taken by somebody: a look now, or a wait.

        What has to wait for one of the `queued` imports is seen to when that is answered. `asked_at` ends a wait
        by its key, where the destination is asked then whether a call is over. The messages of the profiles `besides`
        stay in the queue, so they need no look.
        """
        due: list[Due] = []
        waiting: list[IdentityWait] = []
        bounds = {} if asked_at is None else asked_at
        for key, record in records.items():
            step = next_step(record)
            if step.do is Do.NOTHING:
                continue
            if step.do is not Do.LOOK and record.open is not None and record.open.id in queued:
                continue
            if step.do is Do.WAIT and step.until is not None:
                waiting.append(IdentityWait(min(step.until, bounds.get(key, step.until)), connection, key))
            elif record.responsible is not None and record.responsible not in besides:
                due.append(due_of(connection, record, record.responsible))
        if waiting:
            waits.put(self._database, waiting)
        if due:
            self._enqueuer.look(due, tries)


def due_of(connection: str, record: Record, profile: str) -> Due:
    """Return who is to be looked at for a record, for the export in whose name it was changed last."""
    return Due(connection, record.authority.export, record.authority.settings, profile)
