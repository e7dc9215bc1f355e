"""How many are in a target at the vendor, where its API tells."""

from __future__ import annotations

import pytest

from relay.domain.problems import Problem
from tests.contract.activecampaign_subject import (
    ActiveCampaignSubject,
    ActiveCampaignTaggingSubject,
    ActiveCampaignUnsubscribingSubject,
)
from tests.contract.gainsight_px_subject import GainsightPxAttributesSubject, GainsightPxSubject
from tests.contract.subject import Subject

COUNTING = [ActiveCampaignUnsubscribingSubject, ActiveCampaignTaggingSubject, GainsightPxAttributesSubject]
"""Those that say how many there are."""


def _filled(kind: type[Subject]) -> Subject:
    """Three are in one target, one of them has left, and another target has two."""
    subject = kind()
    last = max(subject.destination.targets(subject.export))
    for number in range(5):
        subject.introduce(subject.identity(number))
    assert subject.deliver([subject.step(number) for number in range(3)]) == {}
    if last != subject.target:
        assert subject.deliver([subject.step(number, target=last) for number in (3, 4)]) == {}
    subject.time.pass_(60)
    assert subject.deliver([subject.step(1, joins=False, after=60)]) == {}
    subject.time.pass_(60)
    return subject


def _asked(subject: Subject, target: str) -> int | None:
    return subject.destination.members(subject.account(), target)


@pytest.mark.parametrize("kind", COUNTING)
def test_all_who_are_in_the_target_are_counted_and_nobody_else(kind: type[Subject]) -> None:
    subject = _filled(kind)
    for target in subject.destination.targets(subject.export):
        members = subject.members(target)
        assert members
        assert _asked(subject, target) == len(members)
    assert subject.members(subject.target) == {subject.identity(0), subject.identity(2)}


@pytest.mark.parametrize("kind", [ActiveCampaignSubject, GainsightPxSubject])
def test_where_the_vendor_does_not_tell_nothing_is_asked(kind: type[Subject]) -> None:
    subject = _filled(kind)
    before = len(subject.wire.requests)
    assert _asked(subject, subject.target) is None
    assert len(subject.wire.requests) == before


def test_nobody_carries_a_tag_that_was_never_made() -> None:
    assert _asked(ActiveCampaignTaggingSubject(), "tag/unheard") == 0


@pytest.mark.parametrize("kind", COUNTING)
@pytest.mark.parametrize("body", [{}, {"meta": {}}, {"totalHits": "many", "meta": {"total": "many"}}, []])
def test_an_answer_without_a_number_is_no_number(kind: type[Subject], body: object) -> None:
    subject = _filled(kind)
    path = "/v1/users" if subject.name == "gainsight_px" else "/api/3/contacts"
    subject.fault({"status": 200, "body": body}, path=path, times=3)
    with pytest.raises(Problem):
        _asked(subject, subject.target)
