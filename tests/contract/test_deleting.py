"""Deleting a contact or user at the vendor, where its API can: because a person is to be forgotten."""

from __future__ import annotations

import pytest

from relay.domain.problems import ConnectionProblem, Problem, Transient
from tests.contract.activecampaign_subject import ActiveCampaignSubject
from tests.contract.gainsight_px_subject import GainsightPxSubject
from tests.contract.subject import Subject

DELETING = [ActiveCampaignSubject, GainsightPxSubject]


@pytest.fixture(params=DELETING)
def subject(request: pytest.FixtureRequest) -> Subject:
    kind: type[Subject] = request.param
    return kind()


def _delete(subject: Subject, identity: str) -> str | None:
    rejection = subject.destination.delete(subject.account(), subject.export, identity)
    return None if rejection is None else rejection.code


def _there(subject: Subject) -> set[str]:
    state = subject.state()
    return {one.get("email") or one["identifyId"] for one in state.get("contacts") or state["users"]}


def test_a_member_is_deleted_and_everybody_else_stays(subject: Subject) -> None:
    subject.deliver([subject.step(number) for number in range(3)])
    gone, *others = (subject.identity(number) for number in range(3))
    assert gone in _there(subject)
    assert _delete(subject, gone) is None
    assert gone not in _there(subject)
    assert set(others) <= _there(subject)
    assert subject.members(subject.target) == set(others)


def test_who_is_not_there_is_deleted(subject: Subject) -> None:
    subject.deliver([subject.step(1)])
    for _ in range(2):
        assert _delete(subject, subject.identity(1)) is None


def test_whoever_was_deleted_may_come_back(subject: Subject) -> None:
    subject.deliver([subject.step(1)])
    _delete(subject, subject.identity(1))
    subject.introduce(subject.identity(1))
    assert subject.deliver([subject.step(1, after=300)]) == {}
    assert subject.identity(1) in subject.members(subject.target)


def test_who_may_not_be_deleted_is_refused_and_stops_nothing(subject: Subject) -> None:
    subject.deliver([subject.step(1)])
    subject.fault({"status": 403}, path=_path(subject), times=2)
    assert _delete(subject, subject.identity(1)) == "not_deleted"


def test_a_deletion_that_is_not_wanted_by_the_vendor_is_refused(subject: Subject) -> None:
    subject.deliver([subject.step(1)])
    subject.fault({"status": 422, "body": {"message": "no"}}, path=_path(subject))
    assert _delete(subject, subject.identity(1)) == "not_deleted"


def test_trouble_is_told_apart(subject: Subject) -> None:
    subject.deliver([subject.step(1)])
    subject.fault({"status": 503}, path=_path(subject))
    with pytest.raises(Transient):
        _delete(subject, subject.identity(1))
    subject.fault({"status": 401}, path=_path(subject), times=2)
    with pytest.raises(Problem) as caught:
        _delete(subject, subject.identity(1))
    assert isinstance(caught.value, ConnectionProblem)


def _path(subject: Subject) -> str:
    return "/api/3/contacts/" if isinstance(subject, ActiveCampaignSubject) else "/v1/users/delete"
