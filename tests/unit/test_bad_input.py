"""Whatever is posted in whatever dialect and with whatever proof: the answer is one of the dialect's own, and what is
queued can be read by route."""

import base64
import gzip
import hashlib
import hmac
import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.ingest.app import handler
from relay.observability import Observability
from relay.queues import Queue, Received
from relay.routing.read import handed
from relay.settings.settings import Settings
from relay.sources.authentication import MODES
from relay.sources.cloud_events import BATCH, ONE
from relay.sources.dialects import DIALECTS
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueueClient
from tests.fakes.secrets import FakeParameters, FakeSecrets
from tests.webhooks import adobe_bodies, flaw, json_values, relay_bodies

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw:pass"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OPTIONS: Mapping[str, dict[str, str]] = {
    "header": {"auth_header": "X-Key"},
    "hmac": {"signature_header": "X-Sign", "signature_prefix": "v1="},
    "standard-webhooks": {"secret": SIGNING},
}
_OK = {200, 400, 401, 413, 422}
TABLE = {"mixpanel": {200, 400, 401}, "amplitude": _OK, "mparticle": _OK}
OTHERS = {202, 400, 401, 413, 422}
"""The statuses of a dialect, while nothing here is in trouble."""


MAPPED = {"each": "rows", "identities": "{crm: id}", "segment": "audience", "in": "is_in", "at": "at"}


