"""Whether a change has come into the store is read off the profile alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from relay.domain.arriving import Arrived, arrived
from relay.domain.changes import Change, Forget, MembershipChange
from relay.domain.merging import merge
from relay.domain.profiles import Profile

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
BLANK = Profile("aa", "s")

TIMES = st.integers(-3, 40).map(lambda hours: NOON + hours * HOUR)
NAMES = st.sampled_from(["a", "b"])
CHANGES = st.builds(
    Change,
    profile_ids=st.just(("aa",)),
    received_at=st.integers(0, 3).map(lambda seconds: NOON + seconds * SECOND),
    position=st.integers(0, 2),
    at=st.none() | TIMES,
    snapshot=st.booleans(),
    forget=st.none() | st.none() | st.sampled_from(Forget),
    identities=st.dictionaries(
        NAMES, st.none() | st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=1), max_size=2
    ),
    attributes=st.dictionaries(NAMES, st.none() | st.booleans() | st.integers(0, 1), max_size=2),
    memberships=st.lists(st.builds(MembershipChange, NAMES, st.booleans(), TIMES), max_size=2),
)

PLAIN = CHANGES.filter(lambda change: change.forget is None)
"""Whoever is forgotten loses what was told before and after it at the very same qualification time."""


def stored(*changes: Change) -> Profile:
    profile = BLANK
    for change in changes:
        profile = merge(profile, change).profile
    return profile


@given(st.lists(CHANGES, max_size=3), CHANGES, st.lists(PLAIN, max_size=2), st.integers(0, 5))
def test_what_was_merged_is_never_said_to_wait(
    before: list[Change], change: Change, after: list[Change], late: int
) -> None:
    """Also when it was received somewhat later than whoever asks knows."""
    really = replace(change, received_at=change.received_at + late * SECOND)
    assert arrived(stored(*before, really, *after), change) is not Arrived.WAITING


@given(st.lists(CHANGES, max_size=3), CHANGES)
def test_what_is_said_to_have_come_would_change_nothing_that_can_be_seen(before: list[Change], change: Change) -> None:
    profile = stored(*before)
    if arrived(profile, change) is not Arrived.WAITING:
        again = merge(profile, change).profile
        assert again.view() == profile.view()
        assert {name: held.realized for name, held in again.memberships.items()} == {
            name: held.realized for name, held in profile.memberships.items()
        }


def test_of_whom_nothing_is_stored_it_waits() -> None:
    assert arrived(None, Change(("aa",), NOON)) is Arrived.WAITING
    assert arrived(BLANK, Change(("aa",), NOON, attributes={"a": 1})) is Arrived.WAITING


def test_what_a_snapshot_of_the_same_time_lets_in_waits() -> None:
    empty = Change(("aa",), NOON, snapshot=True)
    assert arrived(stored(empty), Change(("aa",), NOON, attributes={"a": 1})) is Arrived.WAITING


def test_what_something_newer_has_beaten_is_stale() -> None:
    join = Change(("aa",), NOON, memberships=[MembershipChange("a", True, NOON)])
    leave = Change(("aa",), NOON, memberships=[MembershipChange("a", False, NOON + SECOND)])
    one, two = (Change(("aa",), NOON + place * SECOND, attributes={"a": place}) for place in range(2))
    empty = Change(("aa",), NOON + SECOND, snapshot=True)
    for first, second in ((join, leave), (one, two), (one, empty)):
        assert arrived(stored(first), first) is Arrived.MERGED
        assert arrived(stored(first, second), first) is Arrived.STALE
        assert arrived(stored(first, second), second) is Arrived.MERGED
        assert arrived(stored(first), second) is Arrived.WAITING


def test_whoever_was_forgotten_lets_nothing_older_in() -> None:
    join = Change(("aa",), NOON, attributes={"a": 1}, memberships=[MembershipChange("a", True, NOON)])
    forget = Change(("aa",), NOON + SECOND, forget=Forget.HERE)
    newer = Change(("aa",), NOON + HOUR, attributes={"a": 2})
    assert arrived(stored(join), forget) is Arrived.WAITING
    gone = stored(join, forget)
    assert [arrived(gone, change) for change in (join, forget, newer)] == [
        Arrived.STALE,
        Arrived.MERGED,
        Arrived.WAITING,
    ]
