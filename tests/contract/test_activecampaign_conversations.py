"""What only ActiveCampaign does: imports that end in every way, lists, and leaving by being unsubscribed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relay.destinations.contract import Level
from relay.domain.problems import ConnectionProblem
from tests.contract.activecampaign_subject import ActiveCampaignSubject


@pytest.fixture
def subject() -> ActiveCampaignSubject:
    return ActiveCampaignSubject()


def plan_import(subject: ActiveCampaignSubject, **outcome: Any) -> None:
    answer = subject.sandbox.post("/_sandbox/import_outcomes", json=[outcome])
    assert answer.status_code == 200


def codes(refused: Any) -> dict[int, str]:
    return {index: rejection.code for index, rejection in refused.items()}


def test_an_interrupted_import_is_looked_up_contact_by_contact(subject: ActiveCampaignSubject) -> None:
    plan_import(subject, status="interrupted")
    refused = subject.deliver([subject.step(number) for number in range(4)])
    assert codes(refused) == {2: "unconfirmed", 3: "unconfirmed"}
    assert len(subject.members()) == 2


def test_a_failed_import_confirms_nobody(subject: ActiveCampaignSubject) -> None:
    plan_import(subject, status="failed")
    refused = subject.deliver([subject.step(1), subject.step(2)])
    assert codes(refused) == {0: "unconfirmed", 1: "unconfirmed"}


def test_fewer_queued_than_sent_finds_who_was_dropped(subject: ActiveCampaignSubject) -> None:
    subject.sandbox.post("/_sandbox/settings", json={"excluded_at": "queue"})
    subject.leave_out(subject.identity(1))
    assert codes(subject.deliver([subject.step(0), subject.step(1)])) == {1: "unconfirmed"}


def test_no_limit_is_passed_while_a_full_import_is_looked_up(subject: ActiveCampaignSubject) -> None:
    plan_import(subject, status="interrupted")
    refused = subject.deliver([subject.step(number) for number in range(250)])
    assert len(refused) == 125
    assert subject.counters()["limit_violations"] == 0


def test_who_unsubscribed_by_hand_is_not_revived(subject: ActiveCampaignSubject) -> None:
    subject.sandbox.post("/_sandbox/contacts", json={"email": subject.identity(1), "lists": {"7": 2}})
    assert codes(subject.deliver([subject.step(1), subject.step(2)])) == {0: "import_refused"}
    statuses = {contact["email"]: contact["lists"]["7"]["status"] for contact in subject.state()["contacts"]}
    assert statuses == {subject.identity(1): 2, subject.identity(2): 1}


def test_leaving_by_being_unsubscribed(subject: ActiveCampaignSubject) -> None:
    subject.deliver([subject.step(1), subject.step(2)])
    subject.export = subject.export_with(
        {"on_exit": "unsubscribe", "exit_field": None, "value_in": None, "value_out": None}
    )
    assert subject.deliver([subject.step(1, joins=False, after=1)]) == {}
    statuses = {contact["email"]: contact["lists"]["7"]["status"] for contact in subject.state()["contacts"]}
    assert statuses == {subject.identity(1): 2, subject.identity(2): 1}


def test_rows_the_import_names_are_dropped_and_the_rest_is_sent_once_more(subject: ActiveCampaignSubject) -> None:
    # The rules we check allow an internationalised top-level domain, the import's own do not.
    odd = "anna@example.xn--p1ai"
    assert subject.destination.identity_of(odd, subject.export) == [odd]
    steps = [subject.step(0), replace(subject.step(1), identity=odd), subject.step(2)]
    assert codes(subject.deliver(steps)) == {1: "malformed"}
    assert subject.members() == {subject.identity(0), subject.identity(2)}
    assert [line["status"] for line in subject.lines[:2]] == [400, 200]


@pytest.mark.parametrize("flavour", ["403", "401", "html"])
def test_a_wrong_key_however_it_is_answered(subject: ActiveCampaignSubject, flavour: str) -> None:
    subject.sandbox.post("/_sandbox/settings", json={"wrong_key": flavour, "api_key": "another"})
    with pytest.raises(ConnectionProblem, match="api_key"):
        subject.deliver([subject.step(1)])


def test_a_check_finds_what_is_missing(subject: ActiveCampaignSubject) -> None:
    broken = replace(subject.export_with({"list_id": "8", "exit_field": "99"}), name="broken")
    findings = subject.destination.check(subject.account(), [subject.export, broken])
    assert [finding.level for finding in findings] == [Level.OK, Level.OK, Level.ERROR, Level.ERROR]
    assert "list 8" in findings[2].message
    assert "field 99" in findings[3].message
