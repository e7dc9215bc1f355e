"""Deliveries: the difference between what is wished and what was told."""

import json
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain import deliveries
from relay.domain.deliveries import Delivery, Refusal, Told, Want, compare
from relay.domain.problems import Rejection, RejectionKind

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

keys = st.sampled_from(["a", "b", "c", "d"])
digests = st.sampled_from(["v1", "v2"])
wishes = st.dictionaries(keys, digests).map(lambda found: {key: want(key, digest) for key, digest in found.items()})
tellings = st.dictionaries(keys, st.tuples(st.none() | digests, st.booleans())).map(
    lambda found: {key: Told("list/7", f"{key}@x.example", *rest) for key, rest in found.items()}
)
refusals = st.dictionaries(
    keys | st.just(deliveries.MAPPING),
    st.builds(
        Refusal,
        st.builds(Rejection, st.sampled_from(RejectionKind), st.just("code"), st.text(max_size=20)),
        digests,
        st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    ),
)


def want(key: str, digest: str = "v1") -> Want:
    return Want("list/7", f"{key}@x.example", digest, NOON, {})


def told(**digests_by_key: str | None) -> Delivery:
    return Delivery({key: Told("list/7", f"{key}@x.example", digest) for key, digest in digests_by_key.items()})


def test_what_was_told_is_not_told_again() -> None:
    assert not compare({"a": want("a")}, told(a="v1"), thorough=False)


def test_other_values_are_told() -> None:
    assert list(compare({"a": want("a", "v2")}, told(a="v1"), thorough=False).joins) == ["a"]


def test_an_open_outcome_is_looked_into() -> None:
    assert list(compare({"a": want("a")}, told(a=None), thorough=False).joins) == ["a"]


def test_when_the_identity_changed_the_old_one_leaves_and_the_new_one_joins() -> None:
    difference = compare({"b": want("b")}, told(a="v1"), thorough=False)
    assert (list(difference.joins), list(difference.leaves)) == (["b"], ["a"])


def test_when_a_segment_was_taken_out_of_the_export_only_its_target_is_left() -> None:
    difference = compare({"a": want("a")}, told(a="v1", b="v1"), thorough=False)
    assert (list(difference.joins), list(difference.leaves)) == ([], ["b"])


def test_a_thorough_look_asks_the_claims_behind_what_seems_settled() -> None:
    assert list(compare({"a": want("a")}, told(a="v1"), thorough=True).joins) == ["a"]


@settings(deadline=None)
@given(wishes, tellings)
def test_telling_the_difference_makes_wish_and_delivery_agree(wanted: dict[str, Want], was: dict[str, Told]) -> None:
    difference = compare(wanted, Delivery(was), thorough=False)
    now = {key: place for key, place in was.items() if key not in difference.leaves}
    now |= {key: Told(joined.target, joined.identity, joined.digest) for key, joined in difference.joins.items()}

    assert {key: place.digest for key, place in now.items()} == {key: w.digest for key, w in wanted.items()}
    assert not compare(wanted, Delivery(now), thorough=False)


@settings(deadline=None)
@given(wishes, tellings)
def test_nothing_is_both_joined_and_left_and_a_thorough_look_sees_at_least_as_much(
    wanted: dict[str, Want], was: dict[str, Told]
) -> None:
    quick, thorough = (compare(wanted, Delivery(was), thorough=thorough) for thorough in (False, True))
    assert not quick.joins.keys() & quick.leaves.keys()
    assert quick.joins.keys() <= thorough.joins.keys() == wanted.keys()
    assert quick.leaves == thorough.leaves


@settings(deadline=None)
@given(tellings, refusals, st.integers(0, 10**14), st.none() | st.just("run#1"), st.none() | st.just("run#2"))
def test_a_delivery_survives_being_stored(
    was: dict[str, Told], refused: dict[str, Refusal], settings: int, sent_in: str | None, counted_in: str | None
) -> None:
    delivery = Delivery(was, refused, settings, sent_in, counted_in, version=4)
    assert deliveries.from_json(json.loads(json.dumps(deliveries.to_json(delivery))), 4) == delivery


def test_a_delivery_is_empty_only_when_nobody_may_ask_about_it() -> None:
    assert Delivery(settings=9).is_empty
    assert not told(a=None).is_empty
    assert not Delivery(sent_in="run#1").is_empty
    assert not Delivery(counted_in="run#1").is_empty
