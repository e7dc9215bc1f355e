"""Routing: order of writes, what costs what, who is looked at, what is counted, and messages that come again."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.route import app
from functions.route.app import handler
from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch
from relay.messages import Look
from relay.routing.catalogue import MAX_AGE, Catalogue
from relay.routing.write import TRIES
from relay.settings.exports import Outline
from relay.stores import attempts, receipts, segments
from relay.stores.database import Table
from relay.stores.receipts import Counts, InVain
from tests.fakes.memory_database import MemoryDatabase, Trouble
from tests.fakes.routing_world import LOG, NOON, StillClock, World, change, member, profile_id

A_DAY = timedelta(days=1)


def test_a_batch_is_merged_indexed_looked_at_and_counted() -> None:
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
        ("px#1", Look("px", "px", 7, (profile_id(1),)).to_json()),
        ("px#2", Look("px", "px", 7, (profile_id(2),)).to_json()),
    ]
    assert [(message.group, message.body) for message in ac.sent] == [
        ("ac#0", Look("ac", "ac", 9, (profile_id(2),)).to_json())
    ]
    assert world.totals() == Counts(merged=2)


def test_a_profile_names_the_request_that_changed_it_last() -> None:
    world = World()
    named = []
    for plan, minute in (("pro", 0), ("free", 1), ("free", 1), ("pro", 0)):
        world.post(change(1, member("s/a"), attributes={"plan": plan}, at=NOON + timedelta(minutes=minute)))
        world.run()
        named.append(world.profile(1).trace)
    # The third repeats the second, and the fourth the first: neither changes anything.
    assert named == ["batch-1", "batch-2", "batch-2", "batch-2"]


def test_the_order_of_writes_is_index_profile_alias_looks_counts() -> None:
    steps: list[str] = []
    world = World(steps.append)
    world.post(change((1, 2), member("s/a")))
    world.run()
    acts = [step for step in steps if step.startswith(("write", "sent", "transact"))]
    assert acts == [
        "write segments",
        "write segments",
        "write profiles",
        "write profiles",
        "sent gainsight_px",
        "transact control",
    ]


@pytest.mark.parametrize("per_message", [1, 10])
def test_a_new_profile_costs_two_write_units_and_little_more(per_message: int) -> None:
    world = World()
    router = world.router()
    names = {"email": ["kim.number@example.com"], "crm_id": ["HB-1000000001"]}
    world.run(world.post(change(5_000, member("s/a"))), router=router)
    world.database.forget_units()
    for start in range(0, 100 * per_message, per_message):
        world.post(
            *(
                change(number, member("s/a"), identities=names, attributes={f"a{n}": f"value {n}" for n in range(6)})
                for number in range(start, start + per_message)
            )
        )
    world.run(router=router)
    units = world.database.write_units
    assert units == {Table.SEGMENTS: 100 * per_message, Table.PROFILES: 100 * per_message, Table.CONTROL: 2}
    assert sum(world.database.read_units.values()) <= 1.01 * 100 * per_message


def test_changes_of_one_profile_are_written_and_looked_at_once() -> None:
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
    world.check_receipts()


def test_each_source_counts_for_itself() -> None:
    world = World()
    world.post(change(1, member("s/a")))
    world.post(change(2, member("t/a")), change(None, rejection="odd"), source="t")
    world.post(change(3, member("s/a")))
    world.run()
    assert world.totals("s") == Counts(merged=2)
    assert world.totals("t") == Counts(merged=1, rejected=1)
    assert world.database.steps_on(Table.CONTROL, "transact") == 2


def test_a_change_that_a_platform_repeats_later_writes_nothing_but_counts_and_costs_no_look() -> None:
    world = World()
    world.post(change(1, member("s/a"), at=NOON, attributes={"plan": "pro"}))
    world.run()
    world.clock.time += A_DAY
    world.database.steps.clear()
    world.post(change(1, member("s/a"), at=NOON, attributes={"plan": "pro"}, received_at=world.clock.time))
    world.run()
    assert world.database.steps_on(Table.PROFILES) == world.database.steps_on(Table.SEGMENTS) == 0
    assert len(world.queue("gainsight_px").sent) == 1
    assert world.totals() == Counts(merged=1, stale=1)


def test_a_newer_time_alone_costs_no_look() -> None:
    world = World()
    world.post(change(1, member("s/a"), attributes={"plan": "pro"}))
    world.run()
    world.clock.time += A_DAY
    world.post(change(1, member("s/a", 5), attributes={"plan": "pro"}, received_at=world.clock.time))
    world.run()
    assert world.profile(1).version == 2
    assert len(world.queue("gainsight_px").sent) == 1


@pytest.mark.parametrize("later", [timedelta(0), timedelta(hours=1), timedelta(days=17)])
def test_a_change_that_was_merged_before_still_asks_for_looks(later: timedelta) -> None:
    """Its first try may have died before it asked, however long ago: a dead-letter queue keeps it for days."""
    world = World()
    world.hand(world.receive(world.post(change(1, member("s/a")), change(2, member("s/a")))), acknowledge=False)
    world.queue("gainsight_px").sent.clear()
    world.clock.time += later
    # Other news of one of them came in between.
    world.run(world.post(change(2, attributes={"plan": "pro"}, received_at=world.clock.time)))
    world.queue("gainsight_px").sent.clear()

    world.run()

    assert world.queue("gainsight_px").looked_at == {profile_id(1), profile_id(2)}
    assert world.totals() == Counts(merged=3, stale=2)


def test_clocks_of_two_functions_need_not_be_equal() -> None:
    world = World()
    # Received by a clock that is ahead of the one by which it is written.
    ahead = change(1, member("s/a"), received_at=NOON + timedelta(seconds=4))
    message = world.post(ahead)
    world.hand(world.receive(message), acknowledge=False)
    world.queue("gainsight_px").sent.clear()
    world.run()
    assert world.queue("gainsight_px").looked_at == {profile_id(1)}


def test_the_time_of_writing_is_later_than_that_of_whoever_wrote_before() -> None:
    """Given a router that is held up as it reads, Then it does not date back what others wrote meanwhile."""
    world = World()
    message = world.post(change(1, member("s/a")))

    def held_up() -> None:
        world.clock.sleep(60)
        world.run(world.post(change(1, attributes={"plan": "pro"}, received_at=world.clock.time)))

    world.database.interrupt("get profiles", held_up)
    world.run(message)
    assert world.profile(1).version == 2
    assert world.profile(1).changed_at == NOON + timedelta(seconds=60)


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


def test_attributes_beside_a_segment_that_nobody_exports_concern_the_exports_of_the_profiles_segments() -> None:
    world = World()
    world.post(change(1, member("s/a")))
    world.run()
    world.post(change(1, member("s/nobody"), attributes={"plan": "pro"}))
    world.run()
    assert [look.profiles for look in world.queue("gainsight_px").looks] == [(profile_id(1),)] * 2


def test_attributes_alone_concern_the_exports_of_the_profiles_segments() -> None:
    world = World()
    world.post(change(1, member("s/a")))
    world.run()
    world.post(change(1, attributes={"plan": "pro"}))
    world.run()
    assert len(world.queue("gainsight_px").sent) == 2


def test_the_catalogue_costs_no_call_for_segments_that_are_known() -> None:
    world = World()
    router = world.router()
    for number in range(30):
        world.post(change(number, member(f"s/{number % 3}", name="Name")))
        world.run(router=router)
    # An index entry each, and three segments.
    assert world.database.steps_on(Table.SEGMENTS) == 33
    reads = world.database.steps_on(Table.SEGMENTS, "get")
    world.post(change(1, member("s/0", 5, name="New name"), member("s/1", 5)))
    world.run(router=router)
    assert world.database.steps_on(Table.SEGMENTS, "get") == reads + 1
    assert segments.name_of(world.database, "s/0") == "New name"
    # What another environment wrote meanwhile is seen after a while.
    segments.note(world.database, {"s/0": "Newest name"}, world.clock.now())
    world.clock.time += MAX_AGE + timedelta(seconds=1)
    world.post(change(1, member("s/0", 6, name="New name"), received_at=world.clock.time))
    world.run(router=router)
    assert segments.name_of(world.database, "s/0") == "New name"


def test_what_is_remembered_of_the_catalogue_is_bounded() -> None:
    database = MemoryDatabase()
    catalogue = Catalogue(database, StillClock(), max_size=5)
    for number in range(12):
        catalogue.note([member(f"s/{number}-{n}") for n in range(4)])
        assert len(catalogue) <= 5
    catalogue.note([member(f"s/many-{n}") for n in range(20)])
    assert len(catalogue) <= 5
    assert len(segments.catalogue(database)) == 68


def test_looks_hold_one_shard_and_at_most_200_profiles() -> None:
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


def test_only_exports_that_stream_and_share_a_stored_segment_are_asked() -> None:
    world = World()
    world.outlines["ac/paused"] = Outline("ac", "paused", False, True, ("s/a",), 3)
    world.outlines["px/quiet"] = Outline("px", "quiet", True, False, ("s/a",), 3)
    world.outlines["gone/x"] = Outline("gone", "x", True, True, ("s/a",), 3)
    world.post(change(1, member("s/a")))
    assert world.run() == []
    asked = {look.export for queue in world.queues.values() for look in queue.looks}
    assert asked == {"px", "paused"}
    assert "connection not in the directory" in LOG.getvalue()


def test_an_unknown_connection_is_reported_once_per_read_whatever_the_number_of_its_exports_and_batches(
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = World()
    world.outlines |= {f"gone/{name}": Outline("gone", name, True, True, ("s/a",), 3) for name in "xy"}
    router = world.router()

    def reported() -> tuple[int, int]:
        counted = [line for line in capsys.readouterr().out.splitlines() if "LooksUnrouted" in line]
        return LOG.getvalue().count("connection not in the directory"), len(counted)

    for number in range(3):
        world.post(change(number, member("s/a")))
        assert world.run(router=router) == []
    assert reported() == (1, 1)
    world.clock.sleep(6)
    world.post(change(4, member("s/a")))
    assert world.run(router=router) == []
    assert reported() == (2, 1)


def test_an_exit_that_happened_long_ago_is_looked_at_and_not_undone_by_an_older_entry() -> None:
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
        json.dumps({**changes.to_json(ChangeBatch("x", "s", [])), "format": 99}),
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
    assert world.queue("gainsight_px").looked_at == {profile_id(1), profile_id(2)}
    [attempt] = attempts.of_queue(world.database, "")
    assert attempt.message == bad


def test_settings_that_are_not_to_be_had_make_all_messages_come_back() -> None:
    world = World()
    first, second = world.post(change(1, member("s/a"))), world.post(change(2, member("s/a")))

    def broken() -> Any:
        raise RuntimeError("Kim Lovelace")

    world.export_outlines = broken  # type: ignore[method-assign]
    assert sorted(world.run()) == [first, second]
    assert "Lovelace" not in LOG.getvalue()
    assert {attempt.message for attempt in attempts.of_queue(world.database, "")} == {first, second}

    del world.export_outlines
    assert world.run() == []
    assert world.totals() == Counts(merged=2)


def test_a_broken_destination_queue_fails_only_the_messages_it_concerns() -> None:
    world = World()
    world.queue("activecampaign").broken = True
    both, px = world.post(change(1, member("s/b"))), world.post(change(2, member("s/a")))
    assert world.run() == [both]
    assert world.totals() == Counts(merged=1)
    world.check_receipts()

    world.queue("activecampaign").broken = False
    assert world.run() == []
    world.check_all_is_seen()
    assert world.totals() == Counts(merged=1, stale=1)
    assert px not in world.waiting


def test_a_message_that_comes_twice_at_once_is_merged_once_and_counted_as_received_twice() -> None:
    world = World()
    world.post(change(1, member("s/a")))
    world.post_text(next(iter(world.waiting.values()))[0])
    world.run()
    assert world.totals() == Counts(merged=1, stale=1)
    assert world.profile(1).version == 1


def test_a_message_whose_function_ended_unheard_counts_as_received_again_and_as_stale() -> None:
    world = World()
    message = world.post(change(1, member("s/a")), change(2), change(None, rejection="odd"))
    world.hand(world.receive(message), acknowledge=False)
    assert world.totals() == Counts(merged=1, ignored=1, rejected=1)
    world.run()
    assert world.totals() == Counts(merged=1, stale=1, ignored=2, rejected=2)
    world.check_receipts()


def test_a_conflict_is_merged_again_and_looked_at() -> None:
    world = World()
    first = world.post(change(1, member("s/a", 2, realized=False)))

    def meddle() -> None:
        world.run(world.post(change(1, member("s/a", 1), attributes={"plan": "pro"})))

    world.database.interrupt("write profiles", meddle)
    assert world.run(first) == []
    profile = world.profile(1)
    assert (profile.version, profile.view()["attributes"]) == (2, {"plan": "pro"})
    assert not profile.memberships["s/a"].realized
    assert world.database.lost_races[Table.PROFILES] == 1
    world.check_all_is_seen()
    assert world.totals() == Counts(merged=2)


def test_a_profile_that_others_keep_writing_fails_its_messages_alone() -> None:
    world = World()
    write, tries = world.database.write, []

    def losing(writes: Any) -> list[bool]:
        mine = [one.key.pk == profile_id(1) and one.key.table is Table.PROFILES for one in writes]
        if any(mine):
            tries.append(1)
        return [False if lost else write([one])[0] for lost, one in zip(mine, writes, strict=True)]

    world.database.write = losing  # type: ignore[method-assign]
    busy = world.post(change(1, member("s/a")))
    world.post(change(2, member("s/a")))
    assert world.run() == [busy]
    assert len(tries) == TRIES
    assert world.totals() == Counts(merged=1)


def test_a_write_whose_answer_was_lost_is_looked_at() -> None:
    world = World()
    write = world.database.write

    def lose_the_answer(writes: Any) -> list[bool]:
        applied = write(writes)
        return [done and one.key.table is not Table.PROFILES for done, one in zip(applied, writes, strict=True)]

    world.database.write = lose_the_answer  # type: ignore[method-assign]
    world.post(change(1, member("s/a")))
    assert world.run() == []
    assert len(world.queue("gainsight_px").sent) == 1
    assert world.totals() == Counts(stale=1)


@pytest.mark.parametrize("table", [Table.SEGMENTS, Table.PROFILES])
@pytest.mark.parametrize("trouble", Trouble)
def test_a_table_that_throttles_makes_messages_come_back_and_loses_nothing(trouble: Trouble, table: Table) -> None:
    world = World()
    messages = [world.post(change(number, member("s/a"))) for number in range(3)]
    world.database.trouble = lambda write: trouble if (write.key.table, write.key.pk) in troubled else None
    troubled = {(table, "s/a#01"), (table, profile_id(1))}
    assert world.run() == messages
    assert world.totals() == Counts()
    troubled.clear()
    assert world.run() == []
    assert world.totals().changes == 3
    world.check_receipts()
    world.check_all_is_seen()


@pytest.mark.parametrize("trouble", Trouble)
def test_a_source_that_cannot_be_counted_makes_its_messages_come_back_and_no_others(trouble: Trouble) -> None:
    world = World()
    uncounted = world.post(change(1, member("s/a")))
    world.post(change(2, member("t/a")), source="t")
    world.database.trouble = lambda write: trouble if write.key.pk == "receipts#s" else None
    assert world.run() == [uncounted]
    assert world.totals("t") == Counts(merged=1)
    lost = trouble is Trouble.LOST
    assert world.totals("s") == (Counts(merged=1) if lost else Counts())

    world.database.trouble = lambda write: None
    assert world.run() == []
    assert world.totals("s") == (Counts(merged=1, stale=1) if lost else Counts(stale=1))


def test_how_many_changes_in_a_row_found_nobody_is_known_by_source() -> None:
    """Given a `profile_key` that finds nobody any more, Then the changes since it last found somebody are counted."""
    world = World()
    world.post(change(1, member("s/a")), change(None, rejection="no_identity"))
    world.post(change(1, member("s/a")), source="well")
    world.run()
    assert receipts.in_vain(world.database, ["s", "well", "never"]) == {}

    for _ in range(2):
        world.post(change(None, rejection="no_identity"), change(None, rejection="no_identity"))
        world.run()
    assert receipts.in_vain(world.database, ["s", "well"]) == {"s": InVain(4, is_all=False)}

    world.post(change(None, rejection="wrong_shape"))
    world.run()
    assert receipts.in_vain(world.database, ["s"]) == {"s": InVain(5, is_all=False)}

    world.post(change(None, rejection="no_identity"), change(2, member("s/a")))
    world.run()
    assert receipts.in_vain(world.database, ["s"]) == {}


def test_the_names_of_identities_that_nobody_was_found_by_are_known() -> None:
    world = World()
    nobody = change(None, rejection="no_identity", identities={"crmId": None, "email": None})
    world.post(nobody, change(None, rejection="no_identity", identities={"crmId": None}))
    world.run()
    assert receipts.in_vain(world.database, ["s"])["s"].names == ("crmId", "email")
    world.post(nobody)
    world.post(change(None, rejection="no_identity", identities={"ecid": None}))
    world.run()
    assert receipts.in_vain(world.database, ["s"])["s"].names == ("ecid",)


def test_a_source_that_never_found_anybody_is_known() -> None:
    world = World()
    world.run(world.post(change(None, rejection="no_identity")))
    assert receipts.in_vain(world.database, ["s"]) == {"s": InVain(1, is_all=True)}


def test_the_function_answers_with_what_failed() -> None:
    world = World()
    body = json.dumps(changes.to_json(ChangeBatch("b", "s", [change(1, member("s/a"))])))
    attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1777636800000"}
    records = [
        {"messageId": name, "receiptHandle": "r", "body": text, "attributes": attributes}
        for name, text in (("good", body), ("bad", "?"))
    ]
    answer = handler({"Records": records}, None, router=world.router())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert world.totals() == Counts(merged=1)


def test_the_sample_event_is_taken() -> None:
    world = World()
    event = json.loads((Path(__file__).parents[3] / "events" / "route.json").read_text())
    world.outlines = {"px/px": Outline("px", "px", True, None, ("aep/7841ba61-23c1-4bb3-a495-00d3g5fe1e93",), 7)}
    assert handler(event, None, router=world.router()) == {"batchItemFailures": []}
    assert world.totals("aep") == Counts(merged=1, rejected=1)
    assert len(world.queue("gainsight_px").sent) == 1


def test_the_function_wires_itself_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "RELAY_PREFIX": "test",
        "RELAY_CHANGES_QUEUE": "https://sqs.example.com/changes",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert app._router.__wrapped__()
    assert handler({"Records": []}, None, router=app._router.__wrapped__()) == {"batchItemFailures": []}
