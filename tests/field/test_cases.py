"""What people really send: each case in `cases/` has the right result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.field.comparing import differences
from tests.field.reading import read_case
from tests.field.replaying import replay

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_a_case_has_the_right_result(file: Path) -> None:
    case = read_case(file)
    assert case.expect
    found = differences(case.expect, replay(case))
    assert not found, "\n".join(found)
