"""One contact at a time, judged by the account: who is written, subscribed, marked or tagged, and who stays as is.

What single answers mean is in `activecampaign_answers`; who may come back is in `test_activecampaign_consent`.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from relay.destinations.contract import Step
from relay.domain.problems import RejectionKind
from tests.contract.activecampaign_replies import codes
from tests.contract.activecampaign_subject import (
    ActiveCampaignFewSubject,
    ActiveCampaignFewTagsSubject,
    ActiveCampaignSubject,
    ActiveCampaignUnsubscribingSubject,
)
from tests.examples import example
from tests.fakes.wire import Act, Answered, Sent

NOT_SUBSCRIBED = {0: "opt_in_pending", 2: "unsubscribed", 3: "bounced", 17: "unknown_status"}
"""Standings with a list that nobody is brought out of, with the code they lead to."""


@pytest.fixture
def subject() -> ActiveCampaignSubject:
    return ActiveCampaignUnsubscribingSubject()


def plant(subject: ActiveCampaignSubject, number: int = 1, seconds: float = 60, **more: Any) -> Any:
    """Edit a contact by hand some seconds later; return what the account then holds of it."""
    subject.time.pass_(seconds)
    body = {"email": subject.identity(number), **more}
    assert subject.sandbox.post("/_sandbox/contacts", json=body).status_code == 200
    return contact(subject, number)


def contact(subject: ActiveCampaignSubject, number: int = 1) -> Any:
    (found,) = (each for each in subject.state()["contacts"] if each["email"] == subject.identity(number))
    return found


def joining(subject: ActiveCampaignSubject, *, after: int = 0, tags: str | None = None) -> Step:
    one = subject.step(1, after=after)
    if tags is None:
        return one
    return replace(one, values=subject.destination.complete(subject.export, {**one.values, "tags": tags}))


def join(subject: ActiveCampaignSubject, *, after: int = 0, tags: str | None = None) -> dict[int, str]:
    return codes(subject.deliver([joining(subject, after=after, tags=tags)]))


def leave(subject: ActiveCampaignSubject, *, after: int = 10, target: str | None = None) -> dict[int, str]:
    return codes(subject.deliver([subject.step(1, joins=False, after=after, target=target)]))


def hide(subject: ActiveCampaignSubject) -> None:
    """Have the account show nobody at the first look: deleted before, or not visible to the key's user."""
    subject.fault({"status": 200, "body": {"contacts": [], "meta": {"total": "0"}}}, path="^/api/3/contacts$")


# Joining.


def test_a_new_contact_is_written_and_subscribed(subject: ActiveCampaignSubject) -> None:
    assert join(subject) == {}
    held = {"first_name": "word", "fields.1": "word of field", "list/7": "1", "tags": ""}
    assert subject.held(subject.identity(1)) == held
    assert contact(subject)["lists"]["7"]["sourceid"] == 0, "subscribed again"


def test_a_known_contact_that_was_never_on_the_list_is_subscribed_to_it_alone(subject: ActiveCampaignSubject) -> None:
    before = plant(subject, lists={"8": 2, "9": 1})
    assert join(subject) == {}
    lists = contact(subject)["lists"]
    assert (lists.pop("7")["status"], lists) == (1, before["lists"])


def test_one_who_is_subscribed_is_only_updated(subject: ActiveCampaignSubject) -> None:
    before = plant(subject, lists={"7": 1}, lastName="Lee")
    assert join(subject) == {}
    after = contact(subject)
    assert after["lists"] == before["lists"]
    assert (after["firstName"], after["lastName"], after["fields"]) == ("word", "Lee", {"1": "word of field"})


@pytest.mark.parametrize("resubscribe", [True, False])
def test_nobody_is_revived_written_or_tagged_whatever_we_remember(resubscribe: bool) -> None:
    for (status, code), evidence in itertools.product(NOT_SUBSCRIBED.items(), (None, "what another call left")):
        subject = ActiveCampaignUnsubscribingSubject()
        subject.export = subject.export_with({"resubscribe": resubscribe})
        before = plant(subject, lists={"7": status})
        if evidence is not None:
            subject.evidence[subject.target, subject.identity(1)] = evidence
        with example(status, evidence):
            refused = subject.deliver([joining(subject, tags="||VIP||")])
            assert codes(refused) == {0: code}
            assert (refused[0].kind, refused[0].is_certain) == (RejectionKind.DESTINATION, True)
            assert contact(subject) == before
            assert subject.state()["tags"] == {}, "a tag was made for nobody"


