"""The suite can fail: each of these mistakes, planted in a destination, turns a part of it red."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.contract import shared_mistakes
from tests.contract.destinations import PACKAGES, part_of
from tests.contract.planting import Mistake, is_noticed, planted

pytestmark = pytest.mark.exhaustive

OF_ONE: tuple[Mistake, ...] = tuple(mistake for name in PACKAGES for mistake in part_of(name, "mistakes").MISTAKES)
MISTAKES = (*OF_ONE, *shared_mistakes.MISTAKES)
ENOUGH = 15


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.kind.name}: {mistake.name}")
def test_a_mistake_is_noticed(mistake: Mistake) -> None:
    with planted(mistake, PACKAGES[mistake.kind.name]):
        played = mistake.noticed_by.__name__
        assert is_noticed(mistake), f"{played} stays green with this mistake: name another test, or mend the suite"


def test_there_are_enough_mistakes_in_every_destination() -> None:
    counts = Counter(mistake.kind.name for mistake in OF_ONE)
    assert counts.keys() == PACKAGES.keys()
    assert min(counts.values()) >= ENOUGH
    names = [(mistake.kind.name, mistake.name) for mistake in MISTAKES]
    assert len(names) == len(set(names))
