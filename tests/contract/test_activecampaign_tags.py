"""Tags against the sandbox: put on in bulk by name, one by one by id, taken off by the id of the association."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from relay.destinations.activecampaign.errors import MOST_TAG_NAMES, MOST_TAGS
from relay.destinations.contract import Step
from tests.contract.activecampaign_replies import codes
from tests.contract.activecampaign_subject import ActiveCampaignFewTagsSubject, ActiveCampaignTaggingSubject
from tests.examples import example
from tests.fakes.wire import Act, Answered, Sent


@pytest.fixture(params=[ActiveCampaignFewTagsSubject, ActiveCampaignTaggingSubject], ids=["one by one", "in bulk"])
def subject(request: pytest.FixtureRequest) -> ActiveCampaignTaggingSubject:
    kind: type[ActiveCampaignTaggingSubject] = request.param
    return kind()


def with_tags(subject: ActiveCampaignTaggingSubject, number: int, *names: str, after: int = 0) -> Step:
    plain = subject.step(number, after=after)
    values: Mapping[str, str] = {"tags": f"||{'||'.join(names)}||"} if names else {}
    given = subject.destination.complete(subject.export, values)
    return Step(plain.target, plain.identity, True, plain.at, given)


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
    assert subject.members("list/7") == {subject.identity(1), subject.identity(2)}


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
    assert [sent.method for sent in subject.wire.requests if sent.method != "GET"] == []


def test_an_interrupted_import_is_looked_up_by_its_tags() -> None:
    subject = ActiveCampaignTaggingSubject()
    plant(subject, 2, lists={"7": 1}, firstName="word", fields={"1": "word of field"})
    subject.sandbox.post("/_sandbox/import_outcomes", json=[{"status": "interrupted"}])
    # Subscribed and with the same values, but without the tag: so that one alone is sent again.
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    assert subject.inside() == {subject.identity(1), subject.identity(2)}
    sent = [body for body in subject.wire.json_bodies() if "contact" in body or "contacts" in body]
    assert [len(body.get("contacts", [0])) for body in sent] == [2, 1]


def test_a_known_tag_costs_one_call() -> None:
    subject = ActiveCampaignFewTagsSubject()
    subject.deliver([subject.step(1)])
    before = len(subject.wire.requests)
    subject.deliver([subject.step(2)])
    paths = [str(sent.path_url).partition("?")[0] for sent in subject.wire.requests[before:]]
    assert [path.removeprefix("/api/3/") for path in paths] == [
        "contacts",
        "contact/sync",
        "contacts/2/contactLists",
        "contactTags",
        "contactLists",
    ]


# Bounds.


def numbered(count: int, word: str = "Interest") -> list[str]:
    return [f"{word} {number}" for number in range(count)]


def test_a_profile_with_too_many_tags_is_refused_by_itself(subject: ActiveCampaignTaggingSubject) -> None:
    steps = [
        with_tags(subject, 1, *numbered(MOST_TAGS)),
        with_tags(subject, 2, *numbered(MOST_TAGS + 1)),
        with_tags(subject, 3, *numbered(400)),
        with_tags(subject, 4, "VIP"),
    ]
    refused = subject.deliver(steps)
    assert codes(refused) == {1: "too_many_tags", 2: "too_many_tags"}
    assert all(str(MOST_TAGS) in rejection.detail for rejection in refused.values())
    held = tags(subject)
    assert set(held) == {"person1", "person4"}
    # The tag that marks members is the export's, and comes on top.
    assert len(held["person1"]) == MOST_TAGS + 1


def test_a_tag_named_twice_counts_once(subject: ActiveCampaignTaggingSubject) -> None:
    names = [*numbered(MOST_TAGS), *[name.upper() for name in numbered(MOST_TAGS)]]
    assert subject.deliver([with_tags(subject, 1, *names), with_tags(subject, 2)]) == {}
    assert len(tags(subject)["person1"]) == MOST_TAGS + 1


def test_an_export_never_fills_the_account_with_tags() -> None:
    subject = ActiveCampaignTaggingSubject()
    people = [with_tags(subject, number, f"Search {number}") for number in range(MOST_TAG_NAMES + 30)]
    refused = codes(subject.deliver(people))
    assert (len(refused), set(refused.values())) == (30, {"tags_used_up"})
    assert len(subject.state()["tags"]) == MOST_TAG_NAMES + 1
    assert len(subject.inside()) == MOST_TAG_NAMES
    # What was used before goes on being used, and so does the mark.
    again = [with_tags(subject, 2_000, "search 7"), with_tags(subject, 2_001), with_tags(subject, 2_002, "Another")]
    assert codes(subject.deliver(again)) == {2: "tags_used_up"}
    assert len(subject.state()["tags"]) == MOST_TAG_NAMES + 1


def test_one_by_one_the_same_bound_holds() -> None:
    subject = ActiveCampaignFewTagsSubject()
    for first in range(0, MOST_TAG_NAMES, MOST_TAGS):
        names = [f"Search {number}" for number in range(first, first + MOST_TAGS)]
        assert subject.deliver([with_tags(subject, first, *names)]) == {}
    assert codes(subject.deliver([with_tags(subject, 2_000, "Another")])) == {0: "tags_used_up"}
    assert len(subject.state()["tags"]) == MOST_TAG_NAMES + 1


def test_an_administrator_who_edits_the_export_lets_it_go_on() -> None:
    subject = ActiveCampaignTaggingSubject()
    people = [with_tags(subject, number, f"Search {number}") for number in range(MOST_TAG_NAMES + 2)]
    assert len(subject.deliver(people)) == 2
    subject.export = replace(subject.export, version=subject.export.version + 1)
    assert subject.deliver(people[-2:]) == {}


def test_two_workers_count_together() -> None:
    subject = ActiveCampaignTaggingSubject()
    notes, real = subject.notes, subject.notes.keep
    overtaken: list[str] = []

    def overtake(key: str, value: str, *, replaces: str | None = None) -> str:
        if not overtaken and key.startswith("ac tags of"):
            overtaken.append(key)
            subject.deliver([with_tags(subject, number, f"Theirs {number}") for number in (500, 501)])
        return real(key, value, replaces=replaces)

    notes.keep = overtake  # type: ignore[method-assign]
    people = [with_tags(subject, number, f"Ours {number}") for number in range(MOST_TAG_NAMES // 4 - 1)]
    assert subject.deliver(people) == {}
    kept = notes.get(overtaken[0]) or ""
    assert len(kept.partition(" ")[2]) == 8 * (len(people) + 2)


# One by one: a tag is found or made by name, and put on by id.

LONG = "Ü" * 255


@pytest.fixture
def few() -> ActiveCampaignFewTagsSubject:
    return ActiveCampaignFewTagsSubject()


def held_of(subject: ActiveCampaignTaggingSubject, number: int) -> Any:
    (found,) = (each for each in subject.state()["contacts"] if each["email"] == subject.identity(number))
    return found


def refuse(subject: ActiveCampaignTaggingSubject, status: int, path: str) -> None:
    subject.fault({"status": status, "body": {}}, path=path, times=None)


def test_a_tag_that_was_deleted_since_its_id_was_kept_is_made_again(few: ActiveCampaignFewTagsSubject) -> None:
    assert few.deliver([with_tags(few, 1)]) == {}
    (number,) = few.state()["tags"]
    assert few.account_under_test.delete_tag(int(number))
    assert few.deliver([with_tags(few, 2)]) == {}
    few.lines.clear()
    assert few.deliver([with_tags(few, 3)]) == {}
    assert [line["status"] for line in few.lines if line["status"] >= 400] == [], "the new id is kept"
    assert tags(few) == {"person1": [], "person2": ["Member"], "person3": ["Member"]}
    assert len(few.state()["tags"]) == 1


def test_a_tag_that_somebody_else_makes_meanwhile_is_used(few: ActiveCampaignFewTagsSubject) -> None:
    def meanwhile(sent: Sent, act: Act) -> Answered:
        if sent.method == "POST" and sent.path == "/api/3/tags":
            few.account_under_test.tag_id("MEMBER")
        return act()

    few.wire.interfere = meanwhile
    assert few.deliver([with_tags(few, 1)]) == {}
    assert (tags(few), len(few.state()["tags"])) == ({"person1": ["MEMBER"]}, 1)


def test_one_tag_that_cannot_be_had_leaves_the_contact_unwritten(few: ActiveCampaignFewTagsSubject) -> None:
    """A name that cannot be looked up, or made, is this contact's trouble alone."""
    plant(few, 9, tags=["Member", "Old"])
    not_found = [("GET", status, "unreadable") for status in (400, 413, 422)]
    for method, status, code in (*not_found, *(("POST", status, "tag_refused") for status in (400, 404, 413, 422))):
        few.wire.interfere = partial(_answered, status, method, "/api/3/tags")
        with example(method, status):
            assert codes(few.deliver([with_tags(few, 1, "Old", "New")])) == {0: code}
            assert set(tags(few)) == {"person9"}
            assert set(few.state()["tags"].values()) == {"Member", "Old"}


