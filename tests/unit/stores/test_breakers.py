"""Breakers: stops and requests survive whatever others do between a read and a write."""

from datetime import timedelta

import pytest

from relay.domain.problems import Actor, Conflict, ConnectionProblem, ExportProblem, Problem, Transient
from relay.stores import breakers
from relay.stores.breakers import LONGEST_PROBE_PAUSE, PROBE_EVERY, RELAPSE_WITHIN, Breaker, Failures
from relay.stores.database import Table
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase

MINUTE = timedelta(minutes=1)
UNPAID = ConnectionProblem("unpaid", "refuses because of a payment problem of the account")
BAD_KEY = ConnectionProblem("not_authorised", "refuses the key")
GONE = ExportProblem("list_gone", "the list does not exist any more")
EXPORTS = [None, "main"]


class World:
    def __init__(self) -> None:
        self.clock, self.database = FakeClock(), MemoryDatabase()

    def breaker(self, export: str | None = None) -> Breaker:
        return breakers.load_one(self.database, "c", export)

    def stop(self, problem: Problem = UNPAID, export: str | None = None) -> Breaker:
        assert breakers.stop(self.database, self.breaker(export), problem, self.clock.now())
        return self.breaker(export)

    def restart(self, export: str | None = None) -> None:
        assert breakers.restart(self.database, self.breaker(export), self.clock.now())


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("export", EXPORTS)
def test_what_is_stopped_says_why_and_who_must_act_until_it_goes_on(world: World, export: str | None) -> None:
    assert world.breaker(export) == Breaker("c", export)
    stopped = world.stop(UNPAID, export)
    assert stopped.stop is not None
    assert stopped.stop[:3] == ("unpaid", UNPAID.what, Actor.ADMINISTRATOR)
    assert (stopped.since, stopped.epoch) == (world.clock.now(), 1)

    world.clock.advance(60)
    world.restart(export)
    running = world.breaker(export)
    assert (running.stop, running.since, running.epoch) == (None, world.clock.now(), 2)


def test_connection_and_exports_stop_by_themselves(world: World) -> None:
    world.stop(GONE, "main")
    connection, export = breakers.load(world.database, "c", "main")
    assert (connection.stop, export.stop and export.stop.code) == (None, "list_gone")
    assert breakers.load_one(world.database, "c", "other").stop is None
    assert breakers.load_one(world.database, "another", "main").stop is None
    world.stop(UNPAID)
    assert [one.subject for one in breakers.load_all(world.database, "c")] == ["connection c", "export c/main"]


@pytest.mark.parametrize("export", EXPORTS)
def test_only_one_of_two_stops_it_and_the_first_reason_stays(world: World, export: str | None) -> None:
    seen = world.breaker(export)
    assert breakers.stop(world.database, seen, UNPAID, world.clock.now())
    assert not breakers.stop(world.database, seen, BAD_KEY, world.clock.now())
    assert not breakers.stop(world.database, world.breaker(export), BAD_KEY, world.clock.now())
    stop = world.breaker(export).stop
    assert stop is not None
    assert stop.code == "unpaid"


@pytest.mark.parametrize("export", EXPORTS)
def test_a_restart_ends_only_the_stop_that_was_seen(world: World, export: str | None) -> None:
    seen = world.stop(UNPAID, export)
    world.restart(export)
    assert not breakers.restart(world.database, seen, world.clock.now())
    world.stop(BAD_KEY, export)
    assert not breakers.restart(world.database, seen, world.clock.now())
    assert not breakers.restart(world.database, Breaker("c", export), world.clock.now())
    assert world.breaker(export).stop is not None


def test_another_reason_replaces_the_first_but_not_that_of_a_later_stop(world: World) -> None:
    seen = world.stop(UNPAID)
    restated = breakers.restate(world.database, seen, BAD_KEY)
    assert restated == world.breaker()
    assert restated.stop is not None
    assert restated.stop.code == "not_authorised"
    assert restated.epoch == seen.epoch

    world.restart()
    world.stop(UNPAID)
    breakers.restate(world.database, restated, Transient("timeout", "late"))
    stop = world.breaker().stop
    assert stop is not None
    assert stop.code == "unpaid"


