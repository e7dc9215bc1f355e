"""One contact who joins, refused or interrupted: what may have been done is never said to be undone."""

from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.contract import Answer, Reply
from relay.domain.problems import ConnectionProblem, ExportProblem, Problem, RejectionKind, Transient
from tests.contract.activecampaign_replies import (
    FORBIDDEN,
    FOUND,
    ME,
    NEVER_ON,
    NOBODY,
    SUBSCRIBED,
    TAGGED,
    UNSUBSCRIBED,
    account,
    asked,
    codes,
    export,
    step,
    synced,
    tags,
)
from tests.fakes.scripted_caller import LOGIN_PAGE, reply, unused_of

READS = ["GET contacts", "GET contacts/17/contactLists"]
SYNC, SET = "POST contact/sync", "POST contactLists"


def join(*answers: Reply | Exception) -> tuple[Answer, list[str]]:
    """Send one who joins; return the answer and the calls."""
    the_account = account(*answers)
    answer = DESTINATION.send(the_account, export(), [step(first_name="Anna")])
    assert unused_of(the_account) == []
    return answer, asked(the_account)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_contact_that_is_refused_is_malformed(status: int) -> None:
    answer, calls = join(NOBODY, reply(status, {}))
    assert (codes(answer.refused), calls) == ({0: "malformed"}, [READS[0], SYNC])


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("before", [(NOBODY, synced(), NEVER_ON), (FOUND, NEVER_ON, synced())], ids=["new", "known"])
def test_a_contact_that_is_refused_for_the_list_is_written_and_so_unconfirmed(
    before: tuple[Reply, ...], status: int
) -> None:
    answer, calls = join(*before, reply(status, {}))
    assert (codes(answer.refused), calls[-1]) == ({0: "unconfirmed"}, SET)
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


@pytest.mark.parametrize("before", [(), (NEVER_ON,)], ids=["entry once more", "subscribing"])
@pytest.mark.parametrize(("answer", "kind", "code"), TROUBLE)
def test_after_the_contact_was_written_nobody_may_think_nothing_was_done(
    answer: Any, kind: type[Problem], code: str, before: tuple[Reply, ...]
) -> None:
    # What a contact shows instead of JSON, or in another shape, may be the account's trouble: so that is asked, too.
    the_account_itself = [answer()] if not before and code in ("not_json", "unexpected_answer") else []
    with pytest.raises(Problem, match=code) as caught:
        join(NOBODY, synced(), *before, answer(), *the_account_itself)
    assert isinstance(caught.value, ConnectionProblem if the_account_itself else kind)
    assert caught.value.taken is None


@pytest.mark.parametrize("odd", [LOGIN_PAGE, reply(200, []), reply(200, {})])
def test_a_contact_that_cannot_be_read_is_no_reason_to_stop(odd: Reply) -> None:
    for before, code in (((), "unreadable"), ((FOUND,), "unreadable"), ((NOBODY, synced()), "unconfirmed")):
        answer, calls = join(*before, odd, ME)
        assert (codes(answer.refused), calls[-1]) == ({0: code}, "GET users/me")


@pytest.mark.parametrize(("answer", "kind", "code"), TROUBLE)
def test_trouble_with_finding_a_tag_comes_before_anything_was_written(
    answer: Any, kind: type[Problem], code: str
) -> None:
    the_account_itself = [answer()] if code in ("not_json", "unexpected_answer") else []
    the_account = account(NOBODY, answer(), *the_account_itself)
    with pytest.raises(Problem, match=code) as caught:
        DESTINATION.send(the_account, export(), [step(tags="||VIP||")])
    assert isinstance(caught.value, ConnectionProblem if the_account_itself else kind)
    assert caught.value.taken is False
    assert asked(the_account)[:2] == [READS[0], "GET tags"]


@pytest.mark.parametrize(("answer", "kind", "code"), [each for each in TROUBLE if each[2] != "unexpected_answer"])
def test_trouble_with_tagging_comes_after_the_contact_was_written(answer: Any, kind: type[Problem], code: str) -> None:
    the_account = account(NOBODY, tags(("3", "VIP")), synced(), NEVER_ON, answer())
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
        join(NOBODY, synced(), NEVER_ON, reply(404, {"message": "There is none"}))
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
    answer, calls = join(*before, reply(status, {}))
    assert codes(answer.refused) == {0: "unreadable"}
    assert answer.refused[0].kind is RejectionKind.DESTINATION
    assert calls == READS[: len(before) + 1]
