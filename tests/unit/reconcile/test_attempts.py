"""Every call to a destination is one line that says for whom it was made, and which requests led to it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from relay.destinations.contract import Caller
from relay.domain.exports import Connection
from relay.domain.problems import Problem
from relay.stores import profiles
from tests.fakes.bench import Bench, person
from tests.fakes.bench_destination import DOWN


def changed_by(bench: Bench, number: int, request: str, **values: str) -> None:
    """Store a profile as a request changes it."""
    bench.store(number, **values)
    [stored] = profiles.load(bench.database, [person(number)])
    assert stored is not None
    profiles.save(bench.database, [replace(stored, trace=request)], bench.clock.now())


def test_a_call_names_whom_it_is_for_and_what_led_to_it() -> None:
    bench = Bench()
    for number, request in ((2, "r-1"), (4, "r-1"), (6, "r-2"), (8, "r-3")):
        changed_by(bench, number, request, email=f"{number}@x.example")
    bench.tool.refuses = {"6@x.example"}
    bench.reconcile(2, 4, 6, 8)

    lines = [line for line in bench.logged() if line["message"] == "attempt"]
    assert [(line["traces"], line["profiles"], line["outcome"], line["refused"]) for line in lines] == [
        (["r-1", "r-2"], [person(2), person(4), person(6)], "answered", 1),
        (["r-3"], [person(8)], "answered", 0),
    ]
    assert len({line["call"] for line in lines}) == 2
    assert "@" not in bench.log.getvalue()


def test_a_call_says_how_it_ended() -> None:
    def outcome(bench: Bench) -> str:
        changed_by(bench, 2, "r-1", email="2@x.example")
        with suppress(Problem):
            bench.reconcile(2)
        [line] = [line for line in bench.logged() if line["message"] == "attempt"]
        return str(line["outcome"])

    failing = Bench()
    failing.tool.script = [DOWN]
    assert [outcome(bench) for bench in (Bench(), Bench(imports=True), failing)] == [
        "answered",
        "queued",
        "server_error",
    ]


def test_an_unchanged_profile_makes_no_line() -> None:
    bench = Bench()
    changed_by(bench, 2, "r-1", email="2@x.example")
    for _ in range(2):
        bench.reconcile(2)
    assert bench.events().count("attempt") == 1


class LoggingBench(Bench):
    """A bench whose HTTP requests are logged as the door to HTTP logs them."""

    def _caller(self, connection: Connection) -> tuple[Caller, Callable[[], int]]:
        def call(*_: Any, **__: Any) -> Any:
            self.observe.info("destination call", connection=connection.name)

        return call, lambda: 0


@pytest.mark.parametrize("imports", [False, True])
@pytest.mark.parametrize("at_once", [1, 3])
def test_every_http_request_names_the_call_it_was_made_for(imports: bool, at_once: int) -> None:
    """Also those that ask what became of an import, and those of several threads."""
    bench = LoggingBench(imports=imports, call_size=1)
    bench.tool.at_once = at_once
    for number in (2, 4, 6):
        changed_by(bench, number, f"r-{number}", email=f"{number}@x.example")
    bench.consume(bench.look(2, 4, 6))
    bench.work_off()

    lines = bench.logged()
    attempts = {line["call"]: line["traces"] for line in lines if line["message"] == "attempt"}
    requests = [line["call"] for line in lines if line["message"] == "destination call"]
    assert sorted(attempts.values()) == [["r-2"], ["r-4"], ["r-6"]]
    assert sorted(requests) == sorted([*attempts] * (2 if imports else 1))
