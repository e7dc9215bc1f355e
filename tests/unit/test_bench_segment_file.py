"""The benchmark of segment files with 20,000 rows. What depends on the machine is not looked at."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.benchmarks import __main__ as benchmarks
from local.benchmarks import segment_file
from relay.files.reader import read_rows
from relay.files.rows import Part, Row

pytestmark = pytest.mark.exhaustive

ROWS = 20_000


@pytest.mark.enable_socket
def test_a_new_member_costs_two_write_units_and_an_unchanged_one_none(capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks.main(["segment-file", "--rows", str(ROWS), "--formats", "gzip", "--json"])

    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    figures = report["figures"]
    assert report["outcome"]["of_its_kind"] == {"gzip_new": ROWS, "gzip_unchanged": ROWS}
    assert 2 <= figures["write_units_per_row"]["gzip_new"] <= 2.01
    assert figures["write_units_per_row"]["gzip_unchanged"] <= 0.004
    assert figures["read_units_per_row"]["gzip_unchanged"] <= 1.05
    assert 0 < figures["peak_mb"]["gzip_new"] < 512
    # They count for the same report.
    assert segment_file.GOALS["new"]["write_units_per_row"].limit == 2.1


@pytest.mark.parametrize("name", segment_file.FORMATS)
def test_a_file_of_each_format_has_the_same_rows(name: str, tmp_path: Path) -> None:
    file = tmp_path / "folder" / name
    segment_file.write(file, name, 3)
    rows = list(read_rows([Part(name, lambda: file.open("rb"))], require=lambda part, columns: None))
    assert [row.values for row in rows if isinstance(row, Row)] == list(segment_file.rows_of(3))
