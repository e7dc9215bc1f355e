"""How the whole stack stands; and why messages were given up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relay.domain.problems import Busy, SettingsProblem
from relay.domain.runs import RunState
from relay.queues import Message
from relay.schedules import Schedule, Timetable
from relay.settings.inventory import Inventory
from relay.stores import breakers, defects, receipts
from relay.stores.defects import Defect
from tests.fakes.bench import CONNECTION, MINUTE, OTHER_CONNECTION, TOOL, Bench, person

MAIN = f"{CONNECTION}/main"


@pytest.fixture
def bench() -> Bench:
    bench = Bench(streams=False)
    bench.store(2, email="2@x.example")
    return bench


def export_of(status: dict[str, Any], key: str = MAIN) -> dict[str, Any]:
    (found,) = (one for connection in status["connections"] for one in connection["exports"] if one["key"] == key)
    return dict(found)


def connection_of(status: dict[str, Any], name: str = CONNECTION) -> dict[str, Any]:
    (found,) = (one for one in status["connections"] if one["name"] == name)
    return dict(found)


def test_sources_show_what_came_from_them_when_and_how_fast(bench: Bench) -> None:
    bench.inventory = Inventory(sources=["app", "shop"])
    bench.settings.problems["source app"] = SettingsProblem("missing", "is missing", field="auth")
    receipts.add(bench.database, "shop", receipts.Counts(merged=3), nobody=False, names=(), at=bench.clock.now())
    bench.aws.metrics["bench", "ChangesAccepted", "shop"] = 60
    app, shop = bench.ask("status")["sources"]
    assert (app["name"], app["valid"], app["last_message_at"], app["changes"]) == ("app", False, None, {})
    assert "auth: is missing" in app["problem"]
    assert (shop["valid"], shop["changes"], shop["rate_per_minute"]) == (True, {"merged": 3}, 12.0)
    assert shop["last_message_at"].startswith(bench.clock.now().isoformat()[:19])


def test_an_export_shows_its_last_run_and_what_starts_it(bench: Bench) -> None:
    run = bench.full_run()
    default = Schedule("bench-default", None, None, "cron(0 3 * * ? *)", "UTC")
    bench.scheduled_now = Timetable([Schedule("others.main", "others/main", "is disabled")], default)
    status = bench.ask("status")
    export = export_of(status)
    assert (export["state"], export["stream"], export["segments"]) == ("active", False, ["shop/vip"])
    assert (export["last_run"]["run"], export["last_run"]["state"]) == (run.id, RunState.FINISHED.value)
    assert (export["schedule"]["name"], export["schedule"]["next_at"][11:19]) == ("default", "03:00:00")
    bench.scheduled_now = Timetable([Schedule("others.main", "others/main", "is disabled")], None)
    schedule = export_of(bench.ask("status"), "others/main")["schedule"]
    assert (schedule["name"], schedule["next_at"], schedule["problem"]) == ("others.main", None, "is disabled")
    assert export_of(bench.ask("status"))["schedule"] is None


def test_what_is_stopped_paused_or_invalid_says_so(bench: Bench) -> None:
    bench.edit("off", options="8", active=False)
    bench.settings.problems[f"{CONNECTION}/broken"] = SettingsProblem("mapping", "is missing", field="mapping")
    bench.settings.problems[OTHER_CONNECTION] = SettingsProblem("no_consent", "must be given", field="privacy_consent")
    bench.stop()
    bench.stop("main", "list_gone", "the list is gone")
    breakers.request_resync(bench.database, CONNECTION, "main")
    defects.note(bench.database, MAIN, [Defect(person(2), "KeyError", (), "code", bench.clock.now())])
    status = bench.ask("status")
    connection, export = connection_of(status), export_of(status)
    assert (connection["state"], connection["stop"]["code"], connection["destination"]) == ("stopped", "unpaid", TOOL)
    assert (export["state"], export["stop"]["code"], export["resync_requested"], export["set_aside"]) == (
        "stopped",
        "list_gone",
        True,
        1,
    )
    assert export_of(status, f"{CONNECTION}/off")["state"] == "paused"
    broken = export_of(status, f"{CONNECTION}/broken")
    assert (broken["state"], "mapping: is missing" in broken["problem"]) == ("invalid", True)
    assert connection_of(status, OTHER_CONNECTION)["state"] == "invalid"


def test_a_connection_whose_exports_are_all_paused_is_paused(bench: Bench) -> None:
    bench.edit(active=False)
    assert connection_of(bench.ask("status"))["state"] == "paused"
    assert connection_of(bench.ask("status"), OTHER_CONNECTION)["state"] == "well"


def test_queues_show_how_full_they_are_and_how_old(bench: Bench) -> None:
    bench.aws.full = {"bench-tool.fifo": 5, "bench-changes-dlq": 1}
    bench.aws.metrics["AWS/SQS", "ApproximateAgeOfOldestMessage", "bench-tool.fifo"] = 90
    queues = {queue["name"]: queue for queue in bench.ask("status")["queues"]}
    assert len(queues) == 11
    assert (queues["bench-tool.fifo"]["messages"], queues["bench-tool.fifo"]["oldest_seconds"]) == (5, 90)
    assert queues["bench-tool.fifo"]["kind"] == "queue"
    assert (queues["bench-changes-dlq"]["kind"], queues["bench-changes-dlq"]["messages"]) == ("dlq", 1)
    assert queues["bench-changes"]["oldest_seconds"] is None


def test_what_aws_does_not_answer_is_named_and_the_rest_is_shown(bench: Bench) -> None:
    def busy(*_: Any) -> Any:
        raise Busy("unavailable", "Throttling")

    bench.stack.schedules = bench.stack.inventories = busy
    bench.aws.is_silent = True
    bench.aws.gone = {"bench-other.fifo"}
    status = bench.ask("status")
    assert len(status["unread"]) == 3
    assert status["unread"][-1].startswith("queue ")
    assert {one["name"] for one in status["connections"]} == {CONNECTION, OTHER_CONNECTION}
    assert export_of(status)["schedule"] is None
    assert [source["rate_per_minute"] for source in status["sources"]] == [None]
    assert len(status["queues"]) == 10


def test_a_look_that_is_due_is_counted(bench: Bench) -> None:
    assert bench.ask("status")["waits"] == 0


def test_why_a_message_was_given_up_is_shown_without_data(bench: Bench) -> None:
    bench.clock.time += MINUTE
    received = [replace(one, queue="bench-tool.fifo") for one in bench.received([Message({"no": "task"})])]
    assert bench.stack.consumer(TOOL).consume(received, lambda: 100) == ["m0"]
    [attempt] = bench.ask("attempts", queue="bench-tool.fifo")["attempts"]
    assert (attempt["message"], attempt["receive_count"]) == ("m0", 1)
    assert attempt["error"]
    assert bench.ask("attempts", queue="bench-changes") == {"attempts": []}
    assert bench.refused("attempts", queue="bench-changes-dlq")["code"] == "unknown_queue"
