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
