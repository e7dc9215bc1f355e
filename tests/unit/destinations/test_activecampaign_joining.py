"""One contact who joins: reads first, and nobody is subscribed whom somebody else took off."""

from contextlib import suppress
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.activecampaign.client import REST
from relay.destinations.contract import Answer, Reply
from relay.domain.exports import Export
from relay.domain.problems import Problem, RejectionKind, Transient
from tests.contract.activecampaign_replies import (
    FOUND,
    NEVER_ON,
    NOBODY,
    SUBSCRIBED,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    account,
    asked,
    codes,
    contacts,
    entries,
    entry,
    export,
    list_set,
    step,
    synced,
    tags,
)
from tests.fakes.scripted_caller import asked_of, reply, unused_of

READS = ["GET contacts", "GET contacts/17/contactLists"]
SYNC, SET = "POST contact/sync", "POST contactLists"


def join(*answers: Reply | Exception, evidence: str | None = None, the_export: Export | None = None) -> Any:
    """Send one who joins; return the answer, the calls, and what was written."""
    the_account = account(*answers)
    one = step(evidence=evidence, first_name="Anna", phone="1", fields={"12": "gold"})
    answer = DESTINATION.send(the_account, the_export or export(), [one])
    assert unused_of(the_account) == []
    assert all(call.quota == REST for call in asked_of(the_account))
    return answer, asked(the_account), [call.json for call in asked_of(the_account) if call.method != "GET"]


def test_a_new_contact_is_written_and_subscribed() -> None:
    answer, calls, written = join(NOBODY, synced("17", 201), NEVER_ON, list_set(1))
    assert answer == Answer()
    assert calls == [READS[0], SYNC, READS[1], SET]
    values = [{"field": "12", "value": "gold"}]
    assert written == [
        {"contact": {"email": "a@example.com", "firstName": "Anna", "phone": "1", "fieldValues": values}},
        {"contactList": {"list": "7", "contact": "17", "status": 1}},
    ]


def test_a_known_contact_that_was_never_on_the_list_is_subscribed() -> None:
    answer, calls, written = join(FOUND, entries(entry("2", "6"), entry("2", "77")), synced(), list_set(1))
    assert (answer, calls) == (Answer(), [*READS, SYNC, SET])
    assert written[1] == {"contactList": {"list": "7", "contact": "17", "status": 1}}


def test_one_who_is_subscribed_is_only_updated() -> None:
    assert join(FOUND, SUBSCRIBED, synced())[:2] == (Answer(), [*READS, SYNC])


@pytest.mark.parametrize("status", ["91", 91])
def test_one_who_was_removed_without_objecting_is_subscribed(status: Any) -> None:
    """https://help.activecampaign.com/hc/en-us/articles/360021838379-API-contact-with-91-as-list-subscription-status"""
    answer, calls, written = join(FOUND, entries(entry(status)), synced(), list_set(1))
    assert (answer, calls) == (Answer(), [*READS, SYNC, SET])
    assert (written[1]["contactList"]["contact"], written[1]["contactList"]["status"]) == ("17", 1)


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_success_of_contact_sync_counts(status: int) -> None:
    assert join(NOBODY, synced(17, status), NEVER_ON, list_set(1))[0] == Answer()


def test_a_contact_of_another_address_is_nobody() -> None:
    _, calls, _ = join(contacts(("18", "aa@example.com")), synced(), NEVER_ON, list_set(1))
    assert calls == [READS[0], SYNC, READS[1], SET]


@pytest.mark.parametrize("evidence", [None, "what another call left"])
@pytest.mark.parametrize("resubscribe", [True, False])
@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("0", "opt_in_pending"),
        ("2", "unsubscribed"),
        (2, "unsubscribed"),
        ("3", "bounced"),
        ("4", "unknown_status"),
        ("90", "unknown_status"),
        ("gone", "unknown_status"),
        (None, "unknown_status"),
    ],
)
def test_nobody_is_revived_or_written(status: Any, code: str, resubscribe: bool, evidence: str | None) -> None:
    unsubscribing = export(**UNSUBSCRIBE, resubscribe=resubscribe)
    answer, calls, written = join(FOUND, entries(entry(status)), evidence=evidence, the_export=unsubscribing)
    assert codes(answer.refused) == {0: code}
    assert answer.refused[0].kind is RejectionKind.DESTINATION
    assert (calls, written) == (READS, [])


def left_by_us(entry_left: Reply = UNSUBSCRIBED) -> str:
    """Unsubscribe somebody; return the evidence this leaves."""
    answer = DESTINATION.send(
        account(FOUND, SUBSCRIBED, list_set(2), entry_left), export(**UNSUBSCRIBE), [step(joins=False)]
    )
    return answer.evidence[0]


def test_one_whom_we_unsubscribed_comes_back_through_resubscribing() -> None:
    answer, calls, written = join(
        FOUND, UNSUBSCRIBED, synced(), list_set(1), evidence=left_by_us(), the_export=export(**UNSUBSCRIBE)
    )
    assert (answer, calls) == (Answer(), [*READS, SYNC, SET])
    assert written[1] == {"contactList": {"list": "7", "contact": "17", "status": 1, "sourceid": 4}}