def test_the_same_reason_costs_no_write(world: World) -> None:
    seen = world.stop(UNPAID)
    world.database.forget_units()
    assert breakers.restate(world.database, seen, UNPAID) == seen
    assert world.database.write_units.total() == 0


# Probes.


def probe_pause(world: World) -> timedelta:
    stop = world.breaker().stop
    assert stop is not None
    return stop.probe_at - world.clock.now()


def test_a_probe_comes_after_a_pause_and_each_pause_begins_with_the_last_probe(world: World) -> None:
    world.stop()
    assert probe_pause(world) == PROBE_EVERY
    world.clock.advance(500)
    assert breakers.begin_probe(world.database, world.breaker(), world.clock.now())
    assert probe_pause(world) == PROBE_EVERY


def test_of_two_who_probe_at_once_one_does(world: World) -> None:
    seen = world.stop()
    world.clock.advance(200)
    assert breakers.begin_probe(world.database, seen, world.clock.now())
    assert not breakers.begin_probe(world.database, seen, world.clock.now())
    world.restart()
    assert not breakers.begin_probe(world.database, seen, world.clock.now())
    assert not breakers.begin_probe(world.database, world.breaker(), world.clock.now())


def test_what_stops_again_and_again_is_probed_less_and_less_often(world: World) -> None:
    pauses = []
    for _ in range(8):
        world.stop()
        pauses.append(probe_pause(world))
        assert breakers.begin_probe(world.database, world.breaker(), world.clock.now())
        assert probe_pause(world) == pauses[-1]
        world.restart()
        world.clock.advance(RELAPSE_WITHIN.total_seconds() - 1)
    assert pauses[:4] == [PROBE_EVERY, 2 * PROBE_EVERY, 4 * PROBE_EVERY, 8 * PROBE_EVERY]
    assert pauses[-1] == LONGEST_PROBE_PAUSE

    world.clock.advance(1)
    world.stop()
    assert probe_pause(world) == PROBE_EVERY


# Failures.


def test_failures_without_a_success_add_up(world: World) -> None:
    for minutes in (0, 20, 40):
        assert breakers.note_failure(world.database, world.breaker(), world.clock.now()) == minutes * MINUTE
        world.clock.advance(20 * 60)
    breakers.note_success(world.database, world.breaker())
    assert world.breaker().failures is None
    assert breakers.note_failure(world.database, world.breaker(), world.clock.now()) == timedelta()


def test_a_long_silence_between_two_failures_begins_a_new_row(world: World) -> None:
    breakers.note_failure(world.database, world.breaker(), world.clock.now())
    world.clock.advance(3601)
    assert breakers.note_failure(world.database, world.breaker(), world.clock.now()) == timedelta()


def test_a_success_between_our_read_and_our_write_ends_the_row(world: World) -> None:
    breakers.note_failure(world.database, world.breaker(), world.clock.now())
    world.clock.advance(1800)
    seen = world.breaker()
    world.database.interrupt("write", lambda: breakers.note_success(world.database, world.breaker()))
    assert breakers.note_failure(world.database, seen, world.clock.now()) == timedelta()
    assert world.breaker().failures is None


def test_what_was_seen_before_a_stop_says_nothing_after_it(world: World) -> None:
    breakers.note_failure(world.database, world.breaker(), world.clock.now())
    seen = world.breaker()
    world.stop()
    assert world.breaker().failures is None
    assert breakers.note_failure(world.database, seen, world.clock.now()) == timedelta()
    breakers.note_success(world.database, seen)
    assert world.breaker().stop is not None


def test_a_success_costs_nothing_while_nothing_failed(world: World) -> None:
    breakers.note_success(world.database, world.breaker())
    assert world.database.write_units.total() == 0


