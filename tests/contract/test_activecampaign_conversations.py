"""What only ActiveCampaign does: imports that end in every way, reasons for refused rows, checks, a wrong key."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relay.destinations.contract import Level
from relay.domain.problems import ConnectionProblem
from tests.contract.activecampaign_replies import codes
from tests.contract.activecampaign_subject import ActiveCampaignFewSubject, ActiveCampaignSubject


@pytest.fixture
def subject() -> ActiveCampaignSubject:
    return ActiveCampaignSubject()


@pytest.fixture
def explaining() -> ActiveCampaignSubject:
    """In bulk from eleven contacts up, and still with calls to spare for finding out reasons."""
    return ActiveCampaignFewSubject()


def plan_import(subject: ActiveCampaignSubject, **outcome: Any) -> None:
    answer = subject.sandbox.post("/_sandbox/import_outcomes", json=[outcome])
    assert answer.status_code == 200


def plant(subject: ActiveCampaignSubject, number: int, **more: Any) -> None:
    """Edit a contact by hand in the account."""
    answer = subject.sandbox.post("/_sandbox/contacts", json={"email": subject.identity(number), **more})
    assert answer.status_code == 200


def set_up(subject: ActiveCampaignSubject, **settings: Any) -> None:
    assert subject.sandbox.post("/_sandbox/settings", json=settings).status_code == 200


def statuses(subject: ActiveCampaignSubject) -> dict[str, int]:
    return {contact["email"]: contact["lists"]["7"]["status"] for contact in subject.state()["contacts"]}


def paths(subject: ActiveCampaignSubject) -> list[str]:
    return [f"{sent.method} {str(sent.path_url).partition('?')[0]}" for sent in subject.wire.requests]


# Imports.


def imports(subject: ActiveCampaignSubject) -> list[int]:
    """Return how many contacts there were in each import."""
    return [len(body["contacts"]) for body in subject.wire.json_bodies() if "contacts" in body]


def test_of_an_interrupted_import_those_not_done_are_sent_again(subject: ActiveCampaignSubject) -> None:
    plan_import(subject, status="interrupted")
    assert subject.deliver([subject.step(number) for number in range(4)]) == {}
    assert len(subject.inside()) == 4
    assert imports(subject) == [4, 2]


def test_a_failed_import_is_sent_again_as_a_whole(subject: ActiveCampaignSubject) -> None:
    plan_import(subject, status="failed")
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    assert imports(subject) == [2, 2]


def test_an_import_that_always_fails_is_given_up_after_a_few_tries(subject: ActiveCampaignSubject) -> None:
    for _ in range(5):
        plan_import(subject, status="failed")
    refused = subject.deliver([subject.step(1), subject.step(2)])
    assert codes(refused) == {0: "unconfirmed", 1: "unconfirmed"}
    assert imports(subject) == [2, 2, 2]


READINGS = [(at, lists) for at in ("both", "queue", "import") for lists in ("created", "created_or_updated")]


@pytest.mark.parametrize(("excluded_at", "success_lists"), READINGS)
@pytest.mark.parametrize("are_known", [False, True])
@pytest.mark.parametrize("ids_filter", [True, False])
def test_whoever_an_import_leaves_out_is_found_whatever_the_account_tells(
    subject: ActiveCampaignSubject, excluded_at: str, success_lists: str, are_known: bool, ids_filter: bool
) -> None:
    """Excluded addresses may be missing from the count, or named, or both; ids may be those of new contacts only."""
    set_up(subject, success_lists=success_lists, ids_filter=ids_filter)
    if are_known:
        assert subject.deliver([subject.step(number, word="old") for number in range(30)]) == {}
    set_up(subject, excluded_at=excluded_at)
    subject.leave_out(subject.identity(1))
    plant(subject, 2, lists={"7": 2})
    plant(subject, 3, bounced=True)
    for after in (1, 2):
        refused = subject.deliver([subject.step(number, after=after, word=f"new {after}") for number in range(30)])
        assert set(refused) == {1, 2, 3}
        assert refused[2].code == "unsubscribed"
        for number in set(range(30)) - {1, 2, 3}:
            assert subject.held_values(subject.identity(number)) == subject.values(f"new {after}")


@pytest.mark.parametrize(("excluded_at", "success_lists"), READINGS)
def test_nobody_is_looked_up_again_and_again_because_one_address_is_excluded(
    subject: ActiveCampaignSubject, excluded_at: str, success_lists: str
) -> None:
    """Where the account names those it leaves out; the first imports show whether it does."""
    set_up(subject, excluded_at=excluded_at, success_lists=success_lists)
    subject.leave_out(subject.identity(1))
    counts = []
    for after in range(4):
        before = len(subject.wire.requests)
        assert set(subject.deliver([subject.step(number, after=after) for number in range(100)])) == {1}
        counts.append(len(subject.wire.requests) - before)
    # The import, its state, the overview, and the reason of the one; by ids one more, or all where they do not help.
    most = 12 if success_lists == "created_or_updated" or excluded_at != "queue" else 500
    assert max(counts[1:]) <= most, counts


def test_no_limit_is_passed_while_a_full_import_is_looked_up(subject: ActiveCampaignSubject) -> None:
    plan_import(subject, status="interrupted")
    assert subject.deliver([subject.step(number) for number in range(250)]) == {}
    assert subject.counters()["limit_violations"] == 0


def test_an_import_that_waits_behind_others_is_asked_about_when_its_turn_has_come(
    subject: ActiveCampaignSubject,
) -> None:
    pair = [subject.step(1), subject.step(2)]
    for _ in range(20):
        answer = subject.destination.send(subject.account(), subject.export, pair)
    assert answer.import_id is not None
    opened = subject.open_import(answer.import_id, answer.queued)
    # Some ten of the twenty are open, and in one second hardly three can have come later.
    looks, now = [], opened.asked_at
    for pause in (0, 5, 11):
        subject.time.pass_(pause)
        asked = len(subject.wire.requests)
        now += timedelta(seconds=pause)
        look = replace(opened, queued_at=now - timedelta(seconds=1), asked_at=now)
        report = subject.destination.import_report(subject.account(), subject.export, look, pair)
        looks.append((report.finished, [path.rpartition("/")[2] for path in paths(subject)[asked:]]))
    assert looks == [(False, ["bulk_import"]), (False, []), (True, ["bulk_import", "info"])]


def test_who_unsubscribed_by_hand_is_not_revived(subject: ActiveCampaignSubject) -> None:
    plant(subject, 1, lists={"7": 2})
    assert codes(subject.deliver([subject.step(1), subject.step(2)])) == {0: "unsubscribed"}
    assert statuses(subject) == {subject.identity(1): 2, subject.identity(2): 1}


def test_rows_the_import_names_are_dropped_and_the_rest_is_sent_once_more(subject: ActiveCampaignSubject) -> None:
    # The rules we check allow an internationalised top-level domain, the import's own do not.
    odd = "anna@example.xn--p1ai"
    assert subject.destination.identity_of(odd, subject.export) == [odd]
    steps = [subject.step(0), replace(subject.step(1), identity=odd), subject.step(2)]
    assert codes(subject.deliver(steps)) == {1: "malformed"}
    assert subject.inside() == {subject.identity(0), subject.identity(2)}
    answers = [line["status"] for line in subject.lines if line["operation"].startswith("bulk")]
    assert answers == [400, 200]


# Automations.


@pytest.mark.parametrize("place", ["payload", "contact", "either"])
@pytest.mark.parametrize("options", [{}, {"exclude_automations": True}])
@pytest.mark.parametrize("backlog", [0, 60])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_automations_start_unless_the_export_excludes_them(
    subject: ActiveCampaignSubject, options: dict[str, Any], place: str, backlog: int, count: int
) -> None:
    """Whichever of the two documented places the account heeds."""
    set_up(subject, exclude_automations_at=place)
    subject.backlog = timedelta(seconds=backlog)
    subject.export = subject.export_with(options)
    assert subject.deliver([subject.step(number) for number in range(count)]) == {}
    assert len(subject.members("list/7")) == count
    assert subject.counters()["automations_started"] == (0 if options else count)


# Reasons.


def test_rows_an_import_refused_get_their_reasons(explaining: ActiveCampaignSubject) -> None:
    plant(explaining, 1, lists={"7": 2})
    plant(explaining, 2, lists={"7": 3})
    plant(explaining, 4, bounced=True)
    set_up(explaining, excluded=[explaining.identity(3)])
    refused = explaining.deliver([explaining.step(number) for number in range(12)])
    assert codes(refused) == {1: "unsubscribed", 2: "bounced", 3: "excluded", 4: "import_refused"}
    assert explaining.inside() == {explaining.identity(number) for number in (0, *range(5, 12))}
    assert explaining.counters()["limit_violations"] == 0


def test_who_does_not_fit_into_the_contact_limit_is_told_so(explaining: ActiveCampaignSubject) -> None:
    set_up(explaining, contact_limit=10)
    refused = explaining.deliver([explaining.step(number) for number in range(12)])
    assert codes(refused) == {10: "over_limit", 11: "over_limit"}
    assert len(explaining.inside()) == 10


def test_a_known_contact_that_does_not_fit_into_the_limit_is_told_so(explaining: ActiveCampaignSubject) -> None:
    plant(explaining, 11)
    set_up(explaining, contact_limit=11)
    assert codes(explaining.deliver([explaining.step(number) for number in range(12)])) == {11: "over_limit"}


def test_who_may_not_see_the_limit_still_delivers(explaining: ActiveCampaignSubject) -> None:
    set_up(explaining, contact_limit=10, settings_forbidden=True)
    assert set(explaining.deliver([explaining.step(number) for number in range(12)])) == {10, 11}


# The key and checks.


@pytest.mark.parametrize("flavour", ["403", "401", "html"])
def test_a_wrong_key_however_it_is_answered(subject: ActiveCampaignSubject, flavour: str) -> None:
    set_up(subject, wrong_key=flavour, api_key="another")
    with pytest.raises(ConnectionProblem, match="key"):
        subject.deliver([subject.step(1)])


def test_a_check_finds_what_is_missing(subject: ActiveCampaignSubject) -> None:
    broken = replace(subject.export_with({"list_id": "80", "exit_field": "99"}), name="broken")
    findings = subject.destination.check(subject.account(), [subject.export, broken])
    assert [(found.subject.partition("/")[2], found.level) for found in findings[2:]] == [
        ("everyone", Level.OK),
        ("broken", Level.ERROR),
        ("broken", Level.ERROR),
    ]
    assert "list 80" in findings[3].message
    assert "field 99" in findings[4].message


@pytest.mark.parametrize(
    ("settings", "level"), [({}, Level.OK), ({"contact_limit": 1}, Level.WARNING), ({"settings_forbidden": True}, None)]
)
def test_a_check_tells_how_much_room_is_left(
    subject: ActiveCampaignSubject, settings: dict[str, Any], level: Level | None
) -> None:
    plant(subject, 1, lists={"7": 1})
    set_up(subject, **settings)
    findings = subject.destination.check(subject.account(), [subject.export])
    assert {found.subject: found.level for found in findings}.get("contact limit") is level


def test_marks_that_do_not_fit_their_field_are_found_before_a_run(subject: ActiveCampaignSubject) -> None:
    set_up(subject, fields={"1": "text", "2": "date"})
    findings = subject.destination.check_before_run(subject.account(), subject.export)
    assert [found.message.partition(" ")[0] for found in findings if found.level is Level.ERROR] == [
        "value_in",
        "value_out",
    ]
