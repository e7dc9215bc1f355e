"""Stops and probes: what is stopped is looked at by itself, and says what is wrong with it now."""

from datetime import timedelta

import pytest

from relay.destinations.contract import Finding, Level
from relay.domain.problems import Actor, Busy, ConnectionProblem, ExportProblem, Problem, SettingsProblem, Transient
from relay.stores import breakers
from relay.stores.breakers import PROBE_EVERY
from tests.fakes.breaker_world import CONNECTION, BreakerWorld, Credentials

UNPAID = ConnectionProblem("unpaid", "refuses because of a payment problem of the account")
BAD_KEY = ConnectionProblem("not_authorised", "refuses the key")
GONE = ExportProblem("list_gone", "the list does not exist any more")


def stopped(export: str | None = None, problem: Problem = UNPAID) -> BreakerWorld:
    """Return a world in which something was stopped long enough ago for a probe."""
    world = BreakerWorld()
    world.edit("other", "list/8")
    world.stops.stop(CONNECTION, export, problem)
    world.clock.advance(PROBE_EVERY.total_seconds())
    return world


def reason(world: BreakerWorld, export: str | None = None) -> tuple[str, str, Actor] | None:
    stop = world.breaker(export).stop
    return None if stop is None else (stop.code, stop.reason, stop.actor)


@pytest.mark.parametrize(("export", "subject"), [(None, "connection stopped"), ("main", "export stopped")])
def test_a_stop_is_logged_once_whoever_meets_the_same_trouble(export: str | None, subject: str) -> None:
    world = BreakerWorld()
    for _ in range(3):
        world.stops.stop(CONNECTION, export, UNPAID)
    (line,) = world.logged()
    assert (line["message"], line["code"], line["actor"]) == (subject, "unpaid", "administrator")
    assert line["connection" if export is None else "export"] == (CONNECTION if export is None else "letters/main")


@pytest.mark.parametrize("export", [None, "main"])
def test_when_a_probe_passes_it_goes_on(export: str | None) -> None:
    world = stopped(export)
    assert world.probe(export)
    assert world.breaker(export).stop is None
    assert world.tool.checks == [() if export is None else ("main",)]


def test_no_probe_comes_before_its_time_or_while_nothing_is_stopped() -> None:
    world = stopped()
    world.clock.advance(-1)
    assert not world.probe()
    assert not world.probe("main")
    assert world.tool.checks == []


def test_a_probe_that_fails_says_why_it_is_stopped_now_and_the_next_one_waits() -> None:
    world = stopped()
    world.tool.script = [BAD_KEY]
    assert not world.probe()
    assert reason(world) == ("not_authorised", BAD_KEY.what, Actor.ADMINISTRATOR)
    assert not world.probe()
    assert len(world.tool.checks) == 1
    world.clock.advance(PROBE_EVERY.total_seconds())
    assert world.probe()


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (Transient("timeout", "no answer arrived in time"), "timeout"),
        (SettingsProblem("missing", "is missing", field="api_key"), "missing"),
        (Busy("pace", "the account has asked for a rest"), "unpaid"),
    ],
)
def test_trouble_while_probing_is_the_new_reason_but_for_our_own_limits(problem: Problem, code: str) -> None:
    world = stopped()
    world.tool.script = [problem]
    assert not world.probe()
    found = reason(world)
    assert found is not None
    assert found[0] == code


def test_a_connection_with_a_new_secret_is_probed_with_it() -> None:
    world = stopped(problem=BAD_KEY)
    world.settings.connection(CONNECTION)
    world.settings.secrets[CONNECTION] = Credentials(host="second.example")
    seen: list[str] = []
    world.tool.on_check = lambda account: seen.append(account.connection.settings.host)
    assert world.probe()
    assert seen == ["second.example"]


@pytest.mark.parametrize(
    ("export", "actor", "kept"), [(None, None, Actor.ADMINISTRATOR), ("main", Actor.WAIT, Actor.WAIT)]
)
def test_a_finding_keeps_it_stopped_and_says_who_must_act(export: str | None, actor: Actor | None, kept: Actor) -> None:
    world = stopped(export)
    world.tool.findings = [
        Finding("field", Level.WARNING, "looks odd"),
        Finding("list", Level.ERROR, "the list is gone", actor),
        Finding("key", Level.ERROR, "the key is old"),
    ]
    assert not world.probe(export)
    assert reason(world, export) == ("not_ready", "the list is gone", kept)


def test_warnings_keep_nothing_stopped() -> None:
    world = stopped()
    world.tool.findings = [Finding("field", Level.WARNING, "looks odd"), Finding("key", Level.OK, "is good")]
    assert world.probe()


def test_an_export_whose_target_is_taken_stays_stopped_until_it_is_free_and_a_probe_takes_nothing() -> None:
    world = BreakerWorld()
    world.another().own(world.main)
    world.edit("other", "list/7")
    world.stops.stop(CONNECTION, "other", GONE)
    world.clock.advance(PROBE_EVERY.total_seconds())
    assert not world.probe("other")
    assert reason(world, "other") == (
        "target_taken",
        "list/7 belongs to export main of this connection",
        Actor.ADMINISTRATOR,
    )
    world.edit("main", "list/9")
    world.clock.advance(PROBE_EVERY.total_seconds())
    assert world.probe("other")
    assert world.ownership.taken(world.main) == []


def test_a_look_stores_the_reason_but_lets_nothing_go_on() -> None:
    world = stopped()
    world.tool.script = [BAD_KEY]
    now = world.prober.look(world.breaker(), [])
    assert now == world.breaker()
    assert reason(world) == ("not_authorised", BAD_KEY.what, Actor.ADMINISTRATOR)
    assert world.prober.look(now, []).stop is None
    assert world.breaker().stop is not None


def test_what_was_stopped_again_during_a_probe_stays_stopped() -> None:
    world = stopped()

    def stop_again(_: object) -> None:
        breakers.restart(world.database, world.breaker(), world.clock.now())
        world.stops.stop(CONNECTION, None, BAD_KEY)

    world.tool.on_check = stop_again
    assert not world.probe()
    assert reason(world) == ("not_authorised", BAD_KEY.what, Actor.ADMINISTRATOR)


def test_of_two_ticks_one_probes() -> None:
    world = stopped()
    seen = world.breaker()
    assert world.probe()
    assert not world.prober.probe_if_due(seen, [])
    assert len(world.tool.checks) == 1


def test_a_new_secret_is_seen_once_and_trouble_while_looking_is_none() -> None:
    world = BreakerWorld()
    used = world.settings.connection(CONNECTION)
    assert not world.stops.has_new_secret(used)
    world.settings.secrets[CONNECTION] = Credentials(host="second.example")
    assert world.stops.has_new_secret(used)
    assert not world.stops.has_new_secret(world.settings.connection(CONNECTION))
    world.settings.problems[CONNECTION] = SettingsProblem("missing", "is missing", field="api_key")
    assert not world.stops.has_new_secret(used)


def test_after_a_restart_a_relapse_waits_longer() -> None:
    world = stopped()
    assert world.probe()
    world.stops.stop(CONNECTION, None, UNPAID)
    stop = world.breaker().stop
    assert stop is not None
    assert stop.probe_at - world.clock.now() == 2 * PROBE_EVERY
    world.clock.advance(PROBE_EVERY.total_seconds())
    assert not world.probe()
    world.clock.advance(timedelta(minutes=3).total_seconds())
    assert world.probe()
