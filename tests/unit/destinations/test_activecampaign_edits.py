"""What an edited export does about those it told before: the target says what is taken back, the options how."""

from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.contract import Answer, Reply
from relay.domain.exports import Export
from tests.contract.activecampaign_replies import (
    FIELD,
    FOUND,
    NEVER_ON,
    NOBODY,
    REMOVE_TAG,
    SET_FIELD,
    SUBSCRIBED,
    TAG,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    account,
    asked,
    associations,
    codes,
    entries,
    entry,
    export,
    held,
    import_info,
    list_set,
    opened,
    queued,
    step,
    synced,
    tags,
)
from tests.fakes.scripted_caller import DictNotes, asked_of, reply, unused_of

ENTRIES = "GET contacts/17/contactLists"
BULK_UNSUBSCRIBE: dict[str, Any] = {**UNSUBSCRIBE, "resubscribe": False}
EVERY_WAY = pytest.mark.parametrize(
    "options", [{}, UNSUBSCRIBE, BULK_UNSUBSCRIBE, SET_FIELD, REMOVE_TAG], ids=["keep", "out", "bulk", "field", "tag"]
)


def types(**kinds: str) -> DictNotes:
    """Return notes in which the types of fields are known: fields 3 and 9 are texts unless `kinds` differ."""
    known = {"f3": "text", "f9": "text", **kinds}
    listed = ", ".join(f'"{name[1:]}": "{kind}"' for name, kind in known.items())
    return DictNotes({"ac field types": f"{{{listed}}}"})


def leave(target: str, the_export: Export, *answers: Reply, notes: DictNotes | None = None) -> tuple[Answer, list[str]]:
    """Send one who leaves a target; return the answer and the calls."""
    the_account = account(*answers, notes=notes or types())
    answer = DESTINATION.send(the_account, the_export, [step(joins=False, target=target)])
    assert unused_of(the_account) == []
    return answer, asked(the_account)


# Single leavers.


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({}, "list/7"),
        ({}, "list/6"),
        ({}, FIELD),
        (UNSUBSCRIBE, FIELD),
        (BULK_UNSUBSCRIBE, FIELD),
        (SET_FIELD, "list/7"),
        (SET_FIELD, "list/6"),
        (REMOVE_TAG, "list/7"),
        (REMOVE_TAG, "list/6"),
        (REMOVE_TAG, FIELD),
    ],
)
def test_where_nothing_is_to_be_done_they_go_alone_and_cost_no_call(options: dict[str, Any], target: str) -> None:
    people = [step(joins=False, target=target), step("b@example.com", joins=False, target=target)]
    assert DESTINATION.calls(account(), export(**options), people) == [[0], [1]]
    assert leave(target, export(**options)) == (Answer(), [])


@EVERY_WAY
@pytest.mark.parametrize("name", ["Member", "Old", "a/b"])
def test_a_tag_that_marked_members_comes_off_whatever_the_options_say_now(options: dict[str, Any], name: str) -> None:
    the_account = account(
        FOUND, tags(("2", "Member of b"), ("3", name)), associations(("55", "3")), reply(200, {}), notes=types()
    )
    leaver = step(joins=False, target=f"tag/{name}")
    assert DESTINATION.send(the_account, export(**options), [leaver]) == Answer()
    assert asked(the_account)[-1] == "DELETE contactTags/55"
    assert asked_of(the_account)[1].params["search"] == name


@pytest.mark.parametrize("target", [FIELD, "field/9"])
def test_a_field_that_marked_members_gets_the_value_of_today(target: str) -> None:
    edited = export(**{**SET_FIELD, "value_out": "gone"})
    the_account = account(FOUND, synced(), notes=types())
    assert DESTINATION.send(the_account, edited, [step(joins=False, target=target)]) == Answer()
    values = [{"field": target.partition("/")[2], "value": "gone"}]
    assert asked_of(the_account)[1].json == {"contact": {"email": "a@example.com", "fieldValues": values}}


def test_a_former_field_that_cannot_hold_the_value_of_today_is_told() -> None:
    answer, calls = leave("field/9", export(**SET_FIELD), notes=types(f9="date"))
    assert (codes(answer.refused), calls) == ({0: "unfit_value"}, [])


def test_a_former_list_is_left_by_an_export_that_unsubscribes() -> None:
    left = entries(entry("2", "6"), entry("1", "7"))
    the_account = account(FOUND, entries(entry("1", "6"), entry("1", "7")), list_set(2, list=6), left)
    answer = DESTINATION.send(the_account, export(**UNSUBSCRIBE), [step(joins=False, target="list/6")])
    assert set(answer.memos) == {0}
    assert asked_of(the_account)[2].json == {"contactList": {"list": "6", "contact": "17", "status": 2}}


def test_who_is_off_a_former_list_is_left_alone_whatever_the_new_one_says() -> None:
    answer, calls = leave("list/6", export(**UNSUBSCRIBE), FOUND, entries(entry("2", "6"), entry("1", "7")))
    assert (answer, calls) == (Answer(), ["GET contacts", ENTRIES])


