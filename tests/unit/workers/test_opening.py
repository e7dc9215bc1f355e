"""Opening an export: stops, pauses, targets of its own, and a job for the settings as they are."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from relay.breaker.failures import Paused, Stopped
from relay.domain.identity import Authority
from relay.domain.problems import ConnectionProblem, ExportProblem, SettingsProblem, StaleSettings
from relay.settings.names import UnknownExport
from relay.stores import breakers, owners
from tests.fakes.breaker_world import CONNECTION, BreakerWorld, Credentials

UNPAID = ConnectionProblem("unpaid", "refuses because of a payment problem of the account")


def test_an_open_export_comes_with_its_job() -> None:
    world = BreakerWorld()
    opened = world.open()
    job = opened.job
    assert (job.export, job.account.connection.name, job.run) == (world.main, CONNECTION, None)
    assert job.until == world.clock.now() + timedelta(minutes=5)
    (owner,) = owners.of_connection(world.database, CONNECTION)
    assert job.authority("list/7") == Authority(owner.epoch, world.main.version, "main")
    assert job.authority("list/8") is None
    assert opened.breaker == world.breaker()


def test_opening_again_reads_only_what_may_have_changed() -> None:
    world = BreakerWorld()
    world.open()
    steps = len(world.database.steps)
    world.open()
    assert world.database.steps[steps:] == ["get control"]


def test_older_settings_than_asked_for_are_not_used() -> None:
    world = BreakerWorld()
    with pytest.raises(StaleSettings):
        world.open(at_least=world.main.version + 1)


@pytest.mark.parametrize("export", [None, "main"])
def test_what_is_stopped_is_told_with_its_breaker(export: str | None) -> None:
    world = BreakerWorld()
    world.stops.stop(CONNECTION, export, UNPAID)
    with pytest.raises(Stopped) as raised:
        world.open()
    assert (raised.value.breaker, raised.value.export) == (world.breaker(export), world.main)


def test_another_exports_stop_concerns_nobody_else() -> None:
    world = BreakerWorld()
    world.edit("other", "list/8")
    world.stops.stop(CONNECTION, "other", UNPAID)
    world.open()


def test_a_paused_export_is_told_though_it_is_stopped() -> None:
    world = BreakerWorld()
    world.edit("main", "list/7", active=False)
    world.stops.stop(CONNECTION, "main", UNPAID)
    with pytest.raises(Paused) as raised:
        world.open()
    assert raised.value.export.name == "main"


def test_an_export_that_is_gone_or_invalid_cannot_be_opened() -> None:
    world = BreakerWorld()
    with pytest.raises(UnknownExport):
        world.open("gone")
    world.settings.problems[CONNECTION] = SettingsProblem("missing", "is missing", field="api_key")
    with pytest.raises(SettingsProblem):
        world.open()


def test_an_export_whose_target_is_anothers_cannot_be_opened() -> None:
    world = BreakerWorld()
    world.open()
    world.edit("other", "list/7")
    with pytest.raises(ExportProblem, match="belongs to export main"):
        world.open("other")


def test_the_guard_is_passed_under_the_very_settings() -> None:
    world = BreakerWorld()
    assert not world.open().job.has_passed_guard
    breakers.pass_guard(world.database, CONNECTION, "main", world.main.version)
    assert world.open().job.has_passed_guard
    world.edit("main", "list/7")
    assert not world.open().job.has_passed_guard


def test_a_fresh_secret_is_read_past_what_is_kept() -> None:
    world = BreakerWorld()
    world.open()
    world.settings.secrets[CONNECTION] = Credentials(host="second.example")
    assert world.open().job.account.connection.settings.host == "first.example"
    assert world.open(fresh=True).job.account.connection.settings.host == "second.example"


def test_what_was_refused_before_is_under_other_settings_after_any_edit() -> None:
    """Given an edit of the export, of a field of the connection, or of its secret, Then the fingerprint is another."""
    world = BreakerWorld()
    seen = [world.open().job.under, world.open().job.under]
    assert seen[0] == seen[1]
    world.edit("main", "list/7")
    seen.append(world.open().job.under)
    for credentials in (Credentials(host="second.example"), Credentials(key=SecretStr("second key"))):
        world.settings.secrets[CONNECTION] = credentials
        seen.append(world.open(fresh=True).job.under)
    assert len(set(seen)) == len(seen) - 1
    assert not any("key" in mark or "example" in mark for mark in seen)
    assert {len(mark) for mark in seen} == {16}


def test_nobody_leaves_before_a_run_has_taken_over_what_former_owners_of_a_target_have_there() -> None:
    world = BreakerWorld()
    world.open()
    world.edit("main", "list/8")
    other = world.edit("other", "list/7")
    breakers.pass_guard(world.database, CONNECTION, "other", other.version)
    assert not world.open("other").job.has_passed_guard

    owners.taken_over(world.database, CONNECTION, "other", world.clock.now())
    assert world.open("other").job.has_passed_guard
