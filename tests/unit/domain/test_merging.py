"""Merging gives the same profile in any order, with any repeats."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.domain.changes import Change, MembershipChange
from relay.domain.merging import AHEAD, EXITS_KEPT, RECEIPTS_KEPT, is_same, join, looks_different, merge
from relay.domain.profiles import Profile, Register
from tests.examples import example

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
BLANK = Profile("00ff", "s")


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def change(**more: Any) -> Change:
    return Change(**{"profile_ids": ("00ff",), "received_at": after(100), **more})


def merged(*changes: Change, profile: Profile = BLANK) -> Profile:
    return reduce(lambda so_far, each: merge(so_far, each).profile, changes, profile)


def request(*changes: Change, at: float, webhook_id: str | None = None) -> list[Change]:
    """Return the changes as entries of one request."""
    return [
        replace(each, received_at=after(at), position=place, webhook_id=webhook_id)
        for place, each in enumerate(changes)
    ]


def attributes(profile: Profile) -> dict[str, Any]:
    found: dict[str, Any] = profile.view()["attributes"]
    return found


def realized(segment: str, seconds: float) -> MembershipChange:
    return MembershipChange(segment, True, after(seconds))


def exited(segment: str, seconds: float) -> MembershipChange:
    return MembershipChange(segment, False, after(seconds))


_times = st.integers(0, 4).map(after)
_values = st.sampled_from([None, 0, 1, 1.0, True, "", "1", "é", [1], {"a": 1, "b": 2}, {"b": 2, "a": 1}])
_memberships = st.lists(st.builds(MembershipChange, st.sampled_from(["s/a", "s/b"]), st.booleans(), _times), max_size=3)
_changes = st.builds(
    Change,
    profile_ids=st.just(("00ff",)),
    received_at=st.integers(0, 5).map(after),
    position=st.integers(0, 2),
    at=st.none() | _times | st.just(NOON + 2 * AHEAD),
    snapshot=st.booleans(),
    identities=st.dictionaries(st.sampled_from(["email", "crm"]), st.none() | st.lists(st.sampled_from("xy"))),
    attributes=st.dictionaries(st.sampled_from("pq"), _values),
    memberships=_memberships,
)
_profiles = st.lists(_changes, max_size=4).map(lambda changes: merged(*changes))


def contents(profile: Profile) -> object:
    """Everything of a profile, with values as text: to Python 1 and True are equal."""
    return repr([profile.id, profile.source, *map(_sorted, _parts(profile))])


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
        return (part.stamp, _sorted(part.value))
    return sorted((key, _sorted(value)) for key, value in part.items()) if isinstance(part, dict) else part


@given(st.lists(_changes, max_size=6).flatmap(lambda changes: st.tuples(st.just(changes), st.permutations(changes))))
def test_the_order_of_changes_does_not_matter(orders: tuple[list[Change], list[Change]]) -> None:
    first, second = orders
    assert contents(merged(*first)) == contents(merged(*second))


@given(st.lists(_changes, min_size=1, max_size=5), st.data())
def test_repeats_do_not_matter(changes: list[Change], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(changes), max_size=6))
    assert contents(merged(*changes, *again)) == contents(merged(*changes))


@given(st.lists(_changes, min_size=1, max_size=5), _changes)
def test_a_change_merged_before_changes_nothing(changes: list[Change], last: Change) -> None:
    profile = merged(*changes, last)
    for each in (*changes, last):
        again = merge(profile, each)
        assert not again.changed
        assert contents(again.profile) == contents(profile)


@given(st.lists(_changes, min_size=1, max_size=5))
def test_what_looks_different_has_changed_and_what_has_not_changed_is_the_same(changes: list[Change]) -> None:
    profile = BLANK
    for each in changes:
        result = merge(profile, each)
        assert result.changed == (not is_same(result.profile, profile))
        if result.changed:
            assert contents(result.profile) != contents(profile)
        else:
            assert not looks_different(result.profile, profile)
        profile = result.profile


@given(_profiles, _profiles, _profiles)
def test_profiles_are_joined_in_any_order(one: Profile, two: Profile, three: Profile) -> None:
    assert contents(join(join(one, two), three)) == contents(join(one, join(two, three)))
    assert contents(join(one, two)) == contents(join(two, one))
    assert is_same(join(one, one), one)


@given(st.lists(_changes, max_size=3), st.lists(_changes, max_size=3), st.lists(_changes, max_size=2))
def test_two_profiles_joined_are_as_if_all_had_been_sentof_one(
    of_one: list[Change], of_other: list[Change], later: list[Change]
) -> None:
    assert contents(merged(*later, profile=join(merged(*of_one), merged(*of_other)))) == contents(
        merged(*of_one, *of_other, *later)
    )


_requests = st.lists(st.lists(_changes, min_size=1, max_size=3), min_size=1, max_size=4)


@given(_requests, st.data())
def test_a_message_that_comes_again_changes_nothing(sent: list[list[Change]], data: st.DataObject) -> None:
    """However often and late, as long as it does not overtake the first one. (Each request has a time of its own.)"""
    first = [
        request(
            *(
                each if each.at is None else replace(each, at=each.at + timedelta(milliseconds=place))
                for each in changes
            ),
            at=place,
            webhook_id=f"id-{place}",
        )
        for place, changes in enumerate(sent)
    ]
    again = data.draw(st.lists(st.sampled_from(range(len(first))), max_size=4))
    profile = merged(*(change for changes in first for change in changes))
    repeated = merged(
        *(
            change
            for late, place in enumerate(again)
            for change in request(*first[place], at=50 + late, webhook_id=f"id-{place}")
        ),
        profile=profile,
    )
    assert contents(repeated) == contents(profile)


def test_only_the_last_messages_are_remembered_and_the_earliest_receipt_of_each() -> None:
    changes = [
        change(received_at=after(n), webhook_id=f"id-{n}", attributes={"plan": n}) for n in range(RECEIPTS_KEPT + 4)
    ]
    profile = merged(*changes, replace(changes[-1], received_at=after(99)), replace(changes[-2], received_at=after(99)))
    assert profile.receipts == {f"id-{n}": after(n) for n in range(4, RECEIPTS_KEPT + 4)}


def test_a_message_is_remembered_only_where_its_receipt_decides_anything() -> None:
    for plain in (change(memberships=[realized("s/a", 1)]), change()):
        assert merged(replace(plain, webhook_id="id")).receipts == {}
    for deciding in (
        change(attributes={"plan": 1}),
        change(identities={"crm": None}),
        change(snapshot=True),
        change(memberships=[MembershipChange("s/a", True, NOON + 2 * AHEAD)]),
    ):
        assert merged(replace(deciding, webhook_id="id")).receipts == {"id": after(100)}


def test_an_old_value_that_lost_does_not_win_when_its_message_comes_again() -> None:
    old = change(received_at=after(1), webhook_id="a", attributes={"plan": "old"})
    new = change(received_at=after(2), webhook_id="b", attributes={"plan": "new"})
    # The queue brought the new one first.
    profile = merged(new, old, replace(old, received_at=after(3)))
    assert attributes(profile) == {"plan": "new"}


def test_within_one_request_the_later_entry_wins() -> None:
    table: list[Sequence[Any]] = [
        ["zeta", "alpha"],
        ["alpha", "zeta"],
        [None, "gold"],
        ["gold", None],
        ["a", "b", "a"],
        [1, "1", None, 0],
    ]
    for values in table:
        for at in [None, after(1)]:
            with example(values, at):
                changes = request(*(change(at=at, attributes={"plan": value}) for value in values), at=5)
                for order in permutations(changes):
                    assert attributes(merged(*order)).get("plan") == values[-1]


def test_within_one_request_a_later_snapshot_drops_what_an_earlier_entry_set_and_keeps_what_a_later_one_sets() -> None:
    for at in (None, after(1)):
        entries = request(
            change(at=at, attributes={"plan": "x", "city": "Ulm"}),
            change(at=at, snapshot=True, attributes={"plan": "y"}),
            change(at=at, attributes={"street": "Am Berg"}),
            at=5,
        )
        for order in permutations(entries):
            assert attributes(merged(*order)) == {"plan": "y", "street": "Am Berg"}


def test_the_newest_qualification_wins_and_on_a_tie_the_exit() -> None:
    for sent in ([realized("s/a", 2), exited("s/a", 1)], [exited("s/a", 1), realized("s/a", 2)]):
        assert merged(*(change(memberships=[each]) for each in sent)).memberships["s/a"].realized
    for sent in ([realized("s/a", 1), exited("s/a", 1)], [exited("s/a", 1), realized("s/a", 1)]):
        assert not merged(change(memberships=sent)).memberships["s/a"].realized


def test_a_snapshot_drops_what_was_set_earlier_and_keeps_it_out() -> None:
    early = change(at=after(1), attributes={"plan": "free", "city": "Ulm"})
    snapshot = change(at=after(5), snapshot=True, attributes={"plan": "pro"}, identities={"email": ["a@example.com"]})
    late = change(at=after(6), attributes={"city": "Bonn"})
    for order in ([early, snapshot, late], [snapshot, late, early], [late, early, snapshot]):
        profile = merged(*order)
        assert profile.view()["attributes"] == {"plan": "pro", "city": "Bonn"}
        assert profile.attributes_floor == profile.identities_floor == (after(5), after(100))


def test_none_clears_and_an_older_value_does_not_come_back() -> None:
    cleared = merged(change(at=after(5), attributes={"plan": None}), change(at=after(4), attributes={"plan": "x"}))
    assert cleared.view()["attributes"] == {}
    assert cleared.attributes["plan"] == Register(None, after(5), after(100))


def test_times_are_compared_as_they_are_sentby_a_clock_that_runs_ahead() -> None:
    """Local time labelled as UTC, two hours ahead: repeats are no news, and a time is not news because it has come."""
    ahead = timedelta(hours=2)
    old = change(received_at=after(0), at=after(0) + ahead, attributes={"plan": "old"})
    new = change(received_at=after(120), at=after(120) + ahead, attributes={"plan": "new"})
    joins = change(received_at=after(0), memberships=[MembershipChange("s/a", True, after(0) + ahead)])
    leaves = change(received_at=after(120), memberships=[MembershipChange("s/a", False, after(120) + ahead)])
    changes = [old, new, joins, leaves, replace(old, received_at=after(240)), replace(joins, received_at=after(240))]
    for order in permutations(changes):
        profile = merged(*order)
        assert attributes(profile) == {"plan": "new"}
        assert held(profile) == {"s/a": (False, after(120) + ahead)}


def test_a_time_more_than_a_day_ahead_counts_as_receipt_and_is_counted() -> None:
    beyond, within = after(100) + AHEAD + timedelta(seconds=1), after(100) + AHEAD
    result = merge(
        BLANK,
        change(
            at=beyond,
            attributes={"plan": "x"},
            memberships=[
                MembershipChange("s/a", True, beyond),
                MembershipChange("s/b", False, within),
                exited("s/c", 1),
            ],
        ),
    )
    assert result.clamped == 2
    assert result.profile.attributes["plan"].at == after(100)
    assert held(result.profile) == {"s/a": (True, after(100)), "s/b": (False, within), "s/c": (False, after(1))}


def test_without_a_time_of_its_own_a_change_counts_from_its_receipt() -> None:
    assert merged(change(attributes={"plan": "x"}, memberships=[realized("s/a", 1)])).attributes["plan"].at == after(
        100
    )


def test_attributes_and_identities_are_merged_whatever_the_memberships_beside_them_are() -> None:
    profile = merged(
        change(identities={"crm": ["1"]}, attributes={"plan": "x"}, memberships=[realized("s/unheard", 1)])
    )
    assert profile.view() == {"source": "s", "identities": {"crm": ["1"]}, "attributes": {"plan": "x"}}
    assert held(profile) == {"s/unheard": (True, after(1))}


def test_what_is_sentagain_with_its_own_time_need_not_be_written() -> None:
    """A source that sends everything every night costs no write per profile; one without times of its own does."""
    timed = change(at=after(1), snapshot=True, identities={"crm": ["1"]}, attributes={"plan": "x"})
    assert not merge(merged(timed), replace(timed, received_at=after(200))).changed
    assert merge(merged(timed), replace(timed, received_at=after(200), attributes={"plan": "y"})).changed
    known = replace(timed, webhook_id="a")
    assert not merge(merged(known), replace(known, received_at=after(200), webhook_id="b")).changed
    assert merge(merged(timed), known).profile.receipts == {}
    untimed = replace(timed, at=None)
    assert merge(merged(untimed), replace(untimed, received_at=after(200))).changed


def test_an_empty_change_changes_nothing() -> None:
    assert not merge(BLANK, change()).changed
    assert change().is_empty
    assert not change(snapshot=True).is_empty


def test_an_old_exit_heard_of_only_now_is_remembered_so_that_an_older_entry_does_not_undo_it() -> None:
    member = merged(change(memberships=[realized("s/a", 0)]))
    much_later = NOON + EXITS_KEPT + timedelta(days=1)
    sent = change(received_at=much_later, memberships=[exited("s/a", 10)])

    result = merge(member, sent)

    assert looks_different(member, result.profile)
    assert held(result.profile) == {"s/a": (False, after(10))}
    assert not merge(result.profile, sent).changed
    replayed = change(received_at=much_later, memberships=[realized("s/a", 0)])
    assert not merge(result.profile, replayed).changed


def test_exits_heard_of_long_ago_are_dropped() -> None:
    member = merged(change(memberships=[realized("s/a", 0), exited("s/b", 0)]))
    later = change(received_at=NOON + timedelta(days=2), memberships=[exited("s/c", 0)])
    sent = change(received_at=NOON + EXITS_KEPT + timedelta(days=1), memberships=[realized("s/a", 10)])

    profile = merged(later, sent, profile=member)

    assert held(profile) == {"s/a": (True, after(10)), "s/c": (False, after(0))}


def test_a_long_standing_member_stays() -> None:
    member = merged(change(memberships=[realized("s/a", 0)]))
    sent = change(received_at=NOON + timedelta(days=900), attributes={"plan": "x"})
    profile = merged(sent, profile=member)
    assert held(profile) == {"s/a": (True, NOON)}


def test_a_newer_time_alone_is_written_but_not_visible() -> None:
    profile = merged(change(attributes={"plan": "x"}, memberships=[realized("s/a", 1)]))
    again = change(received_at=after(200), attributes={"plan": "x"}, memberships=[realized("s/a", 2)])
    result = merge(profile, again)
    assert result.changed
    assert not looks_different(profile, result.profile)


def test_version_and_time_of_writing_are_left_alone() -> None:
    profile = replace(merged(change(attributes={"plan": "x"})), version=7, changed_at=NOON)
    result = merge(profile, change(received_at=after(200), attributes={"plan": "y"}))
    assert (result.profile.version, result.profile.changed_at) == (7, NOON)
