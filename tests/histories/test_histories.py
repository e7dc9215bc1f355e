"""Random histories of both destinations; and proof that they notice when something is broken.

RELAY_HISTORIES says how many histories to play per destination, RELAY_SEED the first seed; without it the same ones are
played every time. `python -m tests.histories` plays new ones, as many as wanted, and prints what happened in one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from relay.delivery.pace import Pace
from relay.destinations.activecampaign import ActiveCampaign, contacts
from relay.destinations.activecampaign.look_ups import LookUp
from tests.histories.playing import SIDES, History, play
from tests.histories.promises import BrokenPromise

HISTORIES = int(os.environ.get("RELAY_HISTORIES", "30"))
FIRST_SEED = int(os.environ.get("RELAY_SEED", "1"))

ENOUGH = 40
"""Histories within which a broken part must be noticed."""


@pytest.mark.parametrize("name", SIDES)
def test_no_random_history_breaks_a_promise(name: str) -> None:
    sys.stdout.write(f"seeds {FIRST_SEED} to {FIRST_SEED + HISTORIES - 1}")
    for seed in range(FIRST_SEED, FIRST_SEED + HISTORIES):
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
    one, other = History(3, name), History(3, name)
    assert one.play() == other.play()
    assert list(one.world.told) == list(other.world.told)


# Broken parts. Each is what a plausible mistake in that part would do.


def ask_nobody(patch: pytest.MonkeyPatch) -> None:
    """Subscribe whoever is wanted."""
    patch.setattr(contacts, "standing_in_the_way", lambda *_, **__: None)


def believe(patch: pytest.MonkeyPatch) -> None:
    """Take what an import left open for done."""
    patch.setattr(LookUp, "_is_as_wanted", lambda *_: True)


def give_up(patch: pytest.MonkeyPatch) -> None:
    """Take every import without an answer for over."""
    patch.setattr(ActiveCampaign, "cleared_before", lambda *more: more[-1])


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Wait for nobody's turn."""
    patch.setattr(Pace, "__call__", lambda *_: None)


@pytest.mark.parametrize("broken", [ask_nobody, believe, give_up, hurry])
def test_a_broken_part_is_noticed(
    broken: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch)
    assert any(is_noticed(seed) for seed in range(ENOUGH))


def is_noticed(seed: int) -> bool:
    try:
        play(seed, "activecampaign")
    except BrokenPromise:
        return True
    return False
