"""A destination joins the suite by one line here."""

from __future__ import annotations

import pytest

from tests.contract.activecampaign_subject import (
    ActiveCampaignFewSubject,
    ActiveCampaignSubject,
    ActiveCampaignTaggingSubject,
    ActiveCampaignUnsubscribingSubject,
)
from tests.contract.gainsight_px_subject import (
    GainsightPxAttributesSubject,
    GainsightPxByKeySubject,
    GainsightPxSubject,
)
from tests.contract.subject import Subject

SUBJECTS: tuple[type[Subject], ...] = (
    ActiveCampaignSubject,
    ActiveCampaignFewSubject,
    ActiveCampaignUnsubscribingSubject,
    ActiveCampaignTaggingSubject,
    GainsightPxSubject,
    GainsightPxByKeySubject,
    GainsightPxAttributesSubject,
)
COME_BACK = [subject for subject in SUBJECTS if subject.comes_back]
LEAVE_OUT = [subject for subject in SUBJECTS if subject.leaves_out]


def name_of(subject: type[Subject]) -> str:
    """Return a destination's name in a test's id."""
    return subject.__name__.removesuffix("Subject")


@pytest.fixture(params=SUBJECTS, ids=name_of)
def subject_type(request: pytest.FixtureRequest) -> type[Subject]:
    """Every destination, for tests that make their own sandboxes."""
    kind: type[Subject] = request.param
    return kind


@pytest.fixture
def subject(subject_type: type[Subject]) -> Subject:
    """Every destination with a fresh sandbox."""
    return subject_type()