@pytest.mark.parametrize(
    "trace",
    [
        {"sourceid": "3"},
        {"unsubreason": "too many mails"},
        {"sdate": "2026-11-01T10:00:00-05:00"},
        {"udate": "2026-11-01"},
        {"campaign": "12"},
        {"id": "91"},
    ],
)
def test_whoever_left_a_trace_of_their_own_since_then_does_not_come_back(trace: dict[str, str]) -> None:
    by_hand = entries(entry("2", **trace))
    answer, calls, _ = join(FOUND, by_hand, evidence=left_by_us(), the_export=export(**UNSUBSCRIBE))
    assert (codes(answer.refused), calls) == ({0: "unsubscribed"}, READS)


def test_a_new_name_or_link_is_no_trace_on_the_subscription() -> None:
    renamed = entries(entry("2", first_name="Anne", links={}, campaign=None))
    evidence = left_by_us()
    answer, _, _ = join(FOUND, renamed, synced(), list_set(1), evidence=evidence, the_export=export(**UNSUBSCRIBE))
    assert answer == Answer()


@pytest.mark.parametrize(("status", "code"), [("0", "opt_in_pending"), ("3", "bounced")])
def test_our_evidence_opens_no_other_door(status: str, code: str) -> None:
    answer, calls, _ = join(FOUND, entries(entry(status)), evidence=left_by_us(), the_export=export(**UNSUBSCRIBE))
    assert (codes(answer.refused), calls) == ({0: code}, READS)


def test_without_resubscribe_our_evidence_opens_nothing() -> None:
    closed = export(**UNSUBSCRIBE, resubscribe=False)
    answer, calls, _ = join(FOUND, UNSUBSCRIBED, evidence=left_by_us(), the_export=closed)
    assert (codes(answer.refused), calls) == ({0: "unsubscribed"}, READS)


# Nobody was found, and yet there was somebody: deleted before, or not visible to the key's user.


@pytest.mark.parametrize(
    ("status", "code"), [("0", "opt_in_pending"), ("2", "unsubscribed"), (2, "unsubscribed"), ("3", "bounced")]
)
@pytest.mark.parametrize("resubscribe", [True, False])
def test_nobody_is_revived_who_was_not_found_at_first(status: Any, code: str, resubscribe: bool) -> None:
    unsubscribing = export(**UNSUBSCRIBE, resubscribe=resubscribe)
    answer, calls, _ = join(NOBODY, synced(), entries(entry(status)), the_export=unsubscribing)
    assert (codes(answer.refused), calls) == ({0: code}, [READS[0], SYNC, READS[1]])
    # Its values are written by then.
    assert not answer.refused[0].is_certain


def test_what_is_refused_before_anything_is_written_is_certain() -> None:
    answer, _, _ = join(FOUND, UNSUBSCRIBED)
    assert answer.refused[0].is_certain


def test_nobody_is_tagged_who_turns_out_not_to_be_subscribed() -> None:
    the_account = account(NOBODY, tags(("3", "VIP")), synced(), UNSUBSCRIBED)
    answer = DESTINATION.send(the_account, export(), [step(tags="||VIP||")])
    assert (codes(answer.refused), asked(the_account)[-1]) == ({0: "unsubscribed"}, READS[1])


def test_one_who_was_not_found_and_turns_out_to_be_subscribed_is_left_so() -> None:
    answer, calls, _ = join(NOBODY, synced(), SUBSCRIBED)
    assert (answer, calls) == (Answer(), [READS[0], SYNC, READS[1]])


def test_one_who_was_not_found_and_whom_we_unsubscribed_comes_back_through_resubscribing() -> None:
    answer, _, written = join(
        NOBODY, synced(), UNSUBSCRIBED, list_set(1), evidence=left_by_us(), the_export=export(**UNSUBSCRIBE)
    )
    assert (answer, written[1]["contactList"]["sourceid"]) == (Answer(), 4)


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_one_who_was_not_found_and_cannot_be_looked_at_is_unconfirmed(status: int) -> None:
    answer, calls, _ = join(NOBODY, synced(), reply(status, {}))
    assert (codes(answer.refused), calls[-1]) == ({0: "unconfirmed"}, READS[1])


# Records of other shapes.


def test_an_id_goes_out_as_it_came() -> None:
    answer, _, written = join(NOBODY, synced("x17"), NEVER_ON, list_set(1))
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
    answer, calls, _ = join(page, UNSUBSCRIBED)
    assert (codes(answer.refused), calls) == ({0: "unsubscribed"}, READS)


def test_a_page_that_comes_again_ends_the_reading() -> None:
    same = entries(*[entry("1", str(number)) for number in range(100, 200)])
    answer, calls, _ = join(FOUND, same, same, synced(), list_set(1))
    assert (answer, calls) == (Answer(), [READS[0], READS[1], READS[1], SYNC, SET])