def _answered(status: int, method: str, path: str, sent: Sent, act: Act) -> Answered:
    """Answer a request so where its method and path are these."""
    is_met = (sent.method, sent.path) == (method, path)
    return Answered(status, {"Content-Type": "application/json"}, b"{}") if is_met else act()


def test_a_name_that_is_too_long_is_refused_and_nothing_is_written(subject: ActiveCampaignTaggingSubject) -> None:
    steps = [with_tags(subject, 1, f"{LONG}x", "VIP"), with_tags(subject, 2, "VIP"), with_tags(subject, 3, LONG)]
    assert codes(subject.deliver(steps)) == {0: "tag_refused"}
    assert tags(subject) == {"person2": ["Member", "VIP"], "person3": ["Member", LONG]}


def test_what_is_noted_of_a_tag_shows_no_name(few: ActiveCampaignFewTagsSubject) -> None:
    few.deliver([with_tags(few, 1, LONG, "Debtor")])
    assert len(few.notes.kept) >= 3
    for note, kept in few.notes.kept.items():
        assert "debtor" not in f"{note} {kept}".lower()
        assert (LONG[:9].lower() in f"{note} {kept}".lower(), len(note) < 100) == (False, True)


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_who_may_not_carry_the_tag_is_unconfirmed_and_not_subscribed(
    few: ActiveCampaignFewTagsSubject, status: int
) -> None:
    refuse(few, status, "^/api/3/contactTags$")
    assert codes(few.deliver([with_tags(few, 1)])) == {0: "unconfirmed"}
    assert (held_of(few, 1)["tags"], held_of(few, 1)["lists"]) == ([], {})


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_tag_that_may_not_be_taken_off_is_told(few: ActiveCampaignFewTagsSubject, status: int) -> None:
    few.deliver([with_tags(few, 1)])
    refuse(few, status, "^/api/3/contactTags/")
    assert codes(few.deliver([few.step(1, joins=False, after=1)])) == {0: "malformed"}
    assert tags(few) == {"person1": ["Member"]}


def test_a_read_that_is_refused_is_no_missing_tag(few: ActiveCampaignFewTagsSubject) -> None:
    few.deliver([with_tags(few, 1)])
    few.notes.kept.clear()
    for path, status in itertools.product(("/api/3/tags", "/api/3/contacts/1/contactTags"), (400, 413, 422)):
        few.wire.interfere = partial(_answered, status, "GET", path)
        with example(path, status):
            assert codes(few.deliver([few.step(1, joins=False, after=1)])) == {0: "unreadable"}
            assert tags(few) == {"person1": ["Member"]}


@pytest.mark.parametrize(("status", "taken"), [(429, False), (500, None), (402, False)])
def test_trouble_with_taking_off_is_told(few: ActiveCampaignFewTagsSubject, status: int, taken: bool | None) -> None:
    few.deliver([with_tags(few, 1)])
    refuse(few, status, "^/api/3/contactTags/")
    (outcome,) = few.attempt([few.step(1, joins=False, after=1)])
    assert (outcome.taken, outcome.problem is not None, tags(few)) == (taken, True, {"person1": ["Member"]})
