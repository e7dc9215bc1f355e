"""What a forgotten person said is removed from the dead-letter queue of changes, whoever asked for the forgetting."""

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch, Forget
from relay.domain.closed_sets import SetPage
from relay.domain.problems import Busy
from relay.queues import Message
from relay.stores import forgettings, profiles
from relay.stores.database import Key, Table, Update
from relay.stores.forgettings import AT_MOST
from relay.workers.forgetting import DEAD_LETTERS, Forgetting
from tests.fakes.bench import MINUTE, VIP, Bench, person

ANN = "ann@x.example"


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.store(4, email=ANN, name="Ann")
    bench.store(6, email="bob@x.example")
    bench.tick(after=MINUTE)
    bench.work_off()
    bench.dead_changes.messages = [Message(said(bench, 4, 6)), Message(said(bench, 4))]
    return bench


def said(bench: Bench, *numbers: int) -> dict[str, Any]:
    given = [Change((person(one),), bench.clock.now(), attributes={"email": ANN}) for one in numbers]
    return changes.to_json(ChangeBatch("b", "shop", given))


def forget_by_source(bench: Bench, number: int = 4, how: Forget = Forget.HERE) -> None:
    bench.clock.time += MINUTE
    body = changes.to_json(ChangeBatch("f", "shop", [Change((person(number),), bench.clock.now(), forget=how)]))
    assert bench.stack.router().route(bench.received([Message(body)])) == []


def lying(bench: Bench) -> list[list[str]]:
    """Return of whom the messages of the dead-letter queue are."""
    return [[change["profile"][0] for change in message.body["changes"]] for message in bench.dead_changes.messages]


def progress(bench: Bench, number: int = 4) -> Any:
    return bench.stack.forgetting.step(person(number), bench.settings.as_settings().exports())


def kept(bench: Bench, number: int = 4) -> forgettings.Forgetting:
    [profile] = profiles.load(bench.database, [person(number)])
    assert profile is not None
    assert profile.forgotten is not None
    return forgettings.load(bench.database, profile.id, profile.forgotten)


def test_a_source_that_forgets_has_the_queue_searched(bench: Bench) -> None:
    forget_by_source(bench)
    bench.pass_time(2 * MINUTE)
    assert lying(bench) == [[person(6)]]
    assert kept(bench).removed["dead_letters"] == 2


def test_what_was_said_after_the_forgetting_stays(bench: Bench) -> None:
    forget_by_source(bench)
    bench.clock.time += MINUTE
    bench.dead_changes.messages = [Message(said(bench, 4))]
    bench.pass_time(2 * MINUTE)
    assert lying(bench) == [[person(4)]]


def test_the_queue_is_searched_for_whoever_came_back_meanwhile(bench: Bench) -> None:
    forget_by_source(bench)
    bench.clock.time += MINUTE
    bench.store(4, name="Ann Two")
    bench.pass_time(2 * MINUTE)
    assert lying(bench) == [[person(6)]]


def test_all_who_are_due_are_searched_for_at_once(bench: Bench) -> None:
    forget_by_source(bench, 4)
    forget_by_source(bench, 6)
    with patch.object(bench.dead_changes, "rewrite", wraps=bench.dead_changes.rewrite) as searched:
        bench.tick(after=MINUTE)
    assert lying(bench) == []
    assert searched.call_count == 1


def test_nobody_looks_at_the_queue_while_nobody_is_forgotten(bench: Bench) -> None:
    with patch.object(bench.dead_changes, "rewrite") as searched:
        bench.tick(after=MINUTE)
    assert not searched.called


def test_a_queue_of_which_messages_are_hidden_is_looked_at_again_by_the_next_ticks(bench: Bench) -> None:
    bench.dead_changes.failures = [Busy("hidden", "by others")]
    forget_by_source(bench)
    bench.pass_time(2 * MINUTE)
    waiting = progress(bench)
    assert waiting.waiting.keys() == {DEAD_LETTERS}
    # The tables hold nothing any more.
    assert kept(bench).ended_at is not None
    bench.dead_changes.failures = []
    bench.pass_time(2 * MINUTE)
    assert progress(bench).is_done
    assert not any(str(item["sk"]).endswith(person(4)) for item in waits(bench))


def waits(bench: Bench) -> list[Any]:
    return [item for item in bench.database.items(Table.CONTROL) if str(item["pk"]).startswith("waits#")]


def test_a_queue_that_can_never_be_seen_to_the_end_is_not_waited_for_for_ever(bench: Bench) -> None:
    forget_by_source(bench)
    bench.dead_changes.failures = [Busy("hidden", "by others")]
    bench.pass_time(2 * MINUTE)
    bench.tick(after=AT_MOST)
    ended = progress(bench)
    assert ended.is_done
    assert not ended.is_queue_seen


def test_a_queue_that_sqs_does_not_answer_for_holds_up_nothing_else(bench: Bench) -> None:
    forget_by_source(bench)
    with patch.object(bench.dead_changes, "rewrite", side_effect=Busy("queue_unavailable", "x")):
        bench.pass_time(2 * MINUTE)
        assert progress(bench).waiting.keys() == {DEAD_LETTERS}
    assert bench.assigned(4) == set()


def test_a_page_of_a_closed_set_stays_without_the_person(bench: Bench) -> None:
    page = changes.to_json(
        ChangeBatch("b", "shop", [Change((person(4),), bench.clock.now())], SetPage(VIP, "s", 1, 1, 1, 1))
    )
    bench.dead_changes.messages = [Message(page)]
    forget_by_source(bench)
    bench.pass_time(2 * MINUTE)
    assert [dict(one.body) for one in bench.dead_changes.messages] == [{**page, "changes": []}]
    assert bench.stack.router().route(bench.received(bench.dead_changes.messages)) == []


def test_one_who_cannot_be_read_and_one_at_whom_something_fails_keep_no_other(bench: Bench) -> None:
    bench.store(8, email="di@x.example")
    for number in (4, 6, 8):
        forget_by_source(bench, number)
    bench.database.write([Update(Key(Table.PROFILES, person(6)), {"doc": "{"})])
    real = Forgetting._go_on

    def go_on(self: Forgetting, stored: Any, *more: Any) -> Any:
        if stored.id == person(8):
            raise KeyError("a defect")
        return real(self, stored, *more)

    with patch.object(Forgetting, "_go_on", go_on), pytest.raises(Exception, match="met"):
        bench.tick(after=MINUTE)
    bench.work_off()
    assert bench.assigned(4) == set()
    assert lying(bench) == [[person(6)]]
    assert {str(item["sk"]).rpartition("#")[2] for item in waits(bench)} >= {person(6), person(8)}


def test_retention_forgets_in_the_same_way() -> None:
    bench = Bench()
    bench.store(8, inside=["shop/elsewhere"])
    bench.dead_changes.messages = [Message(said(bench, 8))]
    bench.stack.environment = {**bench.stack.environment, "RELAY_RETENTION_DAYS": "10"}
    bench.tick(after=timedelta(days=41))
    bench.tick(after=2 * MINUTE)
    assert lying(bench) == []
