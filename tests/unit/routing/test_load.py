"""What load touches: keys, writes and messages, counted from the webhook to the store."""

from collections import Counter
from typing import Any

import pytest

from local.benchmarks import keys
from local.benchmarks.keys import Stack, person
from relay.stores import receipts
from relay.stores.database import Table
from relay.stores.receipts import Counts, InVain
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase


def stack() -> Stack:
    return Stack(FakeClock())


def writes(of: Stack) -> Counter[Table]:
    """Return the writes since the last look, by table."""
    found: Counter[Table] = Counter()
    for (table, _), count in of.database.written.items():
        found[table] += count
    of.database.forget()
    return found


def test_single_webhooks_of_one_source_share_no_key_but_parts_of_segments_and_receipts() -> None:
    touched = keys.measure(600)
    assert touched.writes == 600 + 600 + 6, "a profile, an entry of its segment, and one count for 100 messages"
    assert touched.keys >= 600 + 200
    assert touched.hottest <= 12, "256 parts of a segment share 600 entries"
    assert touched.hottest_control == 1, "environments count apart"
    assert (touched.settings, touched.messages) == (0, 600)
    assert touched.hottest_read <= 6, "what route reads of everybody is kept"


def test_a_thousand_changes_become_two_messages_in_one_call_and_a_write_for_each_item() -> None:
    world = stack()
    world.post([person(0)])
    world.route()
    calls = len(world.changes.calls)
    writes(world)
    assert world.post([person(number) for number in range(1, 1_001)]) == 202
    assert (len(world.changes.sent), len(world.changes.calls) - calls) == (2, 1)
    world.route()
    assert writes(world) == {Table.PROFILES: 1_000, Table.SEGMENTS: 1_000, Table.CONTROL: 1}


@pytest.mark.parametrize("as_requests", [False, True])
def test_a_thousand_changes_of_one_person_are_one_write(as_requests: bool) -> None:
    world = stack()
    world.post([person(0)])
    world.route()
    writes(world)
    number = 100 if as_requests else 1_000
    changes = [{**person(1), "attributes": {"visits": one}} for one in range(number)]
    before = len(world.changes.calls)
    for body in [[one] for one in changes] if as_requests else [changes]:
        world.post(body)
    if not as_requests:
        assert (len(world.changes.sent), len(world.changes.calls) - before) == (2, 1)
    world.route()
    assert writes(world) == {Table.PROFILES: 1, Table.SEGMENTS: 1, Table.CONTROL: 1}


@pytest.mark.parametrize("ids", [(None, None), ("m-1", "m-1"), ("m-1", "m-2")])
def test_people_who_are_sent_again_with_the_same_times_cost_no_write(ids: tuple[Any, Any]) -> None:
    clock = FakeClock()
    world, everybody = Stack(clock), [person(number) for number in range(300)]
    world.post(everybody, ids[0])
    world.route()
    writes(world)
    looks = len(world.looks)
    assert looks > 0
    clock.sleep(60)
    world.post(everybody, ids[1])
    world.route()
    assert writes(world) == {Table.CONTROL: 1}, "only that they came is counted"
    assert len(world.looks) == looks, "nobody looks at them again"


def test_parts_of_the_receipts_add_up() -> None:
    database, clock = MemoryDatabase(), FakeClock()
    for part, counts in enumerate([Counts(merged=3), Counts(stale=1), Counts(rejected=2), Counts(rejected=5)]):
        receipts.add(
            database, "s", counts, nobody=counts.rejected > 0, names=[f"n{part}"], at=clock.now(), part=part * 5
        )
        clock.sleep(1)
    assert receipts.totals(database, "s") == Counts(merged=3, stale=1, rejected=7)
    found = receipts.of_sources(database, ["s", "never"])
    assert [*found] == ["s"]
    assert found["s"].counts.changes == 11
    assert found["s"].last is not None
    assert (clock.now() - found["s"].last).total_seconds() == 1
    assert receipts.in_vain(database, ["s"]) == {"s": InVain(7, is_all=False, names=("n3",))}
    receipts.add(database, "s", Counts(merged=1), nobody=False, names=[], at=clock.now(), part=2)
    assert receipts.in_vain(database, ["s"]) == {}
