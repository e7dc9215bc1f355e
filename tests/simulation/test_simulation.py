"""Random schedules keep every promise; and proof that the simulation notices when something is broken.

`python -m tests.simulation` plays many more. CI plays 300 over all worlds besides these (`make check`).
"""

import os
import secrets
from dataclasses import replace

import pytest
from greenlet import getcurrent

from relay.domain.changes import MembershipChange
from relay.stores.database import Key, Table
from tests.simulation import playing, races
from tests.simulation.mistakes import MISTAKES, notice
from tests.simulation.playing import WORLDS, Session, attempt, play, tasks
from tests.simulation.process import Process
from tests.simulation.world import SEGMENTS, TIMEOUT, Worker, World

ENOUGH = 150
"""Schedules within which a mistake must be noticed, should its seed play another one by now."""


@pytest.fixture(scope="session")
def first_seed(testrun_uid: str) -> int:
    """Return the first seed, the same in every worker: RELAY_SEED, or a random one."""
    return int(os.environ.get("RELAY_SEED", int(testrun_uid[:7], 16)))


@pytest.mark.parametrize("number", range(12))
def test_no_random_schedule_breaks_a_promise(number: int, first_seed: int) -> None:
    task = tasks(first_seed, 12)[number]
    played = attempt(task)
    assert played.problem is None, (
        f"seed {task.seed} in the {task.world} world:\n{played.problem}\n"
        f"replay: PYTHONPATH=layers/relay:. .venv/bin/python -m tests.simulation "
        f"--tell --seed {task.seed} --world {task.world}"
    )


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_noticed(name: str) -> None:
    mistake = MISTAKES[name]
    if mistake.seed is not None and notice(name, mistake.seed, 1)[1] is not None:
        return
    # What is played from a seed changes with the code, and with PYTHONHASHSEED: then another schedule must notice it.
    assert notice(name, 0, ENOUGH)[1] is not None, f"nothing notices that {mistake.says}"


@pytest.mark.parametrize("world", WORLDS)
def test_a_seed_plays_the_same_schedule_every_time(world: str) -> None:
    seed = secrets.randbelow(10**6)
    one, other = (play(seed, 60, make=WORLDS[world]) for _ in range(2))
    assert one.database.steps == other.database.steps
    assert one.database.snapshot() == other.database.snapshot()


@pytest.mark.parametrize("meets", [False, True])
def test_an_invocation_does_nothing_after_its_time_is_up(meets: bool) -> None:
    world = World(0)
    begun, did = world.time, []
    if meets:
        # Then the clock moves on with the one that waits.
        world._meeting, world._meeting_steps = Key(Table.CONTROL, "a", "b"), 1

    def work(process: Process) -> list[str]:
        for _ in range(20):
            process.clock.sleep(10)
            did.append(world.time - begun)
        return []

    world.invoke("slow", work, None, [])
    world.pass_time(300)
    assert max(did) == TIMEOUT
    assert world.deaths == 1


def test_whoever_was_overtaken_goes_on_only_while_there_is_time() -> None:
    world = World(0)
    did = []

    def work(process: Process) -> list[str]:
        worker = getcurrent()
        assert isinstance(worker, Worker)
        world._leave(worker)
        did.append("on time")
        world._leave(worker)
        did.append("too late")
        return []

    world.invoke("slow", work, None, [])
    (worker,) = world._workers
    world._move_clock(TIMEOUT.total_seconds())
    world._go_on(worker)
    world._move_clock(1)
    world._go_on(worker)
    assert did == ["on time"]
    assert world._workers == []


def test_there_is_no_rest_until_an_edited_export_has_had_its_run() -> None:
    world = World(0)
    with world.under_way():
        # A run is refused while a segment was never seen.
        seen = [MembershipChange(segment, True, world.time) for segment in SEGMENTS]
        world.post_changes([replace(world.change(), memberships=seen)])
        world.settle_down()
        streaming = [key for key, export in world.console.exports.items() if export.stream]
        assert streaming
        assert world.is_at_rest()
        for key in streaming:
            world.edit_export(key)
        assert not world.is_at_rest()
        world.come_to_rest()
    for key in streaming:
        assert world._activated(key) == world.console.exports[key].version


def test_a_session_says_what_it_has_seen_and_which_races_were_never_lost() -> None:
    session = Session()
    for task in tasks(0, 3, "plain", 40):
        session.add(attempt(task))
    lines = list(session.lines())
    assert lines[0] == "3 schedules (3 plain), 0 broke a promise"
    assert any("member-years" in line for line in lines)
    assert set(races.missing({})) == set(races.KINDS)
    assert set(Session().unseen()) == {*races.KINDS, *playing.MUST_HAPPEN}
    assert races.missing(dict.fromkeys(races.KINDS, 1)) == []


def test_all_worlds_have_their_turn() -> None:
    assert set(playing.TURNS) == set(WORLDS)
