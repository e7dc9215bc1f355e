"""The webhook endpoint: what it answers, what it queues, and what it never shows."""

import base64
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from functions.ingest.app import handler
from relay.domain.changes import from_json
from relay.domain.keyed_hash import KeyedHash
from relay.intake.endpoint import MAX_BODY_BYTES
from relay.observability import Observability
from relay.problem_details import MAX_ERRORS
from relay.queues import Queue
from relay.settings.settings import Settings
from relay.sources.intake import MAX_MESSAGE_BYTES
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueueClient
from tests.fakes.secrets import FakeParameters, FakeSecrets, refusal

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"
TOKEN = "token-of-the-shop"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PLANTED = "ada.lovelace@example.com"
MEMBERSHIP = {"segment": "vip", "status": "exited", "at": "2026-05-01T07:59:00Z"}


class Endpoint:
    """The handler over fakes, with one source of each dialect."""

    def __init__(self, client: FakeQueueClient | None = None) -> None:
        self.clock = FakeClock()
        self.client = FakeQueueClient() if client is None else client
        self.log = io.StringIO()
        self.secrets = FakeSecrets()
        self.secrets["relay/stack/identity-key"] = "identity"
        self.secrets["relay/sources/shop"] = {
            "dialect": "relay-json",
            "auth": "bearer",
            "secret": TOKEN,
            "profile_key": "identities.crm_id",
        }
        self.secrets["relay/sources/aep"] = {
            "dialect": "adobe-http",
            "auth": "standard-webhooks",
            "secret": SIGNING,
            "profile_key": "identities.crmId",
        }
        self.settings = Settings("relay", secrets=self.secrets, ssm=FakeParameters(), clock=self.clock)

    def answer(self, event: dict[str, Any]) -> dict[str, Any]:
        return handler(
            event,
            None,
            settings=self.settings,
            queue=Queue("https://sqs/changes", client=self.client, clock=self.clock),
            clock=self.clock,
            observability=Observability(self.log),
        )

    def post(self, body: Any, source: str = "shop", token: str = TOKEN, **event: Any) -> dict[str, Any]:
        text = body if isinstance(body, str) else json.dumps(body)
        headers = {"Authorization": f"Bearer {token}"}
        return self.answer({"pathParameters": {"source": source}, "headers": headers, "body": text, **event})


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


def given(answer: dict[str, Any], status: int) -> dict[str, Any]:
    """Return the problem details of an answer, having checked their form."""
    body: dict[str, Any] = json.loads(answer["body"])
    assert answer["statusCode"] == status
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert (body["type"], body["status"]) == ("about:blank", status)
    assert body["title"]
    assert body["detail"]
    assert body["request_id"]
    return body


