"""Routing: order of writes, redelivery, crashes between any two steps, and two routers at once."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.route import app
from functions.route.app import handler
from relay import routing
from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch
from relay.routing import CATALOGUE_AGE, MERGE_TRIES
from relay.settings.exports import Outline
from relay.stores import attempts, ledger, segments
from relay.stores.database import Table
from relay.stores.directory import Directory, Entry
from relay.stores.ledger import Counts, InVain, Line
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.routing_world import LOG, NOON, VISIBILITY, Crash, StillClock, World, change, member, profile_id


def test_a_batch_is_merged_indexed_told_and_counted() -> None:
    world = World()
    world.post(
        change(1, member("s/a", name="Gold"), attributes={"plan": "pro"}),
        change(2, member("s/b", realized=False), identities={"email": ["b@example.com"]}),
    )

    assert world.run() == []

    assert world.profile(1).view()["attributes"] == {"plan": "pro"}
    assert (world.profile(1).version, world.profile(1).changed_at) == (1, NOON)
    assert world.listing("s/a", 1) == [profile_id(1)]
    assert world.listing("s/b", 2) == []
    assert [(segment.id, segment.name) for segment in segments.catalogue(world.database)] == [
        ("s/a", "Gold"),
        ("s/b", None),
    ]
    px, ac = world.queue("gainsight_px"), world.queue("activecampaign")
    assert [(message.group, message.body) for message in px.sent] == [
        ("px#1", _look("px", "px", 7, profile_id(1))),
        ("px#2", _look("px", "px", 7, profile_id(2))),
    ]
    assert [(message.group, message.body) for message in ac.sent] == [("ac#0", _look("ac", "ac", 9, profile_id(2)))]
    assert world.totals() == Counts(merged=2)


def _look(connection: str, export: str, version: int, *profiles: str) -> dict[str, Any]:
    return {
        "kind": "look",
        "connection": connection,
        "export": export,
        "settings": version,
        "profiles": list(profiles),
        "thorough": False,
        "run": None,
        "tries": 0,
    }


def test_the_order_of_writes_is_index_profile_look_again_ledger() -> None:
    steps: list[str] = []
    world = World(steps.append)
    world.post(change(1, member("s/a")))
    world.run()
    acts = [step for step in steps if step.startswith(("write", "sent"))]
    assert acts == ["write segments", "write segments", "write profiles", "sent gainsight_px", "write control"]


def test_changes_of_one_profile_are_written_and_told_once() -> None:
    world = World()
    world.post(change(1, member("s/a", 1)), change(1, member("s/b", 2)))
    world.post(change(1, member("s/a", 3, realized=False)))
    world.run()
    assert world.profile(1).version == 1
    assert [look.profiles for look in world.queue("gainsight_px").looks] == [(profile_id(1),)]
    assert world.totals() == Counts(merged=3)


def test_every_way_to_count() -> None:
    world = World()
    world.post(change(1, member("s/a")))
    world.post(
        change(1, member("s/a")),
        change(2),
        change(3),
        change(None, rejection="no_identity"),
        change(4, rejection="odd"),
        change(5, attributes={"blob": "x" * 400_000}),
        change(6, attributes={"plan": "pro"}),
    )
    assert world.run() == []
    assert world.totals() == Counts(merged=2, stale=1, ignored=2, rejected=3)
    assert len(list(world.database.items(Table.PROFILES))) == 2
    world.check_the_ledger()


def test_a_repeated_change_writes_nothing_but_the_ledger() -> None:
    world = World()
    world.post(change(1, member("s/a"), at=NOON, attributes={"plan": "pro"}))
    world.run()
    world.clock.time += 2 * VISIBILITY
    world.database.steps.clear()
    world.post(change(1, member("s/a"), at=NOON, attributes={"plan": "pro"}, received_at=world.clock.time))
    world.run()
    assert world.database.steps_on(Table.PROFILES) == world.database.steps_on(Table.SEGMENTS) == 0
    assert len(world.queue("gainsight_px").sent) == 1
    assert world.totals() == Counts(merged=1, stale=1)


def test_a_newer_time_alone_wakes_nobody() -> None:
    world = World()
    world.post(change(1, member("s/a"), attributes={"plan": "pro"}))
    world.run()
    world.clock.time += 2 * VISIBILITY
    world.post(change(1, member("s/a", 5), attributes={"plan": "pro"}, received_at=world.clock.time))
    world.run()
    assert world.profile(1).version == 2
    assert len(world.queue("gainsight_px").sent) == 1


@pytest.mark.parametrize("why", ["received before", "long ago", "written a moment ago"])
def test_nothing_new_is_told_again_when_an_earlier_try_may_have_died(why: str) -> None:
    world = World()
    world.post(change(1, member("s/a")))
    world.run()
    world.queue("gainsight_px").sent.clear()
    if why != "written a moment ago":
        world.clock.time += 2 * VISIBILITY
    told = change(1, member("s/a"), received_at=NOON if why == "long ago" else world.clock.time)
    message = world.post(told)
    if why == "received before":
        world.receive(message)
    world.run()
    assert [look.profiles for look in world.queue("gainsight_px").looks] == [(profile_id(1),)]


def test_everything_is_kept_from_the_first_message_on_whether_or_not_an_export_names_it() -> None:
    world = World()
    world.outlines = {}
    world.post(change(1, member("s/nobody", name="Nobody's"), attributes={"plan": "pro"}, identities={"crm": ["1"]}))
    world.post(change(2, member("s/nobody", realized=False)))
    assert world.run() == []
    assert world.totals() == Counts(merged=2)
    assert world.profile(1).view() == {"source": "s", "identities": {"crm": ["1"]}, "attributes": {"plan": "pro"}}
    assert world.profile(1).memberships["s/nobody"].realized
    assert world.listing("s/nobody", 1) == [profile_id(1)]
    assert [(one.id, one.name) for one in segments.catalogue(world.database)] == [("s/nobody", "Nobody's")]


def test_attributes_beside_a_segment_that_nobody_exports_wake_the_exports_of_the_profiles_segments() -> None:
    world = World()
    world.post(change(1, member("s/a")))
    world.run()
    world.post(change(1, member("s/nobody"), attributes={"plan": "pro"}))
    world.run()
    assert [look.profiles for look in world.queue("gainsight_px").looks] == [(profile_id(1),)] * 2


def test_the_catalogue_costs_no_call_for_segments_that_are_known() -> None:
    world = World()
    router = world.router()
    for number in range(30):
        world.post(change(number, member(f"s/{number % 3}", name="Name")))
        world.run(router=router)
    catalogue_writes = [step for step in world.database.steps if step == "write segments"]
    # An index entry each, and three segments.
    assert len(catalogue_writes) == 33
    reads = world.database.steps_on(Table.SEGMENTS, "get")
    world.post(change(1, member("s/0", 5, name="New name"), member("s/1", 5)))
    world.run(router=router)
    assert world.database.steps_on(Table.SEGMENTS, "get") == reads + 1
    assert segments.name_of(world.database, "s/0") == "New name"
    # What another environment wrote meanwhile is seen after a while.
    segments.note(world.database, {"s/0": "Newest name"}, world.clock.now())
    world.clock.time += CATALOGUE_AGE + timedelta(seconds=1)
    world.post(change(1, member("s/0", 6, name="New name"), received_at=world.clock.time))
    world.run(router=router)
    assert segments.name_of(world.database, "s/0") == "New name"


def test_what_is_remembered_of_the_catalogue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "CATALOGUE_SIZE", 5)
    world = World()
    router = world.router()
    for number in range(12):
        world.post(change(number, *(member(f"s/{number}-{n}") for n in range(4))))
        world.run(router=router)
        assert len(router._catalogued) <= 5
    assert len(segments.catalogue(world.database)) == 48


def test_look_agains_hold_one_shard_and_at_most_200_profiles() -> None:
    world = World()
    world.post(*(change(number, member("s/b")) for number in range(900)))
    world.run()
    for destination, shards in (("gainsight_px", 4), ("activecampaign", 2)):
        looks = world.queue(destination).looks
        assert sorted(identifier for look in looks for identifier in look.profiles) == sorted(
            map(profile_id, range(900))
        )
        for message, look in zip(world.queue(destination).sent, looks, strict=True):
            assert 0 < len(look.profiles) <= 200
            [shard] = {int(identifier[:2], 16) % shards for identifier in look.profiles}
            assert message.group == f"{look.connection}#{shard}"


def test_only_exports_that_stream_and_share_a_stored_segment_are_told() -> None:
    world = World()
    world.outlines["ac/paused"] = Outline("ac", "paused", False, True, ("s/a",), 3)
    world.outlines["px/quiet"] = Outline("px", "quiet", True, False, ("s/a",), 3)
    world.outlines["gone/x"] = Outline("gone", "x", True, True, ("s/a",), 3)
    world.post(change(1, member("s/a")))
    assert world.run() == []
    told = {look.export for queue in world.queues.values() for look in queue.looks}
    assert told == {"px", "paused"}
    assert "connection not in the directory" in LOG.getvalue()


def test_attributes_alone_wake_the_exports_of_the_profiles_segments() -> None:
    world = World()
    world.post(change(1, member("s/a")))
    world.run()
    world.post(change(1, attributes={"plan": "pro"}))
    world.run()
    assert len(world.queue("gainsight_px").sent) == 2


def test_an_exit_that_happened_long_ago_is_told_and_not_undone_by_an_older_entry() -> None:
    world = World()
    world.post(change(1, member("s/a", 0)))
    world.run()
    world.clock.time += timedelta(days=60)
    world.post(change(1, member("s/a", 1, realized=False), received_at=world.clock.time))
    world.post(change(1, member("s/a", 0), received_at=world.clock.time))
    world.run()
    assert [one.realized for one in world.profile(1).memberships.values()] == [False]
    assert len(world.queue("gainsight_px").sent) == 2


@pytest.mark.parametrize(
    "body",
    [
        "no json",
        "{}",
        json.dumps({"id": "x", "source": "s", "changes": [{"profile": 5}]}),
        json.dumps({"id": "x", "source": "s", "changes": None}),
        json.dumps(changes.to_json(ChangeBatch("x", "s", [Change(("not hexadecimal",), NOON)]))),
        json.dumps(changes.to_json(ChangeBatch("x", "s", [Change(("00",), NOON, attributes={"a": 1})]))).replace(
            '{"a": 1}', "7"
        ),
    ],
)
def test_a_malformed_message_fails_alone(body: str) -> None:
    world = World()
    world.post(change(1, member("s/a")))
    bad = world.post_text(body)
    world.post(change(2, member("s/a")))
    assert world.run() == [bad]
    assert set(world.waiting) == {bad}
    assert world.totals() == Counts(merged=2)
    assert {identifier for look in world.queue("gainsight_px").looks for identifier in look.profiles} == {
        profile_id(1),
        profile_id(2),
    }


def test_a_defect_on_one_message_fails_it_alone_and_the_others_are_told() -> None:
    world = World()
    trouble = profile_id(66)
    load = world.database.get

    def get(keys: Any) -> Any:
        if any(key.pk == trouble for key in keys):
            raise RuntimeError("b@example.com")
        return load(keys)

    world.database.get = get  # type: ignore[method-assign]
    world.post(change(1, member("s/a")))
    bad = world.post(change(66, member("s/a")))
    assert world.run() == [bad]
    assert world.totals() == Counts(merged=1)
    assert len(world.queue("gainsight_px").sent) == 1
    assert "example.com" not in LOG.getvalue()
    [attempt] = attempts.of_queue(world.database, "")
    assert (attempt.message, attempt.error, attempt.receive_count) == (bad, "RuntimeError", 1)


def test_a_broken_destination_queue_fails_only_the_messages_it_concerns() -> None:
    world = World()
    world.queue("activecampaign").broken = True
    both, px = world.post(change(1, member("s/b"))), world.post(change(2, member("s/a")))
    assert world.run() == [both]
    assert world.totals() == Counts(merged=1)
    world.check_the_ledger()

    world.queue("activecampaign").broken = False
    assert world.run() == []
    world.check_all_is_told()
    assert world.totals() == Counts(merged=1, stale=1)
    assert px not in world.waiting


def test_one_batch_in_two_messages_is_counted_once() -> None:
    world = World()
    world.post(change(1, member("s/a")), batch="same")
    world.post_text(next(iter(world.waiting.values()))[0])
    world.run()
    world.post_text(json.dumps(changes.to_json(world.batches[0])))
    world.run()
    assert world.totals() == Counts(merged=1)


def test_a_conflict_is_merged_again_and_told() -> None:
    world = World()
    other = World()
    other.database, armed = world.database, [True]

    def meddle(step: str) -> None:
        if step == "> write profiles" and armed:
            armed.clear()
            world.post(change(1, member("s/a", 1), attributes={"plan": "pro"}))
            records = world.receive("message-2")
            world.acknowledge(records, world.router().route(records))

    world.step = meddle
    first = world.post(change(1, member("s/a", 2, realized=False)))
    assert world.run(first) == []
    world.step = lambda step: None
    profile = world.profile(1)
    assert (profile.version, profile.view()["attributes"]) == (2, {"plan": "pro"})
    assert not profile.memberships["s/a"].realized
    world.check_all_is_told()
    assert world.totals() == Counts(merged=2)


def test_a_profile_that_others_keep_writing_fails_its_messages_alone() -> None:
    world = World()
    write, tries = world.database.write, []

    def losing(groups: Any) -> list[bool]:
        mine = [
            any(getattr(w.key, "pk", "") == profile_id(1) and w.key.table is Table.PROFILES for w in g) for g in groups
        ]
        if any(mine):
            tries.append(1)
        return [False if lost else write([group])[0] for lost, group in zip(mine, groups, strict=True)]

    world.database.write = losing  # type: ignore[method-assign]
    busy = world.post(change(1, member("s/a")))
    world.post(change(2, member("s/a")))
    assert world.run() == [busy]
    assert len(tries) == MERGE_TRIES
    assert world.totals() == Counts(merged=1)


def _scenario(world: World) -> None:
    world.post(change(1, member("s/a", 1, name="Gold"), attributes={"plan": "pro"}), change(2, member("s/b", 1)))
    world.post(change(1, member("s/a", 3, realized=False)), change(3, member("s/nobody")), change(None, rejection="x"))
    world.post(change(2, member("s/b", 2), identities={"email": ["b@example.com"]}))
    world.post(change((5, 4), member("s/b", 2)))


def _joining(world: World) -> None:
    """Two known profiles turn out to be one person, and bring a third id along; somebody goes on writing to one."""
    world.post(change(1, member("s/a", 1), attributes={"plan": "pro"}))
    world.post(change((3, 2), member("s/b", 2), attributes={"city": "Ulm"}))
    world.run()
    world.clock.time += 2 * VISIBILITY
    now = world.clock.time
    world.post(change((1, 3, 4), member("s/b", 3, realized=False), received_at=now), change(7, received_at=now))
    world.post(change(2, attributes={"plan": "free"}, received_at=now))


def _without_times_of_writing(world: World) -> object:
    """Return what must not depend on the way: not the index, in which an entry too many does no harm."""
    return world.stored(), {segment.id for segment in segments.catalogue(world.database)}


@pytest.mark.parametrize(("scenario", "posted", "least"), [(_scenario, 7, 20), (_joining, 5, 15)])
def test_dying_between_any_two_steps_loses_nothing(scenario: Callable[[World], None], posted: int, least: int) -> None:
    calm = World()
    scenario(calm)
    calm.run()
    steps = 0
    while True:
        left = [steps]

        def die(step: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Crash(step)

        world = World()
        scenario(world)
        world.step = die
        try:
            world.run()
        except Crash:
            died = True
        else:
            died = False
        world.step = lambda step: None
        world.check_the_ledger()
        world.run() if world.waiting else None
        assert not world.waiting
        world.check_the_ledger()
        world.check_all_is_told()
        assert world.totals().changes == posted
        assert _without_times_of_writing(world) == _without_times_of_writing(calm)
        if not died:
            break
        steps += 1
    assert steps > least


def test_how_many_changes_in_a_row_found_nobody_is_known_by_source() -> None:
    """Given a `profile_key` that finds nobody any more, Then the changes since it last found somebody are counted."""
    world = World()
    world.post(change(1, member("s/a")), change(None, rejection="no_identity"))
    world.post(change(1, member("s/a")), source="well")
    world.run()
    assert ledger.in_vain(world.database, ["s", "well", "never"]) == {}

    for _ in range(2):
        world.post(change(None, rejection="no_identity"), change(None, rejection="no_identity"))
        world.run()
    assert ledger.in_vain(world.database, ["s", "well"]) == {"s": InVain(4, is_all=False)}

    world.post(change(None, rejection="wrong_shape"))
    world.run()
    assert ledger.in_vain(world.database, ["s"]) == {"s": InVain(5, is_all=False)}

    world.post(change(None, rejection="no_identity"), change(2, member("s/a")))
    world.run()
    assert ledger.in_vain(world.database, ["s"]) == {}


def test_the_names_of_identities_that_nobody_was_found_by_are_known() -> None:
    world = World()
    nobody = change(None, rejection="no_identity", identities={"crmId": None, "email": None})
    world.post(nobody, change(None, rejection="no_identity", identities={"crmId": None}))
    world.run()
    assert ledger.in_vain(world.database, ["s"])["s"].names == ("crmId", "email")
    world.post(change(None, rejection="no_identity", identities={"ecid": None}))
    world.run()
    assert ledger.in_vain(world.database, ["s"])["s"].names == ("ecid",)


def test_a_source_that_never_found_anybody_is_known() -> None:
    world = World()
    message = world.post(change(None, rejection="no_identity"))
    records = world.receive(message)
    world.router().route(records)
    world.router().route(records)
    assert ledger.in_vain(world.database, ["s"]) == {"s": InVain(1, is_all=True)}


def test_dying_after_the_ledger_counts_nothing_twice() -> None:
    world = World()
    _scenario(world)
    world.router().route(world.receive())
    before = world.totals()
    world.run()
    assert world.totals() == before


class Lockstep:
    """Runs threads one step at a time in the order of a script; `deaths` are (thread, step) at which one dies."""

    def __init__(self, script: list[int], deaths: set[tuple[int, int]]) -> None:
        self._script = iter(script)
        self._deaths = deaths
        self._turn = threading.Condition()
        self._mine = threading.local()
        self._ready: set[int] = set()
        self._chosen: int | None = None

    def step(self, _: str) -> None:
        number = getattr(self._mine, "number", None)
        if number is None:
            return
        self._mine.taken += 1
        with self._turn:
            self._ready.add(number)
            self._chosen = None
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._chosen == number)
            self._ready.discard(number)
        if (number, self._mine.taken) in self._deaths:
            raise Crash

    def run(self, *acts: Any) -> None:
        alive = set(range(len(acts)))

        def live(number: int) -> None:
            self._mine.number, self._mine.taken = number, 0
            try:
                self.step("begin")
                acts[number]()
            except Crash:
                pass
            finally:
                with self._turn:
                    alive.discard(number)
                    self._chosen = None
                    self._turn.notify_all()

        threads = [threading.Thread(target=live, args=(number,)) for number in sorted(alive)]
        for thread in threads:
            thread.start()
        with self._turn:
            while True:
                self._turn.wait_for(lambda: self._chosen is None and self._ready == alive)
                if not alive:
                    break
                ready = sorted(self._ready)
                self._chosen = ready[next(self._script, 0) % len(ready)]
                self._turn.notify_all()
        for thread in threads:
            thread.join()


_told = st.builds(
    lambda numbers, memberships, plan: change(
        tuple(numbers), *memberships, at=NOON - timedelta(seconds=plan), attributes={"plan": plan} if plan else {}
    ),
    st.sets(st.integers(1, 3), min_size=1, max_size=2),
    st.lists(
        st.builds(
            lambda segment, seconds, realized: member(segment, seconds, realized=realized),
            st.sampled_from(["s/a", "s/b", "s/nobody"]),
            st.integers(0, 3),
            st.booleans(),
        ),
        max_size=2,
    ),
    st.integers(0, 2),
)


@settings(max_examples=300, deadline=None)
@given(
    batches=st.lists(st.lists(_told, min_size=1, max_size=2), min_size=1, max_size=4),
    hands=st.lists(st.sampled_from([(0,), (1,), (0, 1)]), min_size=4, max_size=4),
    script=st.lists(st.integers(0, 1), max_size=60),
    deaths=st.sets(st.tuples(st.integers(0, 1), st.integers(2, 40)), max_size=2),
)
def test_two_routers_in_any_interleaving(
    batches: list[list[Change]],
    hands: list[tuple[int, ...]],
    script: list[int],
    deaths: set[tuple[int, int]],
) -> None:
    calm = World()
    for told in batches:
        calm.post(*told)
    calm.run()

    world = World()
    lockstep = Lockstep(script, deaths)
    ids = [world.post(*told) for told in batches]
    world.step = lockstep.step

    def act(number: int) -> Any:
        mine = [identifier for identifier, to in zip(ids, hands, strict=False) if number in to]
        # A message handed out twice at once is received for the first time by both.
        records = world.receive(*mine) if mine else []
        for record in records:
            body, _ = world.waiting[record.id]
            world.waiting[record.id] = (body, 0)

        def route() -> None:
            world.acknowledge(records, world.router().route(records))

        return route

    lockstep.run(act(0), act(1))

    world.step = lambda step: None
    world.check_the_ledger()
    world.clock.time += VISIBILITY
    while world.waiting:
        world.run()
    world.check_the_ledger()
    world.check_all_is_told()
    assert world.totals().changes == sum(map(len, batches))
    assert _without_times_of_writing(world) == _without_times_of_writing(calm)


def test_the_ledger_enters_many_lines_in_one_transaction_and_each_once() -> None:
    database = MemoryDatabase()
    lines = [Line(f"b{n}", "s" if n % 2 else "t", Counts(merged=1)) for n in range(250)]
    assert len(ledger.record(database, lines[:3], NOON).entered) == 3
    database.steps.clear()
    assert len(ledger.record(database, [*lines, lines[9]], NOON).entered) == 247
    assert database.steps_on(Table.CONTROL) == 4
    assert ledger.record(database, lines, NOON).entered == []
    assert ledger.totals(database, "s") == ledger.totals(database, "t") == Counts(merged=125)


def test_a_ledger_line_entered_by_another_meanwhile_does_not_hold_up_the_others() -> None:
    database = MemoryDatabase()
    lines = [Line(f"b{n}", "s", Counts(merged=1), apart=(n,)) for n in range(3)]

    def meddle(step: str) -> None:
        database.before = lambda step: None
        ledger.record(database, [replace(lines[1], apart=(7, 9))], NOON)

    database.after = lambda step: None
    get = database.get

    def get_then_lose(keys: Any) -> Any:
        found = get(keys)
        database.before = meddle
        database.get = get  # type: ignore[method-assign]
        return found

    database.get = get_then_lose  # type: ignore[method-assign]
    recorded = ledger.record(database, lines, NOON)
    assert recorded.entered == [lines[0], lines[2]]
    # What counts is what was set apart by whoever entered the line.
    assert recorded.apart == {"b0": (0,), "b1": (7, 9), "b2": (2,)}
    assert ledger.record(database, lines, NOON).apart == recorded.apart
    assert ledger.totals(database, "s") == Counts(merged=3)


def test_the_marks_of_the_ledger_outlive_every_queue() -> None:
    database = MemoryDatabase()
    ledger.record(database, [Line("b", "s", Counts(stale=1))], NOON)
    [mark] = database.items(Table.CONTROL, "ledger#b")
    assert int(mark["expires_at"]) > (NOON + timedelta(days=14)).timestamp()


def test_the_directory_is_kept_and_read_at_most_a_few_seconds_late() -> None:
    database, clock = MemoryDatabase(), StillClock()
    reader, keeper = Directory(database, clock), Directory(database, clock)
    assert reader.read() == {}
    keeper.keep("px", Entry("gainsight_px", True, 4))
    assert keeper.read() == {"px": Entry("gainsight_px", True, 4)}
    assert reader.read() == {}
    clock.sleep(6)
    assert reader.read() == keeper.read()


def test_a_connection_that_is_missing_is_read_for_once_and_then_for_as_long_as_others_are_kept() -> None:
    database, clock = MemoryDatabase(), StillClock()
    reader, keeper = Directory(database, clock), Directory(database, clock)
    keeper.keep("px", Entry("gainsight_px", True, 4))
    needed = {"px", "gone"}

    assert reader.look_up({"px"}) == (keeper.read(), set())
    assert reader.look_up(needed) == (keeper.read(), {"gone"})
    database.steps.clear()
    assert reader.look_up(needed) == (keeper.read(), set())
    assert reader.look_up({"px"}) == (keeper.read(), set())
    assert database.steps == []
    assert reader.look_up({*needed, "new"}) == (keeper.read(), {"gone", "new"})

    clock.sleep(6)
    assert reader.look_up(needed) == (keeper.read(), {"gone"})
    keeper.keep("gone", Entry("activecampaign", False, 2))
    clock.sleep(6)
    assert reader.look_up(needed) == (keeper.read(), set())


def test_an_unknown_connection_is_told_once_per_read_whatever_the_number_of_its_exports_and_batches(
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = World()
    world.outlines |= {f"gone/{name}": Outline("gone", name, True, True, ("s/a",), 3) for name in "xy"}
    router = world.router()

    def told() -> tuple[int, int]:
        counted = [line for line in capsys.readouterr().out.splitlines() if "LooksUnrouted" in line]
        return LOG.getvalue().count("connection not in the directory"), len(counted)

    for number in range(3):
        world.post(change(number, member("s/a")))
        assert world.run(router=router) == []
    assert told() == (1, 1)
    world.clock.sleep(6)
    world.post(change(4, member("s/a")))
    assert world.run(router=router) == []
    assert told() == (2, 1)


def test_the_function_answers_with_what_failed() -> None:
    world = World()
    told = json.dumps(changes.to_json(ChangeBatch("b", "s", [change(1, member("s/a"))])))
    attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1777636800000"}
    records = [
        {"messageId": name, "receiptHandle": "r", "body": body, "attributes": attributes}
        for name, body in (("good", told), ("bad", "?"))
    ]
    answer = handler({"Records": records}, None, router=world.router())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert world.totals() == Counts(merged=1)


def test_the_sample_event_is_taken() -> None:
    world = World()
    event = json.loads((Path(__file__).parents[2] / "events" / "route.json").read_text())
    world.outlines = {"px/px": Outline("px", "px", True, None, ("aep/7841ba61-23c1-4bb3-a495-00d3g5fe1e93",), 7)}
    assert handler(event, None, router=world.router()) == {"batchItemFailures": []}
    assert world.totals("aep") == Counts(merged=1, rejected=1)
    assert len(world.queue("gainsight_px").sent) == 1


def test_a_write_whose_answer_was_lost_is_told() -> None:
    world = World()
    write = world.database.write

    def lose_the_answer(groups: Any) -> list[bool]:
        applied = write(groups)
        return [done and group[0].key.table is not Table.PROFILES for done, group in zip(applied, groups, strict=True)]

    world.database.write = lose_the_answer  # type: ignore[method-assign]
    world.post(change(1, member("s/a")))
    assert world.run() == []
    assert len(world.queue("gainsight_px").sent) == 1
    assert world.totals() == Counts(stale=1)


def test_the_function_wires_itself_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "RELAY_PREFIX": "test",
        "RELAY_CHANGES_VISIBILITY_SECONDS": "720",
        "RELAY_CHANGES_QUEUE": "https://sqs.example.com/changes",
        "RELAY_GAINSIGHT_PX_QUEUE": "https://sqs.example.com/px.fifo",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert app._router.__wrapped__()
    assert app._queue_for.__wrapped__("gainsight_px")
    assert handler({"Records": []}, None, router=app._router.__wrapped__()) == {"batchItemFailures": []}
