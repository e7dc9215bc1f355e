"""One contact who leaves: unsubscribed with evidence, marked by a field, or without the tag."""

from datetime import timedelta
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.contract import Answer, Reply
from relay.domain.exports import Export
from relay.domain.problems import ConnectionProblem, ExportProblem, Problem, Transient
from tests.contract.activecampaign_replies import (
    FIELD,
    FORBIDDEN,
    FOUND,
    ME,
    NOBODY,
    REMOVE_TAG,
    SET_FIELD,
    SUBSCRIBED,
    TAG,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    account,
    asked,
    codes,
    entries,
    entry,
    export,
    fields,
    list_set,
    queued,
    step,
    synced,
)
from tests.fakes.scripted_caller import LOGIN_PAGE, asked_of, reply, unused_of

UNSUBSCRIBING = export(**UNSUBSCRIBE)
ENTRIES, SET = "GET contacts/17/contactLists", "POST contactLists"


def leave(*answers: Reply | Exception, the_export: Export = UNSUBSCRIBING, **more: Any) -> tuple[Answer, list[str]]:
    """Send one who leaves; return the answer and the calls."""
    the_account = account(*answers)
    answer = DESTINATION.send(the_account, the_export, [step(joins=False, **more)])
    assert unused_of(the_account) == []
    return answer, asked(the_account)


def comes_back(evidence: str, *found: dict[str, Any]) -> bool:
    """Return whether one with this evidence is subscribed again when these entries are read."""
    the_account = account(FOUND, entries(*found), synced(), list_set(1))
    answer = DESTINATION.send(the_account, UNSUBSCRIBING, [step(evidence=evidence)])
    return answer == Answer() and asked(the_account)[-1] == SET


def test_one_who_is_subscribed_is_unsubscribed_and_read_again() -> None:
    the_account = account(FOUND, SUBSCRIBED, list_set(2), UNSUBSCRIBED)
    answer = DESTINATION.send(the_account, UNSUBSCRIBING, [step(joins=False)])
    assert asked(the_account) == ["GET contacts", ENTRIES, SET, ENTRIES]
    assert asked_of(the_account)[2].json == {"contactList": {"list": "7", "contact": "17", "status": 2}}
    assert answer == Answer(evidence={0: answer.evidence[0]})


def test_it_is_the_list_that_was_told() -> None:
    listed = entries(entry("2", "7"), entry("1", "6"))
    the_account = account(FOUND, listed, list_set(2, list=6), entries(entry("2", "6")))
    assert DESTINATION.send(the_account, UNSUBSCRIBING, [step(joins=False, target="list/6")]).evidence
    assert asked_of(the_account)[2].json["contactList"]["list"] == "6"


@pytest.mark.parametrize("found", [(), (entry("2"),), (entry("0"),), (entry("3"),), (entry("1", "6"),)])
def test_one_who_is_not_subscribed_is_left_alone(found: tuple[dict[str, Any], ...]) -> None:
    assert leave(FOUND, entries(*found)) == (Answer(), ["GET contacts", ENTRIES])


@pytest.mark.parametrize(("options", "target"), [(UNSUBSCRIBE, "list/7"), (SET_FIELD, FIELD), (REMOVE_TAG, TAG)])
def test_one_who_is_not_there_is_left_alone(options: dict[str, Any], target: str) -> None:
    types = (fields(f3="text"),) if "exit_field" in options else ()
    answer, calls = leave(*types, NOBODY, the_export=export(**options), target=target)
    assert (answer, calls[-1]) == (Answer(), "GET contacts")


# The evidence.


@pytest.mark.parametrize(
    "shown",
    [
        entry("2"),
        entry(2, 7, id=90, contact=17, sourceid=0),
        entry("2", sdate="", unsubreason=None),
        entry("2", first_name=None, last_name="Lee", links={}),
        entry("2", campaign=None, message=""),
    ],
    ids=["as before", "numbers", "blank and null", "a new name", "more that is empty"],
)
def test_the_evidence_is_the_entry_as_it_is_read_again_however_it_is_spelt(shown: dict[str, Any]) -> None:
    answer, _ = leave(FOUND, SUBSCRIBED, list_set(2), UNSUBSCRIBED)
    assert comes_back(answer.evidence[0], shown)


@pytest.mark.parametrize("change", [{"sourceid": "4"}, {"unsubreason": "spam"}, {"sdate": "x"}, {"ip4Unsub": "1"}])
def test_anything_else_on_the_entry_is_other_evidence(change: dict[str, Any]) -> None:
    answer, _ = leave(FOUND, SUBSCRIBED, list_set(2), UNSUBSCRIBED)
    assert not comes_back(answer.evidence[0], entry("2", **change))


def test_what_is_read_again_counts_more_than_what_the_writing_call_showed() -> None:
    written = list_set(2, udate="of the call")
    answer, _ = leave(FOUND, SUBSCRIBED, written, entries(entry("2", udate="as kept")))
    assert comes_back(answer.evidence[0], entry("2", udate="as kept"))
    assert not comes_back(answer.evidence[0], entry("2", udate="of the call"))