class TestAccepted:
    def test_the_sample_event(self, endpoint: Endpoint) -> None:
        event = json.loads((EVENTS / "ingest.json").read_text())
        event["headers"]["Authorization"] = event["multiValueHeaders"]["Authorization"][0] = f"Bearer {TOKEN}"

        answer = endpoint.answer(event)

        assert answer["statusCode"] == 202
        assert json.loads(answer["body"]) == {
            "request_id": "0c8f5a0e-5f5b-4d8e-9d0d-6b6d6f1c2a3b",
            "accepted": 3,
            "ignored_memberships": 0,
            "ignored": {},
            "rejected": 0,
            "rejections": [],
            "left_out": 0,
            "left_out_parts": [],
        }
        (message,) = endpoint.client.bodies
        batch = from_json(message)
        assert batch.source == "shop"
        assert batch.changes[0].profile_ids == (KeyedHash("identity")("shop", "HB-100041"),)
        assert batch.changes[0].received_at == endpoint.clock.now()

    def test_a_signed_adobe_body_in_base64(self, endpoint: Endpoint) -> None:
        raw = (EVENTS / "webhook-adobe-http.json").read_text()
        sent = endpoint.clock.now()
        headers = {
            "Webhook-Id": ["msg_1"],
            "Webhook-Timestamp": [str(int(sent.timestamp()))],
            "Webhook-Signature": [Webhook(SIGNING).sign("msg_1", sent, raw)],
        }

        answer = endpoint.answer(
            {
                "pathParameters": {"source": "aep"},
                "headers": None,
                "multiValueHeaders": headers,
                "body": base64.b64encode(raw.encode()).decode(),
                "isBase64Encoded": True,
            }
        )

        assert answer["statusCode"] == 202
        assert json.loads(answer["body"])["ignored_memberships"] == 1
        assert len(from_json(endpoint.client.bodies[0]).changes) == 3

    def test_a_profile_without_identity_is_rejected_and_counted(self, endpoint: Endpoint) -> None:
        answer = endpoint.post({"changes": [{"identities": {"email": PLANTED}}, {"identities": {"crm_id": "c"}}]})

        body = json.loads(answer["body"])
        assert (answer["statusCode"], body["accepted"], body["rejected"]) == (202, 1, 1)
        assert [c.rejection for c in from_json(endpoint.client.bodies[0]).changes] == ["no_identity", None]

    def test_nothing_in_it_is_fine(self, endpoint: Endpoint) -> None:
        assert endpoint.post({"changes": []})["statusCode"] == 202
        assert len(endpoint.client) == 0

    def test_a_large_request_is_split(self, endpoint: Endpoint) -> None:
        changes = [{"identities": {"crm_id": str(n)}, "attributes": {"a": "x" * 60_000}} for n in range(30)]

        assert endpoint.post({"changes": changes})["statusCode"] == 202

        assert sum(len(from_json(body).changes) for body in endpoint.client.bodies) == 30
        assert all(len(entry["MessageBody"]) <= MAX_MESSAGE_BYTES for entry in endpoint.client.sent)

    def test_a_profile_that_cannot_be_taken_is_told_and_the_others_are_queued(self, endpoint: Endpoint) -> None:
        small, large = ({"identities": {"crm_id": "c"}, "attributes": {"a": "x" * n}} for n in (1, MAX_MESSAGE_BYTES))
        changes = [small, {"identities": {PLANTED: True}}, {"at": PLANTED}, large, {"identities": {"email": PLANTED}}]

        answer = endpoint.post({"changes": changes})

        assert answer["statusCode"] == 202
        body = json.loads(answer["body"])
        assert (body["accepted"], body["rejected"]) == (1, 4)
        assert sorted(body["rejections"], key=lambda one: str(one["pointer"])) == [
            {"code": "wrong_shape", "pointer": "#/changes/1/identities"},
            {"code": "wrong_shape", "pointer": "#/changes/2/at"},
            {"code": "too_large", "pointer": "#/changes/3"},
            {"code": "no_identity", "pointer": "#/changes/4"},
        ]
        (message,) = endpoint.client.bodies
        assert [change.rejection for change in from_json(message).changes].count(None) == 1
        assert PLANTED not in json.dumps(message)

    def test_what_is_left_out_is_told_and_counted(self, endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
        change = {
            "identities": {"crm_id": "c", "email": ["", PLANTED], "phone": [""] * 50},
            "attributes": {"bio": "hi \ud83d", PLANTED: "\ud83d"},
            "memberships": [MEMBERSHIP],
        }

        answer = endpoint.post({"changes": [change]})

        body = json.loads(answer["body"])
        assert (answer["statusCode"], body["accepted"], body["rejected"], body["left_out"]) == (202, 1, 0, 53)
        assert len(body["left_out_parts"]) == MAX_ERRORS
        assert body["left_out_parts"][0] == {
            "code": "unfit_identity",
            "detail": "must be a text that is not empty, or a whole number",
            "pointer": "#/changes/0/identities/email/0",
        }
        [queued] = from_json(endpoint.client.bodies[0]).changes
        assert [(one.segment, one.realized) for one in queued.memberships] == [("shop/vip", False)]
        assert queued.identities == {"crm_id": ["c"], "email": [PLANTED]}
        assert '"left_out":53' in endpoint.log.getvalue()
        counted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "PartsLeftOut" in line]
        assert {line["outcome"]: line["PartsLeftOut"] for line in counted} == {
            "unfit_attribute": [2.0],
            "unfit_identity": [51.0],
        }

    @pytest.mark.parametrize(
        ("headers", "is_known"),
        [
            ({"webhook-id": "msg_1"}, True),
            ({"Svix-Id": "msg_1"}, True),
            ({"Idempotency-Key": '"msg_1"'}, True),
            ({"idempotency-key": "msg_1"}, True),
            ({"webhook-id": "msg_1", "idempotency-key": "another"}, True),
            ({"webhook-id": " ", "idempotency-key": "msg_1"}, True),
            ({"webhook-id": "", "idempotency-key": '""'}, False),
            ({}, False),
        ],
    )
    def test_a_message_is_known_by_the_id_its_sender_gave_it(
        self, endpoint: Endpoint, headers: dict[str, str], is_known: bool
    ) -> None:
        changes = [{"identities": {"crm_id": "c-1"}}, {"identities": {"crm_id": "c-2"}}]
        for one in ({"webhook-id": "msg_1"}, headers):
            answer = endpoint.post({"changes": changes}, headers={"Authorization": f"Bearer {TOKEN}", **one})
            assert answer["statusCode"] == 202
        first, second = (from_json(body) for body in endpoint.client.bodies)
        assert len({change.webhook_id for change in first.changes}) == 1
        assert first.changes[0].webhook_id is not None
        assert [change.webhook_id for change in second.changes] == (
            [change.webhook_id for change in first.changes] if is_known else [None, None]
        )

    def test_a_source_may_limit_itself_to_segments(self, endpoint: Endpoint) -> None:
        endpoint.secrets.secrets["relay/sources/shop"] |= {"segments": "vip, lapsed"}
        memberships = [MEMBERSHIP, {**MEMBERSHIP, "segment": "other"}]
        answer = endpoint.post({"changes": [{"identities": {"crm_id": "c"}, "memberships": memberships}]})
        body = json.loads(answer["body"])
        assert (answer["statusCode"], body["ignored_memberships"], body["left_out"]) == (202, 1, 0)
        [queued] = from_json(endpoint.client.bodies[0]).changes
        assert [one.segment for one in queued.memberships] == ["shop/vip"]

    def test_an_answer_tells_the_first_rejections_and_counts_all(self, endpoint: Endpoint) -> None:
        body = json.loads(endpoint.post({"changes": [{"identities": {"x": "1"}}] * 100})["body"])
        assert (body["rejected"], len(body["rejections"])) == (100, MAX_ERRORS)


