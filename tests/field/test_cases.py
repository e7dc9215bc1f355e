"""What people really send: each case in `cases/` has the right result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.field.comparing import differences
from tests.field.reading import read_case
from tests.field.replaying import replay

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))

STILL_WRONG: set[str] = {
    "37-schedule-without-input",
    "38-disabled-schedule-counts-as-own",
}
"""Names of cases whose result is still wrong; a case that has become right fails until its name is taken out."""


def _parameters() -> list[object]:
    wrong = pytest.mark.xfail(strict=True, raises=AssertionError, reason="still wrong")
    return [pytest.param(case, id=case.stem, marks=[wrong] if case.stem in STILL_WRONG else []) for case in CASES]


@pytest.mark.parametrize("file", _parameters())
def test_a_case_has_the_right_result(file: Path) -> None:
    case = read_case(file)
    assert case.expect
    found = differences(case.expect, replay(case))
    assert not found, "\n".join(found)


def test_every_case_that_is_still_wrong_is_there() -> None:
    assert {case.stem for case in CASES} >= STILL_WRONG
