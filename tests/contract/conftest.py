"""The suite plays every subject of every destination."""

from __future__ import annotations

import pytest

from tests.contract.destinations import PACKAGES, part_of
from tests.contract.subject import Subject

SUBJECTS: tuple[type[Subject], ...] = tuple(kind for name in PACKAGES for kind in part_of(name, "subject").SUBJECTS)
LEAVE_OUT = tuple(kind for kind in SUBJECTS if kind.leaves_out)
COME_BACK = tuple(kind for kind in SUBJECTS if kind.comes_back)
PAGED = tuple(kind for kind in SUBJECTS if kind.page_size is not None)


def name_of(kind: type[Subject]) -> str:
    """Return a subject's name in a test's id: the destination's name stands first, so that `-k` finds it by that."""
    return f"{kind.name}-{kind.__name__.removesuffix('Subject')}"


@pytest.fixture(params=SUBJECTS, ids=name_of)
def kind(request: pytest.FixtureRequest) -> type[Subject]:
    """Every destination, for tests that make their own sandboxes."""
    kind: type[Subject] = request.param
    return kind


@pytest.fixture
def subject(kind: type[Subject]) -> Subject:
    """Every destination with a fresh sandbox."""
    return kind()
