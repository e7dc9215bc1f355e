"""No personal data in queues, control records, claims or logs, whatever happens (promise 6)."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from relay.domain.changes import Change
from relay.observability import Observability
from relay.queues import Message
from relay.stores.database import Table
from tests.fakes.simulated_queue import SimQueue
from tests.simulation.world import Silence, World, play

PLANTED = ("x.example", "nonsense", "zebulon")
"""Parts of every e-mail, well-formed or not, and of every name that is posted."""

MAY_HOLD_IDENTITIES = {Table.PROFILES, Table.DELIVERIES}
"""And the entries of a queued import."""


class Telling(Silence):
    """Logs in earnest, to be searched."""

    def __init__(self, stream: io.StringIO) -> None:
        super().__init__()
        self._real = Observability(stream)

    def problem(self, event: str, error: BaseException, **fields: Any) -> None:
        super().problem(event, error, **fields)
        self._real.problem(event, error, **fields)

    def info(self, event: str, **fields: Any) -> None:
        self._real.info(event, **fields)


class PryingQueue(SimQueue):
    """Reads what it is given."""

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            search(f"a message of {self.name}", json.dumps(message.body))
        super().send(messages)


class PryingWorld(World):
    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.log = io.StringIO()
        self.observe = Telling(self.log)
        self.searched = 0

    def _queue(self, name: str, *, fifo: bool) -> SimQueue:
        kind = SimQueue if name == "changes" else PryingQueue
        return kind(name, fifo, self.clock.now, self.step, self.chance)

    def _change(self) -> Change:
        change = super()._change()
        if "name" not in change.attributes:
            return change
        return replace(change, attributes={**change.attributes, "name": f"Zebulon {change.attributes['name']}"})

    def check_ledgers(self) -> None:
        super().check_ledgers()
        for table in set(Table) - MAY_HOLD_IDENTITIES:
            for item in self.database.items(table):
                place = str(item["pk"])
                if not place.startswith("flight#"):
                    self.searched += 1
                    search(f"{table.value} {place}", repr(item))


def search(where: str, text: str) -> None:
    found = [word for word in PLANTED if word in text.lower()]
    assert not found, f"{where} holds {found}: {text}"


@pytest.mark.parametrize("seed", range(12))
def test_nothing_but_profiles_deliveries_and_open_imports_holds_personal_data(
    seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    world = play(seed, 120, make=PryingWorld)
    assert isinstance(world, PryingWorld)
    assert world.searched > 0
    search("the log", world.log.getvalue())
    search("standard output", capsys.readouterr().out)


def test_what_was_planted_is_in_the_stores_that_may_hold_it() -> None:
    """Without this the search would prove nothing."""
    world = play(3, 120, make=PryingWorld)
    stored = repr([*world.database.items(Table.PROFILES), *world.database.items(Table.DELIVERIES)]).lower()
    assert all(word in stored for word in PLANTED)
