"""Merging gives the same profile in any order, with any repeats."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.changes import Change, MembershipChange
from relay.domain.merging import EXITS_KEPT, merge
from relay.domain.profiles import Profile, Register

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NAMED = frozenset({"s/a", "s/b"})


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def change(**told: Any) -> Change:
    return Change(**{"profile_id": "00ff", "received_at": after(100), **told})


def merged(*changes: Change, profile: Profile | None = None) -> Profile | None:
    for each in changes:
        profile = merge(profile, each, source="s", named=NAMED).profile
    return profile


def profile_of(*changes: Change) -> Profile:
    profile = merged(*changes)
    assert profile is not None
    return profile


def realized(segment: str, seconds: float) -> MembershipChange:
    return MembershipChange(segment, True, after(seconds))


def exited(segment: str, seconds: float) -> MembershipChange:
    return MembershipChange(segment, False, after(seconds))


_times = st.integers(0, 4).map(after)
_values = st.sampled_from([None, 0, 1, 1.0, True, "", "1", "é", [1], {"a": 1, "b": 2}, {"b": 2, "a": 1}])
_memberships = st.lists(
    st.builds(MembershipChange, st.sampled_from(["s/a", "s/b", "s/unnamed"]), st.booleans(), _times), max_size=3
)
_changes = st.builds(
    Change,
    profile_id=st.just("00ff"),
    received_at=st.integers(0, 5).map(after),
    at=st.none() | _times,
    snapshot=st.booleans(),
    identities=st.dictionaries(st.sampled_from(["email", "crm"]), st.none() | st.lists(st.sampled_from("xy"))),
    attributes=st.dictionaries(st.sampled_from("pq"), _values),
    memberships=_memberships,
)


def told(profile: Profile | None) -> object:
    """Everything of a profile, with values as text: to Python 1 and True are equal."""
    return repr(profile) if profile is None else repr([profile.id, profile.source, *map(_sorted, _parts(profile))])


def held(profile: Profile) -> dict[str, tuple[bool, datetime]]:
    return {segment: (one.realized, one.at) for segment, one in profile.memberships.items()}


def _parts(profile: Profile) -> Iterable[Any]:
    return (
        {"i": profile.identities_floor, "a": profile.attributes_floor},
        profile.identities,
        profile.attributes,
        profile.memberships,
    )


def _sorted(part: Any) -> Any:
    if isinstance(part, Register):
        return (part.at, _sorted(part.value))
    return sorted((key, _sorted(value)) for key, value in part.items()) if isinstance(part, dict) else part


@given(st.lists(_changes, max_size=6).flatmap(lambda changes: st.tuples(st.just(changes), st.permutations(changes))))
def test_the_order_of_changes_does_not_matter(orders: tuple[list[Change], list[Change]]) -> None:
    first, second = orders
    assert told(merged(*first)) == told(merged(*second))


@given(st.lists(_changes, min_size=1, max_size=5), st.data())
def test_repeats_do_not_matter(changes: list[Change], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(changes), max_size=6))
    assert told(merged(*changes, *again)) == told(merged(*changes))


@given(st.lists(_changes, min_size=1, max_size=5), _changes)
def test_a_change_merged_before_changes_nothing(changes: list[Change], last: Change) -> None:
    profile = merged(*changes, last)
    for each in (*changes, last):
        again = merge(profile, each, source="s", named=NAMED)
        assert not again.changed
        assert not again.visible
        assert again.profile is profile


@given(st.lists(_changes, min_size=1, max_size=5))
def test_what_is_visible_has_changed_and_what_has_not_changed_is_the_same(changes: list[Change]) -> None:
    profile = None
    for each in changes:
        result = merge(profile, each, source="s", named=NAMED)
        assert result.changed or not result.visible
        assert result.changed == (told(result.profile) != told(profile))
        assert result.relevant or not result.changed
        profile = result.profile


def test_the_newest_qualification_wins_and_on_a_tie_the_exit() -> None:
    for told_ in ([realized("s/a", 2), exited("s/a", 1)], [exited("s/a", 1), realized("s/a", 2)]):
        assert profile_of(*(change(memberships=[each]) for each in told_)).memberships["s/a"].realized
    for told_ in ([realized("s/a", 1), exited("s/a", 1)], [exited("s/a", 1), realized("s/a", 1)]):
        assert not profile_of(change(memberships=told_)).memberships["s/a"].realized


def test_a_snapshot_drops_what_was_set_earlier_and_keeps_it_out() -> None:
    early = change(at=after(1), attributes={"plan": "free", "city": "Ulm"})
    snapshot = change(at=after(5), snapshot=True, attributes={"plan": "pro"}, identities={"email": ["a@example.com"]})
    late = change(at=after(6), attributes={"city": "Bonn"})
    for order in ([early, snapshot, late], [snapshot, late, early], [late, early, snapshot]):
        profile = profile_of(*order)
        assert profile.view()["attributes"] == {"plan": "pro", "city": "Bonn"}
        assert profile.attributes_floor == profile.identities_floor == after(5)


def test_none_clears_and_an_older_value_does_not_come_back() -> None:
    cleared = profile_of(change(at=after(5), attributes={"plan": None}), change(at=after(4), attributes={"plan": "x"}))
    assert cleared.view()["attributes"] == {}
    assert cleared.attributes["plan"] == Register(None, after(5))


def test_times_from_the_future_are_clamped_to_receipt_and_counted() -> None:
    result = merge(
        None,
        change(at=after(500), attributes={"plan": "x"}, memberships=[realized("s/a", 400), exited("s/b", 1)]),
        source="s",
        named=NAMED,
    )
    assert result.clamped == 2
    assert result.profile is not None
    assert result.profile.attributes["plan"].at == after(100)
    assert held(result.profile) == {"s/a": (True, after(100)), "s/b": (False, after(1))}


def test_without_a_time_of_its_own_a_change_counts_from_its_receipt() -> None:
    assert profile_of(change(attributes={"plan": "x"}, memberships=[realized("s/a", 1)])).attributes[
        "plan"
    ].at == after(100)


@pytest.mark.parametrize(
    ("memberships", "attributes", "relevant", "ignored"),
    [
        ([], {"plan": "x"}, True, 0),
        ([], {}, False, 0),
        ([realized("s/a", 1)], {}, True, 0),
        ([realized("s/other", 1)], {"plan": "x"}, False, 1),
        ([realized("s/other", 1), realized("s/a", 1)], {"plan": "x"}, True, 1),
    ],
)
def test_relevance_is_decided_from_the_change_alone(
    memberships: Any, attributes: Any, relevant: bool, ignored: int
) -> None:
    told_ = change(memberships=memberships, attributes=attributes)
    for profile in (None, profile_of(change(memberships=[realized("s/b", 1)]))):
        result = merge(profile, told_, source="s", named=NAMED)
        assert (result.relevant, result.ignored_memberships) == (relevant, ignored)
        assert result.changed is relevant


def test_an_old_exit_heard_of_only_now_is_remembered_so_that_an_older_entry_does_not_undo_it() -> None:
    member = profile_of(change(memberships=[realized("s/a", 0)]))
    much_later = NOON + EXITS_KEPT + timedelta(days=1)
    told_ = change(received_at=much_later, memberships=[exited("s/a", 10)])

    result = merge(member, told_, source="s", named=NAMED)

    assert result.visible
    assert result.profile is not None
    assert held(result.profile) == {"s/a": (False, after(10))}
    assert not merge(result.profile, told_, source="s", named=NAMED).changed
    replayed = change(received_at=much_later, memberships=[realized("s/a", 0)])
    assert not merge(result.profile, replayed, source="s", named=NAMED).changed


def test_exits_heard_of_long_ago_are_dropped() -> None:
    member = profile_of(change(memberships=[realized("s/a", 0), exited("s/b", 0)]))
    told_ = change(received_at=NOON + EXITS_KEPT + timedelta(days=1), memberships=[realized("s/a", 10)])

    profile = merged(told_, profile=member)

    assert profile is not None
    assert held(profile) == {"s/a": (True, after(10))}


def test_a_long_standing_member_stays() -> None:
    member = profile_of(change(memberships=[realized("s/a", 0)]))
    told_ = change(received_at=NOON + timedelta(days=900), attributes={"plan": "x"})
    profile = merged(told_, profile=member)
    assert profile is not None
    assert held(profile) == {"s/a": (True, NOON)}


def test_a_newer_time_alone_is_written_but_not_visible() -> None:
    profile = profile_of(change(attributes={"plan": "x"}, memberships=[realized("s/a", 1)]))
    again = change(received_at=after(200), attributes={"plan": "x"}, memberships=[realized("s/a", 2)])
    result = merge(profile, again, source="s", named=NAMED)
    assert (result.changed, result.visible) == (True, False)


def test_a_change_for_another_profile_is_a_defect() -> None:
    profile = profile_of(change(attributes={"plan": "x"}))
    for wrong in (change(profile_id="other"), change(profile_id=None)):
        with pytest.raises(ValueError, match="not for this profile"):
            merge(profile, wrong, source="s", named=NAMED)


def test_version_and_time_of_writing_are_left_alone() -> None:
    profile = replace(profile_of(change(attributes={"plan": "x"})), version=7, changed_at=NOON)
    result = merge(profile, change(received_at=after(200), attributes={"plan": "y"}), source="s", named=NAMED)
    assert result.profile is not None
    assert (result.profile.version, result.profile.changed_at) == (7, NOON)
