"""Visits: whatever a record went through, its visitors leave it with a next step that is somebody's."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.domain.assignment import Assignment, Pair
from relay.domain.identity import (
    CLOCK_MARGIN,
    OUT,
    UNKNOWN,
    Authority,
    Digest,
    Do,
    Record,
    Rest,
    Unclear,
    Unwanted,
    Wanted,
    answered,
)
from relay.domain.problems import StaleSettings
from relay.reconcile.desired import Role
from relay.reconcile.job import Job
from relay.reconcile.survey import Case
from relay.reconcile.visit import Visitor, ended, step_of, visit
from relay.stores.assignments import Stored
from tests.fakes.bench import Bench
from tests.unit.domain.test_identity import (
    BLUE,
    BOUND,
    MAIN,
    MINUTE,
    NOON,
    PROFILES,
    RECORDS,
    RED,
    called,
    claimed,
    delivered,
    played,
)
from tests.unit.reconcile.test_verdict import MOMENTS

TARGET, ANN = "list/7", "ann@x.example"
PAIR = Pair(TARGET, ANN)


def job(authority: Authority | None = MAIN, **changes: object) -> Job:
    bench = Bench()
    bench.edit(version=MAIN.settings)
    bench.tool.lost_answer_bound = BOUND
    return replace(bench.job(), authority=lambda target: authority, has_passed_guard=True, **changes)  # type: ignore[arg-type]


JOB = job()


def visitor(profile: str, digest: Digest | None = None, *, version: int = 9, warned: bool = False) -> Visitor:
    """Return a profile that wants values with a digest, or leaves."""
    case = Case(profile, Stored(Assignment(), 0), version, warnings=("unfit_expression",) if warned else ())
    role = Role(PAIR, OUT if digest is None else digest, NOON)
    return Visitor(case, role)


VISITORS = st.lists(
    st.builds(visitor, PROFILES, st.none() | st.sampled_from([RED, BLUE]), warned=st.booleans()),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one.case.profile,
).map(lambda found: sorted(found, key=lambda one: one.case.profile))


@settings(max_examples=200, deadline=None)
@example(played([("lose", "p2", RED)]), [visitor("p2", BLUE)], NOON, False, NOON + BOUND)
@given(RECORDS, VISITORS, MOMENTS, st.booleans(), MOMENTS)
def test_after_any_visit_the_next_step_is_somebodys(
    record: Record, visitors: list[Visitor], now: datetime, is_queued: bool, cleared: datetime
) -> None:
    queued = {record.open.id} if is_queued and record.open is not None and record.open.id is not None else set()
    later = Authority(99, 100, "main")
    found = visit(job(later), "key", PAIR, visitors, record, now, queued)

    assert found.is_queued is bool(queued)
    assert found.step == step_of(JOB, found.record)
    assert found.record.authority in (later, record.authority)
    if found.is_queued:
        assert found.record.open == record.open
        assert found.sender is None
        assert not found.waits_for_a_call
    if found.sender is not None:
        assert found.sender in visitors
        assert found.sender.case.profile == found.record.responsible
        assert found.step.do is Do.SEND
    for one in visitors:
        if one.role.content is not OUT:
            assert found.record.names(one.case.profile) or found.record.turned_away_at is not None
        elif isinstance(found.record.desired, Wanted):
            assert one.case.profile not in found.record.desired.by

    over = ended(JOB, found, cleared)
    if over is not found:
        call = found.record.open
        assert call is not None
        assert call.deadline - BOUND - CLOCK_MARGIN <= cleared
        assert not found.is_queued
        assert over.record.open is None
        assert over.step == step_of(JOB, over.record)


def test_a_call_that_lapsed_is_over_before_anybody_visits() -> None:
    late = NOON + BOUND + timedelta(days=1)
    found = visit(JOB, "key", PAIR, [visitor("p2", BLUE)], called(claimed(Record())), late)
    assert (found.record.open, found.record.acknowledged, found.step.do) == (None, UNKNOWN, Do.SEND)


def test_a_queued_import_never_lapses_by_itself() -> None:
    late = NOON + BOUND + timedelta(days=1)
    record = called(claimed(Record()), "c1")
    found = visit(JOB, "key", PAIR, [visitor("p2", BLUE)], record, late, {"c1"})
    assert found.record.open == record.open
    assert found.step.do is Do.WAIT
    assert not found.waits_for_a_call


AUTHORITIES = st.builds(Authority, st.integers(0, 4), st.integers(98, 102), st.sampled_from(["main", "other"]))


@settings(max_examples=100, deadline=None)
@given(RECORDS, VISITORS, MOMENTS, st.none() | AUTHORITIES)
def test_nobody_changes_what_was_changed_under_newer_settings(
    record: Record, visitors: list[Visitor], now: datetime, authority: Authority | None
) -> None:
    if authority is None or record.authority > authority:
        with pytest.raises(StaleSettings) as raised:
            visit(job(authority), "key", PAIR, visitors, record, now)
        if record.authority.export != "main":
            assert raised.value.version > MAIN.settings
    else:
        found = visit(job(authority), "key", PAIR, visitors, record, now)
        assert found.record.authority in (authority, record.authority)


@pytest.mark.parametrize("authority", [None, Authority(0, 100, "main"), Authority(1, 99, "main")])
def test_nobody_acts_under_older_settings_or_on_anothers_target(authority: Authority | None) -> None:
    with pytest.raises(StaleSettings) as raised:
        visit(job(authority), "key", PAIR, [visitor("p2", BLUE)], delivered(), NOON)
    assert raised.value.version == MAIN.settings


def test_what_an_expression_did_not_yield_is_worked_out_again_by_each_look() -> None:
    found = visit(JOB, "key", PAIR, [visitor("p2", RED, warned=True)], Record(), NOON)
    assert isinstance(found.record.desired, Wanted)
    assert found.record.desired.basis is not None
    assert found.record.desired.basis < JOB.basis(9)
    assert found.record.desired.basis._replace(rules=JOB.basis(9).rules) == JOB.basis(9)


def test_a_call_that_is_over_earlier_lets_others_go_on() -> None:
    found = visit(JOB, "key", PAIR, [visitor("p2", BLUE)], called(claimed(Record())), NOON)
    assert found.waits_for_a_call
    assert ended(JOB, found, NOON) is found
    assert ended(JOB, found, NOON + MINUTE).sender is not None


def test_a_call_that_was_answered_unclearly_counts_as_sent_so_much_earlier_as_it_is_over_earlier() -> None:
    unclear = answered(called(claimed(Record())), "c1", Unclear(NOON + BOUND - 9 * MINUTE), NOON)
    found = visit(JOB, "key", PAIR, [visitor("p2", BLUE)], unclear, NOON)
    assert found.waits_for_a_call
    assert ended(JOB, found, NOON - 10 * MINUTE) is found
    assert ended(JOB, found, NOON - 9 * MINUTE).sender is not None


def test_where_leaving_is_not_told_whoever_leaves_is_kept() -> None:
    bench = Bench()
    bench.tool.keeps = True
    quiet = replace(bench.job(), authority=lambda target: MAIN)
    found = visit(quiet, "key", PAIR, [visitor("p2")], delivered(), NOON)
    assert found.record.desired == Unwanted(Rest.KEEP)