# In an import.


@pytest.mark.parametrize(
    ("options", "targets", "rows"),
    [
        (BULK_UNSUBSCRIBE, ("list/6", "list/7"), [{"unsubscribe": [{"listid": number}]} for number in (6, 7)]),
        (SET_FIELD, ("field/9", FIELD), [{"fields": [{"id": number, "value": "no"}]} for number in (9, 3)]),
    ],
    ids=["lists", "fields"],
)
def test_leavers_of_former_lists_and_fields_go_in_an_import(
    options: dict[str, Any], targets: tuple[str, str], rows: list[dict[str, Any]]
) -> None:
    people = [step(f"{name}@example.com", joins=False, target=to) for name, to in zip("ab", targets, strict=True)]
    the_account = account(queued(), notes=types())
    DESTINATION.send(the_account, export(**options), people)
    sent = asked_of(the_account)[0].json["contacts"]
    assert sent == [{"email": f"{name}@example.com", **row} for name, row in zip("ab", rows, strict=True)]


def looked_up(target: str, options: dict[str, Any], *answers: Reply, joins: bool = False) -> dict[int, str]:
    """Look at an import that nobody knows any more; return the refusals."""
    the_account = account(reply(404, {}), FOUND, *answers, notes=types())
    people = [step(joins=joins, target=target)]
    report = DESTINATION.import_report(the_account, export(**options), opened(age=600), people)
    assert unused_of(the_account) == []
    return codes(report.refused)


@pytest.mark.parametrize(("six", "seven", "refused"), [("2", "1", {}), ("1", "2", {0: "unconfirmed"})])
def test_a_leaver_is_looked_up_on_the_former_list(six: str, seven: str, refused: dict[int, str]) -> None:
    standing = entries(entry(six, "6"), entry(seven, "7"))
    assert looked_up("list/6", BULK_UNSUBSCRIBE, standing) == refused


@pytest.mark.parametrize(("nine", "three", "refused"), [("no", "yes", {}), ("yes", "no", {0: "unconfirmed"})])
def test_a_leaver_is_looked_up_by_the_former_field(nine: str, three: str, refused: dict[int, str]) -> None:
    assert looked_up("field/9", SET_FIELD, held(fields={"9": nine, "3": three})) == refused


@pytest.mark.parametrize("target", ["list/7", "list/6", FIELD, TAG])
def test_one_who_joins_is_looked_up_on_the_list_of_today(target: str) -> None:
    assert looked_up(target, {}, entries(entry("2", "6"), entry("1", "7")), joins=True) == {}
    assert looked_up(target, {}, entries(entry("1", "6")), joins=True) == {0: "unconfirmed"}


@pytest.mark.parametrize("target", ["list/6", FIELD, TAG])
def test_the_reason_for_a_refusal_is_looked_for_on_the_list_of_today(target: str) -> None:
    standing = entries(entry("3", "6"), entry("2", "7"))
    the_account = account(import_info(failure=["a@example.com"]), FOUND, standing)
    report = DESTINATION.import_report(the_account, export(), opened(), [step(target=target)])
    assert codes(report.refused) == {0: "unsubscribed"}


# Who joins.


@EVERY_WAY
@pytest.mark.parametrize("target", ["list/6", FIELD, TAG])
def test_who_joins_is_subscribed_to_the_list_of_today(options: dict[str, Any], target: str) -> None:
    the_account = account(NOBODY, synced(), NEVER_ON, list_set(1, list=8), notes=types())
    DESTINATION.send(the_account, export(**options, list_id="8"), [step(target=target)])
    assert asked_of(the_account)[-1].json == {"contactList": {"list": "8", "contact": "17", "status": 1}}


@pytest.mark.parametrize(
    ("found", "refused"), [(SUBSCRIBED, {0: "unsubscribed"}), (UNSUBSCRIBED, {}), (NEVER_ON, {0: "unsubscribed"})]
)
def test_it_is_the_list_of_today_that_stands_in_the_way(found: Reply, refused: dict[int, str]) -> None:
    """Each stands so with list 7; only where that is the list of today it counts."""
    listed = entries(*found.body["contactLists"], entry("1" if found is UNSUBSCRIBED else "2", "8"))
    the_account = account(FOUND, listed, synced(), notes=types())
    answer = DESTINATION.send(the_account, export(list_id="8"), [step(target=TAG)])
    assert codes(answer.refused) == refused


@pytest.mark.parametrize("options", [SET_FIELD, REMOVE_TAG])
def test_an_edited_list_leaves_marked_members_in_their_target(options: dict[str, Any]) -> None:
    edited = export(**options, list_id="8")
    assert DESTINATION.targets(edited) == DESTINATION.targets(export(**options))
    assert DESTINATION.owned(edited) == {*DESTINATION.targets(edited), "list/8"}