@pytest.mark.parametrize("failing", [reply(429), reply(503), Transient("timeout", "no answer"), reply(200, {})])
def test_when_reading_again_fails_for_now_the_writing_calls_entry_is_the_evidence(failing: Any) -> None:
    the_account_itself = [ME] if failing == reply(200, {}) else []
    answer, calls = leave(FOUND, SUBSCRIBED, list_set(2), failing, *the_account_itself)
    assert calls[2:4] == [SET, ENTRIES]
    assert comes_back(answer.evidence[0], entry("2"))
    assert not comes_back(answer.evidence[0], entry("2", udate="only shown by the page"))


@pytest.mark.parametrize("nothing", [entries(), reply(404, {})])
def test_when_reading_again_finds_no_entry_the_writing_calls_is_the_evidence(nothing: Reply) -> None:
    answer, _ = leave(FOUND, SUBSCRIBED, list_set(2), nothing)
    assert comes_back(answer.evidence[0], entry("2"))


@pytest.mark.parametrize("status", ["0", "1", "3"])
def test_whoever_changed_it_meanwhile_is_the_evidence_not_we(status: str) -> None:
    assert leave(FOUND, SUBSCRIBED, list_set(2), entries(entry(status)))[0] == Answer()


@pytest.mark.parametrize("refusals", [(FORBIDDEN, FORBIDDEN), (LOGIN_PAGE, LOGIN_PAGE), (reply(402),)])
def test_an_account_that_refuses_us_in_between_leaves_it_half_done(refusals: tuple[Reply, ...]) -> None:
    with pytest.raises(ConnectionProblem) as caught:
        leave(FOUND, SUBSCRIBED, list_set(2), *refusals)
    assert caught.value.taken is None


@pytest.mark.parametrize(
    ("answer", "kind", "taken"),
    [(reply(429), Transient, False), (reply(500), Transient, None), (reply(404, {}), ExportProblem, False)],
)
def test_unsubscribing_itself_fails_as_it_says(answer: Reply, kind: type[Problem], taken: bool | None) -> None:
    with pytest.raises(kind) as caught:
        leave(FOUND, SUBSCRIBED, answer)
    assert caught.value.taken is taken


def test_unsubscribing_that_is_refused_is_told() -> None:
    assert codes(leave(FOUND, SUBSCRIBED, reply(422, {}))[0].refused) == {0: "malformed"}


def test_leaving_once_more_keeps_the_evidence() -> None:
    evidence = leave(FOUND, SUBSCRIBED, list_set(2), UNSUBSCRIBED)[0].evidence[0]
    again, calls = leave(FOUND, UNSUBSCRIBED, evidence=evidence)
    assert (again, calls) == (Answer(evidence={0: evidence}), ["GET contacts", ENTRIES])
    assert comes_back(evidence, entry("2"))


def test_leaving_once_more_keeps_no_evidence_of_someone_elses_doing() -> None:
    evidence = leave(FOUND, SUBSCRIBED, list_set(2), UNSUBSCRIBED)[0].evidence[0]
    assert leave(FOUND, entries(entry("2", sourceid="3")), evidence=evidence)[0].evidence == {}


@pytest.mark.parametrize(
    ("before", "status"),
    [*[((), status) for status in (400, 413, 422)], *[((FOUND,), n) for n in (400, 404, 413, 422)]],
)
def test_a_read_that_is_refused_does_not_count_as_out(before: tuple[Reply, ...], status: int) -> None:
    answer, calls = leave(*before, reply(status, {}))
    assert (codes(answer.refused), calls) == ({0: "unreadable"}, ["GET contacts", ENTRIES][: len(before) + 1])


@pytest.mark.parametrize("status", [400, 413, 422])
def test_when_reading_again_is_refused_the_writing_calls_entry_is_the_evidence(status: int) -> None:
    answer, _ = leave(FOUND, SUBSCRIBED, list_set(2), reply(status, {}))
    assert answer.refused == {}
    assert comes_back(answer.evidence[0], entry("2"))


def test_with_keep_everyone_is_left_alone() -> None:
    assert leave(the_export=export()) == (Answer(), [])


def test_with_keep_everyone_is_left_alone_in_an_import_too() -> None:
    the_account = account(queued(2), backlog=timedelta(minutes=1))
    people = [step(), step("b@example.com", joins=False), step("c@example.com")]
    for indices in DESTINATION.calls(the_account, export(), people):
        DESTINATION.send(the_account, export(), [people[index] for index in indices])
    (call,) = asked_of(the_account)
    assert [row["email"] for row in call.json["contacts"]] == ["a@example.com", "c@example.com"]


# A field.


def test_a_field_says_that_one_left() -> None:
    the_account = account(fields(f3="text"), FOUND, synced())
    assert DESTINATION.send(the_account, export(**SET_FIELD), [step(joins=False, target=FIELD)]) == Answer()
    written = {"email": "a@example.com", "fieldValues": [{"field": "3", "value": "no"}]}
    assert asked_of(the_account)[-1].json == {"contact": written}


def test_a_field_that_cannot_be_set_is_told() -> None:
    answer, _ = leave(fields(f3="text"), FOUND, reply(422, {}), the_export=export(**SET_FIELD), target=FIELD)
    assert codes(answer.refused) == {0: "malformed"}


def test_a_mark_that_does_not_fit_its_field_is_told_before_anything_is_asked() -> None:
    answer, calls = leave(fields(f3="date"), the_export=export(**SET_FIELD), target=FIELD)
    assert (codes(answer.refused), calls) == ({0: "unfit_value"}, ["GET fields"])
