"""One contact who joins: reads first, and nobody is subscribed whom somebody else took off."""

from contextlib import suppress
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.activecampaign.client import REST
from relay.destinations.contract import Answer, Reply
from relay.domain.exports import Export
from relay.domain.problems import ConnectionProblem, ExportProblem, Problem, RejectionKind, Transient
from tests.contract.activecampaign_replies import (
    FORBIDDEN,
    FOUND,
    NOBODY,
    SUBSCRIBED,
    TAGGED,
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
from tests.fakes.scripted_caller import LOGIN_PAGE, asked_of, reply, unused_of

READS = ["GET contacts", "GET contacts/17/contactLists"]
SYNC, SET = "POST contact/sync", "POST contactLists"


def join(*answers: Reply | Exception, memo: str | None = None, the_export: Export | None = None) -> Any:
    """Send one who joins; return the answer, the calls, and what was written."""
    the_account = account(*answers)
    one = step(memo=memo, first_name="Anna", phone="1", fields={"12": "gold"})
    answer = DESTINATION.send(the_account, the_export or export(), [one])
    assert unused_of(the_account) == []
    assert all(call.quota == REST for call in asked_of(the_account))
    return answer, asked(the_account), [call.json for call in asked_of(the_account) if call.method != "GET"]


def test_a_new_contact_is_written_and_subscribed() -> None:
    answer, calls, written = join(NOBODY, synced("17", 201), list_set(1))
    assert answer == Answer()
    assert calls == [READS[0], SYNC, SET]
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


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_success_of_contact_sync_counts(status: int) -> None:
    assert join(NOBODY, synced(17, status), list_set(1))[0] == Answer()


def test_a_contact_of_another_address_is_nobody() -> None:
    _, calls, _ = join(contacts(("18", "aa@example.com")), synced(), list_set(1))
    assert calls == [READS[0], SYNC, SET]


@pytest.mark.parametrize("memo", [None, "what another call left"])
@pytest.mark.parametrize("resubscribe", [True, False])
@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("0", "opt_in_pending"),
        ("2", "unsubscribed"),
        (2, "unsubscribed"),
        ("3", "bounced"),
        ("4", "opt_in_pending"),
        (None, "opt_in_pending"),
    ],
)
def test_nobody_is_revived_or_written(status: Any, code: str, resubscribe: bool, memo: str | None) -> None:
    unsubscribing = export(**UNSUBSCRIBE, resubscribe=resubscribe)
    answer, calls, written = join(FOUND, entries(entry(status)), memo=memo, the_export=unsubscribing)
    assert codes(answer.refused) == {0: code}
    assert answer.refused[0].kind is RejectionKind.DESTINATION
    assert (calls, written) == (READS, [])


def left_by_us(entry_left: Reply = UNSUBSCRIBED) -> str:
    """Unsubscribe somebody; return the memo this leaves."""
    answer = DESTINATION.send(
        account(FOUND, SUBSCRIBED, list_set(2), entry_left), export(**UNSUBSCRIBE), [step(joins=False)]
    )
    return answer.memos[0]


