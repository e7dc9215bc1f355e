"""What an operator is told of a person who is forgotten: what was removed, what is waited for, what remains."""

import zlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from relay.domain import changes, moments
from relay.domain.changes import Change, ChangeBatch, Forget, MembershipChange
from relay.domain.problems import Busy
from relay.queues import Message
from relay.stores import profiles, traces
from relay.stores.database import Table
from relay.stores.traces import Attempt, Trace
from relay.workers.forgetting import Forgetting
from relay.workers.operators.protocol import Level
from tests.fakes.bench import CONNECTION, MINUTE, VIP, Bench, person

MAIN = f"{CONNECTION}/main"
ANN = "ann@x.example"


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.store(4, email=ANN, name="Ann")
    bench.store(6, email="bob@x.example")
    bench.tick(after=MINUTE)
    bench.work_off()
    return bench


def ask(bench: Bench, number: int = 4, **more: Any) -> Any:
    sent = bench.question("forget", Level.FORGET, profile=person(number), **more)
    assert "answer" in sent, sent
    return sent["answer"]


def refused(bench: Bench, level: Level = Level.FORGET, **arguments: Any) -> Any:
    return bench.question("forget", level, **arguments)["error"]


def test_a_person_is_forgotten_and_the_answer_says_what_was_removed_and_what_remains(bench: Bench) -> None:
    first = ask(bench)
    assert (first["state"], first["waiting"]) == ("waiting", [{"export": MAIN, "why": "it is under way"}])
    bench.work_off()
    done = ask(bench)
    assert (done["profile"], done["state"], done["waiting"]) == (person(4), "done", [])
    assert done["removed"] == [
        {"where": "profile", "count": 1},
        {"where": "segment index", "count": 1},
        {"where": "assigned identities", "count": 1},
    ]
    there = [{"export": MAIN, "what": "the destination has let the identity go", "count": 1}]
    assert done["at_destinations"] == there
    remains = {one["where"]: one["until"] for one in done["remains"]}
    at = moments.parse(done["at"])
    assert remains == {
        "profiles table": None,
        "identities table": moments.text(at + timedelta(days=90)),
        "record of this forgetting": moments.text(at + timedelta(days=90)),
        "rows of imports": moments.text(at + timedelta(days=2)),
        "imports of segments": moments.text(at + timedelta(days=30)),
        "Changes queue": moments.text(at + timedelta(days=4)),
        "segment files": moments.text(at + timedelta(days=30)),
        "backups of the tables": moments.text(at + timedelta(days=35)),
    }
    assert ask(bench) == done


def test_the_segment_index_that_is_waited_for_has_a_name(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Forgetting, "_is_out_of_the_index", lambda *_: False)
    assert {"export": "segment index", "why": "it is under way"} in ask(bench)["waiting"]


def test_what_the_vendor_can_bring_back_remains(bench: Bench) -> None:
    ask(bench, at_destinations=True)
    bench.work_off()
    done = ask(bench)
    assert [one["what"] for one in done["at_destinations"]] == ["the contact or user was deleted"]
    assert done["remains"][-1] == {
        "where": MAIN,
        "what": "the vendor can bring the contact or user back",
        "until": moments.text(moments.parse(done["at"]) + timedelta(days=7)),
    }


def test_where_nobody_can_be_deleted_the_answer_says_so(bench: Bench) -> None:
    bench.tool.kept_after_delete = None
    ask(bench, at_destinations=True)
    bench.work_off()
    what = "the contact or user: the vendor's API deletes nobody; delete it there"
    assert ask(bench)["remains"][-1] == {"where": MAIN, "what": what, "until": None}


def test_a_refused_leave_is_told_with_its_code(bench: Bench) -> None:
    bench.tool.refuses = {ANN}
    ask(bench)
    bench.work_off()
    ask(bench)
    bench.work_off()
    assert ask(bench)["at_destinations"][0]["what"] == "left where it is: refused (unknown_user)"


def test_a_person_is_found_by_an_address_until_it_is_gone(bench: Bench) -> None:
    sent = bench.question("forget", Level.FORGET, profile=ANN)
    assert sent["answer"]["profile"] == person(4)
    bench.work_off()
    assert refused(bench, profile=ANN)["code"] == "unknown_profile"


