"""Edited marks against the sandbox: what was told before is taken back, and the others are left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.contract.activecampaign_replies import codes
from tests.contract.activecampaign_subject import (
    ActiveCampaignFewSubject,
    ActiveCampaignFewTagsSubject,
    ActiveCampaignQuietSubject,
    ActiveCampaignSubject,
    ActiveCampaignTaggingSubject,
    ActiveCampaignUnsubscribingSubject,
)
from tests.examples import example


def edit(subject: ActiveCampaignSubject, **options: Any) -> None:
    """Replace the export's options, as an administrator does."""
    settings = subject.destination.options_model.model_validate({"list_id": "7", **options})
    subject.export = replace(subject.export, options=settings, version=subject.export.version + 1)


def move(subject: ActiveCampaignSubject, former: str, number: int) -> None:
    """Join today's target and leave the former one, as a run after an edit does."""
    joins = subject.step(number, after=10)
    leaves = replace(joins, target=former, joins=False, values={})
    assert subject.deliver([joins, leaves]) == {}


def contact(subject: ActiveCampaignSubject, number: int) -> Any:
    (found,) = (each for each in subject.state()["contacts"] if each["email"] == subject.identity(number))
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"on_exit": "remove_tag", "tag": "Customer"},
        {"on_exit": "unsubscribe"},
        {"on_exit": "unsubscribe", "resubscribe": False},
        {"on_exit": "set_field", "exit_field": "2", "value_in": "in", "value_out": "out"},
    ],
    ids=["another tag", "unsubscribing", "unsubscribing in bulk", "a field"],
)
def test_a_former_tag_comes_off_and_the_subscription_stays(options: dict[str, Any]) -> None:
    subject = ActiveCampaignTaggingSubject()
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    edit(subject, **options)
    move(subject, "tag/Member", 1)
    assert contact(subject, 1)["tags"] == [options[name] for name in ("tag",) if name in options]
    assert contact(subject, 2)["tags"] == ["Member"]
    assert subject.members("list/7") == {subject.identity(1), subject.identity(2)}


def test_a_former_field_is_set_to_what_those_who_left_hold() -> None:
    subject = ActiveCampaignSubject()
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    edit(subject, on_exit="set_field", exit_field="1", value_in="in", value_out="out")
    joins = replace(subject.step(1, word=None, after=10), target="field/1")
    leaves = replace(joins, target="field/2", joins=False, values={})
    assert subject.deliver([joins, leaves]) == {}
    assert contact(subject, 1)["fields"] == {"1": "in", "2": "out"}


def test_a_former_list_is_kept_by_an_export_that_marks() -> None:
    subject = ActiveCampaignUnsubscribingSubject()
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    edit(subject, on_exit="remove_tag", tag="Member")
    move(subject, "list/7", 1)
    assert contact(subject, 1)["tags"] == ["Member"]
    assert subject.members("list/7") == {subject.identity(1), subject.identity(2)}


EVERY_WAY: Mapping[str, dict[str, Any]] = {
    "keep": {},
    "out": {"on_exit": "unsubscribe"},
    "bulk": {"on_exit": "unsubscribe", "resubscribe": False},
    "field": {"on_exit": "set_field", "exit_field": "3", "value_in": "in", "value_out": "out"},
    "tag": {"on_exit": "remove_tag", "tag": "Customer"},
}


def plant(subject: ActiveCampaignSubject, number: int = 1, **more: Any) -> Any:
    """Edit a contact by hand; return what the account then holds of it."""
    body = {"email": subject.identity(number), **more}
    assert subject.sandbox.post("/_sandbox/contacts", json=body).status_code == 200
    return contact(subject, number)


def leave(subject: ActiveCampaignSubject, target: str) -> dict[int, str]:
    return codes(subject.deliver([subject.step(1, joins=False, target=target)]))


