"""The body of one platform that is sent to the dialect of another is refused, and the answer names its own dialect."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.problem_details import Refusal
from relay.settings.sources import SourceSettings
from relay.sources.dialects import DIALECTS

EVENTS = Path(__file__).parents[3] / "events"
BODIES = ("adobe-http", "adobe-sdk", "amplitude", "mixpanel", "mparticle", "relay-json", "segment")
# What a template renders may be the whole profile as it is stored: both dialects take it.
ALIKE = {("adobe-http", "adobe-sdk")}


@pytest.mark.parametrize("sent", BODIES)
@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_a_body_is_taken_by_its_own_dialect_alone(sent: str, dialect: str) -> None:
    raw = json.dumps(json.loads((EVENTS / f"webhook-{sent}.json").read_text(encoding="utf-8"))).encode()
    # Of a mapped body only the list that `each` names tells whether it is foreign.
    mapping = {"each": "rows", "identities": "{crm: id}", "attributes": "row"} if dialect == "mapped" else {}
    source = SourceSettings("any", dialect, "bearer", (), "identities.crm_id", mapping=mapping)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    if sent == dialect or (sent, dialect) in ALIKE:
        assert DIALECTS[dialect].read(raw, source, now).profiles
        return
    with pytest.raises(Refusal) as caught:
        DIALECTS[dialect].read(raw, source, now)
    assert caught.value.status == 422
    assert f"({sent})" in caught.value.detail


def refusal(dialect: str, body: object) -> Refusal:
    source = SourceSettings("any", dialect, "bearer", (), "identities.crm_id")
    with pytest.raises(Refusal) as caught:
        DIALECTS[dialect].read(json.dumps(body).encode(), source, datetime(2026, 3, 1, tzinfo=UTC))
    return caught.value


MEMBERSHIP = {"segmentMembership": {"ups": {"s-1": {"status": "realized"}}}, "identityMap": {"email": [{"id": "a@x"}]}}


@pytest.mark.parametrize(
    "more",
    [
        {"attributes": {"firstName": {"value": "John"}}},
        {"attributes": {"firstName": {"value": "John"}, "birthDate": {}}},
        {"identities": [{"type": "email", "id": "a@x"}]},
    ],
)
@pytest.mark.parametrize("is_framed", [True, False])
def test_a_profile_of_the_sdk_is_refused_by_the_http_dialect_by_name(more: dict[str, object], is_framed: bool) -> None:
    profile = {**MEMBERSHIP, **more}
    refused = refusal("adobe-http", {"profiles": [profile]} if is_framed else profile)
    assert "(adobe-sdk)" in refused.detail
    assert "adobe-sdk" in refused.errors[0].detail


def test_an_attribute_that_is_called_attributes_does_not_make_a_profile_one_of_the_sdk() -> None:
    source = SourceSettings("any", "adobe-http", "bearer", (), "identities.crm_id")
    for given in ({"tier": "gold"}, {"tier": {"value": 1, "unit": "x"}}, {}, ["a"]):
        body = {
            "identityMap": {"email": [{"id": "a@x"}]},
            "attributes": given,
        }
        (one,) = (
            DIALECTS["adobe-http"].read(json.dumps(body).encode(), source, datetime(2026, 3, 1, tzinfo=UTC)).profiles
        )
        assert one.attributes == {"attributes": given}


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("amplitude", {"cohort_id": "c", "users": [], "in_cohort": "perhaps"}),
        ("mixpanel", {"action": "members", "parameters": {"members": []}}),
        ("mparticle", {"type": "audience_membership_change_response", "firehose_version": "2"}),
        ("adobe-http", {"identityMap": 1}),
        ("adobe-sdk", {"profiles": [{"identities": [{"type": "email"}]}]}),
        ("relay-json", {"changes": [1]}),
        ("segment", {"type": "identify", "userId": None, "messageId": "m"}),
    ],
)
def test_a_refusal_does_not_say_that_the_body_looks_like_that_of_its_own_dialect(dialect: str, body: object) -> None:
    assert "looks like" not in refusal(dialect, body).detail