def test_nobody_and_several_are_refused(bench: Bench) -> None:
    assert refused(bench, profile=person(8))["code"] == "unknown_profile"
    bench.store(8, email=ANN)
    bench.reconcile(8)
    several = refused(bench, profile=ANN)
    assert several["code"] == "several_profiles"
    assert person(4) in several["what"]
    assert person(8) in several["what"]
    assert not any(one is None or one.is_tombstone for one in profiles.load(bench.database, [person(4), person(8)]))


@pytest.mark.parametrize("level", [Level.VIEW, Level.OPERATE])
def test_only_the_function_that_forgets_does(bench: Bench, level: Level) -> None:
    assert refused(bench, level, profile=person(4))["code"] == "not_here"


def test_dead_changes_of_the_person_are_removed_and_others_stay(bench: Bench) -> None:
    now = bench.clock.now()
    given = [Change((person(4), person(12)), now, attributes={"email": ANN}), Change((person(6),), now)]
    both, alone = (changes.to_json(ChangeBatch("b", "shop", part)) for part in (given, given[:1]))
    newer = changes.to_json(ChangeBatch("c", "shop", [Change((person(4),), now + MINUTE)]))
    odd = {"changes": [1, {"profile": [person(4)]}, {"profile": 3, "received_at": "soon"}]}
    bench.dead_changes.messages = [Message(body) for body in (both, alone, newer, odd, {"no": "changes"})]
    removed = {one["where"]: one["count"] for one in ask(bench)["removed"]}
    assert removed["dead-letter queue of changes"] == 2
    left = [dict(message.body) for message in bench.dead_changes.messages]
    assert left == [{**both, "changes": both["changes"][1:]}, newer, odd, {"no": "changes"}]


def test_a_dead_letter_queue_that_was_not_looked_through_to_its_end_remains(bench: Bench) -> None:
    bench.dead_changes.failures = [Busy("not", "done")]
    assert "dead-letter queue of changes" in {one["where"] for one in ask(bench)["remains"]}


def test_who_was_forgotten_and_came_back_is_forgotten_once_more(bench: Bench) -> None:
    ask(bench)
    bench.work_off()
    bench.clock.time += MINUTE
    bench.store(4, email=ANN)
    bench.reconcile(4)
    ask(bench)
    bench.work_off()
    assert ask(bench)["state"] == "done"
    assert bench.assigned(4) == set()


def test_who_asks_how_far_it_is_forgets_nobody_who_came_back(bench: Bench) -> None:
    at = ask(bench)["at"]
    bench.work_off()
    ask(bench, since=at)
    bench.clock.time += 7 * 24 * 60 * MINUTE
    bench.store(4, email=ANN, name="Ann")
    bench.reconcile(4)
    assert ask(bench, since=at)["state"] == "done"
    [profile] = profiles.load(bench.database, [person(4)])
    assert profile is not None
    assert profile.attributes, "the newcomer is forgotten, too"
    wrong = moments.text(bench.clock.now())
    assert refused(bench, profile=person(4), since=wrong)["code"] == "unknown_forgetting"


def test_what_lay_in_the_store_until_the_end_remains_in_backups_from_then_on(bench: Bench) -> None:
    bench.edit(active=False)
    at = ask(bench)["at"]
    bench.clock.time += 20 * 24 * 60 * MINUTE
    assert backups_until(ask(bench, since=at)) == bench.clock.now() + timedelta(days=35)
    bench.edit(active=True)
    bench.pass_time(40 * MINUTE)
    done = ask(bench, since=at)
    assert done["state"] == "done"
    until = backups_until(done)
    assert until > moments.parse(at) + timedelta(days=55)
    bench.clock.time += 24 * 60 * MINUTE
    assert backups_until(ask(bench, since=at)) == until


def backups_until(answer: Any) -> Any:
    [until] = [one["until"] for one in answer["remains"] if one["where"] == "backups of the tables"]
    return moments.parse(until)


def test_a_change_that_forgets_is_done_by_route_and_the_clock(bench: Bench) -> None:
    change = Change((person(4),), bench.clock.now(), forget=Forget.AT_DESTINATIONS)
    body = changes.to_json(ChangeBatch("b", "shop", [change]))
    assert bench.stack.router().route(bench.received([Message(body)])) == []
    bench.pass_time(3 * MINUTE)
    assert bench.tool.deleted == [ANN]
    assert bench.assigned(4) == set()
    late = changes.to_json(
        ChangeBatch("a", "shop", [Change((person(4),), change.received_at - MINUTE, attributes={"email": ANN})])
    )
    assert bench.stack.router().route(bench.received([Message(late)])) == []
    [profile] = profiles.load(bench.database, [person(4)])
    assert profile is not None
    assert profile.is_tombstone