class TestRefused:
    @pytest.mark.parametrize("token", ["", "wrong", PLANTED])
    def test_a_wrong_token_before_the_body_is_looked_at(self, endpoint: Endpoint, token: str) -> None:
        answer = endpoint.post("{", token=token)
        refused = given(answer, 401)
        assert (refused["code"], "signature" in refused["detail"]) == ("unauthorized", False)
        assert answer["headers"]["WWW-Authenticate"] == 'Bearer realm="audience-relay"'

    def test_no_headers_at_all(self, endpoint: Endpoint) -> None:
        answer = endpoint.post("{}", source="aep", headers=None)
        assert "signature" in given(answer, 401)["detail"]
        assert answer["headers"]["WWW-Authenticate"].startswith("StandardWebhooks")

    @pytest.mark.parametrize("source", ["nobody", PLANTED, "../shop"])
    def test_an_unknown_source(self, endpoint: Endpoint, source: str) -> None:
        assert given(endpoint.post("{}", source=source), 404)["code"] == "unknown_source"

    def test_an_event_without_a_source(self, endpoint: Endpoint) -> None:
        for path in (None, {"proxy": "webhooks"}, {"proxy": "webhooks/a/b"}, {"proxy": "admin/shop"}, {"source": ""}):
            refused = endpoint.answer({"pathParameters": path, "httpMethod": "GET", "body": None})
            assert given(refused, 404)["code"] == "no_source"

    def test_another_method_than_post(self, endpoint: Endpoint) -> None:
        """API Gateway looks a path without the method that is asked for up below its root."""
        event = {"pathParameters": {"proxy": "webhooks/shop"}, "httpMethod": "GET", "body": None}
        refused = endpoint.answer(event)
        assert given(refused, 405)["code"] == "method_not_allowed"
        assert refused["headers"]["Allow"] == "POST"

    @pytest.mark.parametrize("body", ["", "{", f'{{"changes": [{PLANTED}]}}'])
    def test_malformed_json(self, endpoint: Endpoint, body: str) -> None:
        assert given(endpoint.post(body), 400)["code"] == "malformed_json"

    def test_malformed_base64(self, endpoint: Endpoint) -> None:
        given(endpoint.post("%%%", isBase64Encoded=True), 400)

    def test_a_wrong_shape(self, endpoint: Endpoint) -> None:
        changes = [{"memberships": [{"segment": PLANTED, "status": PLANTED}]}]
        assert given(endpoint.post({"changes": changes}), 422)["errors"] == [
            {"detail": "is missing", "pointer": "#/changes/0/memberships/0/at"},
        ]
        assert len(endpoint.client) == 0

    @pytest.mark.parametrize("encoded", [False, True])
    def test_a_body_too_large(self, endpoint: Endpoint, encoded: bool) -> None:
        body = '{"changes": []}'.ljust(MAX_BODY_BYTES)
        for text, status in ((body, 202), (body + " ", 413)):
            sent = base64.b64encode(text.encode()).decode() if encoded else text
            assert endpoint.post(sent, isBase64Encoded=encoded)["statusCode"] == status

    @pytest.mark.parametrize("letter", ['\\"', "\\\\", "\n", "é", "я", "語", "😀"])
    def test_the_largest_body_fits_into_an_event_whatever_is_in_it(self, endpoint: Endpoint, letter: str) -> None:
        body = letter * (MAX_BODY_BYTES // len(letter.encode()))
        event = json.loads((EVENTS / "ingest.json").read_text())
        # API Gateway takes 10,240 bytes of headers.
        event["headers"] |= {"X-Filling": '"' * 10_000}
        event["multiValueHeaders"] |= {"X-Filling": ['"' * 10_000]}
        assert len(json.dumps({**event, "body": body})) < 6 * 1024 * 1024

    def test_many_unknown_sources(self, endpoint: Endpoint) -> None:
        answers = [endpoint.post("{}", source=f"made-up-{number}") for number in range(1_000)]
        assert {answer["statusCode"] for answer in answers} == {404, 429}
        assert given(answers[-1], 429)["code"] == "too_many_unknown_sources"
        assert answers[-1]["headers"]["Retry-After"] == "10"
        assert endpoint.post({"changes": []})["statusCode"] == 429

        endpoint.clock.advance(10)
        assert endpoint.post({"changes": []})["statusCode"] == 202
        for number in range(1_000):
            endpoint.post("{}", source=f"others-{number}")
        assert endpoint.post({"changes": []})["statusCode"] == 202

    def test_one_profile_too_large(self, endpoint: Endpoint) -> None:
        large = {"identities": {"crm_id": "c"}, "attributes": {"a": "x" * MAX_MESSAGE_BYTES}}
        assert given(endpoint.post({"changes": [large]}), 413)["errors"][0]["pointer"] == "#/changes/0"

    @pytest.mark.parametrize("failing", ["queue", "sources", "identity key", "broken source"])
    def test_what_is_not_the_senders_fault_is_welcome_again(self, failing: str) -> None:
        endpoint = Endpoint(FakeQueueClient([refusal("ServiceUnavailable")] if failing == "queue" else []))
        if failing == "sources":
            endpoint.secrets["relay/sources/shop"] = refusal("InternalServiceError")
        if failing == "identity key":
            endpoint.secrets["relay/stack/identity-key"] = refusal("InternalServiceError")
        if failing == "broken source":
            endpoint.secrets["relay/sources/shop"] = {"dialect": "relay-json", "secret": TOKEN}

        answer = endpoint.post({"changes": [{"identities": {"crm_id": "c"}}]})

        given(answer, 503)
        assert answer["headers"]["Retry-After"] == "10"
        assert len(endpoint.client) == 0

    @pytest.mark.parametrize(
        ("profile_key", "reason"),
        [
            ("lower(identities.crm_id[0])", "profile_key: unknown function lower()"),
            ("join(identities.crm_id)", "profile_key: join() takes 2 arguments, and has 1"),
            ("identities.crm_id[0", "profile_key: is not a JMESPath expression, near character 20"),
            ("[@,@]" + "|[@,@]" * 40, "profile_key: takes more than"),
        ],
    )
    def test_a_profile_key_that_can_never_work_is_told_in_the_log(
        self, endpoint: Endpoint, profile_key: str, reason: str
    ) -> None:
        source = {"dialect": "relay-json", "auth": "bearer", "secret": TOKEN, "profile_key": profile_key}
        endpoint.secrets["relay/sources/shop"] = source
        answer = endpoint.post({"changes": [{"identities": {"crm_id": "c"}}]})
        assert given(answer, 503)["code"] == "source_not_usable"
        [line] = [json.loads(line) for line in endpoint.log.getvalue().splitlines() if "source not usable" in line]
        assert (line["source"], line["reason"][: len(reason)]) == ("shop", reason)
        assert len(endpoint.client) == 0

    def test_a_defect_tells_nothing(self) -> None:
        endpoint = Endpoint(FakeQueueClient([RuntimeError("Ada Lovelace")]))
        answer = given(endpoint.post({"changes": [{"identities": {"crm_id": PLANTED}}]}), 500)
        assert '"error":"RuntimeError"' in endpoint.log.getvalue()
        for personal in (PLANTED, "Lovelace"):
            assert personal not in endpoint.log.getvalue() + json.dumps(answer)


def test_no_answer_and_no_log_line_holds_personal_data_or_secrets(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    change = {"identities": {"crm_id": PLANTED, "email": PLANTED}, "attributes": {PLANTED: PLANTED}}
    answers = [
        endpoint.post({"changes": [change]}),
        endpoint.post({"changes": [change, {"identities": {PLANTED: True}}]}),
        endpoint.post({"changes": [{**change, PLANTED: PLANTED, "memberships": [MEMBERSHIP]}], PLANTED: PLANTED}),
        endpoint.post({"changes": [{**change, PLANTED: PLANTED}]}),
        endpoint.post({"changes": [{**change, "at": PLANTED}]}),
        endpoint.post({"changes": [{**change, "memberships": [{"segment": PLANTED, "status": PLANTED}]}]}),
        endpoint.post({PLANTED: PLANTED}),
        endpoint.post(f'{{"changes": [{{"{PLANTED}": '),
        endpoint.post({"changes": [change]}, token=PLANTED),
        endpoint.post({"changes": [change]}, source=PLANTED),
        endpoint.post({"changes": [{**change, "attributes": {"a": PLANTED * 20_000}}]}),
    ]

    assert [answer["statusCode"] for answer in answers] == [202, 202, 202, 422, 422, 422, 422, 400, 401, 404, 413]
    written = endpoint.log.getvalue() + capsys.readouterr().out
    assert '"code":"wrong_shape"' in written
    for text in (PLANTED, TOKEN, SIGNING):
        assert all(text not in json.dumps(answer) for answer in answers)
        assert text not in written


def test_only_what_ingest_needs_is_imported() -> None:
    unwanted = (
        "requests",
        "relay.workers",
        "relay.reconcile",
        "relay.destinations.activecampaign",
        "relay.destinations.gainsight_px",
        "relay.files.members",
        *(f"relay.sources.{module}'" for module in ("adobe_http", "mapped", "mixpanel", "mparticle", "relay_json")),
    )
    program = (
        "import sys, functions.ingest.app; from relay.sources.dialects import DIALECTS; DIALECTS['segment'];"
        "print([name for name in sys.modules if name.startswith(('requests', 'relay.'))])"
    )

    run = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'layers/relay'}"},
    )

    assert "relay.settings" in run.stdout
    assert "'relay.sources.segment'" in run.stdout
    assert not [name for name in unwanted if f"'{name}" in run.stdout]
    assert "relay.destinations.calling" not in run.stdout