class Endpoint:
    """The handler with a source for each dialect and each way of authentication."""

    def __init__(self) -> None:
        self._clock = FakeClock()
        secrets = FakeSecrets()
        secrets["relay/stack/identity-key"] = "identity"
        for dialect in DIALECTS:
            for mode in MODES:
                texts = {"dialect": dialect, "auth": mode, "secret": SECRET, "profile_key": "identities.*[]"}
                mapped = MAPPED if dialect == "mapped" else {}
                secrets[f"relay/sources/{dialect}-{mode}"] = {**texts, **OPTIONS.get(mode, {}), **mapped}
        self._settings = Settings("relay", secrets=secrets, ssm=FakeParameters(), clock=self._clock)

    def post(self, dialect: str, mode: str, raw: bytes, headers: Mapping[str, str]) -> tuple[int, list[Any]]:
        """Return the status and the bodies that are queued, having held the answer to the description."""
        event = {"headers": headers, "body": base64.b64encode(raw).decode(), "isBase64Encoded": True}
        answer, queued = self.handed(event, dialect, mode)
        return answer["statusCode"], queued

    def handed(self, event: Mapping[str, Any], dialect: str, mode: str = "bearer") -> tuple[dict[str, Any], list[Any]]:
        """Return what API Gateway is answered, having held it to the description, and what is queued."""
        client = FakeQueueClient()
        answer = handler(
            {"headers": self.proof("bearer", b""), **event, "pathParameters": {"source": f"{dialect}-{mode}"}},
            None,
            settings=self._settings,
            queue=Queue("https://sqs/changes", client=client, clock=self._clock),
            clock=self._clock,
            observability=Observability(io.StringIO()),
        )
        assert flaw(answer["statusCode"], answer["headers"], answer["body"]) is None
        return answer, client.bodies

    def proof(self, mode: str, raw: bytes) -> dict[str, str]:
        """Return the headers that prove a body."""
        if mode == "standard-webhooks":
            now = self._clock.now()
            stamp = str(int(now.timestamp()))
            key = base64.b64decode(SIGNING.removeprefix("whsec_"))
            made = hmac.new(key, f"m.{stamp}.".encode() + raw, hashlib.sha256).digest()
            signature = f"v1,{base64.b64encode(made).decode()}"
            return {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": signature}
        return {
            "bearer": {"Authorization": f"Bearer {SECRET}"},
            "basic": {"Authorization": f"Basic {base64.b64encode(SECRET.encode()).decode()}"},
            "header": {"X-Key": SECRET},
            "hmac": {"X-Sign": f"v1={hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()}"},
            "segment": {"X-Signature": hmac.new(SECRET.encode(), raw, hashlib.sha1).hexdigest()},
        }[mode]


@pytest.fixture(scope="module")
def endpoint() -> Endpoint:
    return Endpoint()


_odd = json_values | st.sampled_from(["\ud800", "", "1", 0, 10**400, 1e308, True, [], {}, [[]], "9" * 30, "x" * 2_000])
_members = st.lists(
    st.dictionaries(st.sampled_from(["mixpanel_distinct_id", "email", "plan"]), _odd) | _odd, max_size=3
)
_mixpanel = st.fixed_dictionaries(
    {
        "action": st.sampled_from(["members", "add_members", "remove_members"]) | _odd,
        "parameters": st.fixed_dictionaries(
            {"mixpanel_cohort_id": st.just("7") | _odd, "members": _members | _odd},
            optional={
                "mixpanel_session_id": st.just("s") | _odd,
                "page_info": st.just({"page_count": 1, "total_pages": 2}) | _odd,
                "mixpanel_cohort_name": _odd,
            },
        )
        | _odd,
    }
)
_users = st.lists(st.fixed_dictionaries({}, optional={"user_id": _odd, "user_properties": _odd}) | _odd, max_size=3)
_amplitude = st.fixed_dictionaries(
    {
        "cohort_id": st.just("7") | _odd,
        "in_cohort": st.booleans() | _odd,
        "computed_time": st.just("1692206763") | _odd,
        "users": _users | _odd,
    },
    optional={"message_id": _odd, "cohort_name": _odd},
)
_personas = st.fixed_dictionaries(
    {}, optional={"computation_class": st.just("audience") | _odd, "computation_key": _odd}
)
_event = st.fixed_dictionaries(
    {"type": st.sampled_from(["identify", "track", "delete", "record", "audiencelist", "group"]) | _odd},
    optional={
        "userId": _odd,
        "messageId": _odd,
        "event": st.just("Audience Entered") | _odd,
        "traits": st.dictionaries(st.sampled_from(["vip", "email"]), _odd) | _odd,
        "properties": st.dictionaries(st.sampled_from(["audience_key", "vip", "listData"]), _odd) | _odd,
        "context": st.fixed_dictionaries({"personas": _personas | _odd}, optional={"externalIds": _odd}) | _odd,
        "timestamp": st.just("2026-01-01T00:00:00Z") | _odd,
        "identifiers": _odd,
        "action": st.just("insert") | _odd,
    },
)
_segment = _event | st.lists(_event, max_size=3) | st.fixed_dictionaries({"batch": st.lists(_event, max_size=2)})
_identity = (
    st.fixed_dictionaries({}, optional={"type": st.just("email") | _odd, "encoding": _odd, "value": _odd}) | _odd
)
_audience = st.fixed_dictionaries(
    {"audience_id": st.just(7) | _odd, "action": st.sampled_from(["add", "delete", "attribute_update"]) | _odd},
    optional={"user_attributes": st.lists(_odd, max_size=2) | _odd, "audience_name": _odd},
)
_person = st.fixed_dictionaries(
    {},
    optional={
        "mpid": _odd,
        "user_identities": st.lists(_identity, max_size=2) | _odd,
        "audiences": st.lists(_audience | _odd, max_size=2) | _odd,
    },
)
_mparticle = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["audience_membership_change_request", "audience_subscription_request", "dsr_processing_request"]
        )
        | _odd
    },
    optional={
        "id": _odd,
        "timestamp_ms": st.just(1767323045000) | _odd,
        "firehose_version": st.just("3") | _odd,
        "user_profiles": st.lists(_person | _odd, max_size=2) | _odd,
        "subject_request_type": st.just("erasure") | _odd,
        "subject_identities": st.dictionaries(st.sampled_from(["email", ""]), _identity) | _odd,
    },
)
_sdk = st.fixed_dictionaries(
    {},
    optional={
        "identities": st.lists(_identity, max_size=2) | _odd,
        "attributes": _odd,
        "AdobeExperiencePlatformSegments": st.dictionaries(st.sampled_from(["add", "remove"]), _odd) | _odd,
        "segment_names": _odd,
        "profiles": st.lists(_odd, max_size=2) | _odd,
        "audienceId": _odd,
        "status": _odd,
    },
)
_mapped = st.fixed_dictionaries(
    {"rows": st.lists(st.dictionaries(st.sampled_from(["id", "audience", "is_in", "at"]), _odd) | _odd, max_size=3)}
)
_OWN: Mapping[str, st.SearchStrategy[Any]] = {
    "adobe-http": adobe_bodies,
    "adobe-sdk": _sdk,
    "amplitude": _amplitude,
    "mapped": _mapped,
    "mixpanel": _mixpanel,
    "mparticle": _mparticle,
    "relay-json": relay_bodies,
    "segment": _segment,
}
_written = st.one_of(*_OWN.values(), _odd).map(json.dumps)
_events = st.tuples(
    _written, st.sampled_from(['"1.0"', '"0.3"', "1", '"\\ud800"']), st.sampled_from(['"e"', "null"])
).map(lambda parts: f'{{"specversion":{parts[1]},"id":{parts[2]},"source":"s","type":"t","data":{parts[0]}}}')
_texts = st.one_of(
    _written,
    _events,
    st.lists(_events, max_size=3).map(lambda events: f"[{','.join(events)}]"),
    st.sampled_from(
        [
            '{"action":"members","action":"add_members","parameters":{"mixpanel_cohort_id":"7","members":[]}}',
            '{"changes":[{"identities":{"crm":"1"},"attributes":{"a":1e999,"b":-1e-999,"c":' + "1" * 400 + "}}]}",
            '{"changes":[{"identities":{"crm":"1"},"attributes":{"a":' + "1" * 5_000 + "}}]}",
            '{"changes":[{"identities":{"crm":"1"},"attributes":' + '{"a":' * 40 + "1" + "}" * 42 + "]}",
            "[" * 3_000,
            '{"a":' * 3_000,
            "NaN",
        ]
    ),
)
_bytes = st.one_of(_texts.map(str.encode), _texts.map(lambda text: text.encode()[:-1]), st.binary(max_size=40))