PLANTED = ("planted-ann@x.example", "Planted-Ann", "planted-42", "planted-note")


def everywhere(bench: Bench) -> set[str]:
    """Return in which tables and queues a planted value can be read, and what is logged of it."""
    places = {
        f"{table.value} {str(item['pk']).partition('#')[0]}" if table is Table.CONTROL else table.value
        for table in Table
        for item in bench.database.items(table)
        if holds_planted(item)
    }
    queues = {
        "changes": bench.changes,
        "dead changes": bench.dead_changes,
        "checks": bench.checks,
        "tool": bench.queue,
        "other": bench.other_queue,
    }
    places |= {name for name, queue in queues.items() if any(holds_planted(dict(m.body)) for m in queue.messages)}
    outside = {"events": repr(vars(bench.bus)), "bucket": repr(vars(bench.bucket))}
    places |= {name for name, text in outside.items() if any(word in text for word in PLANTED)}
    return places | ({"log"} if any(word in bench.log.getvalue() for word in PLANTED) else set())


def holds_planted(item: Mapping[str, Any]) -> bool:
    text = " ".join(_readable(value) for value in item.values())
    return any(word in text for word in PLANTED)


def _readable(value: Any) -> str:
    if isinstance(value, bytes):
        with suppress(zlib.error):
            return zlib.decompress(value).decode()
    return repr(value)


@pytest.mark.parametrize("by", ["an administrator", "a source"])
def test_planted_values_are_found_just_where_the_answer_says_that_they_remain(
    by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given values of a person in every store and queue that can hold any, When the person is forgotten."""
    bench = Bench(imports=True)
    now = bench.clock.now()
    given = Change(
        (person(4),),
        now,
        identities={"crm": ["planted-42"]},
        attributes={"email": "planted-ann@x.example", "name": "Planted-Ann", "note": "planted-note"},
        memberships=[MembershipChange(VIP, True, now)],
    )
    body = changes.to_json(ChangeBatch("b", "shop", [given]))
    bench.stack.router().route(bench.received([Message(body)]))
    bench.store(6, email="bob@x.example")
    bench.tick(after=MINUTE)
    bench.work_off()
    traces.begin(bench.database, Trace(f"{person(4)}.1", MAIN, now, True))
    traces.add(bench.database, f"{person(4)}.1", Attempt(now, "tool", "done", [{"body": "Planted-Ann"}]))
    bench.dead_changes.messages = [Message(body)]
    bench.changes.messages = [Message(body)]
    before = everywhere(bench)
    assert before == {"profiles", "assignments", "control import", "control trace", "changes", "dead changes"}

    if by == "a source":
        bench.clock.time += MINUTE
        forgets = Change((person(4),), bench.clock.now(), forget=Forget.AT_DESTINATIONS)
        bench.stack.router().route(bench.received([Message(changes.to_json(ChangeBatch("f", "shop", [forgets])))]))
    else:
        ask(bench, at_destinations=True)
    bench.work_off()
    bench.pass_time(5 * MINUTE)
    # By then the queue was searched, whoever asked.
    assert bench.dead_changes.messages == []
    done = ask(bench)
    assert done["state"] == "done"
    assert not any(word in str(bench.tool.held) for word in PLANTED)

    remains = {one["where"] for one in done["remains"]}
    assert everywhere(bench) == {"control import", "changes"}
    assert {"rows of imports", "Changes queue"} <= remains
    assert "dead-letter queue of changes" not in remains
    # The message that still waits brings nobody back, and the rows expire on the day that was named.
    bench.stack.router().route(bench.received(bench.changes.take()))
    rows = [item for item in bench.database.items(Table.CONTROL) if holds_planted(item)]
    named = next(one["until"] for one in done["remains"] if one["where"] == "rows of imports")
    assert all(int(row["expires_at"]) <= moments.parse(named).timestamp() for row in rows)
    assert everywhere(bench) == {"control import"}
    # What is printed are the metrics.
    assert not [word for word in PLANTED if word in capsys.readouterr().out]
    assert bench.bus.events
    assert bench.bucket.objects
