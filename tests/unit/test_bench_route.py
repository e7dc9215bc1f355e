"""A small run of the benchmark of route. What depends on the machine is not looked at."""

import json
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from local.benchmarks import __main__ as benchmarks
from local.benchmarks import prices, route
from relay.sources.dialects import DIALECTS

pytestmark = pytest.mark.exhaustive


@pytest.mark.enable_socket
def test_a_small_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    status = benchmarks.main(["route", "--profiles", "300", "--json"])

    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert status == (1 if report["missed"] else 0)
    figures = report["figures"]
    for name in ("cpu_seconds_per_100k", "calls_per_1000", "list_price_per_million"):
        assert figures[name].keys() == route.CASES.keys()
        assert all(value > 0 for value in figures[name].values())
    # The catalogue and the directory are paid for once.
    written = figures["write_units_per_1000"]
    of_dialects = {case: written.pop(case) for case in [*written] if case.startswith("of_")}
    assert of_dialects.keys() == {f"of_{dialect}" for dialect in DIALECTS}
    assert of_dialects == pytest.approx(dict.fromkeys(of_dialects, 2_010), abs=15)
    assert figures["single_writes"] == 603
    assert figures["settings_reads"] == 0
    assert written == pytest.approx(
        {
            "first": 2_020,
            "changed": 1_020,
            "again": 20,
            "first_by_10": 2_000 + 2_000 / 300,
            "changed_by_10": 1_000 + 2_000 / 300,
            "again_by_10": 2_000 / 300,
        },
        abs=5,
    )
    assert figures["read_units_per_1000"] == pytest.approx(dict.fromkeys(route.CASES, 1_000), abs=10)
    writes = 2_020 * 1_000 * prices.DYNAMODB_WRITE_UNIT
    assert writes < figures["list_price_per_million"]["first"] < writes + 0.5
    assert 20 < figures["peak_mb"] < 200


def test_batches_are_the_templates() -> None:
    template = yaml_parse((Path(__file__).parents[2] / "template.yaml").read_text(encoding="utf-8"))
    function = template["Resources"]["RouteFunction"]["Properties"]
    assert function["Events"]["Changes"]["Properties"]["BatchSize"] == route.BATCH
