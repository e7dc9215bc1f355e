"""Random schedules; and proof that the simulation notices when something is broken.

RELAY_SCHEDULES says how many schedules to play (300, half of them in the wider world; a quarter of that besides in
each of the crowded and the flawed world), RELAY_SEED the first seed (a random one, printed).
"""

import os
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from relay.delivery.engine import Engine
from relay.delivery.settling import Settling
from relay.delivery.wakeups import Wakeups
from relay.domain import claims
from relay.domain.exports import Export
from relay.domain.runs import Outcome
from relay.queues import Message
from tests.fakes.simulated_queue import SimQueue
from tests.simulation.crowded_world import CrowdedWorld, play_crowded
from tests.simulation.flawed_world import FlawedWorld, play_flawed
from tests.simulation.wider_world import WiderWorld
from tests.simulation.world import BrokenPromise, TrippingRouter, World, play

SCHEDULES = int(os.environ.get("RELAY_SCHEDULES", "300"))
CHUNKS = 10
"""Tests that pytest-xdist spreads over its workers."""

ENOUGH = 150
"""Schedules within which a broken part must be noticed."""


@pytest.fixture(scope="session")
def first_seed(testrun_uid: str) -> int:
    """Return the first seed, the same in every worker."""
    return int(os.environ.get("RELAY_SEED", int(testrun_uid[:7], 16)))


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("world", [World, WiderWorld])
def test_no_random_schedule_breaks_a_promise(chunk: int, world: Callable[[int], World], first_seed: int) -> None:
    wide = " --wide" if world is WiderWorld else ""
    seeds = range(first_seed + chunk, first_seed + SCHEDULES // 2, CHUNKS)
    sys.stdout.write(f"seeds {seeds}{wide}")
    for seed in seeds:
        try:
            play(seed, make=world)
        except Exception as error:
            raise AssertionError(
                f"schedule {seed} broke a promise: {error}\n"
                f"replay it with: PYTHONPATH=layers/relay:. .venv/bin/python -m tests.simulation "
                f"--schedules 1 --seed {seed}{wide}"
            ) from error


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize(("kind", "play_it"), [("crowded", play_crowded), ("flawed", play_flawed)])
def test_neither_a_crowd_nor_a_defect_breaks_a_promise(
    chunk: int, kind: str, play_it: Callable[[int], World], first_seed: int
) -> None:
    for seed in range(first_seed + chunk, first_seed + SCHEDULES // 4, CHUNKS):
        try:
            play_it(seed)
        except Exception as error:
            raise AssertionError(
                f"schedule {seed} broke a promise: {error}\n"
                f"replay it with: PYTHONPATH=layers/relay:. .venv/bin/python -m tests.simulation "
                f"--schedules 1 --seed {seed} --{kind}"
            ) from error


def test_a_claim_that_forgets_whom_it_turned_away_is_noticed() -> None:
    with patch.object(claims, "_with_more", lambda claim, now: claim):
        assert notices(CrowdedWorld, with_what=play_crowded)


def test_a_row_of_an_import_that_is_set_aside_and_not_counted_is_noticed() -> None:
    with patch.object(Settling, "set_aside", lambda *_: None):
        assert notices(FlawedWorld, with_what=play_flawed)


@pytest.mark.parametrize("seed", [145784497])
def test_a_schedule_that_once_broke_a_promise_keeps_it(seed: int) -> None:
    """A run waited for somebody in both passes, and counted them in place of somebody else who left."""
    play(seed)


def test_a_seed_plays_the_same_schedule_every_time() -> None:
    seed = secrets.randbelow(10**6)
    one, other = (play(seed, 60) for _ in range(2))
    assert one.database.steps == other.database.steps
    assert one.database.snapshot() == other.database.snapshot()


def test_runs_that_would_empty_a_list_wait_for_an_operator() -> None:
    """Without this the schedules might never have met the guard."""
    assert any(play(seed).confirmed for seed in range(ENOUGH))


# Broken parts. Each is what a plausible mistake in that part would do.


class ForgetfulSettling(Settling):
    """Ends flights and wakes nobody who waited."""

    def flush(self, export: Export, keys: Sequence[str]) -> None:
        return


class ForgetfulEngine(Engine):
    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self._settling = ForgetfulSettling(self._database, self._clock, self._wakeups)


class RecklessEngine(Engine):
    """Calls without having written its intent."""

    def _write_intents(self, job: Any, plans: Any, claims: Any) -> list[bool]:
        return [True for _ in plans]


class ImpatientEngine(Engine):
    """Does not wait for what another call may still do."""

    def _plans(self, job: Any, cases: Any, claims: Any, fates: Any, *more: Any) -> Any:
        without = {key: replace(claim, flight=None, echo_until=None) for key, claim in claims.items()}
        return super()._plans(job, cases, without, fates, *more)


class LossyQueue(SimQueue):
    """Accepts every look-again, and loses half of them."""

    def send(self, messages: Sequence[Message]) -> None:
        super().send([m for m in messages if m.body["kind"] != "look" or self.chance.random() < 0.5])


class ForgetfulWorld(World):
    def _engine(self) -> Engine:
        return ForgetfulEngine(*self._engine_parts(), **self._engine_options())

    def _settling(self) -> Settling:
        return ForgetfulSettling(self.database, self.clock, self._wakeups())


class RecklessWorld(World):
    def _engine(self) -> Engine:
        return RecklessEngine(*self._engine_parts(), **self._engine_options())


class ImpatientWorld(World):
    def _engine(self) -> Engine:
        return ImpatientEngine(*self._engine_parts(), **self._engine_options())


class LossyWorld(World):
    """Loses messages between route and the destinations, where a streaming export has no run to heal it."""

    def _queue(self, name: str, *, fifo: bool) -> SimQueue:
        kind = LossyQueue if fifo else SimQueue
        return kind(name, fifo, self.clock.now, self.step, self.chance)


class DeafWakeups(Wakeups):
    """Never asks for an import to be looked at."""

    def check_import(self, *_: Any) -> None:
        return


class DeafWorld(World):
    def _wakeups(self) -> Wakeups:
        return DeafWakeups(
            self.queues.__getitem__, self.checks, lambda name: self.destinations[name].shards, self.clock
        )


class StaleEngine(Engine):
    """Overrides what has changed since."""

    def _plans(self, job: Any, cases: Any) -> Any:  # type: ignore[override]
        return super()._plans(job, cases, {}, {}, {})


class StaleWorld(World):
    def _engine(self) -> Engine:
        return StaleEngine(*self._engine_parts(), **self._engine_options())


class SilentRouter(TrippingRouter):
    """Makes aliases of profiles and wakes nobody who was told of them."""

    def _say_look_again(self, works: Any, outlines: Any) -> None:
        for work in works:
            work.given_up = set()
            work.ids = {work.profile.id}
        super()._say_look_again(works, outlines)


class SilentWorld(World):
    router = SilentRouter


class DoublingRouter(TrippingRouter):
    """Sends changes on by themselves, and counts them where they came from, too."""

    def _enter(self, batches: Any, works: Any) -> list[str]:
        for batch in batches:
            for place in range(len(batch.batch.changes)):
                if any(work.defect and told.batch is batch for work in works for told in work.told):
                    self._send_on([batch], {batch.batch.id: [place]})
        return super()._enter(batches, works)


class DoublingWorld(World):
    router = DoublingRouter


class AbsentEngine(Engine):
    """Lets aliases leave instead of handing over."""

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self._handing_over.hand_over = lambda job, cases: set()  # type: ignore[method-assign]

    def survey(self, job: Any, profile_ids: Any) -> list[Any]:
        # And whoever is an alias has nothing to do any more.
        return [
            replace(case, outcome=Outcome.ABSENT) if case.survivor is not None else case
            for case in super().survey(job, profile_ids)
        ]


class AbsentWorld(World):
    def _engine(self) -> Engine:
        return AbsentEngine(*self._engine_parts(), **self._engine_options())


@pytest.mark.parametrize(
    "broken",
    [
        ForgetfulWorld,
        RecklessWorld,
        ImpatientWorld,
        LossyWorld,
        DeafWorld,
        SilentWorld,
        DoublingWorld,
        AbsentWorld,
    ],
)
def test_a_broken_part_is_noticed(broken: Callable[[int], World]) -> None:
    assert notices(broken)


def test_a_part_that_trips_is_no_proof() -> None:
    with pytest.raises(TypeError):
        notices(StaleWorld)


def notices(broken: Callable[[int], World], *, with_what: Callable[..., World] = play) -> bool:
    """Return whether a promise is broken. A part that only trips over what it overrides raises what it tripped over."""
    for seed in range(ENOUGH):
        try:
            with_what(seed, make=broken)
        except BrokenPromise:
            return True
    return False
