"""What a source tells again after a person was forgotten: by its own time it is news, or it is not (decision 0178)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.domain.changes import Change, Forget, MembershipChange
from relay.domain.merging import merge
from relay.domain.profiles import Profile

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FORGET = Change(("aa",), NOON, forget=Forget.HERE)


def joined(qualified_at: datetime, received_at: datetime, webhook_id: str | None = None) -> Change:
    return Change(
        ("aa",), received_at, webhook_id=webhook_id, memberships=[MembershipChange("shop/vip", True, qualified_at)]
    )


def stored(*changes: Change) -> Profile:
    profile = Profile("aa", "shop")
    for change in changes:
        profile = merge(profile, change).profile
    return profile


@pytest.mark.parametrize("qualified_at", [NOON - HOUR, NOON])
def test_a_qualification_that_is_not_later_than_the_forgetting_brings_nobody_back(qualified_at: datetime) -> None:
    told = joined(qualified_at, NOON - HOUR)
    again = [replace(told, received_at=NOON + days * 24 * HOUR) for days in range(1, 4)]
    assert stored(told, FORGET, *again).is_tombstone
    assert stored(*again, told, FORGET).is_tombstone


def test_a_qualification_that_the_source_says_is_later_brings_the_person_back_though_it_was_told_before() -> None:
    told = joined(NOON + HOUR, NOON - HOUR)
    assert stored(told, FORGET).is_tombstone
    assert stored(told, FORGET, replace(told, received_at=NOON + 2 * HOUR)).memberships.keys() == {"shop/vip"}


def test_the_same_message_again_brings_nobody_back_whatever_its_times() -> None:
    told = Change(("aa",), NOON - HOUR, webhook_id="w", attributes={"name": "Ann"})
    assert stored(told, FORGET, replace(told, received_at=NOON + HOUR)).is_tombstone


def test_what_has_no_time_of_its_own_is_as_new_as_its_receipt() -> None:
    told = Change(("aa",), NOON - HOUR, attributes={"name": "Ann"})
    assert stored(told, FORGET, replace(told, received_at=NOON + HOUR)).attributes.keys() == {"name"}
