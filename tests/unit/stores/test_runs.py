"""Runs as they are stored: round trips, one run at a time, counts that move with the cursor."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.runs import ENDED, Phase, Run, RunState, Shard, first_shards
from relay.stores import runs
from relay.stores.database import Table
from relay.stores.runs import KEPT
from tests.fakes.memory_database import MemoryDatabase

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MAIN = "letters/main"
RUN = Run("20260501T120000-1", MAIN, "test", RunState.RUNNING, Phase.DELIVER, 2, 7, NOON)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2300, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - of UTC
RUNS = st.builds(
    Run,
    id=st.text("0123T-ab", min_size=1, max_size=20),
    export=st.sampled_from([MAIN, "others/main"]),
    cause=TEXTS,
    state=st.sampled_from(RunState),
    phase=st.sampled_from(Phase),
    shards=st.integers(1, 256),
    settings=st.integers(0, 2**53),
    started_at=MOMENTS,
    ended_at=st.none() | MOMENTS,
    reason=st.none() | TEXTS,
    confirmed_by=st.none() | TEXTS,
    retry=st.none() | TEXTS,
    version=st.just(1),
)


def later(number: int, **changes: Any) -> Run:
    moment = NOON + timedelta(hours=number)
    return replace(RUN, id=f"{moment:%Y%m%dT%H%M%S}-1", started_at=moment, **changes)


def begun(run: Run = RUN) -> MemoryDatabase:
    database = MemoryDatabase()
    assert runs.begin(database, run)
    return database


def stored(database: MemoryDatabase, run: Run = RUN) -> Run:
    found = runs.load(database, run.id)
    assert found is not None
    return found


@settings(max_examples=200)
@given(RUNS)
def test_every_run_comes_back_as_it_was(run: Run) -> None:
    database = begun(run)
    assert runs.load(database, run.id) == run
    assert runs.latest(database, run.export) == [run]
    assert sorted(runs.shards(database, run.id), key=lambda shard: (shard.phase, shard.index)) == first_shards(run)


def test_what_was_never_written_is_none() -> None:
    database = MemoryDatabase()
    assert runs.load(database, "r1") is None
    assert runs.shard(database, "r1", Phase.DELIVER, 0) is None
    assert (runs.active(database, MAIN), runs.newest(database, MAIN), runs.latest(database, MAIN)) == (None, None, [])


@pytest.mark.parametrize("state", RunState)
def test_a_run_begins_only_when_the_last_one_is_over(state: RunState) -> None:
    database = begun()
    assert runs.change_state(database, stored(database), state, NOON)
    assert (runs.active(database, MAIN) is None) is (state in ENDED)
    assert runs.begin(database, later(1)) is (state in ENDED)
    assert runs.begin(database, replace(later(2), export="letters/other"))


def test_of_two_runs_that_begin_at_once_one_does() -> None:
    database = MemoryDatabase()
    begins: list[bool] = []
    database.interrupt("transact", lambda: begins.append(runs.begin(database, later(1))))
    begins.append(runs.begin(database, RUN))
    assert begins == [True, False]
    assert runs.load(database, RUN.id) is None
    assert [run.id for run in runs.latest(database, MAIN)] == [later(1).id]


def test_of_two_who_change_a_run_one_does() -> None:
    database = begun()
    seen = stored(database)
    assert runs.change_state(database, seen, RunState.CANCELLED, NOON, "cancelled by an operator")
    assert not runs.change_state(database, seen, RunState.FINISHED, NOON)
    assert not runs.next_phase(database, seen, "an operator")
    found = stored(database)
    assert (found.state, found.reason, found.ended_at) == (RunState.CANCELLED, "cancelled by an operator", NOON)


def test_a_run_that_waits_has_not_ended_and_goes_on_without_a_reason() -> None:
    database = begun()
    runs.change_state(database, stored(database), RunState.NEEDS_CONFIRMATION, NOON, "many would leave")
    assert stored(database).ended_at is None
    assert runs.next_phase(database, stored(database), "an operator")
    found = stored(database)
    assert (found.state, found.phase, found.reason) == (RunState.RUNNING, Phase.REMOVE, None)
    assert found.confirmed_by == "an operator"


def test_a_refused_run_is_listed_and_blocks_no_other() -> None:
    database = MemoryDatabase()
    runs.refuse(database, replace(RUN, state=RunState.REFUSED, reason="segments never seen", ended_at=NOON))
    assert stored(database).state is RunState.REFUSED
    assert runs.newest(database, MAIN) == stored(database)
    assert runs.begin(database, later(1))


def test_runs_are_listed_newest_first_for_each_export() -> None:
    database = MemoryDatabase()
    for number in range(25):
        runs.refuse(database, later(number))
        runs.refuse(database, replace(later(number), id=f"{later(number).id}x", export="letters/other"))
    assert [run.id for run in runs.latest(database, MAIN)] == [later(number).id for number in range(24, 4, -1)]
    assert [run.id for run in runs.latest(database, MAIN, 2)] == [later(24).id, later(23).id]


def test_a_forgotten_export_has_no_last_run() -> None:
    database = begun()
    runs.forget_last(database, MAIN)
    assert runs.active(database, MAIN) is None
    assert runs.begin(database, later(1))


def test_a_page_that_two_work_on_at_once_is_counted_once() -> None:
    database = begun()
    shard = Shard(1, Phase.DELIVER)
    counts = {"selected": 2, "delivered": 1, "rejected": 1, "rejected:excluded": 1, "duplicate": 0}
    moves = [runs.move(RUN, shard, to="ab", done=False, counts=counts, seen=1, now=NOON) for _ in range(2)]
    assert database.write(moves) == [True, False]
    found = runs.shard(database, RUN.id, Phase.DELIVER, 1)
    kept = {name: n for name, n in counts.items() if n}
    assert found == Shard(1, Phase.DELIVER, "ab", False, kept, NOON, ((0, 1),))
    assert runs.shard(database, RUN.id, Phase.REMOVE, 1) == Shard(1, Phase.REMOVE, moved_at=NOON)


def test_a_cursor_that_is_through_stays() -> None:
    database = begun()
    shard = Shard(0, Phase.DELIVER)
    assert database.write([runs.move(RUN, shard, to="", done=True, counts={}, seen=1, now=NOON)]) == [True]
    assert database.write([runs.move(RUN, shard, to="ab", done=False, counts={}, seen=1, now=NOON)]) == [False]


def test_only_the_shards_of_a_phase_are_asked_for() -> None:
    database = begun()
    assert [shard.index for shard in runs.shards(database, RUN.id, Phase.REMOVE)] == [0, 1]
    assert {shard.phase for shard in runs.shards(database, RUN.id, Phase.REMOVE)} == {Phase.REMOVE}
    assert len(runs.shards(database, RUN.id)) == 5


def test_a_message_sent_again_is_noted_unless_the_cursor_moved_meanwhile() -> None:
    database = begun()
    stale, other = Shard(0, Phase.DELIVER), Shard(1, Phase.DELIVER)
    database.write([runs.move(RUN, stale, to="ab", done=False, counts={}, seen=1, now=NOON)])
    runs.note_sent_again(database, RUN.id, [stale, other], NOON + timedelta(minutes=16))
    moved = [shard.moved_at for shard in runs.shards(database, RUN.id, Phase.DELIVER)]
    assert moved == [NOON, NOON + timedelta(minutes=16)]


def test_everything_of_a_run_expires() -> None:
    database = begun()
    expiring = [item for item in database.items(Table.CONTROL) if item["pk"] not in (f"export#{MAIN}", "notices")]
    assert {item.get("expires_at") for item in expiring} == {int((NOON + KEPT).timestamp())}
