"""Setting up the Gainsight PX sandbox for a conversation, and looking at what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.destinations.contract import Level
from relay.domain.problems import Rejection
from tests.contract.gainsight_px_subject import GainsightPxSubject

MEMBERSHIP = "^/v1/external_segment/update_membership"
METADATA = "^/v1/external_segment/metadata"
ALWAYS: int | None = None


def change(subject: GainsightPxSubject, **settings: Any) -> None:
    answer = subject.sandbox.post("/_sandbox/settings", json=settings)
    assert answer.status_code == 200, answer.get_data(as_text=True)


def delete_segment(subject: GainsightPxSubject, segment: str) -> None:
    assert subject.sandbox.delete(f"/_sandbox/segments/{segment}").status_code == 200


def codes(refused: Mapping[int, Rejection]) -> dict[int, str]:
    return {index: rejection.code for index, rejection in refused.items()}


def operations(subject: GainsightPxSubject) -> dict[str, int]:
    calls: dict[str, int] = subject.counters()["operations"]
    return calls


def levels(subject: GainsightPxSubject) -> list[Level]:
    return [finding.level for finding in subject.destination.check(subject.account(), [subject.export])]


def told_of(subject: GainsightPxSubject, segment: str) -> dict[str, Any]:
    (found,) = [one for one in subject.state()["segments"] if one["externalId"] == segment]
    return dict(found)