def test_one_whom_we_unsubscribed_comes_back_through_resubscribing() -> None:
    answer, calls, written = join(
        FOUND, UNSUBSCRIBED, synced(), list_set(1), memo=left_by_us(), the_export=export(**UNSUBSCRIBE)
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
    answer, calls, _ = join(FOUND, by_hand, memo=left_by_us(), the_export=export(**UNSUBSCRIBE))
    assert (codes(answer.refused), calls) == ({0: "unsubscribed"}, READS)


def test_a_new_name_or_link_is_no_trace_on_the_subscription() -> None:
    renamed = entries(entry("2", first_name="Anne", links={}, campaign=None))
    memo = left_by_us()
    answer, _, _ = join(FOUND, renamed, synced(), list_set(1), memo=memo, the_export=export(**UNSUBSCRIBE))
    assert answer == Answer()


@pytest.mark.parametrize(("status", "code"), [("0", "opt_in_pending"), ("3", "bounced")])
def test_our_memo_opens_no_other_door(status: str, code: str) -> None:
    answer, calls, _ = join(FOUND, entries(entry(status)), memo=left_by_us(), the_export=export(**UNSUBSCRIBE))
    assert (codes(answer.refused), calls) == ({0: code}, READS)


def test_without_resubscribe_our_memo_opens_nothing() -> None:
    closed = export(**UNSUBSCRIBE, resubscribe=False)
    answer, calls, _ = join(FOUND, UNSUBSCRIBED, memo=left_by_us(), the_export=closed)
    assert (codes(answer.refused), calls) == ({0: "unsubscribed"}, READS)


# Refused and half done.


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_contact_that_is_refused_is_malformed(status: int) -> None:
    answer, calls, _ = join(NOBODY, reply(status, {}))
    assert (codes(answer.refused), calls) == ({0: "malformed"}, [READS[0], SYNC])


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("reads", [(NOBODY,), (FOUND, entries())], ids=["new", "known"])
def test_a_contact_that_is_refused_for_the_list_is_written_and_so_unconfirmed(
    reads: tuple[Reply, ...], status: int
) -> None:
    answer, calls, _ = join(*reads, synced(), reply(status, {}))
    assert (codes(answer.refused), calls[-2:]) == ({0: "unconfirmed"}, [SYNC, SET])
    assert not answer.refused[0].is_certain


TROUBLE: list[Any] = [
    (lambda: reply(429), Transient, "rate_limited"),
    (lambda: reply(503), Transient, "unavailable"),
    (lambda: reply(402), ConnectionProblem, "unpaid"),
    (lambda: LOGIN_PAGE, ConnectionProblem, "not_json"),
    (lambda: reply(200, []), Transient, "unexpected_answer"),
    (lambda: Transient("network", "nobody listens", taken=False), Transient, "network"),
]
"""Each is made anew: a problem is told whether anything was done."""


@pytest.mark.parametrize(("answer", "kind", "code"), TROUBLE)
def test_after_the_contact_was_written_nobody_may_think_nothing_was_done(
    answer: Any, kind: type[Problem], code: str
) -> None:
    with pytest.raises(kind, match=code) as caught:
        join(NOBODY, synced(), answer())
    assert caught.value.taken is None


@pytest.mark.parametrize(("answer", "kind", "code"), TROUBLE)
def test_trouble_with_finding_a_tag_comes_before_anything_was_written(
    answer: Any, kind: type[Problem], code: str
) -> None:
    the_account = account(NOBODY, answer())
    with pytest.raises(kind, match=code) as caught:
        DESTINATION.send(the_account, export(), [step(tags="||VIP||")])
    # Whether a call that ended with 5xx or a page did anything nobody knows.
    assert caught.value.taken is (None if code in ("unavailable", "not_json") else False)
    assert asked(the_account) == [READS[0], "GET tags"]


@pytest.mark.parametrize(("answer", "kind", "code"), [each for each in TROUBLE if each[2] != "unexpected_answer"])
def test_trouble_with_tagging_comes_after_the_contact_was_written(answer: Any, kind: type[Problem], code: str) -> None:
    the_account = account(NOBODY, tags(("3", "VIP")), synced(), answer())
    with pytest.raises(kind, match=code) as caught:
        DESTINATION.send(the_account, export(), [step(tags="||VIP||")])
    assert caught.value.taken is None


def test_tags_come_before_the_subscription_and_without_it_where_there_is_one() -> None:
    the_account = account(FOUND, SUBSCRIBED, tags(("3", "VIP")), synced(), TAGGED)
    assert DESTINATION.send(the_account, export(), [step(tags="||VIP||")]) == Answer()
    assert asked(the_account) == [*READS, "GET tags", SYNC, "POST contactTags"]


def test_nobody_is_tagged_who_must_not_be_subscribed() -> None:
    the_account = account(FOUND, UNSUBSCRIBED)
    answer = DESTINATION.send(the_account, export(), [step(tags="||VIP||")])
    assert (codes(answer.refused), asked(the_account)) == ({0: "unsubscribed"}, READS)


def test_a_list_that_is_gone_stops_the_export() -> None:
    with pytest.raises(ExportProblem, match="list_gone") as caught:
        join(NOBODY, synced(), reply(404, {"message": "There is none"}))
    assert caught.value.taken is None


@pytest.mark.parametrize("before", [(), (FOUND,), (NOBODY,)], ids=["contact", "entry", "contact/sync"])
def test_before_anything_was_written_nothing_was_done(before: tuple[Reply, ...]) -> None:
    for answers, kind in (((reply(429),), Transient), ((FORBIDDEN, FORBIDDEN), ConnectionProblem)):
        with pytest.raises(kind) as caught:
            join(*before, *answers)
        assert caught.value.taken is False


@pytest.mark.parametrize(
    ("before", "status"),
    [*[((), status) for status in (400, 413, 422)], *[((FOUND,), n) for n in (400, 404, 413, 422)]],
)
def test_a_read_that_is_refused_is_no_consent(before: tuple[Reply, ...], status: int) -> None:
    answer, calls, written = join(*before, reply(status, {}))
    assert (codes(answer.refused), written) == ({0: "unreadable"}, [])
    assert answer.refused[0].kind is RejectionKind.DESTINATION
    assert calls == READS[: len(before) + 1]


def test_an_id_goes_out_as_it_came() -> None:
    answer, _, written = join(NOBODY, synced("x17"), list_set(1))
    assert (answer, written[1]["contactList"]["contact"]) == (Answer(), "x17")


def test_an_id_of_another_shape_breaks_nothing() -> None:
    answer, _, _ = join(NOBODY, synced({"number": 17}), reply(400, {}))
    assert codes(answer.refused) == {0: "unconfirmed"}


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
