"""What the engine makes of trouble with its tables: one is throttled, a statement fails, an item grows too large.

The real client of DynamoDB answers to the wire here, so the engine meets what that client raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from relay.domain.runs import Phase, Run, RunState
from relay.messages import Look, Page
from relay.queues import Message
from relay.stores import breakers, defects, imports
from relay.stores.database import Table
from relay.stores.dynamodb import DynamoDatabase
from tests.fakes import dynamo_wire
from tests.fakes.bench import CONNECTION, MINUTE, Bench, person
from tests.fakes.bench_destination import Lost
from tests.fakes.dynamo_wire import DynamoWire

MAIN = f"{CONNECTION}/main"
EVERYBODY = range(2, 82, 2)
"""More than travel in one batch of statements."""
VICTIM = 60
HOUR = timedelta(hours=1)
FOR_EVER = 10_000

THROTTLED = ClientError(
    {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "not for logs"}}, "any operation"
)


class WireBench(Bench):
    """A bench on DynamoDB's wire."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"call_size": 100, **options})
        self.wire = DynamoWire(before=self._throttle)
        self.throttled: Table | None = None
        names = {table: f"test-{table.value}" for table in Table}
        self.database = DynamoDatabase(self.wire, names, sleep=lambda seconds: None)  # type: ignore[assignment]
        self.restart()

    def _throttle(self, operation: str, request: Mapping[str, Any]) -> None:
        if self.throttled is not None and f"test-{self.throttled.value}" in str(request):
            raise THROTTLED

    def refuse(self, pk: str, code: str, times: int = FOR_EVER) -> None:
        """Answer statements for a partition key with an error."""
        self.wire.refusals[pk] = [code] * times


def mail(number: int) -> str:
    return f"{number}@x.example"


def bench_with_everybody(**options: Any) -> WireBench:
    bench = WireBench(**options)
    for number in EVERYBODY:
        bench.store(number, email=mail(number), name="A")
    return bench


def assert_all_is_well(bench: WireBench, *besides: int, name: str = "A") -> None:
    """Nothing was stopped; nobody but `besides` was taken for a defect, and everybody else is in."""
    assert [one.stop for one in breakers.load(bench.database, CONNECTION, "main")] == [None, None]
    assert [one.profile for one in defects.of_export(bench.database, MAIN, 100)] == [person(one) for one in besides]
    assert bench.tool.holds() == {mail(number): {"name": name} for number in EVERYBODY if number not in besides}
    assert bench.tool.complaints == []
    assert "not for logs" not in bench.log.getvalue()


# A table that throttles.

tables = pytest.mark.parametrize("table", [Table.PROFILES, Table.ASSIGNMENTS, Table.IDENTITIES, Table.CONTROL])


@tables
def test_a_look_waits_for_a_table_that_throttles(table: Table) -> None:
    bench = bench_with_everybody()
    bench.throttled = table
    assert bench.consume(bench.look(*EVERYBODY)) == ["m0"]
    assert bench.sent == []
    assert "defect" not in bench.events()
    bench.throttled = None
    assert bench.consume(bench.look(*EVERYBODY), receives=2) == []
    assert_all_is_well(bench)
    assert [len(call) for call in bench.sent] == [len(EVERYBODY)]


@tables
def test_a_page_of_a_run_waits_for_it_and_is_counted_once(table: Table) -> None:
    bench = bench_with_everybody(streams=False)
    run, page = page_of_run(bench)
    bench.throttled = table
    assert bench.consume(page) == ["m0"]
    bench.throttled = None
    assert bench.run(run).state is RunState.RUNNING
    assert bench.consume(page, receives=2) == []
    bench.work_off()
    assert bench.counts(run) == {"selected": len(EVERYBODY), "delivered": len(EVERYBODY)}
    assert bench.run(run).state is RunState.FINISHED
    assert_all_is_well(bench)


def page_of_run(bench: WireBench) -> tuple[Run, Message]:
    """Return a run and its page of shard 0, where everybody is."""
    run = bench.start()
    assert bench.consume(*bench.queue.take()) == []
    [page] = [message for message in bench.queue.take() if Page(**_parts(message)).shard == 0]
    other = Message({**page.body, "shard": 1}, page.group)
    assert bench.consume(other) == []
    bench.queue.take()
    assert bench.run(run).phase is Phase.DELIVER
    return run, page


def _parts(message: Message) -> dict[str, Any]:
    return {name: value for name, value in message.body.items() if name != "kind"}


@pytest.mark.parametrize("table", [Table.IDENTITIES, Table.CONTROL])
def test_an_answer_that_meets_it_is_recorded_by_a_later_try(table: Table) -> None:
    """Given that the table throttles from the call on, Then the same is sent once more, which does no harm."""
    bench = bench_with_everybody()
    bench.tool.answered = lambda: setattr(bench, "throttled", table)
    kept = bench.consume(bench.look(*EVERYBODY))
    bench.tool.answered = lambda: None
    bench.throttled = None
    if kept:
        assert bench.consume(bench.look(*EVERYBODY), receives=2) == []
    assert_all_is_well(bench)
    assert all(bench.record(mail(number)).since is not None for number in EVERYBODY)


