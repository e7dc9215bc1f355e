"""Tags against the sandbox: put on in bulk by name, one by one by id, taken off by the id of the association."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from relay.destinations.contract import Step
from tests.contract.activecampaign_subject import ActiveCampaignFewSubject, ActiveCampaignTaggingSubject


class TaggingOneByOneSubject(ActiveCampaignTaggingSubject):
    """Up to ten go one by one."""

    backlog = ActiveCampaignFewSubject.backlog


@pytest.fixture(params=[TaggingOneByOneSubject, ActiveCampaignTaggingSubject], ids=["one by one", "in bulk"])
def subject(request: pytest.FixtureRequest) -> ActiveCampaignTaggingSubject:
    kind: type[ActiveCampaignTaggingSubject] = request.param
    return kind()


def with_tags(subject: ActiveCampaignTaggingSubject, number: int, *names: str, after: int = 0) -> Step:
    plain = subject.step(number, after=after)
    values: Mapping[str, str] = {"tags": f"||{'||'.join(names)}||"} if names else {}
    told = subject.destination.complete(subject.export, values)
    return Step(plain.target, plain.identity, True, plain.at, told)


def tags(subject: ActiveCampaignTaggingSubject) -> dict[str, list[str]]:
    return {contact["email"].partition("@")[0]: contact["tags"] for contact in subject.state()["contacts"]}


def plant(subject: ActiveCampaignTaggingSubject, number: int, **more: Any) -> None:
    body = {"email": subject.identity(number), **more}
    assert subject.sandbox.post("/_sandbox/contacts", json=body).status_code == 200


def test_members_carry_the_tag_and_their_own(subject: ActiveCampaignTaggingSubject) -> None:
    assert subject.deliver([with_tags(subject, 1, "VIP", "New"), with_tags(subject, 2)]) == {}
    assert tags(subject) == {"person1": ["Member", "New", "VIP"], "person2": ["Member"]}


def test_tags_that_are_there_in_another_case_are_used(subject: ActiveCampaignTaggingSubject) -> None:
    plant(subject, 9, tags=["MEMBER", "Members", "Ex-Member"])
    assert subject.deliver([with_tags(subject, 1), with_tags(subject, 2)]) == {}
    assert tags(subject)["person1"] == ["MEMBER"]
    assert len(subject.state()["tags"]) == 3


def test_leaving_takes_off_the_one_tag_and_nothing_else(subject: ActiveCampaignTaggingSubject) -> None:
    plant(subject, 1, tags=["Members"])
    subject.deliver([with_tags(subject, 1, "VIP"), with_tags(subject, 2)])
    assert subject.deliver([subject.step(1, joins=False, after=1)]) == {}
    assert tags(subject) == {"person1": ["Members", "VIP"], "person2": ["Member"]}
    assert subject.subscribed() == {subject.identity(1), subject.identity(2)}


def test_tags_put_on_by_hand_stay(subject: ActiveCampaignTaggingSubject) -> None:
    plant(subject, 1, tags=["By hand"])
    subject.deliver([with_tags(subject, 1, "VIP"), with_tags(subject, 2)])
    assert tags(subject)["person1"] == ["By hand", "Member", "VIP"]


def test_leaving_where_the_tag_does_not_exist_or_is_off(subject: ActiveCampaignTaggingSubject) -> None:
    plant(subject, 1)
    assert subject.deliver([subject.step(1, joins=False)]) == {}
    plant(subject, 2, tags=["Member"])
    assert subject.deliver([subject.step(1, joins=False, after=1)]) == {}
    assert tags(subject) == {"person1": [], "person2": ["Member"]}
    assert [sent.method for sent in subject.adapter.requests if sent.method != "GET"] == []


def test_an_interrupted_import_is_looked_up_by_its_tags() -> None:
    subject = ActiveCampaignTaggingSubject()
    plant(subject, 2, lists={"7": 1}, firstName="word", fields={"1": "word of field"})
    subject.sandbox.post("/_sandbox/import_outcomes", json=[{"status": "interrupted"}])
    # Subscribed and with the same values, but without the tag.
    refused = subject.deliver([subject.step(1), subject.step(2)])
    assert {index: rejection.code for index, rejection in refused.items()} == {1: "unconfirmed"}


def test_a_known_tag_costs_one_call() -> None:
    subject = TaggingOneByOneSubject()
    subject.deliver([subject.step(1)])
    before = len(subject.adapter.requests)
    subject.deliver([subject.step(2)])
    paths = [str(sent.path_url).partition("?")[0] for sent in subject.adapter.requests[before:]]
    assert [path.removeprefix("/api/3/") for path in paths] == [
        "contacts",
        "contact/sync",
        "contacts/2/contactLists",
        "contactTags",
        "contactLists",
    ]
