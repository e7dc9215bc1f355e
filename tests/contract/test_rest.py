"""A rest the account asks for (429 or 503 with `Retry-After`) holds back every call to it, under whatever quota."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.destinations.calling import HttpCaller
from relay.destinations.contract import Account
from relay.domain.problems import Busy, Problem, Transient
from tests.contract.activecampaign_subject import ActiveCampaignSubject
from tests.contract.gainsight_px_subject import GainsightPxSubject
from tests.contract.pace import Pace
from tests.contract.subject import Subject

RETRY_AFTER = 90
RATE_LIMIT = {"success": 0, "message": "Rate limit exceeded.", "failureReasons": ["Retry in a minute."]}


def pace_really(subject: Subject) -> None:
    """Have all calls of a subject paced, and held where it is asked for."""
    pace = Pace(subject.time)
    plain = subject.account

    def account() -> Account:
        caller = HttpCaller(
            subject.connection.name,
            pace=pace,
            log=lambda *_, **__: None,
            hold=pace.hold_all,
            session=subject.wire,
            monotonic=subject.time,
        )
        return replace(plain(), call=caller, hold=pace.hold)

    subject.account = account  # type: ignore[method-assign]


EVERYTHING: Mapping[str, Callable[[Subject], object]] = {
    "several join": lambda subject: subject.deliver([subject.step(number) for number in range(4)]),
    "one joins": lambda subject: subject.deliver([subject.step(1)]),
    "a check": lambda subject: subject.destination.check(subject.account(), [subject.export]),
    "a probe": lambda subject: subject.destination.check(subject.account(), []),
    "an import is looked at": lambda subject: subject.destination.import_report(
        subject.account(), subject.export, subject.open_import("b-1", 2), [subject.step(1), subject.step(2)]
    ),
    "what is over": lambda subject: subject.destination.cleared_before(subject.account(), subject.time.now()),
}


def _pause_of(does: Callable[[Subject], object], subject: Subject) -> timedelta | None:
    """Do something; return how long it has to wait for a call, None when it needs none."""
    try:
        does(subject)
    except Busy as problem:
        return problem.retry_after
    return None


@pytest.mark.parametrize(("status", "first"), [(429, "several join"), (503, "one joins"), (429, "a check")])
def test_a_rest_that_one_call_is_asked_for_is_kept_by_all_others(kind: type[Subject], status: int, first: str) -> None:
    subject = kind()
    pace_really(subject)
    subject.fault({"status": status, "headers": {"Retry-After": str(RETRY_AFTER)}})
    with pytest.raises(Transient):
        EVERYTHING[first](subject)
    asked_at, made = subject.time(), len(subject.wire.requests)
    subject.time.pass_(RETRY_AFTER - 30)
    for does in EVERYTHING.values():
        pause = _pause_of(does, subject)
        assert pause is None or pause >= timedelta(seconds=25)
        assert len(subject.wire.requests) == made, "somebody called during the rest"
    subject.time.seconds = asked_at + RETRY_AFTER
    for name in ("several join", "a check"):
        EVERYTHING[name](subject)


def test_the_imports_own_limit_holds_imports_and_nothing_else() -> None:
    subject = ActiveCampaignSubject()
    pace_really(subject)
    subject.fault({"status": 400, "body": RATE_LIMIT}, path="/api/3/import/bulk_import")
    several, one, check = (EVERYTHING[name] for name in ("several join", "one joins", "a check"))
    with pytest.raises(Transient):
        several(subject)
    made = len(subject.wire.requests)
    with pytest.raises(Busy):
        several(subject)
    assert len(subject.wire.requests) == made
    assert one(subject) == {}
    check(subject)
    subject.time.pass_(61)
    assert several(subject) == {}


def test_a_rest_that_a_log_in_is_asked_for_is_kept_too() -> None:
    subject = GainsightPxSubject()
    pace_really(subject)
    subject.fault({"status": 429, "headers": {"Retry-After": str(RETRY_AFTER)}}, path="^/oauth/token")
    with pytest.raises(Transient):
        subject.deliver([subject.step(1)])
    made = len(subject.wire.requests)
    with pytest.raises(Problem) as caught:
        subject.destination.check(subject.account(), [])
    assert isinstance(caught.value, Busy)
    assert len(subject.wire.requests) == made