@pytest.mark.parametrize("table", [Table.IDENTITIES, Table.CONTROL])
def test_an_import_check_waits_for_it(table: Table) -> None:
    bench = bench_with_everybody(imports=True)
    assert bench.consume(bench.look(*EVERYBODY)) == []
    [check] = bench.checks.take()
    bench.tool.land()
    bench.throttled = table
    assert bench.check(check) == ["m0"]
    bench.throttled = None
    assert bench.check(check, receives=2) == []
    assert imports.all_open(bench.database, CONNECTION) == []
    assert_all_is_well(bench)


@pytest.mark.parametrize("table", [Table.IDENTITIES, Table.CONTROL])
def test_a_tick_leaves_what_it_could_not_do_to_the_next_one(table: Table) -> None:
    bench = bench_with_everybody()
    bench.tool.script = [Lost()]
    assert bench.consume(bench.look(*EVERYBODY)) == ["m0"]
    for number in EVERYBODY:
        bench.store(number, name="B")
    assert bench.consume(bench.look(*EVERYBODY), receives=2) == []
    bench.clock.time += HOUR
    bench.throttled = table
    bench.tick()
    assert not any(isinstance(task, Look) for task in bench.queue.tasks)
    assert "defect" not in bench.events()
    bench.throttled = None
    bench.tick()
    bench.work_off()
    assert_all_is_well(bench, name="B")


# A statement that fails, or is throttled, among others of its batch.


def test_a_statement_that_is_throttled_for_long_lets_the_message_come_back_and_no_call_is_made_twice() -> None:
    bench = bench_with_everybody()
    bench.refuse(bench.key(mail(VICTIM)), "ThrottlingError", 10)
    assert bench.consume(bench.look(*EVERYBODY)) == ["m0"]
    assert bench.sent == []
    assert bench.consume(bench.look(*EVERYBODY), receives=2) == []
    assert [len(call) for call in bench.sent] == [len(EVERYBODY)]
    assert_all_is_well(bench)


def test_a_statement_that_is_throttled_for_a_moment_is_noticed_by_nobody() -> None:
    bench = bench_with_everybody()
    bench.refuse(bench.key(mail(VICTIM)), "ThrottlingError", 2)
    bench.refuse(bench.key(mail(4)), "ThrottlingError", 2)
    assert bench.consume(bench.look(*EVERYBODY)) == []
    assert_all_is_well(bench)


def test_a_statement_that_fails_concerns_its_profile_alone() -> None:
    bench = bench_with_everybody()
    bench.refuse(bench.key(mail(VICTIM)), "ValidationError")
    assert bench.consume(bench.look(*EVERYBODY)) == []
    bench.work_off()
    assert_all_is_well(bench, VICTIM)

    bench.wire.refusals.clear()
    assert bench.consume(bench.look(VICTIM)) == []
    bench.pass_time(10 * MINUTE)
    assert mail(VICTIM) in bench.tool.holds()


def test_a_run_counts_the_profile_whose_statement_fails_as_rejected_and_everybody_else_is_delivered() -> None:
    bench = bench_with_everybody(streams=False)
    bench.refuse(bench.key(mail(VICTIM)), "ValidationError")
    run = bench.full_run()
    assert bench.counts(run) == {
        "selected": len(EVERYBODY),
        "delivered": len(EVERYBODY) - 1,
        "rejected": 1,
        "rejected:defect": 1,
    }
    assert_all_is_well(bench, VICTIM)


def test_an_import_is_settled_though_the_statement_of_one_row_fails() -> None:
    bench = bench_with_everybody(imports=True, streams=False)
    run = bench.start()
    while messages := bench.queue.take():
        for message in messages:
            assert bench.consume(message) == []
    bench.tool.land()
    bench.refuse(bench.key(mail(VICTIM)), "ValidationError")
    bench.work_off()
    assert bench.counts(run)["delivered"] == len(EVERYBODY) - 1
    assert bench.counts(run)["rejected:defect"] == 1
    assert [one.profile for one in defects.of_export(bench.database, MAIN, 100)] == [person(VICTIM)]
    assert bench.run(run).state is RunState.FINISHED


# An item that grows too large.


def test_an_item_that_grows_too_large_concerns_its_profile_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given that DynamoDB refuses the update, though the write looked small enough."""
    bench = bench_with_everybody()
    for number in EVERYBODY:
        bench.consume(bench.look(number))
    bench.clock.time += HOUR
    for number in EVERYBODY:
        bench.store(number, **({"email": f"{'x' * 900}@x.example"} if number == VICTIM else {"name": "B"}))
    monkeypatch.setattr(dynamo_wire, "MAX_ITEM_BYTES", 900)
    assert bench.consume(bench.look(*EVERYBODY)) == []
    assert [one.profile for one in defects.of_export(bench.database, MAIN, 100)] == [person(VICTIM)]
    names = {email: values["name"] for email, values in bench.tool.holds().items()}
    assert names == {mail(number): "A" if number == VICTIM else "B" for number in EVERYBODY}
    assert {pair.identity for pair in bench.assigned(VICTIM)} == {mail(VICTIM)}


def test_a_table_that_throttles_for_an_hour_stops_no_connection() -> None:
    bench = bench_with_everybody()
    bench.throttled = Table.IDENTITIES
    for receives in range(1, 13):
        assert bench.consume(bench.look(*EVERYBODY), receives=receives) == ["m0"]
        bench.clock.time += 5 * MINUTE
    bench.throttled = None
    assert bench.consume(bench.look(*EVERYBODY), receives=13) == []
    assert_all_is_well(bench)
