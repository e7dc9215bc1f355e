"""Records of one contact in shapes that a real account may show: ids, statuses, and what makes an entry another one."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.contract import Answer, Reply
from relay.domain.problems import Problem, Transient
from tests.contract.activecampaign_replies import (
    FOUND,
    NEVER_ON,
    NOBODY,
    SUBSCRIBED,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    account,
    codes,
    entries,
    entry,
    export,
    list_set,
    queued,
    step,
    synced,
)
from tests.examples import example
from tests.fakes.scripted_caller import asked_of, reply, unused_of

UNSUBSCRIBING = export(**UNSUBSCRIBE)


def join(*answers: Reply, evidence: str | None = None) -> tuple[Answer, list[Any]]:
    """Send one who joins; return the answer and what was written."""
    the_account = account(*answers)
    answer = DESTINATION.send(the_account, UNSUBSCRIBING, [step(evidence=evidence)])
    assert unused_of(the_account) == []
    return answer, [call.json for call in asked_of(the_account) if call.method != "GET"]


def left_by_us(written: Reply, read_again: Reply) -> str:
    """Unsubscribe somebody; return the evidence this leaves."""
    the_account = account(FOUND, SUBSCRIBED, written, read_again)
    return DESTINATION.send(the_account, UNSUBSCRIBING, [step(joins=False)]).evidence[0]


def comes_back(evidence: str, **shown: Any) -> bool:
    """Return whether one with this evidence is subscribed again when the entry shows this."""
    the_account = account(FOUND, entries(entry(**{"status": "2", **shown})), synced(), list_set(1))
    answer = DESTINATION.send(the_account, UNSUBSCRIBING, [step(evidence=evidence)])
    assert answer == Answer() or codes(answer.refused) == {0: "unsubscribed"}
    return answer == Answer()


# Whom an import did not take.


@pytest.mark.parametrize("code", ["excluded", "over_limit", "import_refused", "unconfirmed"])
@pytest.mark.parametrize("found", [[NOBODY], [FOUND, NEVER_ON]], ids=["nobody", "never on the list"])
def test_whom_an_import_did_not_take_is_sent_by_an_import_again(code: str, found: list[Reply]) -> None:
    """Single calls know no exclusion list."""
    the_account = account(*found, queued(1))
    left_out = replace(step(), last_refusal=code)
    assert DESTINATION.send(the_account, export(), [left_out]).import_id is not None
    assert [call.url.rpartition("/")[2] for call in asked_of(the_account) if call.method != "GET"] == ["bulk_import"]


@pytest.mark.parametrize(
    ("code", "answers"),
    [
        ("unsubscribed", [NOBODY, synced(), NEVER_ON, list_set(1)]),
        (None, [NOBODY, synced(), NEVER_ON, list_set(1)]),
        ("excluded", [FOUND, SUBSCRIBED, synced()]),
        ("excluded", [FOUND, entries(entry("91")), synced(), list_set(1)]),
    ],
    ids=["refused by single calls", "never refused", "on the list", "on the list before"],
)
def test_others_are_sent_by_single_calls(code: str | None, answers: list[Reply]) -> None:
    the_account = account(*answers)
    assert DESTINATION.send(the_account, export(), [replace(step(), last_refusal=code)]) == Answer()
    assert unused_of(the_account) == []


# What makes an entry another one.


def test_an_entry_is_the_same_however_it_is_spelt() -> None:
    evidence = left_by_us(list_set(2), UNSUBSCRIBED)
    spelt: list[dict[str, Any]] = [
        {},
        {"status": 2, "list_id": 7, "id": 90, "contact": 17, "sourceid": 0},
        {"sdate": "", "unsubreason": None},
        {"first_name": "Anne", "last_name": "Lee", "links": {}},
        {"campaign": None, "message": ""},
    ]
    assert [shown for shown in spelt if not comes_back(evidence, **shown)] == []


def test_whatever_else_it_shows_is_a_trace_of_somebody() -> None:
    evidence = left_by_us(list_set(2), UNSUBSCRIBED)
    traces = [{"sourceid": "4"}, {"unsubreason": "spam"}, {"sdate": "x"}, {"udate": "2026-11-01"}]
    traces += [{"ip4Unsub": "1"}, {"campaign": "12"}, {"id": "91"}]
    assert [shown for shown in traces if comes_back(evidence, **shown)] == []


@pytest.mark.parametrize("nothing", [entries(), reply(404, {}), reply(422, {})], ids=["no entry", "404", "422"])
def test_when_reading_again_finds_nothing_the_writing_calls_entry_counts(nothing: Reply) -> None:
    evidence = left_by_us(list_set(2), nothing)
    assert comes_back(evidence)
    assert not comes_back(evidence, udate="only shown by the page")


def test_a_status_is_read_as_a_number_or_a_text_and_any_other_opens_nothing() -> None:
    statuses = {2: "unsubscribed", 0: "opt_in_pending", "4": "unknown_status", "90": "unknown_status"}
    for status, code in (*statuses.items(), ("gone", "unknown_status"), (None, "unknown_status")):
        with example(status):
            answer, written = join(FOUND, entries(entry(status)))
            assert (codes(answer.refused), written) == ({0: code}, [])
    assert join(FOUND, entries(entry(91)), synced(), list_set(1))[0] == Answer()


# Ids.


def test_an_id_goes_out_as_it_came() -> None:
    answer, written = join(NOBODY, synced("x17"), NEVER_ON, list_set(1))
    assert (answer, written[1]["contactList"]["contact"]) == (Answer(), "x17")


def test_an_id_of_another_shape_may_have_been_written() -> None:
    with pytest.raises(Transient, match="unexpected_answer") as caught:
        join(NOBODY, synced({"number": 17}))
    assert caught.value.taken is None


@pytest.mark.parametrize("record", [{}, {"id": None}], ids=["missing", "null"])
def test_a_contact_without_its_id_is_not_called_by_none(record: dict[str, None]) -> None:
    page = reply(200, {"contacts": [{"email": "a@example.com", **record}]})
    the_account = account(page, synced(), list_set(1))
    with suppress(Problem):
        DESTINATION.send(the_account, export(), [step()])
    assert not any("None" in f"{call.url} {call.json or ''}" for call in asked_of(the_account))


def test_a_contact_without_its_id_is_passed_over() -> None:
    page = reply(200, {"contacts": [{"email": "a@example.com"}, {"id": "17", "email": "a@example.com"}]})
    answer, written = join(page, UNSUBSCRIBED)
    assert (codes(answer.refused), written) == ({0: "unsubscribed"}, [])


def test_a_page_that_comes_again_ends_the_reading() -> None:
    same = entries(*[entry("1", str(number)) for number in range(100, 200)])
    assert join(FOUND, same, same, synced(), list_set(1))[0] == Answer()
