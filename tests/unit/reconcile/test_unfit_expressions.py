"""An expression that cannot be worked out for one profile concerns that profile alone."""

from typing import Any

import pytest

from relay.domain.problems import RejectionKind
from relay.reconcile.verdict import DELIVERED
from tests.fakes.bench import CONNECTION, Bench
from tests.fakes.observing import counted

NAMED = {"email": "attributes.email", "name": "join(' ', [attributes.first, attributes.last])"}
BY_PARTS = {"email": "join('@', [attributes.user, attributes.host])", "name": "attributes.first"}
DOUBLES = {"email": "attributes.email", "name": " | ".join(["attributes.list", *["[@, @]"] * 10])}


def bench_with(mapping: dict[str, str], **options: Any) -> Bench:
    bench = Bench(**options)
    bench.edit(mapping=mapping)
    for number in (2, 3, 4, 5):
        bench.store(number, email=f"{number}@x.example", user=str(number), host="x.example", first="Kim", last="Lee")
    return bench


def warnings(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str, float]]:
    lines = counted(capsys.readouterr().out, "Warnings")
    return [(line["connection"], line["outcome"], line["value"]) for line in lines]


def test_an_optional_value_that_cannot_be_worked_out_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    bench = bench_with(NAMED)
    bench.store(4, last=None)
    assert bench.consume(bench.look(2, 3, 4, 5)) == []
    assert bench.tool.holds() == {
        "2@x.example": {"name": "Kim Lee"},
        "3@x.example": {"name": "Kim Lee"},
        "4@x.example": {},
        "5@x.example": {"name": "Kim Lee"},
    }
    assert warnings(capsys) == [(CONNECTION, "unfit_expression", 1)]


def test_nobody_is_warned_of_when_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    bench = bench_with(NAMED)
    bench.consume(bench.look(2, 3, 4, 5))
    assert warnings(capsys) == []


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_every_run_counts_the_warning_beside_its_ledger(imports: bool) -> None:
    bench = bench_with(NAMED, imports=imports, streams=False)
    bench.store(3, last=7)
    bench.store(4, last=None)
    run = bench.full_run()
    assert bench.counts(run) == {"selected": 4, "delivered": 4, "warning:unfit_expression": 2}
    again = bench.full_run()
    assert bench.counts(again) == {"assigned": 4, "selected": 4, "unchanged": 4, "warning:unfit_expression": 2}
    assert len(bench.tool.holds()) == 4


def test_a_profile_with_several_unfit_values_is_counted_once() -> None:
    bench = bench_with({**NAMED, "plan": "sum(attributes.first)", "city": "keys(attributes.last)"}, streams=False)
    bench.store(4, last=None)
    assert bench.counts(bench.full_run())["warning:unfit_expression"] == 4
    assert bench.tool.holds()["4@x.example"] == {}


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_an_identity_that_cannot_be_worked_out_is_a_rejection(imports: bool) -> None:
    bench = bench_with(BY_PARTS, imports=imports, streams=False)
    bench.store(4, host=None)
    run = bench.full_run()
    assert bench.counts(run) == {"selected": 4, "delivered": 3, "rejected": 1, "rejected:unfit_expression": 1}
    assert sorted(bench.tool.holds()) == ["2@x.example", "3@x.example", "5@x.example"]
    rejection = bench.assignment(4).rejection
    assert rejection is not None
    assert rejection.kind is RejectionKind.DATA

    bench.store(4, host="y.example")
    bench.full_run()
    assert "4@y.example" in bench.tool.holds()


def test_whoever_was_in_leaves_when_the_identity_cannot_be_worked_out_any_more() -> None:
    bench = bench_with(BY_PARTS)
    bench.full_run()
    bench.store(4, host=None)
    bench.consume(bench.look(4))
    assert sorted(bench.tool.holds()) == ["2@x.example", "3@x.example", "5@x.example"]


def test_what_grows_without_limit_for_one_profile_harms_no_other() -> None:
    bench = bench_with(DOUBLES)
    bench.store(4, list=list(range(1000)))
    assert bench.reconcile(2, 3, 4, 5) == dict.fromkeys((2, 3, 4, 5), DELIVERED)
    assert len(bench.tool.holds()) == 4
