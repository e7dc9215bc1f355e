"""What a check says of the stack itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.domain.problems import Busy
from tests.fakes.bench import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench(streams=False)


def found(bench: Bench) -> dict[str, dict[str, str]]:
    return {finding["subject"]: finding for finding in bench.ask("check")["findings"]}


def test_functions_with_another_library_than_the_others_are_an_error(bench: Bench) -> None:
    bench.aws.libraries = {"bench-tick": 6}
    bench.aws.gone = {"bench-view"}
    finding = found(bench)["stack functions"]
    assert (finding["code"], finding["level"], finding["who_must_act"]) == ("versions_differ", "error", "administrator")
    assert "bench-tick" in finding["message"]
    assert "bench-route" not in finding["message"]
    assert "bench-importsegment" not in finding["message"], "a layer of its own is no other library"


def test_dead_letters_are_an_error_with_the_command_that_shows_them(bench: Bench) -> None:
    bench.aws.full = {"bench-changes-dlq": 2, "bench-tool.fifo": 7}
    given = found(bench)
    assert (given["queue bench-changes-dlq"]["code"], given["queue bench-changes-dlq"]["command"]) == (
        "dead_letters",
        "relay queues list",
    )
    assert "queue bench-tool.fifo" not in given


def test_a_queue_that_does_not_keep_up_is_a_warning(bench: Bench) -> None:
    bench.aws.full = {"bench-tool.fifo": 7}
    bench.aws.metrics["AWS/SQS", "ApproximateAgeOfOldestMessage", "bench-tool.fifo"] = 7200
    assert found(bench)["queue bench-tool.fifo"]["level"] == "warning"


@pytest.mark.parametrize(("ahead", "is_told"), [(timedelta(seconds=5), False), (timedelta(minutes=-2), True)])
def test_a_clock_that_differs_from_that_of_aws_is_a_warning(bench: Bench, ahead: timedelta, is_told: bool) -> None:
    bench.aws.ahead = ahead
    assert ("stack clock" in found(bench)) is is_told


def test_what_others_depend_on_comes_first(bench: Bench) -> None:
    """Given a stack, a connection and a queue that are not well, Then they come in the order to mend."""

    def busy() -> None:
        raise Busy("names_unavailable", "Throttling")

    bench.aws.libraries = {"bench-tick": 6}
    bench.aws.full = {"bench-changes-dlq": 2}
    bench.edit(segments=("shop/typo",))
    bench.settings.connections["letters"] = "tool"
    bench.stack.inventories = busy  # type: ignore[assignment]
    subjects = [finding["subject"] for finding in bench.ask("check")["findings"]]
    assert subjects[0] == "stack functions"
    assert subjects.index("export letters/main") < subjects.index("queue bench-changes-dlq") < subjects.index("names")
