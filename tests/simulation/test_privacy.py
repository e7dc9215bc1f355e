"""No personal data in queues, control records, identity records or logs, whatever happens."""

import io
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from relay.domain.changes import Change
from relay.observability import Observability
from relay.queues import Message
from relay.stores.database import Table
from tests.fakes.simulated_queue import SimQueue
from tests.simulation.playing import play
from tests.simulation.watch import live
from tests.simulation.world import Silence, World

PLANTED = ("x.example", "nonsense", "zebulon")
"""Parts of every e-mail, well-formed or not, and of every name that is posted."""

MAY_HOLD_IDENTITIES = {Table.PROFILES, Table.ASSIGNMENTS}
"""And the rows of a queued import."""

ACTIONS = 120


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
    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        super().__init__(seed, tell)
        self.log = io.StringIO()
        self.observed = Telling(self.log)
        self.searched = 0

    def _queue(self, name: str, *, fifo: bool) -> SimQueue:
        plain = super()._queue(name, fifo=fifo)
        return plain if name == "changes" else PryingQueue(name, fifo, plain.now, plain.step, plain.chance)

    def change(self) -> Change:
        change = super().change()
        if "name" not in change.attributes:
            return change
        return replace(change, attributes={**change.attributes, "name": f"Zebulon {change.attributes['name']}"})

    def check_no_defect(self) -> None:
        super().check_no_defect()
        for table in set(Table) - MAY_HOLD_IDENTITIES:
            for key, item in self.database.of_table(table):
                if not key.pk.startswith("import#"):
                    self.searched += 1
                    search(f"{table.value} {key.pk}", f"{key} {[_readable(value) for value in item.values()]}")


def _readable(value: Any) -> Any:
    try:
        return zlib.decompress(value) if isinstance(value, bytes) else value
    except zlib.error:
        return value


def search(where: str, text: str) -> None:
    found = [word for word in PLANTED if word in text.lower()]
    assert not found, f"{where} holds {found}: {text}"


@pytest.mark.parametrize("seed", range(6))
def test_nothing_but_profiles_assignments_and_open_imports_holds_personal_data(
    seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    world = play(seed, ACTIONS, make=PryingWorld)
    assert isinstance(world, PryingWorld)
    assert world.searched > 0
    search("the log", world.log.getvalue())
    search("standard output", capsys.readouterr().out)


def test_what_was_planted_is_in_the_stores_that_may_hold_it() -> None:
    """Without this the search would prove nothing."""
    worlds = [play(seed, ACTIONS, make=PryingWorld) for seed in range(4)]
    stored = repr([item for world in worlds for table in MAY_HOLD_IDENTITIES for item in world.database.items(table)])
    assert all(word in stored.lower() for word in PLANTED)


class NamingWorld(World):
    """Gives every person a name of their own."""

    def change(self) -> Change:
        change = super().change()
        if "name" not in change.attributes or not change.profile_ids:
            return change
        number = next(n for n, ids in enumerate(self.people) if not set(ids).isdisjoint(change.profile_ids))
        return replace(
            change, attributes={**change.attributes, "name": f"{name_of(number)}{change.attributes['name']}"}
        )

    def settle_down(self) -> None:
        super().settle_down()
        # Nothing newer comes after that, so they stay forgotten, whatever deaths and lost answers have left of them.
        for _ in range(4):
            self.forget()
        self.come_to_rest()


def name_of(number: int) -> str:
    return f"Zebulon the {number:03}: "


def forgotten(world: World) -> list[int]:
    """Return the people of whom nothing but tombstones is stored."""
    stored = world.watch.profiles
    return [
        number
        for number, ids in enumerate(world.people)
        if any(one in stored for one in ids)
        and all(held.is_tombstone for held in live(stored[one] for one in ids if one in stored))
    ]


def test_names_of_the_forgotten_are_in_no_table_and_no_queue_but_in_rows_of_imports() -> None:
    """Under crashes, lost answers and reordering, once a schedule has come to rest."""
    people, others = 0, 0
    for seed in range(500, 512):
        world = play(seed, ACTIONS, make=NamingWorld)
        texts = {
            f"{table.value} {key.pk}": f"{key} {[_readable(value) for value in item.values()]}"
            for table in Table
            for key, item in world.database.of_table(table)
            if not key.pk.startswith("import#")
        }
        gone = forgotten(world)
        found = [(seed, where, number) for number in gone for where, text in texts.items() if name_of(number) in text]
        assert found == []
        people += len(gone)
        others += any("Zebulon the " in text for text in texts.values())
    assert people >= 5
    assert others >= 5
