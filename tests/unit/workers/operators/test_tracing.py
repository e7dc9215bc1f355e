"""A look that an operator traces goes as any other, and its requests and answers can be seen, masked."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from relay.destinations.contract import Caller, Reply
from relay.domain.exports import Connection
from relay.domain.problems import ConnectionProblem
from relay.messages import Look
from relay.stores import traces
from relay.stores.database import Table
from relay.workers.operators.protocol import Level
from tests.fakes.bench import CONNECTION, LAPSED, OTHER, OTHER_CONNECTION, Bench, person
from tests.fakes.bench_destination import DOWN

MAIN, SECRET = f"{CONNECTION}/main", "ada@x.example"


class TalkingBench(Bench):
    """A bench whose destinations say whom they are sent."""

    def _caller(self, connection: Connection) -> tuple[Caller, Callable[[], int]]:
        before = self.api_calls

        def call(*_: Any, **__: Any) -> Reply:
            self.api_calls += 1
            return Reply(200, {}, {"email": SECRET, "id": "4711"}, 10)

        return call, lambda: self.api_calls - before


@pytest.fixture
def bench() -> Bench:
    bench = TalkingBench()
    for number in (2, 4):
        bench.store(number, email=SECRET if number == 2 else "4@x.example")
    return bench


def test_a_traced_look_waits_in_its_queue_and_shows_its_attempt(bench: Bench) -> None:
    tested = bench.ask("test", export=MAIN, profile=person(2))
    trace = tested["trace"]
    assert tested["profile"] == person(2)
    [look] = bench.queue.tasks
    assert look == Look(CONNECTION, "main", bench.export.version, (person(2),), trace=trace)
    assert [message.group for message in bench.queue.messages] == [f"{CONNECTION}#0"]
    assert bench.ask("trace", trace=trace)["attempts"] == []

    bench.work_off()
    shown = bench.ask("trace", trace=trace)
    [attempt] = shown["attempts"]
    assert (shown["export"], shown["profile"], shown["shows_values"]) == (MAIN, person(2), False)
    assert (attempt["outcome"], attempt["function"], attempt["left_out"]) == ("delivered", "destination", 0)
    [call] = attempt["calls"]
    assert (call["method"], call["status"]) == ("POST", 200)
    assert call["response"] == {"email": f"<text of {len(SECRET)}>", "id": "<text of 4>"}
    assert bench.tool.holds() == {SECRET: {}}


def test_a_profile_that_is_as_it_should_be_makes_no_call(bench: Bench) -> None:
    bench.full_run()
    trace = bench.ask("test", export=MAIN, profile=SECRET)["trace"]
    bench.work_off()
    [attempt] = bench.ask("trace", trace=trace)["attempts"]
    assert (attempt["outcome"], attempt["calls"]) == ("unchanged", [])


def test_nobody_elses_requests_are_kept(bench: Bench) -> None:
    trace = bench.ask("test", export=MAIN, profile=person(2))["trace"]
    bench.consume(bench.look(4), *bench.queue.take(), bench.look(4))
    assert bench.sent == [["4@x.example"], [SECRET]]
    assert len(bench.ask("trace", trace=trace)["attempts"][0]["calls"]) == 1


def test_values_are_kept_and_shown_only_when_both_questions_ask_for_them(bench: Bench) -> None:
    answer = {"email": SECRET, "id": "4711"}
    for kept, asked, is_shown in ((True, True, True), (True, False, False), (False, True, False)):
        trace = bench.ask("test", export=MAIN, profile=person(2), show_values=kept)["trace"]
        bench.store(2, name=f"{kept}{asked}")
        bench.work_off()
        told = bench.ask("trace", trace=trace, show_values=asked)
        assert told["shows_values"] is is_shown
        assert (told["attempts"][0]["calls"][0]["response"] == answer) is is_shown
    refused = bench.question("trace", Level.VIEW, trace=trace, show_values=True)
    assert refused["error"]["code"] == "not_here"


def test_without_values_nothing_of_a_person_is_stored(bench: Bench) -> None:
    trace = bench.ask("test", export=MAIN, profile=person(2))["trace"]
    bench.work_off()
    held = [str(item) for item in bench.database.items(Table.CONTROL) if str(item["pk"]).startswith("trace#")]
    assert len(held) == 2
    assert not any(SECRET in item or "4711" in item for item in held)
    assert bench.ask("trace", trace=trace)["attempts"]
    assert SECRET not in bench.log.getvalue()


def test_every_try_is_an_attempt(bench: Bench) -> None:
    trace = bench.ask("test", export=MAIN, profile=person(2))["trace"]
    [message] = bench.queue.take()
    bench.tool.script = [DOWN]
    assert bench.consume(message) == ["m0"]
    bench.clock.time += timedelta(minutes=1)
    assert bench.consume(message, receives=2) == []
    assert [one["outcome"] for one in bench.ask("trace", trace=trace)["attempts"]] == ["server_error", "delivered"]


def test_a_try_with_a_new_secret_is_part_of_the_attempt(bench: Bench) -> None:
    bench.settings.fresh_secrets[CONNECTION] = "new"
    trace = bench.ask("test", export=MAIN, profile=person(2))["trace"]
    bench.tool.script = [ConnectionProblem("unauthorised", "the key is refused")]
    bench.consume(*bench.queue.take())
    [attempt] = bench.ask("trace", trace=trace)["attempts"]
    assert (attempt["outcome"], len(attempt["calls"])) == ("delivered", 2)


@pytest.mark.parametrize(("rejects", "outcome"), [(True, "rejected: unknown_user"), (False, "rejected: no_email")])
def test_a_rejection_is_told_with_its_code(bench: Bench, rejects: bool, outcome: str) -> None:
    bench.tool.refuses = {SECRET}
    number = 2 if rejects else 6
    if not rejects:
        bench.store(6, name="Ada")
    trace = bench.ask("test", export=MAIN, profile=person(number))["trace"]
    bench.work_off()
    assert bench.ask("trace", trace=trace)["attempts"][0]["outcome"] == outcome


def test_what_is_stopped_and_who_is_no_member_is_told(bench: Bench) -> None:
    bench.store(6, inside=("shop/else",), email="6@x.example")
    trace = bench.ask("test", export=MAIN, profile=person(6))["trace"]
    bench.work_off()
    assert bench.ask("trace", trace=trace)["attempts"][0]["outcome"] == "not a member"
    bench.stop()
    trace = bench.ask("test", export=MAIN, profile=person(2))["trace"]
    bench.work_off()
    assert bench.ask("trace", trace=trace)["attempts"][0]["outcome"] == "Stopped"


def test_an_export_that_acts_only_in_its_runs_leaves_the_look_to_the_next(bench: Bench) -> None:
    bench.store(6, inside=(LAPSED,), email="6@x.example")
    trace = bench.ask("test", export=f"{OTHER_CONNECTION}/main", profile=person(6))["trace"]
    [message] = bench.other_queue.take()
    bench.consume(message, destination=OTHER)
    assert bench.ask("trace", trace=trace)["attempts"][0]["outcome"] == "left to the next run"
    assert bench.other.sent == []


def test_a_trace_that_cannot_be_kept_harms_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.ask("test", export=MAIN, profile=person(2))

    def fail(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(traces, "add", fail)
    assert bench.consume(*bench.queue.take()) == []
    assert bench.tool.holds() == {SECRET: {}}
    assert "attempt was not kept" in bench.events()


def test_whoever_is_not_stored_and_what_is_no_trace_is_refused(bench: Bench) -> None:
    assert bench.refused("test", export=MAIN, profile="nobody")["code"] == "unknown_profile"
    assert bench.refused("test", export="letters/none", profile=person(2))["code"] == "unknown_export"
    assert bench.refused("trace", trace="x.y")["code"] == "unknown_trace"
    trace = bench.ask("test", export=MAIN, profile=person(2))["trace"]
    bench.clock.time += traces.KEPT
    assert bench.refused("trace", trace=trace)["code"] == "unknown_trace"


@pytest.mark.parametrize(("refused", "outcome"), [(False, "delivered"), (True, "rejected: unknown_user")])
def test_a_look_that_goes_as_an_import_is_traced_to_the_answer_of_the_import(refused: bool, outcome: str) -> None:
    bench = TalkingBench(imports=True)
    bench.store(2, email=SECRET)
    bench.store(4, email="4@x.example")
    bench.tool.refuses = {SECRET} if refused else set()
    trace = bench.ask("test", export=MAIN, profile=person(2))["trace"]
    bench.consume(*bench.queue.take())
    bench.consume(bench.look(4))

    waiting = bench.ask("trace", trace=trace)
    assert (waiting["import_open"], [one["outcome"] for one in waiting["attempts"]]) == (True, ["outstanding"])

    bench.work_off()
    ended = bench.ask("trace", trace=trace)
    assert ended["import_open"] is False
    attempts = [(one["function"], one["outcome"]) for one in ended["attempts"]]
    assert (attempts[0], attempts[-1]) == (("destination", "outstanding"), ("import checks", outcome))
    assert len(ended["attempts"][-1]["calls"]) == 1
    assert SECRET not in str(ended)