def test_a_row_of_failures_leaves_the_rest_as_it_was(world: World) -> None:
    world.stop()
    world.restart()
    before = world.breaker()
    breakers.note_failure(world.database, before, world.clock.now())
    now = world.clock.now()
    assert world.breaker() == before._replace(failures=Failures(now, now))


# Requests.


def test_a_request_is_cleared_only_by_who_read_it(world: World) -> None:
    breakers.request_resync(world.database, "c", "main")
    seen = world.breaker("main")
    assert seen.resync
    breakers.request_resync(world.database, "c", "main")

    assert not breakers.clear_resync(world.database, seen)
    newer = world.breaker("main")
    assert newer.resync not in ("", seen.resync)
    assert breakers.clear_resync(world.database, newer)
    assert world.breaker("main").resync == ""
    assert not breakers.clear_resync(world.database, newer)
    assert not breakers.clear_resync(world.database, world.breaker("main"))


@pytest.mark.parametrize("stopped", [None, "connection", "export"])
@pytest.mark.parametrize("number", range(5))
def test_no_request_is_lost_between_which_steps_ever_it_comes(stopped: str | None, number: int) -> None:
    """Given a worker between any two steps of who starts runs, Then a run starts after the worker's request."""
    world = World()
    if stopped is not None:
        world.stop(UNPAID if stopped == "connection" else GONE, None if stopped == "connection" else "main")
    breakers.request_resync(world.database, "c", "main")
    story: list[str] = []

    def start_runs() -> None:
        connection, export = breakers.load(world.database, "c", "main")
        for breaker in (connection, export):
            breakers.restart(world.database, breaker, world.clock.now())
        if export.resync:
            story.append("run")
            breakers.clear_resync(world.database, export)

    def worker() -> None:
        breakers.load(world.database, "c", "main")
        breakers.request_resync(world.database, "c", "main")
        story.append("request")

    def at_the_right_step(step: str) -> None:
        if len(world.database.steps) == end:
            world.database.before = lambda _: None
            worker()

    end = len(world.database.steps) + number
    world.database.before = at_the_right_step
    start_runs()
    if "request" not in story:
        worker()
    start_runs()

    assert story[-1] == "run"
    assert world.breaker("main").resync == ""


# The guard.


def test_the_guard_is_passed_by_the_latest_settings_whoever_comes_last(world: World) -> None:
    breakers.pass_guard(world.database, "c", "main", 7)
    world.database.interrupt("write", lambda: breakers.pass_guard(world.database, "c", "main", 9))
    breakers.pass_guard(world.database, "c", "main", 8)
    assert world.breaker("main").passed == 9


def test_passing_the_guard_needs_no_write_when_it_is_passed(world: World) -> None:
    breakers.pass_guard(world.database, "c", "main", 7)
    world.database.forget_units()
    breakers.pass_guard(world.database, "c", "main", 7)
    assert world.database.write_units.total() == 0


def test_whoever_keeps_losing_says_so(world: World) -> None:
    versions = iter(range(1, 1000))

    def others(step: str) -> None:
        if step.startswith("write"):
            world.database.before = lambda _: None
            breakers.pass_guard(world.database, "c", "main", next(versions))
            world.database.before = others

    world.database.before = others
    with pytest.raises(Conflict):
        breakers.pass_guard(world.database, "c", "main", 1000)


def test_of_an_export_that_is_gone_nothing_is_kept(world: World) -> None:
    world.stop(GONE, "main")
    breakers.request_resync(world.database, "c", "main")
    world.stop(UNPAID)
    breakers.forget(world.database, "c", "main")
    assert world.breaker("main") == Breaker("c", "main")
    assert world.breaker().stop is not None


def test_each_change_is_one_write_and_what_is_announced_is_written_with_its_notice(world: World) -> None:
    world.stop()
    breakers.request_resync(world.database, "c", "main")
    breakers.restate(world.database, world.breaker(), BAD_KEY)
    world.restart()
    writes = [step for step in world.database.steps if not step.startswith("get")]
    assert writes == ["transact control", "write control", "write control", "transact control"]
    assert all(item["format"] == breakers.FORMAT for item in world.database.items(Table.CONTROL))
