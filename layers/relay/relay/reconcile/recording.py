"""Recording answers: what a destination said about each row becomes the acknowledged state of its identity record."""

import random
from collections.abc import Mapping, Sequence
from datetime import timedelta

from relay.clock import Clock
from relay.domain.identity import Answer, Do, Record, answered, lapse, next_step
from relay.domain.problems import Busy
from relay.reconcile.waking import Sleeper, Waking
from relay.stores import identities, waits
from relay.stores.database import Database
from relay.stores.identities import Stored
from relay.stores.waits import IdentityWait

LOST_RACES = 40
"""How often an answer is written again because others wrote the record meanwhile."""


class Recorder:
    """Writes answers into identity records, each one conditional write, and wakes whoever has to go on."""

    def __init__(self, database: Database, clock: Clock, waking: Waking) -> None:
        self._database = database
        self._clock = clock
        self._waking = waking

    def record(
        self, connection: str, call: str, answers: Mapping[str, Answer], known: Mapping[str, Stored] | None = None
    ) -> dict[str, Record]:
        """Record the answers to a call by the keys of its records, and return the records as they are then.

        `known` are records as the caller last wrote them; without it they are read. An answer that came before changes
        nothing. Raises Busy when others keep writing: the call was made, so it is not taken for one that failed.
        """
        done: dict[str, Record] = {}
        current = dict(known) if known is not None else identities.load(self._database, list(answers))
        for _ in range(LOST_RACES):
            now = self._clock.now()
            changed = {key: answered(lapse(current[key].record, now), call, answers[key], now) for key in current}
            writes = {
                key: identities.save(key, record, current[key].version, now)
                for key, record in changed.items()
                if record != current[key].record
            }
            applied = dict(zip(writes, self._database.write(list(writes.values())), strict=True))
            done |= {key: record for key, record in changed.items() if applied.get(key, True)}
            lost = [key for key, is_written in applied.items() if not is_written]
            if not lost:
                self.see_to(connection, done)
                return done
            self._clock.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret
            current = identities.load(self._database, lost)
        raise Busy("contention", "an answer could not be recorded")

    def see_to(
        self, connection: str, records: Mapping[str, Record], *, asks_again: timedelta | None = None
    ) -> None:
        """Make sure that the next steps of records are taken by somebody: a look now, or a wait.

        `asks_again` is how long a wait lasts at most where the destination may show earlier that a call is over.
        """
        now = self._clock.now()
        sleepers: list[Sleeper] = []
        waiting: list[IdentityWait] = []
        for key, record in records.items():
            step = next_step(record, now)
            if step.do is Do.WAIT and step.until is not None:
                until = step.until if asks_again is None else min(step.until, now + asks_again)
                waiting.append(IdentityWait(until, connection, key))
            elif step.do is not Do.NOTHING and record.responsible is not None:
                authority = record.authority
                sleepers.append(Sleeper(connection, authority.export, authority.settings, record.responsible))
        if waiting:
            waits.put(self._database, waiting)
        if sleepers:
            self._waking.look(sleepers)
