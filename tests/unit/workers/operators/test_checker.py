"""A check: all that is wrong with a connection and what it depends on, and who must do what."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest

from relay.destinations.contract import Finding, Level
from relay.destinations.registry import PACKAGES, load
from relay.domain.problems import Busy, ConnectionProblem, Rejection, SettingsProblem, Transient
from relay.domain.runs import RunState
from relay.domain.segment_imports import ImportState, SegmentImport
from relay.schedules import Schedule, Timetable
from relay.settings.inventory import Inventory
from relay.stores import receipts, segment_imports
from relay.stores.database import Table
from relay.workers import attention
from tests.fakes.bench import CONNECTION, LAPSED, OTHER_CONNECTION, VIP, Bench
from tests.fakes.bench_destination import NO_EMAIL

MAIN, OTHERS = f"{CONNECTION}/main", f"{OTHER_CONNECTION}/main"


@pytest.fixture
def bench() -> Bench:
    bench = Bench(streams=False)
    bench.store(2, email="2@x.example", name="Kim")
    bench.store(9, inside=(LAPSED,), email="9@x.example", name="Kim")
    return bench


def check(bench: Bench, connection: str = CONNECTION) -> dict[str, Any]:
    answer: dict[str, Any] = bench.ask("check", connection=connection)
    return answer


def given(findings: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(found["subject"], found["level"]) for found in findings]


def messages(checked: dict[str, Any], subject: str) -> str:
    return "; ".join(found["message"] for found in checked["findings"] if found["subject"] == subject)


# The account.


def test_what_is_well_is_no_finding(bench: Bench) -> None:
    bench.tool.findings = [Finding("connection", Level.OK, "the key is taken")]
    checked = check(bench)
    assert checked == {"well": True, "findings": []}
    assert bench.tool.probes == [[MAIN]]


def test_a_check_turns_trouble_and_invalid_settings_into_findings(bench: Bench) -> None:
    bench.tool.probe_script = [ConnectionProblem("unpaid", "the account has an open payment")]
    bench.settings.problems[f"{CONNECTION}/broken"] = SettingsProblem("invalid", "is required", field="mapping.email")
    findings = check(bench)["findings"]
    assert [(found["subject"], found["level"], found["who_must_act"]) for found in findings] == [
        (f"connection {CONNECTION}", "error", "administrator"),
        (f"export {CONNECTION}/broken", "error", "administrator"),
    ]
    assert "open payment" in findings[0]["message"]
    assert "mapping.email" in findings[1]["message"]
    commands = [f"relay connections edit {CONNECTION}", f"relay exports edit {CONNECTION}/broken"]
    assert [found["command"] for found in findings] == commands


def test_a_check_of_a_connection_nobody_made_is_refused_with_the_nearest_name(bench: Bench) -> None:
    bench.inventory = Inventory(connections=[CONNECTION])
    refused = bench.refused("check", connection="leters")
    assert (refused["code"], refused["errors"][0]["near"]) == ("unknown_connection", CONNECTION)


def test_a_check_of_a_connection_that_has_exports_alone_finds_what_is_missing(bench: Bench) -> None:
    del bench.settings.connections[CONNECTION]
    assert "unknown_connection" in {one["code"] for one in check(bench, CONNECTION)["findings"]}


def test_what_a_connection_stopped_for_is_told_once(bench: Bench) -> None:
    bench.stop()
    bench.tool.probe_script = [ConnectionProblem("unpaid", "refuses to work")] * 2
    told = [one["code"] for one in check(bench, CONNECTION)["findings"] if one["subject"] == f"connection {CONNECTION}"]
    assert told == ["unpaid"]


# What is stopped.


def test_what_is_stopped_is_told_with_the_reason_it_has_now(bench: Bench) -> None:
    """Given an export that stopped because its list was gone, When the key is refused by now, Then check says that.

    It stores nothing: the next probe does.
    """
    bench.stop("main", "list_gone", "the list is gone")
    bench.tool.probe_script = [ConnectionProblem("unauthorised", "the key is refused")] * 2
    before = bench.database.snapshot()

    checked = check(bench)

    [stopped] = [found for found in checked["findings"] if found["subject"] == f"export {MAIN}"]
    assert (stopped["code"], stopped["who_must_act"]) == ("unauthorised", "administrator")
    assert "the key is refused; stopped since" in stopped["message"]
    assert "probed again at" in stopped["message"]
    assert not checked["well"]
    assert bench.database.snapshot() == before


def test_a_stop_whose_reason_cannot_be_looked_at_now_keeps_it(bench: Bench) -> None:
    bench.stop("main", "list_gone", "the list is gone")
    bench.tool.probe_script = [Busy("pace", "no slot")] * 2
    assert "the list is gone" in messages(check(bench), f"export {MAIN}")


@pytest.mark.parametrize("problem", [Busy("pace", "no slot"), Transient("rate_limited", "asks us to slow down")])
def test_an_account_that_has_other_work_is_not_wrong(bench: Bench, problem: Exception) -> None:
    bench.tool.probe_script = [problem]
    checked = check(bench)
    assert checked["well"]
    assert "the account was not looked at" in messages(checked, f"connection {CONNECTION}")


def test_what_is_well_again_is_not_restarted_by_a_check_but_told(bench: Bench) -> None:
    bench.stop()
    checked = check(bench)
    assert not checked["well"]
    assert "is well now" in messages(checked, f"connection {CONNECTION}")
    [found] = [one for one in checked["findings"] if one["code"] == "well_now"]
    assert found["command"] == f"relay connections test {CONNECTION} --probe"
    assert bench.breaker().stop is not None


# Exports.


def test_a_paused_export_is_told(bench: Bench) -> None:
    bench.edit(active=False)
    checked = check(bench)
    assert "is paused" in messages(checked, f"export {MAIN}")
    assert checked["well"]


def test_segments_never_seen_are_told_before_a_run_is_refused_for_them(bench: Bench) -> None:
    bench.edit(segments=(VIP, "shop/typo"))
    checked = check(bench)
    assert "segments never seen: shop/typo" in messages(checked, f"export {MAIN}")
    assert not checked["well"]


def test_a_target_that_belongs_to_another_export_is_told_and_stays_where_it_is(bench: Bench) -> None:
    bench.stack.ownership.own(bench.edit("first", options="9", segments=(LAPSED,)))
    bench.edit("second", options="9", segments=(LAPSED,))
    before = bench.database.snapshot()
    checked = check(bench)
    assert "belongs to export first" in messages(checked, f"export {CONNECTION}/second")
    assert "belongs to" not in messages(checked, f"export {CONNECTION}/first")
    assert bench.database.snapshot() == before


def test_a_run_that_needs_confirmation_is_told(bench: Bench) -> None:
    bench.store(4, email="4@x.example")
    bench.full_run()
    bench.edit(mapping={"email": "attributes.emial"})
    run = bench.full_run()
    assert bench.run(run).state is RunState.NEEDS_CONFIRMATION
    checked = check(bench)
    assert f"run {run.id}" in messages(checked, f"export {MAIN}")
    assert not checked["well"]


def test_a_refused_run_is_told(bench: Bench) -> None:
    bench.edit(segments=("shop/typo",))
    run = bench.start()
    assert f"run {run.id}: segments never seen" in messages(check(bench), f"export {MAIN}")


def test_a_run_that_rejected_everybody_is_told_with_what_the_reason_means(bench: Bench) -> None:
    bench.edit(mapping={"email": "attributes.emial"})
    bench.full_run()
    assert bench.assignment(2).rejection is not None

    checked = check(bench)

    message = messages(checked, f"export {MAIN}")
    assert "nobody was taken" in message
    assert f"no_email means: {NO_EMAIL.detail}" in message
    assert not checked["well"]


@pytest.mark.parametrize("destination", PACKAGES)
def test_every_rejection_of_a_destination_has_a_meaning(destination: str) -> None:
    """Whatever the package calls a rejection, an operator who is shown its code alone is told what it means."""
    package = import_module(PACKAGES[destination])
    parts = [import_module(f"{package.__name__}.{found.name}") for found in iter_modules(package.__path__)]
    modules = [package, *parts]
    rejections = [value for module in modules for value in vars(module).values() if isinstance(value, Rejection)]
    assert rejections
    for rejection in rejections:
        assert load(destination).reasons[rejection.code] == rejection.detail


def test_a_check_tries_the_mapping_on_stored_profiles(bench: Bench) -> None:
    bench.edit(mapping={"email": "attributes.emial", "name": "attributes.name"})
    checked = check(bench)
    assert "there is no emial in attributes, did you mean email?" in messages(checked, f"export {MAIN}")
    assert "2@x.example" not in messages(checked, f"export {MAIN}")
    assert not checked["well"]


# Schedules.


def test_a_schedule_that_starts_nothing_is_told_with_what_happens_instead(bench: Bench) -> None:
    default = Schedule("relay-default", None)
    bench.scheduled_now = Timetable([Schedule("letters.main", MAIN, "is disabled")], default)
    checked = check(bench)
    assert "its schedule letters.main is disabled: another schedule starts the export" in messages(
        checked, f"export {MAIN}"
    )
    assert checked["well"]


@pytest.mark.parametrize(("stream", "well"), [(False, False), (True, True)])
def test_an_export_that_nothing_will_ever_start_is_told(bench: Bench, stream: bool, well: bool) -> None:
    bench.edit(stream=stream)
    bench.scheduled_now = Timetable([], Schedule("relay-default", None, "is disabled"))
    checked = check(bench)
    assert "no schedule that is enabled will ever start it" in messages(checked, f"export {MAIN}")
    assert "is disabled" in messages(checked, "schedule default")
    assert checked["well"] is well


def test_schedules_of_nobody_are_told(bench: Bench) -> None:
    own = [Schedule("letters.gone", "letters/gone"), Schedule("nightly", None, "has an input that starts nothing")]
    bench.scheduled_now = Timetable(own, Schedule("relay-default", None))
    checked = bench.ask("check")
    assert "there is no such export" in messages(checked, "schedule letters.gone")
    assert "starts nothing" in messages(checked, "schedule nightly")


def test_schedules_that_cannot_be_read_are_a_finding(bench: Bench) -> None:
    def busy(*_: Any) -> Any:
        raise Busy("schedules_unavailable", "Scheduler: ThrottlingException")

    bench.stack.schedules = busy
    assert "ThrottlingException" in messages(check(bench), "schedules")


# Sources and names.


def test_a_source_that_is_broken_is_told_by_name_with_the_reason(bench: Bench) -> None:
    bench.settings.problems["source shop"] = SettingsProblem("missing", "is missing", field="secret")
    checked = check(bench)
    assert "secret: is missing" in messages(checked, "source shop")
    assert not checked["well"]


def test_a_source_that_is_gone_is_told(bench: Bench) -> None:
    bench.settings.missing_sources.add("shop")
    checked = check(bench)
    assert "nothing new arrives" in messages(checked, "source shop")
    assert checked["well"]


def test_a_source_that_finds_nobody_is_told(bench: Bench) -> None:
    receipts.add(bench.database, "shop", receipts.Counts(rejected=30), nobody=True, names=("crmId", "ecid"))
    bench.settings.profile_key = "identities.crmm"
    checked = check(bench)
    message = messages(checked, "source shop")
    assert "found nobody in the last 30 changes" in message
    assert "identities.crmm" in message
    assert "crmId, ecid" in message
    assert not checked["well"]


def test_a_source_that_finds_nobody_is_told_though_its_settings_do_not_answer(bench: Bench) -> None:
    receipts.add(bench.database, "shop", receipts.Counts(rejected=30), nobody=True, names=("crmId",))
    bench.settings.missing_sources.add("shop")
    message = messages(check(bench), "source shop")
    assert "found nobody in the last 30 changes" in message
    assert "crmId" in message


def test_names_that_cannot_be_read_are_a_finding(bench: Bench) -> None:
    def busy() -> Inventory:
        raise Busy("names_unavailable", "ThrottlingException")

    bench.stack.inventories = busy
    assert "ThrottlingException" in messages(check(bench), "names")


def test_names_that_are_nearly_those_of_settings_are_told(bench: Bench) -> None:
    bench.inventory = Inventory(nearly=['the secret "relay/source/shop" is read by nobody'])
    checked = check(bench)
    assert "relay/source/shop" in messages(checked, "names")
    assert checked["well"]


def test_a_check_of_everything_looks_at_every_connection_and_source(bench: Bench) -> None:
    """Given a connection without exports, a source no export names, and a parameter that is no export."""
    bench.inventory = Inventory(sources=["app", "shop"], connections=["unused", CONNECTION], nearly=["stray"])
    bench.settings.problems["source app"] = SettingsProblem("missing", "is missing", field="auth")
    bench.settings.problems["unused"] = SettingsProblem("no_consent", "must be given", field="privacy_consent")
    bench.settings.problems["vip/"] = SettingsProblem("invalid_name", "must be lower case", field="export")

    checked = bench.ask("check")

    assert given(checked["findings"]) == [
        ("connection unused", "error"),
        ("source app", "error"),
        ("export vip/", "error"),
        ("names", "warning"),
    ]
    assert not checked["well"]


def test_a_check_of_everything_that_is_well(bench: Bench) -> None:
    checked = bench.ask("check")
    assert (checked["well"], checked["findings"]) == (True, [])


# Imports of segments.


def keep_import(bench: Bench, name: str, segment: str, state: ImportState) -> None:
    now = bench.clock.now()
    begun = SegmentImport(name, segment, now, now, ImportState.CHECKING, moved_at=now)
    segment_imports.begin(bench.database, begun)
    segment_imports.save(bench.database, replace(begun, state=state, reason="of a reason", version=1), now)


def test_an_import_that_waits_for_somebody_is_told_with_the_connection_of_its_exports(bench: Bench) -> None:
    keep_import(bench, "i-1", VIP, ImportState.NEEDS_CONFIRMATION)
    keep_import(bench, "i-2", LAPSED, ImportState.APPLYING)
    for asked in ({}, {"connection": CONNECTION}):
        (found,) = (one for one in bench.ask("check", **asked)["findings"] if one["subject"].startswith("segment "))
        assert (found["subject"], found["code"], found["level"]) == (f"segment {VIP}", "import_waits", "error")
        assert (found["message"], found["command"]) == (
            "import i-1: of a reason",
            f"relay segments imports list {VIP}",
        )
    others = bench.ask("check", connection=OTHER_CONNECTION)["findings"]
    assert [one for one in others if one["subject"].startswith("segment ")] == []
    assert [(one["id"], one["state"]) for one in bench.ask("status")["imports"]] == [
        ("i-1", "needs-confirmation"),
        ("i-2", "applying"),
    ]


def test_a_refused_import_is_told_for_a_day_or_until_another_is_done(bench: Bench) -> None:
    def told() -> list[str]:
        return [one["code"] for one in bench.ask("check")["findings"] if one["subject"] == f"segment {VIP}"]

    keep_import(bench, "i-1", VIP, ImportState.REFUSED)
    keep_import(bench, "i-2", LAPSED, ImportState.DONE)
    assert told() == ["import_refused"]
    assert bench.ask("status")["imports"] == []
    bench.clock.advance(60)
    keep_import(bench, "i-2a", VIP, ImportState.CANCELLED)
    keep_import(bench, "i-2b", VIP, ImportState.APPLYING)
    assert told() == ["import_refused"]
    keep_import(bench, "i-3", VIP, ImportState.DONE)
    assert told() == []
    keep_import(bench, "i-4", LAPSED, ImportState.REFUSED)
    bench.clock.advance(timedelta(days=1).total_seconds())
    assert [one["code"] for one in bench.ask("check")["findings"] if one["subject"].startswith("segment ")] == []


def test_the_reads_of_refused_imports_grow_with_their_number_alone(bench: Bench) -> None:
    def reads(numbers: range) -> float:
        for number in numbers:
            keep_import(bench, f"i-{number:02}", VIP, ImportState.REFUSED)
        bench.database.forget_units()
        assert len(list(attention.of_imports(bench.database, bench.clock.now()))) == numbers.stop
        return bench.database.read_units[Table.CONTROL]

    # Reading the latest of the segment for each of them would read 20 more for each.
    few, many = reads(range(20)), reads(range(20, 40))
    assert many <= few + 30


# Check covers the alarm.


def test_whatever_raises_the_alarm_is_told_by_check(bench: Bench) -> None:
    """Given one of everything that waits for somebody, Then check names every subject that the tick names."""
    bench.edit("refused", options="8", segments=("shop/typo",))
    bench.start(bench.settings.saved[f"{CONNECTION}/refused"])
    bench.edit("stopped", options="9", segments=(LAPSED,))
    bench.stop("stopped", "list_gone", "is gone")
    bench.edit("rejecting", options="10", mapping={"email": "attributes.emial"})
    bench.full_run(bench.settings.saved[f"{CONNECTION}/rejecting"])
    bench.settings.problems[f"{CONNECTION}/broken"] = SettingsProblem("mapping", "is missing", field="mapping")
    receipts.add(bench.database, "shop", receipts.Counts(rejected=30), nobody=True, names=())
    bench.tool.missing = "9"
    keep_import(bench, "i-1", VIP, ImportState.NEEDS_CONFIRMATION)
    keep_import(bench, "i-2", LAPSED, ImportState.REFUSED)
    bench.tick()
    alarmed = {line["subject"] for line in bench.logged() if line["message"] == "needs attention"}
    assert len(alarmed) == 7

    errors = {found["subject"] for found in check(bench)["findings"] if found["level"] == "error"}

    assert alarmed <= errors