@st.composite
def _posted(draw: st.DrawFn) -> tuple[str, bytes]:
    """Return a dialect, and bytes that are mostly of its own shape."""
    dialect = draw(st.sampled_from([*DIALECTS]))
    raw = draw(st.one_of(_OWN[dialect].map(lambda body: json.dumps(body).encode()), _bytes))
    return dialect, draw(
        st.sampled_from(
            [
                raw,
                raw,
                raw,
                b"\xef\xbb\xbf" + raw,
                raw + raw,
                gzip.compress(raw),
                raw.decode(errors="replace").encode("utf-16"),
            ]
        )
    )


@settings(max_examples=250)
@given(
    posted=_posted(),
    mode=st.sampled_from([*MODES]),
    kind=st.sampled_from(["application/json", ONE, BATCH, ""]) | st.text(max_size=5),
    odd=st.none()
    | st.dictionaries(
        st.sampled_from(["Authorization", "X-Key", "X-Sign", "X-Signature", "webhook-id", "Idempotency-Key"]),
        st.text(max_size=12),
    ),
)
def test_the_answer_is_the_dialects_and_route_can_take_what_is_queued(
    endpoint: Endpoint, posted: tuple[str, bytes], mode: str, kind: str, odd: dict[str, str] | None
) -> None:
    dialect, raw = posted
    headers = {"Content-Type": kind, **(endpoint.proof(mode, raw) if odd is None else odd)}
    status, queued = endpoint.post(dialect, mode, raw, headers)
    assert status in TABLE.get(dialect, OTHERS)
    assert (status == 401) == (odd is not None)
    assert not queued or status in (200, 202)
    unreadable: list[Exception] = []
    records = [Received(str(n), body, 1, None, "r", FakeClock().now()) for n, body in enumerate(queued)]
    found = handed(records, lambda _, error: unreadable.append(error))
    assert (len(found), unreadable) == (len(queued), [])


BOMB = gzip.compress(b" " * 5_000_000)


@pytest.mark.parametrize(
    ("body", "is_base64", "status", "said"),
    [
        (base64.b64encode(BOMB).decode(), True, 400, "is compressed"),
        ("no base64!", True, 400, "not base64"),
        ("", True, 400, "empty"),
        (None, False, 400, "empty"),
        ("\ud800", False, 400, "not UTF-8"),
        ('{"changes": []', False, 400, "not JSON"),
        ('{"changes": [], "changes": 1}', False, 422, "dialect"),
        ('{"changes": [{"identities": {"crm": "1"}, "attributes": {"a": ' + "[" * 2_000 + "]" * 2_000 + "}}]}", False,
         422, "dialect"),
    ],
)  # fmt: skip
def test_a_body_that_api_gateway_hands_on_is_answered_whatever_it_is(
    endpoint: Endpoint, body: Any, is_base64: bool, status: int, said: str
) -> None:
    answer, queued = endpoint.handed({"body": body, "isBase64Encoded": is_base64}, "relay-json")
    assert (answer["statusCode"], queued) == (status, [])
    assert said in json.loads(answer["body"])["detail"]
    assert "Traceback" not in answer["body"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"headers": None, "multiValueHeaders": None}, 401),
        ({"headers": {"Authorization": None}, "multiValueHeaders": {"Authorization": None}}, 401),
        ({"headers": {}, "multiValueHeaders": {"authorization": ["Bearer", f"Bearer {SECRET}"]}}, 202),
        ({"headers": {}, "multiValueHeaders": {"AUTHORIZATION": [f"bearer  {SECRET} "], "content-type": []}}, 202),
        ({"headers": {"Authorization": "Bearer \ud800"}}, 401),
        ({"headers": {"Authorization": "Bearer " + "x" * 100_000}}, 401),
    ],
)
def test_headers_are_read_however_they_come(endpoint: Endpoint, headers: dict[str, Any], status: int) -> None:
    body = json.dumps({"changes": [{"identities": {"crm": "1"}, "attributes": {"a": 1}}]})
    answer, _ = endpoint.handed({"body": body, **headers}, "relay-json")
    assert answer["statusCode"] == status
