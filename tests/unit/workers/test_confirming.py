"""What ended as unconfirmed is looked up again after 1, 4 and 12 hours, and sent again by the next run."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from relay.destinations.contract import Account, Step
from relay.domain.exports import Export
from relay.domain.identity import OUT, UNKNOWN
from relay.domain.problems import UNCONFIRMED, Busy, ConnectionProblem, ExportProblem, Rejection, RejectionKind
from relay.domain.runs import Run, RunState
from relay.messages import Confirm
from relay.queues import Message
from relay.stores import breakers, defects
from tests.fakes.bench import CONNECTION, MINUTE, Bench, person
from tests.fakes.bench_destination import DOWN, TOO_MANY
from tests.fakes.crashing import die_at_every_step, meet_at_every_step

ANN, BOB, CY = "ann@x.example", "bob@x.example", "cy@x.example"
HOUR = timedelta(hours=1)
ROOT = Path(__file__).resolve().parents[3]
NOT_FOUND = Rejection(RejectionKind.DESTINATION, UNCONFIRMED, "looked up, not found", is_certain=False)
BAD_KEY = ConnectionProblem("unauthorised", "the key is refused")


def unconfirmed(*, streams: bool = False) -> tuple[Bench, Run, list[float]]:
    """Return a bench whose run ended with Ann and Cy unconfirmed, and the hours after which it is asked about them."""
    bench = Bench(imports=True, streams=streams)
    bench.tool.rejection = NOT_FOUND
    bench.tool.refuses = {ANN, CY}
    for number, email in ((2, ANN), (4, BOB), (6, CY)):
        bench.store(number, email=email, name="A")
    run = bench.start()
    bench.work_off()
    begun, asked = bench.clock.now(), list[float]()
    confirm = bench.tool.confirm

    def noting(*parts: Any) -> Any:
        asked.append((bench.clock.now() - begun) / HOUR)
        return confirm(*parts)

    bench.tool.confirm = noting  # type: ignore[method-assign,assignment]
    return bench, run, asked


def pass_hours(bench: Bench, hours: float, step: timedelta = timedelta(minutes=10)) -> None:
    """Let some hours pass; what waits, waits for the clock."""
    end = bench.clock.now() + hours * HOUR
    while bench.clock.now() < end:
        bench.tick(after=step)
        bench.work_off()


def arrive(bench: Bench, *emails: str) -> None:
    """Let contacts be in the list after all."""
    for email in emails:
        bench.tool.held[f"list/{bench.export.options}", email] = {"name": "A"}


def rejected(bench: Bench) -> list[str]:
    return [email for email in (ANN, BOB, CY) if bench.record(email).refused is not None]


def test_it_is_looked_up_after_1_4_and_12_hours_and_nothing_is_sent() -> None:
    bench, run, asked = unconfirmed()
    pass_hours(bench, 30)
    assert [round(hours) for hours in asked] == [1, 4, 12]
    assert bench.counts(run) == {"selected": 3, "delivered": 1, "rejected": 2, f"rejected:{UNCONFIRMED}": 2}
    assert len(bench.sent) == 1
    assert rejected(bench) == [ANN, CY]


@pytest.mark.parametrize("hours", [1, 4, 12])
def test_one_that_is_found_as_desired_by_then_needs_no_other_call(hours: int) -> None:
    bench, _, asked = unconfirmed()
    pass_hours(bench, hours - 0.5)
    arrive(bench, ANN)
    pass_hours(bench, 20)
    assert [round(hour) for hour in asked] == [1, 4, 12]
    assert rejected(bench) == [CY]
    bench.tool.refuses = set()
    again = bench.full_run()
    assert bench.counts(again) == {"assigned": 3, "selected": 3, "unchanged": 2, "delivered": 1}
    assert bench.sent[1:] == [[CY]]
    # And whoever leaves is taken out.
    bench.leave(2)
    bench.full_run()
    assert ANN not in bench.tool.holds()


def test_a_leaver_that_is_found_gone_is_settled_and_leaves_its_assignment() -> None:
    bench, _, _ = unconfirmed()
    bench.tool.refuses = set()
    bench.full_run()
    bench.leave(2)
    bench.tool.refuses = {ANN}
    bench.full_run()
    assert bench.record(ANN).acknowledged is UNKNOWN
    bench.tool.held.pop((f"list/{bench.export.options}", ANN))
    pass_hours(bench, 2)
    assert (bench.record(ANN).acknowledged, bench.record(ANN).responsible) == (OUT, None)
    calls = len(bench.sent)
    bench.full_run()
    assert len(bench.sent) == calls
    assert bench.assigned(2) == set()


def test_one_that_changed_meanwhile_is_no_business_of_the_look() -> None:
    bench, _, asked = unconfirmed()
    for number in (2, 6):
        bench.store(number, name="B")
    bench.tool.refuses = set()
    bench.reconcile(2, 6)
    arrive(bench, ANN)
    pass_hours(bench, 2)
    assert asked == []
    assert bench.tool.holds() == {ANN: {"name": "B"}, BOB: {"name": "A"}, CY: {"name": "B"}}


def test_one_that_is_sent_while_it_is_looked_at_is_left_to_the_call() -> None:
    bench, _, _ = unconfirmed()
    confirm = bench.tool.confirm

    def meanwhile(*parts: Any) -> Any:
        bench.tool.confirm = confirm  # type: ignore[method-assign]
        seen = confirm(*parts)
        bench.tool.refuses = set()
        bench.start()
        while messages := bench.queue.take():
            for message in messages:
                bench.consume(message)
        return seen

    bench.tool.confirm = meanwhile  # type: ignore[method-assign,assignment]
    arrive(bench, ANN)
    bench.tick(after=HOUR + MINUTE)
    for message in bench.checks.take():
        if message.body["kind"] == "confirm":
            assert bench.check(message) == []
    assert bench.record(ANN).open is not None
    bench.work_off()
    pass_hours(bench, 1)
    assert rejected(bench) == []


@pytest.mark.parametrize("problem", [DOWN, TOO_MANY, BAD_KEY, ExportProblem("list_gone", "no list")])
def test_trouble_with_looking_stops_nothing_and_the_look_is_made_later(problem: Exception) -> None:
    bench, _, asked = unconfirmed()
    confirm = bench.tool.confirm
    trouble_ends = bench.clock.now() + 3 * HOUR

    def in_trouble(*parts: Any) -> Any:
        if bench.clock.now() < trouble_ends:
            raise problem
        return confirm(*parts)

    bench.tool.confirm = in_trouble  # type: ignore[method-assign,assignment]
    pass_hours(bench, 30)
    assert [round(hours) for hours in asked] == [3, 4, 12]
    of_connection, of_export = breakers.load(bench.database, CONNECTION, "main")
    assert (of_connection.stop, of_connection.failures, of_export.stop) == (None, None, None)


def test_a_defect_met_with_one_keeps_no_other_from_being_found() -> None:
    bench, _, _ = unconfirmed()
    confirm = bench.tool.confirm

    def tripping(account: Account, export: Export, steps: Sequence[Step]) -> Mapping[int, bool]:
        if any(step.identity == ANN for step in steps):
            raise ZeroDivisionError
        return confirm(account, export, steps)

    bench.tool.confirm = tripping  # type: ignore[method-assign]
    arrive(bench, ANN, CY)
    pass_hours(bench, 2)
    assert rejected(bench) == [ANN]
    assert [found.profile for found in defects.of_export(bench.database, bench.export.key, 9)] == [person(2)]


def test_our_own_limit_puts_the_message_back() -> None:
    bench, _, _ = unconfirmed()
    bench.tick(after=HOUR + MINUTE)
    messages = bench.checks.take()
    bench.tool.script = [Busy("pace", "no slot is free", taken=False)]
    assert bench.check(*messages) == ["m0"]
    arrive(bench, ANN, CY)
    assert bench.check(*messages, receives=2) == []
    assert rejected(bench) == []


def test_those_there_was_no_time_for_are_looked_at_soon_and_the_others_later() -> None:
    bench, _, asked = unconfirmed()
    bench.tool.unseen = {CY}
    arrive(bench, CY)
    pass_hours(bench, 1.05, step=MINUTE)
    assert len(asked) >= 2
    bench.tool.unseen = set()
    pass_hours(bench, 0.1, step=MINUTE)
    assert rejected(bench) == [ANN]
    asked.clear()
    pass_hours(bench, 12)
    assert [round(hours) for hours in asked] == [4, 12]


def test_an_export_that_is_gone_stopped_or_paused_is_not_looked_at() -> None:
    for how in ("gone", "stopped", "paused"):
        bench, _, asked = unconfirmed()
        if how == "gone":
            bench.settings.delete(bench.export.key)
        elif how == "paused":
            bench.edit(active=False)
        else:
            breaker = breakers.load_one(bench.database, CONNECTION, None)
            breakers.stop(bench.database, breaker, BAD_KEY, bench.clock.now())
            bench.tool.probe_script = [BAD_KEY] * 100
        pass_hours(bench, 2)
        assert asked == [], how
        assert bench.checks.messages == []


def test_the_next_run_sends_it_again() -> None:
    bench, _, _ = unconfirmed()
    bench.tool.refuses = set()
    run = bench.full_run()
    assert run.state is RunState.FINISHED
    assert bench.counts(run) == {"assigned": 3, "selected": 3, "delivered": 2, "unchanged": 1}
    assert sorted(bench.sent[1]) == [ANN, CY]


def message_of(bench: Bench) -> Message:
    version = bench.export.version
    return Message(Confirm(CONNECTION, "main", version, (person(2), person(4), person(6))).to_json())


def test_whoever_dies_while_looking_leaves_what_the_next_one_finds() -> None:
    def prepare() -> Bench:
        bench, _, _ = unconfirmed()
        arrive(bench, ANN)
        return bench

    def act(bench: Bench, receives: int) -> None:
        assert bench.check(message_of(bench), receives=receives) == []

    def check(bench: Bench) -> None:
        assert rejected(bench) == [CY]
        arrive(bench, CY)
        pass_hours(bench, 5)
        assert rejected(bench) == []

    assert die_at_every_step(prepare, act, check) >= 2


def test_a_run_may_come_at_any_step_of_a_look() -> None:
    def prepare() -> Bench:
        bench, _, _ = unconfirmed()
        bench.tool.refuses = set()
        arrive(bench, ANN)
        return bench

    def come(bench: Bench) -> None:
        bench.store(2, name="B")
        bench.full_run()

    def act(bench: Bench, receives: int) -> bool:
        return bench.check(message_of(bench), receives=receives) == []

    def check(bench: Bench) -> None:
        bench.work_off()
        bench.full_run()
        assert rejected(bench) == []
        assert bench.tool.holds() == {ANN: {"name": "B"}, BOB: {"name": "A"}, CY: {"name": "A"}}
        assert bench.record(ANN).open is None

    assert meet_at_every_step(prepare, act, come, check) > 3


def test_the_function_that_looks_may_read_and_write_what_it_does() -> None:
    """What it does to the tables over a run with imports, waiting included, is what the template lets it do."""
    bench, _, _ = unconfirmed()
    bench.tool.undone = {BOB}
    bench.store(4, name="B")
    bench.reconcile(4)
    bench.tool.land()
    bench.database.steps.clear()
    for _ in range(3):
        bench.check(*bench.checks.take())
    bench.clock.time += HOUR + MINUTE
    steps = set(bench.database.steps)
    bench.tick()
    bench.database.steps.clear()
    bench.check(*bench.checks.take())
    steps |= set(bench.database.steps)
    role = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]["ImportChecksRole"]
    allowed: dict[str, set[str]] = {}
    for statement in role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]:
        for action in as_list(statement["Action"]):
            for resource in as_list(statement["Resource"]):
                table = str(resource).rpartition("${Prefix}-")[2].strip("'}")
                allowed.setdefault(table, set()).add(action)
    needed = {
        "get": {"dynamodb:BatchGetItem"},
        "query": {"dynamodb:Query"},
        "write": {"dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"},
        "transact": {"dynamodb:UpdateItem"},
    }
    assert {step.split(" ")[0] for step in steps} >= {"get", "query", "write"}
    for step in steps:
        operation, tables = step.split(" ")
        for table in tables.split("+"):
            assert needed[operation] & allowed.get(table, set()), (step, allowed.get(table))


def as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
