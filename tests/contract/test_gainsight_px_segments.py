"""External segments at Gainsight PX: made once, renamed, and made again when somebody deleted them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from relay.destinations.contract import Level
from relay.domain.problems import Transient
from tests.contract.gainsight_px_looks import (
    METADATA,
    change,
    delete_segment,
    levels,
    operations,
    told_of,
)
from tests.contract.gainsight_px_subject import GainsightPxSubject


@pytest.fixture
def subject() -> GainsightPxSubject:
    return GainsightPxSubject()


def test_a_segment_is_made_once_and_carries_the_platforms_name(subject: GainsightPxSubject) -> None:
    account = replace(subject.account(), segment_name={"aep/one": "Loyal buyers"}.get)
    for number in range(3):
        subject.destination.send(account, subject.export, [subject.step(number)])
    assert told_of(subject, "aep/one")["name"] == "Loyal buyers"
    assert operations(subject)["POST /v1/external_segment/metadata"] == 1
    assert "PUT /v1/external_segment/metadata" not in operations(subject)


def test_renaming_reaches_px_once(subject: GainsightPxSubject) -> None:
    subject.deliver([subject.step(1)])
    subject.export = subject.export_with(
        {"segment_names": {"aep/one": "Loyal"}, "segment_descriptions": {"aep/one": "Buys often"}}
    )
    subject.deliver([subject.step(2)])
    subject.deliver([subject.step(3)])
    given = told_of(subject, "aep/one")
    assert (given["name"], given["description"], given["member_count"]) == ("Loyal", "Buys often", 3)
    assert operations(subject)["PUT /v1/external_segment/metadata"] == 1


def test_a_segment_that_was_there_before_us_is_taken_over(subject: GainsightPxSubject) -> None:
    subject.deliver([subject.step(1)])
    subject.notes.kept.clear()
    subject.export = subject.export_with({"segment_names": {"aep/one": "Loyal"}})
    assert subject.deliver([subject.step(2)]) == {}
    assert (told_of(subject, "aep/one")["name"], len(subject.state()["segments"])) == ("Loyal", 1)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_name_px_does_not_change_is_a_warning_and_no_more(subject: GainsightPxSubject, status: int) -> None:
    """It is not sent again; another name is."""
    subject.deliver([subject.step(1)])
    subject.fault({"status": status}, path=METADATA)
    for name in ("Loyal", "Loyal", "Loyal buyers"):
        subject.export = subject.export_with({"segment_names": {"aep/one": name}})
        assert subject.deliver([subject.step(2)]) == {}
        assert levels(subject).count(Level.WARNING) == (name == "Loyal")
        assert Level.ERROR not in levels(subject)
    assert told_of(subject, "aep/one")["name"] == "Loyal buyers"


@pytest.mark.parametrize("trouble", [{"status": 500}, {"status": 408}, {"drop": "before"}, {"drop": "after"}])
def test_trouble_with_a_name_alone_leaves_it_to_the_next_delivery(
    subject: GainsightPxSubject, trouble: Mapping[str, Any]
) -> None:
    subject.deliver([subject.step(1)])
    subject.fault(trouble, path=METADATA)
    subject.export = subject.export_with({"segment_names": {"aep/one": "Loyal"}})
    for number in (2, 3):
        assert subject.deliver([subject.step(number)]) == {}
    assert told_of(subject, "aep/one")["name"] == "Loyal"


@pytest.mark.parametrize("trouble", [{"status": 429}, {"status": 503, "headers": {"Retry-After": "9"}}])
def test_who_asks_us_to_wait_is_not_called_on(subject: GainsightPxSubject, trouble: Mapping[str, Any]) -> None:
    subject.deliver([subject.step(1)])
    subject.fault(trouble, path=METADATA)
    subject.export = subject.export_with({"segment_names": {"aep/one": "Loyal"}})
    with pytest.raises(Transient):
        subject.deliver([subject.step(2)])
    assert subject.inside() == {subject.identity(1)}


@pytest.mark.parametrize(
    ("options", "platform", "name", "description"),
    [
        ({}, None, "aep/one", "Kept by Audience Relay from aep/one"),
        ({}, " ", "aep/one", "Kept by Audience Relay from aep/one"),
        ({}, "Buyers", "Buyers", "Kept by Audience Relay from aep/one"),
        ({"segment_names": {"aep/one": "Loyal"}}, "Buyers", "Loyal", "Kept by Audience Relay from aep/one"),
        ({"segment_descriptions": {"aep/one": "Buys often"}}, None, "aep/one", "Buys often"),
    ],
)
def test_the_texts_of_a_segment(
    subject: GainsightPxSubject, options: Mapping[str, Any], platform: str | None, name: str, description: str
) -> None:
    account = replace(subject.account(), segment_name=lambda _: platform)
    subject.destination.send(account, subject.export_with(options), [subject.step(1)])
    given = told_of(subject, "aep/one")
    assert (given["name"], given["description"]) == (name, description)


@pytest.mark.parametrize("shows_as", ["400", "404"])
@pytest.mark.parametrize("reference", ["id", "external_id"])
def test_one_deleted_in_px_is_made_again(subject: GainsightPxSubject, shows_as: str, reference: str) -> None:
    change(subject, deleted_segment=shows_as, segment_ref=reference)
    subject.export = subject.export_with({"segment_ref": reference})
    subject.deliver([subject.step(number) for number in range(3)])
    delete_segment(subject, "aep/one")
    assert subject.deliver([subject.step(number) for number in range(3, 9)]) == {}
    assert subject.inside() == {subject.identity(number) for number in range(3, 9)}
    assert Level.WARNING in levels(subject)


def test_segments_in_one_call_keep_their_members_apart(subject: GainsightPxSubject) -> None:
    one, two = sorted(subject.destination.targets(subject.export))
    steps = [subject.step(1), replace(subject.step(1), target=two), replace(subject.step(2), target=two)]
    assert {step.target for step in steps} == {one, two}
    subject.deliver(steps)
    assert operations(subject)["POST /v1/external_segment/update_membership"] == 1
    members = {segment["externalId"]: segment["member_count"] for segment in subject.state()["segments"]}
    assert members == {"aep/one": 1, "aep/two": 2}


@pytest.mark.parametrize("shows_as", ["400", "404"])
@pytest.mark.parametrize("reference", ["id", "external_id"])
def test_two_workers_meet_a_deleted_segment(subject: GainsightPxSubject, shows_as: str, reference: str) -> None:
    """The other delivers wholly, making the segment again, between our reading of its id and our call."""
    change(subject, deleted_segment=shows_as, segment_ref=reference)
    subject.export = subject.export_with({"segment_ref": reference})
    subject.deliver([subject.step(1)])
    delete_segment(subject, "aep/one")
    account = subject.account()

    def overtaken(method: str, url: str, **named: Any) -> Any:
        nonlocal account
        if account.call is not overtaken:
            return account.call(method, url, **named)
        account = replace(account, call=plain)
        subject.deliver([subject.step(2)])
        return plain(method, url, **named)

    plain = account.call
    account = replace(account, call=overtaken)
    steps = [subject.step(number) for number in range(3, 8)]
    assert subject.destination.send(account, subject.export, steps).refused == {}
    assert subject.inside() == {subject.identity(number) for number in range(2, 8)}
