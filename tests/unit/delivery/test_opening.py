"""Opening an export: gates, pauses, and targets that belong to one export only."""

import pytest

from relay.delivery.opening import GateClosed, Paused
from relay.domain.problems import ExportProblem, SettingsProblem, StaleSettings
from relay.settings.names import UnknownExport
from relay.stores import gates
from relay.stores.gates import Gate, scope_of
from tests.fakes.delivery_bench import CONNECTION, Bench


def two_exports_to_one_list() -> Bench:
    bench = Bench(imports=True)
    bench.edit("other", options="7")
    bench.opener.own_targets(bench.export)
    return bench


def test_an_open_export_comes_with_its_job() -> None:
    bench = Bench()
    opened = bench.opener.open(bench.export.key, at_least=bench.export.version, thorough=True)
    assert (opened.job.export, opened.job.thorough) == (bench.export, True)


def test_older_settings_than_asked_for_are_not_used() -> None:
    bench = Bench()
    with pytest.raises(StaleSettings):
        bench.opener.open(bench.export.key, at_least=2)


@pytest.mark.parametrize("scope", ["connection", scope_of("main")])
def test_a_closed_gate_is_told(scope: str) -> None:
    bench = Bench()
    gates.close(bench.database, CONNECTION, Gate(scope), "code", "reason", bench.clock.now())
    with pytest.raises(GateClosed) as raised:
        bench.opener.open(bench.export.key, at_least=1)
    assert raised.value.gate.scope == scope


def test_a_paused_export_is_told() -> None:
    bench = Bench()
    bench.edit(active=False)
    with pytest.raises(Paused):
        bench.opener.open(bench.export.key, at_least=1)


def test_of_two_exports_to_one_list_the_second_is_refused_and_told_who_has_it() -> None:
    bench = two_exports_to_one_list()
    with pytest.raises(ExportProblem, match="list/7 belongs to export main of this connection"):
        bench.opener.open(f"{CONNECTION}/other", at_least=1)
    bench.opener.open(bench.export.key, at_least=1)


def test_another_connection_may_have_a_list_of_the_same_name() -> None:
    bench = two_exports_to_one_list()
    elsewhere = bench.export.__class__(
        "elsewhere", "main", "tool", True, True, bench.export.segments, bench.export.mapping, "7", 1
    )
    bench.settings.save(elsewhere)
    bench.opener.open("elsewhere/main", at_least=1)


def test_a_list_is_free_again_when_its_export_is_deleted_or_goes_elsewhere() -> None:
    bench = two_exports_to_one_list()
    bench.edit("main", options="8")
    bench.opener.open(f"{CONNECTION}/other", at_least=1)

    bench.edit("third", options="7")
    del bench.settings.saved[f"{CONNECTION}/other"]
    bench.opener.open(f"{CONNECTION}/third", at_least=1)


def test_an_export_whose_settings_are_invalid_for_a_while_does_not_lose_its_list() -> None:
    bench = two_exports_to_one_list()
    bench.settings.problems[bench.export.key] = SettingsProblem("mapping", "is missing", field="mapping")
    with pytest.raises(ExportProblem):
        bench.opener.open(f"{CONNECTION}/other", at_least=1)
    bench.settings.problems.clear()
    bench.opener.open(bench.export.key, at_least=1)


def test_an_export_that_comes_back_finds_its_list_taken_though_its_process_remembers_owning_it() -> None:
    """Given main moved away, and another process gave its list to other, When main moves back, Then it is refused."""
    bench = two_exports_to_one_list()
    bench.edit("main", options="8")
    bench.new_opener().open(f"{CONNECTION}/other", at_least=1)
    bench.edit("main", options="7")
    with pytest.raises(ExportProblem, match="belongs to export other"):
        bench.opener.open(bench.export.key, at_least=3)


def test_an_export_that_is_gone_cannot_be_opened() -> None:
    bench = Bench()
    with pytest.raises(UnknownExport):
        bench.opener.open(f"{CONNECTION}/gone", at_least=1)


def test_two_exports_that_swap_their_lists_leave_both_lists_right() -> None:
    """Given one profile in both, When main goes from list 7 to 9 and other from 8 to 7, Then it is in 7 and 9."""
    bench = Bench(imports=True)
    bench.edit("other", options="8")
    bench.store(2, email="ann@x.example")
    other = f"{CONNECTION}/other"
    bench.consume(bench.look(2), bench.look(2, export="other", settings=1))
    bench.work_off()
    assert sorted(target for target, _ in bench.tool.held) == ["list/7", "list/8"]
    bench.edit("main", options="9")
    bench.edit("other", options="7")

    bench.consume(bench.look(2, export="other", settings=2))
    bench.work_off()
    bench.consume(bench.look(2))
    bench.work_off()
    for key in (other, bench.export.key):
        bench.starter.start(bench.settings.export(key), "test")
        bench.work_off()

    assert sorted(target for target, _ in bench.tool.held) == ["list/7", "list/9"]
