"""Cutting steps into calls, and the rows of a bulk import."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.calling import encode_json
from relay.destinations.contract import Step
from relay.domain.exports import Export
from tests.contract.activecampaign_replies import (
    FIELD,
    REMOVE_TAG,
    SET_FIELD,
    TAG,
    UNSUBSCRIBE,
    account,
    export,
    fields,
    queued,
    step,
    steps,
)
from tests.fakes.scripted_caller import asked_of

BUSY = timedelta(seconds=0.51)
FREE = timedelta(seconds=0.5)
BULK_UNSUBSCRIBE: dict[str, Any] = {**UNSUBSCRIBE, "resubscribe": False}
WAYS: list[dict[str, Any]] = [{}, {"exclude_automations": True}, UNSUBSCRIBE, BULK_UNSUBSCRIBE, SET_FIELD, REMOVE_TAG]


def cut(given_steps: list[Step], the_export: Export | None = None, *, backlog: timedelta = FREE) -> list[list[int]]:
    the_account = account(backlog=backlog)
    calls = DESTINATION.calls(the_account, export() if the_export is None else the_export, given_steps)
    assert asked_of(the_account) == []
    return calls


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (0, []),
        (1, [1]),
        (2, [1, 1]),
        (10, [1] * 10),
        (11, [11]),
        (250, [250]),
        (251, [250, 1]),
        (253, [250, 1, 1, 1]),
        (1000, [250] * 4),
    ],
)
def test_up_to_ten_go_one_by_one(count: int, sizes: list[int]) -> None:
    assert [len(call) for call in cut(steps(count))] == sizes


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (2, [2]), (10, [10]), (11, [11]), (250, [250]), (251, [250, 1]), (253, [250, 3])]
)
def test_two_are_enough_for_an_import_while_single_calls_have_to_wait(count: int, sizes: list[int]) -> None:
    assert [len(call) for call in cut(steps(count), backlog=BUSY)] == sizes


@pytest.mark.parametrize("backlog", [FREE, BUSY])
@pytest.mark.parametrize("count", [1, 2, 10, 11])
def test_where_no_automation_may_start_all_goes_in_imports(count: int, backlog: timedelta) -> None:
    """Single calls know no such option."""
    quiet = export(exclude_automations=True)
    assert cut(steps(count), quiet, backlog=backlog) == [list(range(count))]
    the_account = account(queued(count))
    DESTINATION.send(the_account, quiet, steps(count))
    (call,) = asked_of(the_account)
    assert call.url.endswith("/import/bulk_import")
    # Their prose puts it in the payload, their example in each contact.
    assert call.json["exclude_automations"] is True
    assert [row["exclude_automations"] for row in call.json["contacts"]] == [True] * count


@pytest.mark.parametrize("options", [{}, {"exclude_automations": False}])
def test_otherwise_nothing_is_said_about_automations(options: dict[str, Any]) -> None:
    the_account = account(queued())
    DESTINATION.send(the_account, export(**options), steps(2))
    assert "exclude_automations" not in str(asked_of(the_account)[0].json)


def test_where_no_automation_may_start_ways_of_their_own_stay() -> None:
    quiet = export(**UNSUBSCRIBE, exclude_automations=True)
    people = [step("z@example.com", evidence="what our call left"), step("y@example.com", joins=False), *steps(2)]
    assert cut(people, quiet) == [[0], [1], [2, 3]]


def test_one_address_comes_once_in_an_import_and_in_order() -> None:
    both = [*steps(12), step("u3@example.com", joins=False, target="field/6"), *steps(1)]
    calls = cut(both, export(**SET_FIELD))
    assert calls == [list(range(12)), [12], [13]]
    assert cut(both, export(**SET_FIELD), backlog=BUSY) == [list(range(12)), [12, 13]]


def test_few_steps_for_one_address_keep_their_order() -> None:
    left = [step(joins=False, target="field/6"), step("b@example.com", joins=False, target="field/6")]
    joined = [step(), step("c@example.com")]
    assert cut([*left, *joined], export(**SET_FIELD)) == [[0], [1], [2], [3]]
    assert cut([*left, *joined], export(**SET_FIELD), backlog=BUSY) == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("single", "options"),
    [
        (step("z@example.com", evidence="what our call left"), UNSUBSCRIBE),
        (step("z@example.com", joins=False), UNSUBSCRIBE),
        (step("z@example.com", joins=False, target=TAG), REMOVE_TAG),
    ],
    ids=["comes back", "is unsubscribed", "loses the tag"],
)
@pytest.mark.parametrize("backlog", [FREE, BUSY])
def test_few_go_in_an_import_beside_one_who_needs_single_calls(
    single: Step, options: dict[str, Any], backlog: timedelta
) -> None:
    assert cut([single, *steps(3)], export(**options), backlog=backlog) == [[0], [1, 2, 3]]


def test_who_comes_back_goes_alone() -> None:
    people = steps(13)
    people[5] = replace(people[5], evidence="what our call left")
    assert cut(people, export(**UNSUBSCRIBE), backlog=BUSY) == [[0, 1, 2, 3, 4, *range(6, 13)], [5]]


@pytest.mark.parametrize(
    ("options", "target", "alone"),
    [
        (UNSUBSCRIBE, "list/7", True),
        (UNSUBSCRIBE, FIELD, True),
        (UNSUBSCRIBE, TAG, True),
        ({**UNSUBSCRIBE, "resubscribe": False}, "list/7", False),
        ({**UNSUBSCRIBE, "resubscribe": False}, "list/6", False),
        ({**UNSUBSCRIBE, "resubscribe": False}, TAG, True),
        (SET_FIELD, FIELD, False),
        (SET_FIELD, "field/6", False),
        (SET_FIELD, "list/7", True),
        (SET_FIELD, TAG, True),
        (REMOVE_TAG, TAG, True),
        (REMOVE_TAG, FIELD, True),
        (REMOVE_TAG, "list/7", True),
        ({}, "list/7", True),
    ],
)
def test_who_leaves_goes_alone_where_an_import_cannot_do_it(options: dict[str, Any], target: str, alone: bool) -> None:
    people = [replace(one, joins=False, target=target) for one in steps(12)]
    expected = [[index] for index in range(12)] if alone else [list(range(12))]
    assert cut(people, export(**options), backlog=BUSY) == expected


def test_who_had_a_call_of_their_own_comes_into_no_import_before_it() -> None:
    people = [*steps(2), step("c@example.com", joins=False), step("c@example.com"), *steps(1)]
    assert cut(people, export(**UNSUBSCRIBE), backlog=BUSY) == [[0, 1], [2], [3, 4]]


@pytest.mark.parametrize(
    ("options", "joins", "leaves", "full"),
    [
        ({}, 249, 0, False),
        ({}, 250, 0, True),
        ({}, 125, 125, True),
        (SET_FIELD, 0, 249, False),
        (UNSUBSCRIBE, 100, 29, False),
        (UNSUBSCRIBE, 0, 30, True),
        ({**UNSUBSCRIBE, "resubscribe": False}, 0, 249, False),
        (REMOVE_TAG, 0, 30, True),
    ],
)
def test_a_run_reads_on_until_an_import_is_full_or_single_leavers_are_enough(
    options: dict[str, Any], joins: int, leaves: int, full: bool
) -> None:
    assert DESTINATION.page_is_full(export(**options), joins, leaves) is full


ANY_STEP = st.builds(
    lambda person, joins, evidence, target: step(
        f"u{person}@example.com", joins=joins, evidence=evidence, target=target
    ),
    st.integers(0, 20),
    st.booleans(),
    st.sampled_from([None, None, None, "evidence"]),
    st.sampled_from(["list/7", "list/6", FIELD, TAG]),
)


@given(st.lists(ANY_STEP, max_size=40), st.sampled_from(WAYS), st.sampled_from([FREE, BUSY]))
def test_calls_cover_all_in_order_of_each_address(given_steps: list[Step], way: Any, backlog: timedelta) -> None:
    calls = cut(given_steps, export(**way), backlog=backlog)
    sent = [index for call in calls for index in call]
    assert sorted(sent) == list(range(len(given_steps)))
    for person in {one.identity for one in given_steps}:
        places = [index for index in sent if given_steps[index].identity == person]
        assert places == sorted(places)
    for call in calls:
        assert len({given_steps[index].identity for index in call}) == len(call)
        if len(call) > 1:
            assert not any(given_steps[index].joins and given_steps[index].evidence for index in call)
            assert not any(not given_steps[index].joins and given_steps[index].target == TAG for index in call)


@given(
    st.lists(st.tuples(st.integers(1, 120), st.sampled_from([0, 30, 800, 5_000, 190_000])), max_size=5), st.booleans()
)
@settings(max_examples=20, deadline=None)
def test_bodies_stay_below_400_000_bytes(blocks: list[tuple[int, int]], quiet: bool) -> None:
    lengths = [length for count, length in blocks for _ in range(min(count, 1_000_000 // (length + 1)))]
    people = [step(f"u{number}@example.com", first_name="ü" * length) for number, length in enumerate(lengths)]
    the_export = export(exclude_automations=quiet)
    for call in cut(people, the_export, backlog=BUSY):
        assert len(call) <= 250
        if len(call) > 1:
            the_account = account(queued())
            DESTINATION.send(the_account, the_export, [people[index] for index in call])
            assert len(encode_json(asked_of(the_account)[0].json)) <= 399_999


def test_a_record_too_large_for_any_call_is_refused_without_one() -> None:
    the_account = account()
    large = step(first_name="x" * 400_000)
    assert cut([step("b@example.com"), large, step("c@example.com")], backlog=BUSY) == [[0], [1], [2]]
    answer = DESTINATION.send(the_account, export(), [large])
    assert answer.refused[0].code == "too_large"
    assert asked_of(the_account) == []


# Rows.


def rows_of(given_steps: list[Step], the_export: Export) -> list[dict[str, Any]]:
    answers = (fields(),) if the_export.options.exit_field else ()
    the_account = account(*answers, queued())
    DESTINATION.send(the_account, the_export, given_steps)
    contacts: list[dict[str, Any]] = asked_of(the_account)[-1].json["contacts"]
    return contacts


def test_rows_of_those_who_join() -> None:
    joins = step(first_name="Anna", tags="||VIP||New||", fields={"12": "gold"})
    assert rows_of([joins, step("b@example.com")], export()) == [
        {
            "email": "a@example.com",
            "first_name": "Anna",
            "tags": ["VIP", "New"],
            "fields": [{"id": 12, "value": "gold"}],
            "subscribe": [{"listid": 7}],
        },
        {"email": "b@example.com", "subscribe": [{"listid": 7}]},
    ]


def test_rows_of_those_who_are_unsubscribed_name_the_list_that_was_told() -> None:
    leaves = [step(joins=False, target="list/6"), step("b@example.com", joins=False)]
    assert rows_of(leaves, export(**UNSUBSCRIBE, resubscribe=False)) == [
        {"email": "a@example.com", "unsubscribe": [{"listid": 6}]},
        {"email": "b@example.com", "unsubscribe": [{"listid": 7}]},
    ]


def test_rows_in_which_a_field_says_in_and_out() -> None:
    joins = replace(step(), values=DESTINATION.complete(export(**SET_FIELD), {}))
    leaves = [step(f"{name}@example.com", joins=False, target=f"field/{number}") for name, number in ("b3", "c6")]
    assert rows_of([joins, *leaves], export(**SET_FIELD)) == [
        {"email": "a@example.com", "fields": [{"id": 3, "value": "yes"}], "subscribe": [{"listid": 7}]},
        {"email": "b@example.com", "fields": [{"id": 3, "value": "no"}]},
        {"email": "c@example.com", "fields": [{"id": 6, "value": "no"}]},
    ]


@pytest.mark.parametrize("target", ["list/6", "list/7", FIELD, TAG])
def test_who_joins_is_subscribed_to_the_list_of_today(target: str) -> None:
    rows = rows_of([step(target=target), step("b@example.com", target=target)], export())
    assert [row["subscribe"] for row in rows] == [[{"listid": 7}]] * 2


@pytest.mark.parametrize("options", [SET_FIELD, REMOVE_TAG])
def test_the_list_a_member_is_told_of_is_never_sent_as_a_value(options: dict[str, Any]) -> None:
    joins = replace(step(), values=DESTINATION.complete(export(**options), {}))
    assert joins.values["list"] == "7"
    row = rows_of([joins, step("b@example.com")], export(**options))[0]
    assert set(row) == {"email", "subscribe", "fields" if "exit_field" in options else "tags"}


def test_nothing_a_step_says_is_interpolated_into_json() -> None:
    the_account = account(queued())
    DESTINATION.send(the_account, export(), [step(first_name='"}],"tags":["x'), step("b@example.com")])
    row = json.loads(encode_json(asked_of(the_account)[0].json))["contacts"][0]
    assert row["first_name"] == '"}],"tags":["x'
    assert "tags" not in row