@pytest.mark.parametrize("name", ["Member", "a/b"])
def test_a_former_tag_comes_off_whatever_the_options_say_now(name: str) -> None:
    for way, options in EVERY_WAY.items():
        subject = ActiveCampaignFewTagsSubject()
        before = plant(subject, tags=[name, f"{name} of old"], lists={"7": 1})
        edit(subject, **options)
        with example(way):
            assert leave(subject, f"tag/{name}") == {}
            assert contact(subject, 1) == {**before, "tags": [f"{name} of old"]}


def test_where_nothing_is_taken_back_nobody_changes_in_any_way() -> None:
    nothing = {"keep": ("list/7", "list/8", "field/2"), "out": ("field/2",), "bulk": ("field/2",)}
    nothing |= {"field": ("list/7", "list/8"), "tag": ("list/7", "list/8", "field/2")}
    for way, targets in nothing.items():
        for target in targets:
            subject = ActiveCampaignFewSubject()
            before = plant(subject, lists={"7": 1, "8": 1}, fields={"2": "among-us"}, tags=["Customer"])
            edit(subject, **EVERY_WAY[way])
            with example(way, target):
                assert leave(subject, target) == {}
                assert contact(subject, 1) == before


def test_who_joins_is_subscribed_to_the_list_of_today() -> None:
    for way, options in EVERY_WAY.items():
        for kind in (ActiveCampaignFewSubject, ActiveCampaignSubject):
            for target in ("list/7", "field/2", "tag/Member"):
                subject = kind()
                edit(subject, **options, list_id="8")
                with example(way, kind, target):
                    assert subject.deliver([subject.step(number, target=target) for number in (1, 2)]) == {}
                    standings = [contact(subject, number)["lists"] for number in (1, 2)]
                    assert [{key: each["status"] for key, each in lists.items()} for lists in standings] == [
                        {"8": 1}
                    ] * 2


@pytest.mark.parametrize(
    ("seven", "eight", "refused"), [(1, 2, {0: "unsubscribed"}), (2, 1, {}), (None, 2, {0: "unsubscribed"})]
)
def test_it_is_the_list_of_today_that_stands_in_the_way(seven: int | None, eight: int, refused: dict[int, str]) -> None:
    subject = ActiveCampaignFewSubject()
    before = plant(subject, lists={"8": eight} if seven is None else {"7": seven, "8": eight})
    edit(subject, list_id="8")
    assert codes(subject.deliver([subject.step(1, target="tag/Member")])) == refused
    assert contact(subject, 1)["lists"] == before["lists"]


def test_a_former_field_gets_the_value_of_today_where_it_can_hold_it() -> None:
    for field, kind, refused in (("2", "text", {}), ("3", "text", {}), ("3", "date", {0: "unfit_value"})):
        subject = ActiveCampaignFewSubject()
        subject.account_under_test.config = replace(subject.account_under_test.config, fields={2: "text", 3: kind})
        before = plant(subject, fields={field: "among-us"}, lists={"7": 1})
        edit(subject, on_exit="set_field", exit_field="2", value_in="among-us", value_out="over")
        with example(field, kind):
            assert leave(subject, f"field/{field}") == refused
            assert contact(subject, 1)["fields"] == ({field: "over"} if not refused else before["fields"])


@pytest.mark.parametrize("kind", [ActiveCampaignUnsubscribingSubject, ActiveCampaignQuietSubject], ids=["few", "bulk"])
def test_a_former_list_is_left_by_an_export_that_unsubscribes(kind: type[ActiveCampaignSubject]) -> None:
    subject = kind()
    for number, eight in ((1, 1), (2, 2)):
        plant(subject, number, lists={"7": 1, "8": eight})
    before = contact(subject, 2)["lists"]
    leavers = [subject.step(number, joins=False, target="list/8") for number in (1, 2)]
    assert subject.deliver(leavers) == {}
    assert {number: each["status"] for number, each in contact(subject, 1)["lists"].items()} == {"7": 1, "8": 2}
    assert contact(subject, 2)["lists"]["7"] == before["7"]
    assert contact(subject, 2)["lists"]["8"]["status"] == 2
