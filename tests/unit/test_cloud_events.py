"""Bodies that come in CloudEvents: one, a batch, as JSON, text or base64; and what is wrong with an envelope."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.domain.changes import Change, from_json
from relay.domain.keyed_hash import KeyedHash
from relay.problem_details import Refusal
from relay.settings.sources import SourceSettings
from relay.sources.cloud_events import BATCH, ONE
from relay.sources.intake import Intake, take_in
from relay.sources.reading import MAX_PROFILES
from tests.examples import example

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PERSON = {"identities": {"crm": "1"}, "attributes": {"plan": "free"}}


def event(data: Any, number: int = 1, **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "type": "t", "source": "/shop", "id": f"e-{number}", "data": data, **more}


def taken(body: Any, kind: str = ONE, dialect: str = "relay-json") -> Intake:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    source = SourceSettings("shop", dialect, "bearer", ("t",), "identities.*[]")
    hashed = KeyedHash("k")
    return take_in(raw, source=source, identity_hash=hashed, received_at=NOON, content_type=kind)


def changes(intake: Intake) -> list[Change]:
    return [change for message in intake.messages for change in from_json(message).changes]


def test_data_is_read_however_it_is_written() -> None:
    inner = {"changes": [PERSON]}
    bare = event(inner)
    del bare["data"]
    table = [
        event(inner),
        event(json.dumps(inner)),
        bare | {"data_base64": base64.b64encode(json.dumps(inner).encode()).decode()},
    ]
    for body in table:
        with example(body):
            [one] = changes(taken(body, f"{ONE.upper()}; charset=utf-8"))
            assert one.attributes == {"plan": "free"}
            assert one.webhook_id is not None


def test_the_id_of_the_event_tells_a_repeat() -> None:
    ids = [changes(taken(event({"changes": [PERSON]}, number)))[0].webhook_id for number in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_without_the_content_type_it_is_no_event() -> None:
    with pytest.raises(Refusal) as refused:
        taken(event({"changes": [PERSON]}), "application/json")
    assert "CloudEvents" in refused.value.detail


def test_of_a_batch_the_good_events_are_taken() -> None:
    bad: dict[str, Any] = {"changes": [{}, PERSON, {"identities": {"crm": ["1", ""]}, "attributes": {"a": 1}}]}
    body = [event({"changes": [PERSON]}), event([], 2), 5, event(bad, 3)]
    shown = taken(body, BATCH)
    assert shown.taken.accepted == 3
    places = {one.pointer for one in shown.taken.rejections}
    assert places >= {"#/2", "#/3/data/changes/0"}
    assert [part.error.pointer for part in shown.taken.left_out] == ["#/3/data/changes/2/identities/crm/1"]


def test_numbers_and_texts_are_handed_on_as_they_are_written() -> None:
    inner = b'{"changes":[{"identities":{"crm":"1"},"attributes":{"a":1e999,"b":"\\ud800","c":12345678901234567890}}]}'
    raw = b'{"specversion":"1.0","type":"t","source":"s","id":"1","data": {} , "data":' + inner + b"}"
    shown = taken(raw)
    assert changes(shown)[0].attributes == {"c": 12345678901234567890}
    assert shown.taken.left_out_counts == {"unfit_attribute": 2}


def test_an_envelope_that_is_none_is_refused() -> None:
    fine = event({"changes": [PERSON]})
    table: list[tuple[Any, str]] = [
        ([fine], ONE),
        (fine, BATCH),
        (5, BATCH),
        ([5], BATCH),
        ({**fine, "specversion": "0.3"}, ONE),
        ({**fine, "id": ""}, ONE),
        ({**fine, "id": "\ud800"}, ONE),
        ({**fine, "source": 1}, ONE),
        ({**fine, "data_base64": ""}, ONE),
        ({**{key: fine[key] for key in fine if key != "data"}}, ONE),
        ({**{key: fine[key] for key in fine if key != "data"}, "data_base64": "?"}, ONE),
        ({**fine, "data": "\ud800"}, ONE),
        ({**fine, "data": "not JSON"}, ONE),
        ({**fine, "data": None}, ONE),
        (b"[" * 5_000, BATCH),
    ]
    for body, kind in table:
        with example(str(body)[:80], kind), pytest.raises(Refusal) as refused:
            taken(body, kind)
        assert refused.value.status in (400, 422)


def test_limits_hold_for_all_events_together() -> None:
    half = {"changes": [{"identities": {"crm": "1"}}] * (MAX_PROFILES // 2 + 1)}
    with pytest.raises(Refusal) as refused:
        taken([event(half), event(half, 2)], BATCH)
    assert refused.value.code == "too_large"


def test_two_pages_of_a_cohort_do_not_travel_together() -> None:
    page = {"page_count": 1, "total_pages": 2}
    parameters = {"mixpanel_cohort_id": "7", "mixpanel_session_id": "s", "page_info": page, "members": []}
    one = event({"action": "members", "parameters": parameters})
    [message] = taken(one, dialect="mixpanel").messages
    assert from_json(message).page is not None
    [message] = taken([one], BATCH, dialect="mixpanel").messages
    assert from_json(message).page is not None
    with pytest.raises(Refusal):
        taken([one, one], BATCH, dialect="mixpanel")
