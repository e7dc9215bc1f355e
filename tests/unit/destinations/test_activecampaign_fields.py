"""Values and the types of their custom fields."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.activecampaign.mapping import fit, items_of, several
from relay.destinations.activecampaign.rows import Contact, contact_of, is_certainly_within, most_bytes, row_of
from relay.destinations.api import ReadRefused
from relay.destinations.calling import encode_json
from relay.destinations.contract import Step
from tests.contract.activecampaign_replies import (
    FIELD,
    FORBIDDEN,
    LIST,
    ME,
    NEVER_ON,
    NOBODY,
    SET_FIELD,
    account,
    asked,
    codes,
    export,
    fields,
    list_set,
    queued,
    room,
    step,
    steps,
    synced,
)
from tests.fakes.scripted_caller import DictNotes, asked_of, reply


@pytest.mark.parametrize(
    ("kind", "value", "fitting"),
    [
        ("date", "2026-11-22", "2026-11-22"),
        ("date", "2026-11-22T23:30:00-05:00", "2026-11-22"),
        ("date", "2026-11-22T09:30:00Z", "2026-11-22"),
        ("date", "22.11.2026", None),
        ("date", "soon", None),
        ("datetime", "2026-11-22T09:30:00Z", "2026-11-22T09:30:00+00:00"),
        ("datetime", "2026-11-22T09:30:00.123456-05:00", "2026-11-22T09:30:00-05:00"),
        ("datetime", "2026-11-22 09:30", "2026-11-22T09:30:00+00:00"),
        ("datetime", "2026-11-22", "2026-11-22T00:00:00+00:00"),
        ("datetime", "1795339800", "2026-11-22T09:30:00+00:00"),
        ("datetime", "1795339800000", "2026-11-22T09:30:00+00:00"),
        ("datetime", "2026-11-22t09:30:00z", "2026-11-22T09:30:00+00:00"),
        ("datetime", "20261122093000Z", None),
        ("date", "2026-04-30T23:30:00-05:00", "2026-04-30"),
        ("date", "2026-05-01T00:30:00+09:00", "2026-05-01"),
        ("date", "1612051200000", "2021-01-31"),
        ("date", "1612051200", "2021-01-31"),
        ("date", "1985-07-04", "1985-07-04"),
        ("date", "20261122", None),
        ("date", "2026-11-22-05:00", None),
        ("date", "2026-04-30+01:00", None),
        ("date", "2026-W18-4", None),
        ("date", "1612051200.5", None),
        ("date", "||2026-11-22||", "2026-11-22"),
        ("date", "||2026-11-22||2026-11-23||", None),
        ("date", "||", ""),
        ("datetime", "||2026-11-22T09:30:00Z||", "2026-11-22T09:30:00+00:00"),
        ("datetime", "||2026-11-22||2026-11-23||", None),
        ("listbox", "||a||b||", "||a||b||"),
        ("listbox", "a", "||a||"),
        ("checkbox", "a", "||a||"),
        ("checkbox", "||a||", "||a||"),
        ("dropdown", "gold", "gold"),
        ("dropdown", "||gold||", "gold"),
        ("dropdown", "||gold||silver||", None),
        ("radio", "||gold||", "gold"),
        ("radio", "||gold||silver||", None),
        ("number", "3", "3"),
        ("number", "||5||", "5"),
        ("number", "||5||6||", None),
        ("number", "||", ""),
        ("listbox", "||", ""),
        ("dropdown", "||", ""),
        ("text", "||", ""),
        ("something new", "||", ""),
        (None, "||", ""),
        ("currency", "||9.99||", "9.99"),
        ("number", "1e-07", "1e-07"),
        ("number", "-2.5", "-2.5"),
        ("number", "three", None),
        ("number", "nan", None),
        ("number", "inf", None),
        ("currency", "9.99", "9.99"),
        ("currency", "9,99", None),
        ("text", "gold", "gold"),
        ("text", "||a||b||", "a, b"),
        ("textarea", "a\n|| b", "a\n|| b"),
        ("hidden", "||a||", "a"),
        ("something new", "||a||b||", "||a||b||"),
        (None, "anything at all", "anything at all"),
    ],
)
def test_a_value_and_the_type_of_its_field(kind: str | None, value: str, fitting: str | None) -> None:
    assert fit(kind, value) == fitting


@pytest.mark.parametrize("value", ["1_000", "\u0661\u0662"])
def test_what_only_python_reads_as_a_number_is_none(value: str) -> None:
    assert fit("number", value) is None


@given(st.lists(st.text(min_size=1).filter(lambda item: "|" not in item), min_size=1))
def test_several_values_are_read_as_they_were_written(items: list[str]) -> None:
    assert items_of(several(items)) == items


@given(st.sampled_from(["date", "datetime", "number", "dropdown", "listbox", "text", "x"]), st.text(max_size=20))
def test_what_was_fitted_fits(kind: str, value: str) -> None:
    fitting = fit(kind, value)
    assert not fitting or kind == "listbox" or fit(kind, fitting) == fitting


@pytest.mark.parametrize(
    ("items", "text"),
    [(["|a", "b|"], "||a||b||"), (["a|", "|b"], "||a||b||"), (["a|b"], "||a|b||"), (["||a||||b||"], "||a||b||")],
)
def test_pipes_at_the_ends_of_values_are_left_out(items: list[str], text: str) -> None:
    assert several(items) == text


# In a call.

DATED = export({"fields.4": "attributes.since"})
KINDS = (fields(f3="text", f4="date"),)


def since(value: str, email: str = "a@example.com") -> Step:
    return step(email, fields={"4": value})


def test_an_unfit_value_refuses_its_contact_and_the_others_are_sent() -> None:
    the_account = account(*KINDS, queued())
    people = [since("2026-11-22T09:00:00Z"), since("soon", "b@example.com"), since("2026-01-02", "c@example.com")]
    answer = DESTINATION.send(the_account, DATED, people)
    assert codes(answer.refused) == {1: "unfit_value"}
    assert (answer.import_id, answer.queued) == ("b-1", 2)
    rows = asked_of(the_account)[-1].json["contacts"]
    assert [(row["email"], row["fields"]) for row in rows] == [
        ("a@example.com", [{"id": 4, "value": "2026-11-22"}]),
        ("c@example.com", [{"id": 4, "value": "2026-01-02"}]),
    ]


def test_an_unfit_value_and_a_row_the_import_names_are_told_apart() -> None:
    bad = reply(400, {"success": 0, "failureReasons": [{"contact": 1, "failureReason": "Field 'email'"}]})
    people = [since("soon"), since("2026-01-01", "b@example.com"), since("2026-01-02", "c@example.com")]
    answer = DESTINATION.send(account(*KINDS, bad, queued(1)), DATED, people)
    assert codes(answer.refused) == {0: "unfit_value", 1: "malformed"}


@pytest.mark.parametrize("count", [1, 3])
def test_when_no_value_fits_nothing_is_written(count: int) -> None:
    the_account = account(*KINDS)
    answer = DESTINATION.send(the_account, DATED, [since("soon", f"u{number}@example.com") for number in range(count)])
    assert codes(answer.refused) == dict.fromkeys(range(count), "unfit_value")
    assert answer.import_id is None
    assert asked(the_account) == ["GET fields"]


def test_one_contact_alone_is_fitted_too() -> None:
    the_account = account(*KINDS, NOBODY, synced(), NEVER_ON, list_set(1))
    assert DESTINATION.send(the_account, DATED, [since("2026-11-22T09:00:00Z")]).refused == {}
    values = asked_of(the_account)[-3].json["contact"]["fieldValues"]
    assert values == [{"field": "4", "value": "2026-11-22"}]


def test_a_text_of_no_values_is_left_out() -> None:
    the_account = account(*KINDS, queued())
    DESTINATION.send(the_account, DATED, [since("||"), since("2026-01-02", "b@example.com")])
    assert [row.get("fields") for row in asked_of(the_account)[-1].json["contacts"]] == [
        None,
        [{"id": 4, "value": "2026-01-02"}],
    ]
    alone = account(*KINDS, NOBODY, synced(), NEVER_ON, list_set(1))
    DESTINATION.send(alone, DATED, [since("||")])
    assert asked_of(alone)[-3].json == {"contact": {"email": "a@example.com"}}


def test_the_value_of_those_who_leave_is_fitted() -> None:
    the_account = account(fields(f3="listbox"), queued())
    leaves = [step(f"{name}@example.com", joins=False, target=FIELD) for name in "ab"]
    DESTINATION.send(the_account, export(**SET_FIELD), leaves)
    assert [row["fields"] for row in asked_of(the_account)[-1].json["contacts"]] == [[{"id": 3, "value": "||no||"}]] * 2


def test_types_are_read_once_for_all() -> None:
    notes = DictNotes()
    DESTINATION.send(
        account(*KINDS, queued(), notes=notes), DATED, [since("2026-01-02"), since("2026-01-02", "b@x.io")]
    )
    again = account(queued(), notes=notes)
    answer = DESTINATION.send(
        again, DATED, [since("soon"), since("2026-01-02", "b@x.io"), since("2026-01-02", "c@x.io")]
    )
    assert codes(answer.refused) == {0: "unfit_value"}
    assert asked(again) == ["POST import/bulk_import"]


def test_an_export_without_custom_fields_reads_no_types() -> None:
    the_account = account(queued())
    DESTINATION.send(the_account, export(), steps(2))
    assert asked(the_account) == ["POST import/bulk_import"]


def test_types_once_known_serve_on_when_they_may_not_be_read_any_more() -> None:
    notes = DictNotes()
    DESTINATION.send(
        account(*KINDS, queued(), notes=notes), DATED, [since("2026-01-02"), since("2026-01-02", "b@x.io")]
    )
    known = dict(notes.kept)
    DESTINATION.check(account(ME, room(), FORBIDDEN, FORBIDDEN, LIST, notes=notes), [DATED])
    assert notes.kept == known
    again = account(notes=notes)
    assert codes(DESTINATION.send(again, DATED, [since("soon")]).refused) == {0: "unfit_value"}
    assert asked(again) == []


@pytest.mark.parametrize("status", [400, 413, 422])
def test_types_whose_reading_is_refused_are_asked_for_again(status: int) -> None:
    notes = DictNotes()
    with pytest.raises(ReadRefused) as caught:
        DESTINATION.send(account(reply(status, {}), notes=notes), DATED, [since("soon")])
    assert (caught.value.taken, notes.kept) == (False, {})


def test_types_nobody_may_see_leave_values_as_they_are() -> None:
    the_account = account(FORBIDDEN, FORBIDDEN, queued())
    answer = DESTINATION.send(the_account, DATED, [since("soon"), since("later", "b@example.com")])
    assert answer.refused == {}
    assert asked_of(the_account)[-1].json["contacts"][0]["fields"] == [{"id": 4, "value": "soon"}]


@pytest.mark.parametrize("value", ["2026-11-22T09:30Z", "2026-11-22", "179533980", "2026-11-22T09:30"])
def test_the_size_of_a_row_counts_what_its_fields_may_make_of_it(value: str) -> None:
    assert left_over(value) >= 0


def left_over(value: str) -> int:
    """Return how many of the reserved bytes are left once a value became a time."""
    one = since(value)
    contact = contact_of(one, DATED.options, {"4": "datetime"})
    assert isinstance(contact, Contact)
    return most_bytes(one, DATED.options) - len(encode_json(row_of(one, contact, DATED.options))) - 1


_MAPPED = st.sampled_from(["first_name", "phone", "fields.1", "fields.123456", "tags"])


@given(st.text(max_size=40), st.dictionaries(_MAPPED, st.text(max_size=60)))
def test_a_row_that_is_certainly_small_is_small(identity: str, values: dict[str, str]) -> None:
    row = Step("list/1", identity, True, datetime(2026, 11, 26, tzinfo=UTC), values)
    certain = next(limit for limit in range(10, 10_000, 10) if is_certainly_within(row, DATED.options, limit))
    assert most_bytes(row, DATED.options) <= certain
