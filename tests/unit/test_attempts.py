"""What is kept of an attempt that met a defect: where it was, never what it said, and no trouble of its own."""

from datetime import UTC, datetime
from typing import Any

from relay.domain.problems import Busy
from relay.queues import Message, Received
from relay.stores import attempts
from tests.fakes.bench import Bench
from tests.fakes.routing_world import World, change, member

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLANTED = "ada.lovelace@example.com"


def received(*ids: str, count: int = 3) -> list[Received]:
    return [Received(one, {}, count, None, "receipt", NOON, "relay-tool.fifo") for one in ids]


def defect() -> Exception:
    try:
        raise KeyError(PLANTED)
    except KeyError as error:
        return error


def planted(*_: Any, **__: Any) -> Any:
    raise RuntimeError(PLANTED)


def test_a_defect_in_a_destinations_queue() -> None:
    bench = Bench()
    bench.tool.owned = planted  # type: ignore[method-assign]

    assert bench.consume(Message({"kind": "?"}), bench.look(1), bench.look(2), receives=2) == ["m0", "m1", "m2"]

    unreadable, first, second = attempts.of_queue(bench.database, "")
    assert unreadable.message == "m0"
    assert (first.message, first.error, first.receive_count) == ("m1", "RuntimeError", 2)
    assert (second.message, second.places) == ("m2", first.places)
    assert first.places[-1].startswith("test_attempts.py:")


def test_a_defect_in_the_checks_queue() -> None:
    bench = Bench()
    assert bench.check(bench.look(1)) == ["m0"]
    [attempt] = attempts.of_queue(bench.database, "")
    assert (attempt.message, attempt.error) == ("m0", "ValueError")


def test_a_defect_in_the_changes_queue() -> None:
    world = World()
    unreadable, bad = world.post_text("{}"), world.post(change(1, member("s/a")))
    world.outlines = None  # type: ignore[assignment]

    assert world.run() == [unreadable, bad]

    assert {(one.message, one.error) for one in attempts.of_queue(world.database, "")} == {
        (unreadable, "KeyError"),
        (bad, "AttributeError"),
    }


def test_trouble_that_passes_is_no_defect_of_the_changes_queue() -> None:
    world = World()
    world.post(change(1, member("s/a")))
    world.post(change(2, member("s/b")))
    defects = iter([RuntimeError(), Busy("throttled", "said"), Busy("throttled", "said")])

    def get(keys: Any) -> Any:
        raise next(defects)

    world.database.get = get  # type: ignore[method-assign]
    assert len(world.run()) == 2
    assert attempts.of_queue(world.database, "") == []