@pytest.mark.parametrize(("status", "code"), [(0, "opt_in_pending"), (3, "bounced")])
def test_that_we_unsubscribed_somebody_opens_no_other_way_back(
    subject: ActiveCampaignSubject, status: int, code: str
) -> None:
    assert join(subject) == leave(subject) == {}
    before = plant(subject, lists={"7": status})
    assert join(subject, after=20) == {0: code}
    assert contact(subject) == before


def test_nobody_is_tagged_who_was_not_shown_and_turns_out_not_to_be_subscribed(subject: ActiveCampaignSubject) -> None:
    before = plant(subject, lists={"7": 2})
    hide(subject)
    assert join(subject, tags="||VIP||") == {0: "unsubscribed"}
    assert (contact(subject)["tags"], contact(subject)["lists"]) == ([], before["lists"])


def test_one_who_was_not_shown_and_turns_out_to_be_subscribed_is_left_so(subject: ActiveCampaignSubject) -> None:
    before = plant(subject, lists={"7": 1})
    hide(subject)
    assert join(subject) == {}
    assert contact(subject)["lists"] == before["lists"]


def test_one_who_was_not_shown_and_whom_we_unsubscribed_comes_back(subject: ActiveCampaignSubject) -> None:
    assert join(subject) == leave(subject) == {}
    hide(subject)
    assert join(subject, after=20) == {}
    standing = contact(subject)["lists"]["7"]
    assert (standing["status"], standing["sourceid"]) == (1, 4)


def test_tags_come_before_the_subscription_which_may_be_refused(subject: ActiveCampaignSubject) -> None:
    """An automation of the list finds them."""
    subject.fault({"status": 400}, path="^/api/3/contactLists$")
    assert join(subject, tags="||VIP||") == {0: "unconfirmed"}
    assert (contact(subject)["tags"], contact(subject)["lists"]) == (["VIP"], {})


TROUBLE: tuple[dict[str, Any], ...] = (
    {"status": 429},
    {"status": 503},
    {"status": 402},
    {"status": 403},
    {"drop": "after"},
)


def test_after_the_contact_was_written_nobody_may_think_nothing_was_done() -> None:
    subject = ActiveCampaignUnsubscribingSubject()
    later = ("^/api/3/contacts/1/contactLists$", "^/api/3/contactTags$", "^/api/3/contactLists$")
    for path, trouble in itertools.product(later, TROUBLE):
        subject.fault(trouble, path=path, times=None)
        with example(path, trouble):
            (outcome,) = subject.attempt([joining(subject, tags="||VIP||")])
            assert (outcome.taken, outcome.problem is not None) == (None, True)
            assert contact(subject)["firstName"] == "word"
        subject.reset()


def test_before_anything_was_written_nothing_was_done() -> None:
    subject = ActiveCampaignUnsubscribingSubject()
    earlier = ("^/api/3/contacts$", "^/api/3/contacts/1/contactLists$", "^/api/3/tags$")
    for path, trouble in itertools.product(earlier, TROUBLE[:4]):
        before = plant(subject)
        subject.fault(trouble, path=path, times=None)
        with example(path, trouble):
            (outcome,) = subject.attempt([joining(subject, tags="||VIP||")])
            assert (outcome.taken, contact(subject)) == (False, before)
        subject.reset()


# Leaving.


@pytest.mark.parametrize(
    "kind", [ActiveCampaignUnsubscribingSubject, ActiveCampaignFewSubject, ActiveCampaignFewTagsSubject]
)
def test_one_who_is_not_there_is_left_alone(kind: type[ActiveCampaignSubject]) -> None:
    subject = kind()
    assert leave(subject) == {}
    assert subject.state()["contacts"] == []


def test_one_who_is_not_subscribed_is_left_alone(subject: ActiveCampaignSubject) -> None:
    for lists in ({}, {"7": 0}, {"7": 2}, {"7": 3}, {"7": 91}, {"8": 1}):
        before = plant(subject, lists=lists)
        with example(lists):
            assert leave(subject) == {}
            assert contact(subject) == before
            assert subject.evidence == {}
        subject.reset()


