"""Random histories of both destinations keep every promise; and proof that they notice when something is broken.

RELAY_SEED sets the first seed. `python -m tests.histories` plays as many as wanted, and prints what happened in one.
"""

from __future__ import annotations

import os
import secrets

import pytest

from tests.histories.mistakes import MISTAKES, notice
from tests.histories.playing import SIDES, History, play

ENOUGH = 40
"""Histories within which a mistake must be noticed."""


@pytest.fixture(scope="session")
def first_seed(testrun_uid: str) -> int:
    """Return the first seed, the same in every worker: RELAY_SEED, or a random one."""
    return int(os.environ.get("RELAY_SEED", int(testrun_uid[:7], 16)))


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("name", SIDES)
def test_no_random_history_breaks_a_promise(name: str, number: int, first_seed: int) -> None:
    seed = first_seed + number
    try:
        play(seed, name)
    except Exception as error:
        raise AssertionError(
            f"history {seed} of {name} broke a promise: {error}\n"
            f"see what happened: PYTHONPATH=layers/relay:. .venv/bin/python -m tests.histories "
            f"--destination {name} --seed {seed} --trace"
        ) from error


@pytest.mark.parametrize("name", SIDES)
def test_a_seed_plays_the_same_history_every_time(name: str) -> None:
    seed = secrets.randbelow(10**6)
    one, other = History(seed, name), History(seed, name)
    assert one.play() == other.play()
    assert list(one.world.happened) == list(other.world.happened)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_noticed(name: str) -> None:
    mistake = MISTAKES[name]
    if notice(name, mistake.seed, 1)[0] is not None:
        return
    # What is played from a seed changes with the code: then another history must notice it.
    assert notice(name, 0, ENOUGH)[0] is not None, f"nothing notices that {mistake.says}"
