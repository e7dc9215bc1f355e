"""Whoever comes back before a forgetting is over: a deletion that was asked for is done, and then the person enters."""

from datetime import timedelta
from typing import Any

import pytest

from relay.domain import moments
from relay.domain.changes import Forget
from relay.stores import segments
from relay.stores.forgettings import AT_MOST
from relay.workers.forgetting import PAUSED
from relay.workers.operators.protocol import Level
from tests.fakes.bench import CONNECTION, LAPSED, MINUTE, OTHER_CONNECTION, VIP, Bench, person

MAIN, OTHER = f"{CONNECTION}/main", f"{OTHER_CONNECTION}/main"
ANN, NEW = "ann@x.example", "ann.new@x.example"
PLACE = f"segment/{VIP}"


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.store(4, email=ANN, name="Ann")
    bench.store(6, email="bob@x.example")
    bench.tick(after=MINUTE)
    bench.work_off()
    return bench


def forget(bench: Bench, how: Forget = Forget.AT_DESTINATIONS) -> str:
    stored = bench.stack.forgetting.begin(person(4), how)
    assert stored is not None
    assert stored.forgotten is not None
    bench.clock.time += MINUTE
    return moments.text(stored.forgotten.at)


def answer(bench: Bench, at: str) -> Any:
    return bench.question("forget", Level.FORGET, profile=person(4), since=at)["answer"]


def departures(bench: Bench, at: str) -> dict[str, str]:
    return {one["export"]: one["what"] for one in answer(bench, at)["at_destinations"]}


@pytest.mark.parametrize("email", [ANN, NEW])
def test_a_deletion_is_done_though_something_newer_came_first(bench: Bench, email: str) -> None:
    at = forget(bench)
    bench.store(4, email=email, name="Ann Two")
    bench.tool.calls_made.clear()
    bench.reconcile(4)
    assert bench.tool.deleted == [ANN]
    assert (PLACE, email) not in bench.tool.held
    bench.pass_time(3 * MINUTE)
    assert bench.tool.deleted == [ANN]
    assert departures(bench, at) == {MAIN: "the contact or user was deleted"}
    assert bench.tool.held[PLACE, email] == {"name": "Ann Two"}
    assert {pair.identity for pair in bench.assigned(4)} == {email}
    assert answer(bench, at)["state"] == "done"


def test_somebody_who_comes_back_with_no_membership_is_deleted_all_the_same(bench: Bench) -> None:
    at = forget(bench)
    bench.store(4, inside=(), name="Ann Two")
    bench.pass_time(3 * MINUTE)
    assert bench.tool.deleted == [ANN]
    assert departures(bench, at) == {MAIN: "the contact or user was deleted"}
    assert bench.assigned(4) == set()
    assert segments.listing(bench.database, VIP, 4) == []


def test_the_person_enters_nowhere_before_the_deletion_is_done_everywhere(bench: Bench) -> None:
    bench.store(4, inside=(VIP, LAPSED), email=ANN)
    bench.reconcile(4)
    bench.full_run(bench.other_export)
    bench.edit(connection=OTHER_CONNECTION, active=False)
    at = forget(bench)
    bench.store(4, inside=(VIP, LAPSED), email=ANN, name="Ann Two")
    bench.pass_time(5 * MINUTE)
    assert (PLACE, ANN) not in bench.tool.held
    assert answer(bench, at)["waiting"] == [{"export": OTHER, "why": PAUSED}]
    assert "is deleted at the destinations first" in bench.ask("explain", profile=person(4))["sentence"]
    bench.edit(connection=OTHER_CONNECTION, active=True)
    bench.full_run(bench.other_export)
    bench.pass_time(4 * MINUTE)
    assert bench.other.deleted == [ANN]
    assert bench.tool.held[PLACE, ANN] == {"name": "Ann Two"}


def test_an_export_that_does_not_work_for_weeks_keeps_nobody_out_for_longer(bench: Bench) -> None:
    bench.store(4, inside=(VIP, LAPSED), email=ANN)
    bench.reconcile(4)
    bench.full_run(bench.other_export)
    bench.edit(connection=OTHER_CONNECTION, active=False)
    at = forget(bench)
    bench.store(4, inside=(VIP, LAPSED), email=ANN, name="Ann Two")
    bench.pass_time(2 * MINUTE)
    bench.tick(after=AT_MOST)
    bench.work_off()
    assert (PLACE, ANN) in bench.tool.held
    assert bench.other.deleted == []
    [left] = [one for one in answer(bench, at)["remains"] if one["where"] == OTHER]
    assert left["until"] is None
    assert "was not deleted" in left["what"]
    assert "delete it there" in left["what"]


def test_where_no_deletion_was_asked_for_a_look_compares(bench: Bench) -> None:
    at = forget(bench, Forget.HERE)
    bench.store(4, email=NEW, name="Ann Two")
    bench.tool.calls_made.clear()
    bench.pass_time(3 * MINUTE)
    assert bench.tool.deleted == []
    assert set(bench.tool.held) == {(PLACE, NEW), (PLACE, "bob@x.example")}
    assert {pair.identity for pair in bench.assigned(4)} == {NEW}
    assert answer(bench, at)["state"] == "done"


def test_what_a_paused_export_has_assigned_since_before_is_told(bench: Bench) -> None:
    bench.edit(active=False)
    at = forget(bench, Forget.HERE)
    bench.store(4, inside=(), name="Ann Two")
    bench.pass_time(2 * MINUTE)
    told = [one["what"] for one in answer(bench, at)["remains"] if one["where"] == MAIN]
    assert told == ["identities that it has assigned, until it works and looks at whoever came back"]


def test_who_was_deleted_and_came_back_is_not_deleted_again_for_becoming_one_with_another(bench: Bench) -> None:
    forget(bench)
    bench.pass_time(3 * MINUTE)
    bench.store(4, email=ANN, name="Ann Two")
    bench.reconcile(4)
    bench.store(2, email=ANN, name="Ann Three")
    bench.join(4, survivor=2)
    bench.reconcile(2, 4)
    bench.pass_time(3 * MINUTE)
    assert bench.tool.deleted == [ANN]
    assert (PLACE, ANN) in bench.tool.held


def test_who_comes_back_later_enters_at_once(bench: Bench) -> None:
    forget(bench)
    bench.pass_time(3 * MINUTE)
    bench.clock.time += timedelta(days=1)
    bench.store(4, email=ANN, name="Ann Two")
    bench.reconcile(4)
    assert bench.tool.held[PLACE, ANN] == {"name": "Ann Two"}