def test_a_standing_that_nobody_documented_is_told_and_left_as_it_is(subject: ActiveCampaignSubject) -> None:
    before = plant(subject, lists={"7": 17})
    assert leave(subject) == {0: "unknown_status"}
    assert contact(subject) == before


def test_it_is_the_list_that_was_told(subject: ActiveCampaignSubject) -> None:
    plant(subject, lists={"7": 1, "8": 1})
    assert leave(subject, target="list/8") == {}
    assert {number: each["status"] for number, each in contact(subject)["lists"].items()} == {"7": 1, "8": 2}


def test_one_who_is_taken_out_again_may_still_come_back(subject: ActiveCampaignSubject) -> None:
    assert join(subject) == leave(subject) == leave(subject, after=20) == {}
    assert join(subject, after=30) == {}
    assert contact(subject)["lists"]["7"]["status"] == 1


def test_one_who_left_by_hand_meanwhile_and_is_taken_out_again_may_not(subject: ActiveCampaignSubject) -> None:
    assert join(subject) == leave(subject) == {}
    plant(subject, lists={"7": 1})
    plant(subject, lists={"7": 2})
    assert leave(subject, after=20) == {}
    assert join(subject, after=30) == {0: "unsubscribed"}


@pytest.mark.parametrize("status", [0, 1, 3])
def test_what_somebody_changed_while_we_unsubscribed_is_theirs(subject: ActiveCampaignSubject, status: int) -> None:
    def meanwhile(sent: Sent, act: Act) -> Answered:
        answer = act()
        if sent.method == "POST" and sent.path.endswith("/contactLists"):
            plant(subject, seconds=1, lists={"7": status})
        return answer

    assert join(subject) == {}
    subject.wire.interfere = meanwhile
    assert leave(subject) == {}
    assert subject.evidence == {}
    assert contact(subject)["lists"]["7"]["by"] == "hand"


def test_what_is_read_again_counts_more_than_what_the_writing_call_showed(subject: ActiveCampaignSubject) -> None:
    def shows_another_time(sent: Sent, act: Act) -> Answered:
        answer = act()
        if sent.method == "POST" and sent.path.endswith("/contactLists"):
            body = json.loads(answer.body)
            body["contactList"]["udate"] = "of the call"
            return Answered(answer.status, answer.headers, json.dumps(body).encode())
        return answer

    assert join(subject) == {}
    subject.wire.interfere = shows_another_time
    assert leave(subject) == {}
    assert join(subject, after=20) == {}
    assert contact(subject)["lists"]["7"]["status"] == 1


@pytest.mark.parametrize("kind", [ActiveCampaignSubject, ActiveCampaignUnsubscribingSubject], ids=["bulk", "single"])
def test_with_keep_everyone_stays(kind: type[ActiveCampaignSubject]) -> None:
    subject = kind()
    subject.export = subject.export_with(dict.fromkeys(subject.options(), None) | {"list_id": "7", "on_exit": "keep"})
    people = [subject.step(number) for number in (1, 2, 3)]
    assert subject.deliver(people) == {}
    before = contact(subject)
    leaving: list[Step] = [subject.step(1, joins=False, after=10), subject.step(2, word="new", after=10)]
    assert subject.deliver(leaving) == {}
    assert (contact(subject), contact(subject, 2)["firstName"]) == (before, "new")


def test_a_field_says_that_one_left() -> None:
    subject = ActiveCampaignFewSubject()
    assert join(subject) == {}
    assert contact(subject)["fields"]["2"] == "among-us"
    assert leave(subject) == {}
    assert (contact(subject)["fields"]["2"], contact(subject)["lists"]["7"]["status"]) == ("gone", 1)


def test_a_field_that_cannot_be_set_is_told() -> None:
    subject = ActiveCampaignFewSubject()
    assert join(subject) == {}
    subject.fault({"status": 422}, path="^/api/3/contact/sync$")
    assert leave(subject) == {0: "malformed"}
    assert contact(subject)["fields"]["2"] == "among-us"


def test_a_mark_that_does_not_fit_its_field_is_told_and_nobody_is_written() -> None:
    subject = ActiveCampaignFewSubject()
    before = plant(subject, lists={"7": 1})
    subject.account_under_test.config = replace(subject.account_under_test.config, fields={1: "text", 2: "date"})
    assert leave(subject) == {0: "unfit_value"}
    assert contact(subject) == before
