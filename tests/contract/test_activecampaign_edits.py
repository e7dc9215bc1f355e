"""Edited marks against the sandbox: what was told before is taken back, and the others are left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.contract.activecampaign_subject import (
    ActiveCampaignSubject,
    ActiveCampaignTaggingSubject,
    ActiveCampaignUnsubscribingSubject,
)


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
