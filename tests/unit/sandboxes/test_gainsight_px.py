import base64
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from sandboxes.gainsight_px import create_app
from sandboxes.gainsight_px.settings import GainsightPxConfig

from .conftest import Clock

KEY = {"X-APTRINSIC-API-KEY": "px-key"}
FORM = {
    "grant_type": "password",
    "username": "ops@example.com",
    "password": "pw",
    "client_id": "sub-1",
    "client_secret": "cs",
}
MEMBERSHIP = "/v1/external_segment/update_membership"


class Px:
    """One sandbox and short ways to call it."""

    def __init__(self, clock: Clock, time_scale: float = 1, **settings: Any) -> None:
        account: dict[str, Any] = {
            "username": "ops@example.com",
            "password": "pw",
            "client_id": "sub-1",
            "client_secret": "cs",
        }
        config = GainsightPxConfig(api_key="px-key", **account, **settings)
        app = create_app(config, clock, clock.sleep, time_scale)
        self.client: FlaskClient = app.test_client()

    def token(self, **changes: str | None) -> TestResponse:
        form = {name: value for name, value in (FORM | changes).items() if value is not None}
        return self.client.post("/oauth/token", data=form)

    def segment(self, external_id: str = "src/vip", **query: str) -> str:
        body = {"externalId": external_id, "name": "VIP"}
        answer = self.client.post("/v1/external_segment/metadata", json=body, headers=KEY, query_string=query)
        return str(answer.get_json()["id"])

    def tell(self, segment: str, add: list[str] = [], remove: list[str] = [], at: str = "2026-03-01T10:00:00Z") -> int:  # noqa: B006
        body = {
            "identityType": "IDENTIFY_ID",
            "add": [{"segmentId": segment, "lastQualificationTime": at, "identities": add}] if add else [],
            "remove": [{"segmentId": segment, "lastQualificationTime": at, "identities": remove}] if remove else [],
        }
        return self.client.post(MEMBERSHIP, json=body, headers=KEY).status_code

    def shown(self) -> dict[str, Any]:
        state: dict[str, Any] = self.client.get("/_sandbox/state").get_json()
        return state

    def counters(self) -> dict[str, Any]:
        counters: dict[str, Any] = self.client.get("/_sandbox/counters").get_json()
        return counters


@pytest.fixture
def px(clock: Clock) -> Px:
    return Px(clock)


def test_the_password_grant_gives_a_token_that_runs_out(clock: Clock) -> None:
    px = Px(clock, token_lifetime=600, time_scale=60)
    answer = px.token()
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.get_json()["expires_in"] == 600
    bearer = {"Authorization": f"Bearer {answer.get_json()['access_token']}"}
    clock.advance(599)
    assert px.client.get("/v1/admin/subscription", headers=bearer).get_json()["id"] == "sub-1"
    clock.advance(1)
    assert px.client.get("/v1/admin/subscription", headers=bearer).status_code == 401
    assert px.counters()["token_fetches"] == 1
    assert px.counters()["write_calls"] == 0


def test_revoked_tokens_stop_working(px: Px) -> None:
    bearer = {"Authorization": f"Bearer {px.token().get_json()['access_token']}"}
    assert px.client.delete("/_sandbox/tokens").get_json() == {"revoked": 1}
    assert px.client.get("/v1/admin/subscription", headers=bearer).status_code == 401


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"password": "wrong"}, 400, "invalid_grant"),
        ({"username": "else@example.com"}, 400, "invalid_grant"),
        ({"username": None}, 400, "invalid_request"),
        ({"client_id": "sub-2"}, 401, "invalid_client"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
        ({"grant_type": None}, 400, "invalid_request"),
    ],
)
def test_the_token_call_refuses(px: Px, changes: dict[str, str | None], status: int, error: str) -> None:
    answer = px.token(**changes)
    assert (answer.status_code, answer.get_json()) == (status, {"error": error})
    assert px.counters()["token_refusals"] == 1


def test_the_token_call_takes_forms_only_and_basic_credentials(px: Px) -> None:
    assert px.client.post("/oauth/token", json=FORM).get_json() == {"error": "invalid_request"}
    form = {name: FORM[name] for name in ("grant_type", "username", "password")}
    basic = {"Authorization": "Basic " + base64.b64encode(b"sub-1:cs").decode()}
    assert px.client.post("/oauth/token", data=form, headers=basic).status_code == 200
    broken = {"Authorization": "Basic %%%"}
    assert px.client.post("/oauth/token", data=form, headers=broken).status_code == 401


def test_a_call_without_credentials_is_refused_in_the_vendors_envelope(px: Px) -> None:
    answer = px.client.get("/v1/admin/subscription")
    error = answer.get_json()["externalapierror"]
    assert (answer.status_code, error["status"]) == (401, "UNAUTHORIZED")
    assert "Authentication failed in loginAwareAuthentication" in error["message"]


def test_the_second_limit_gives_429_without_retry_after(clock: Clock) -> None:
    px = Px(clock, requests_per_second=2)
    statuses = [px.client.get("/v1/users", headers=KEY).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = px.client.get("/v1/users", headers=KEY)
    assert "Retry-After" not in refused.headers
    assert refused.get_json()["externalapierror"]["message"] == "Rate limit exceeded"
    clock.advance(1.01)
    assert px.client.get("/v1/users", headers=KEY).status_code == 200
    assert px.counters()["quotas"]["requests_per_second"]["most_seen"] == 4
    assert px.counters()["limit_violations"] == 2


def test_the_daily_limit_holds_until_the_next_day(clock: Clock) -> None:
    px = Px(clock, requests_per_day=1, time_scale=86_400)
    assert px.client.get("/v1/users", headers=KEY).status_code == 200
    clock.advance(0.5)
    assert px.client.get("/v1/users", headers=KEY).status_code == 429
    clock.advance(0.5)
    assert px.client.get("/v1/users", headers=KEY).status_code == 200


def test_creating_a_segment_again_returns_the_first_one(px: Px) -> None:
    first = px.segment()
    assert px.segment() == first
    body = {"externalId": "src/vip", "name": "Renamed"}
    again = px.client.post("/v1/external_segment/metadata?failIfExists=true", json=body, headers=KEY)
    assert again.status_code == 400
    assert "possible duplicate" in again.get_json()["externalapierror"]["message"]
    assert [segment["name"] for segment in px.shown()["segments"]] == ["VIP"]


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": 7}, [], {"name": "x", "description": 1}])
def test_segment_metadata_is_checked(px: Px, body: Any) -> None:
    assert px.client.post("/v1/external_segment/metadata", json=body, headers=KEY).status_code == 400


def test_a_flag_that_is_neither_true_nor_false_is_refused(px: Px) -> None:
    answer = px.client.post("/v1/external_segment/metadata?failIfExists=1", json={"name": "x"}, headers=KEY)
    assert answer.status_code == 400


def test_a_segment_is_renamed_by_id_or_external_id(px: Px) -> None:
    segment = px.segment()
    other = px.segment("src/other")

    def put(**body: str) -> tuple[int, Any]:
        answer = px.client.put("/v1/external_segment/metadata", json=body, headers=KEY)
        return answer.status_code, answer.get_json().get("name")

    assert put(id=segment, name="Loyal") == (200, "Loyal")
    assert put(externalId="src/vip", description="d") == (200, "Loyal")
    assert put(id="unknown", name="x")[0] == 404
    assert put(name="x")[0] == 400
    assert put(id=other, externalId="src/vip")[0] == 400


def test_membership_is_a_set_with_the_last_time_told(px: Px) -> None:
    segment = px.segment()
    assert px.tell(segment, add=["user-1", "user-2"]) == 200
    assert px.tell(segment, add=["user-1"], remove=["user-2"], at="2026-03-02T10:00:00.123456Z") == 200
    shown = px.shown()["segments"][0]
    assert shown["members"] == ["user-1"]
    assert shown["times"]["user-2"] == "2026-03-02T10:00:00.123456+00:00"
    assert px.counters()["identities_told"] == 4
    assert px.counters()["times_backwards"] == 0


def test_an_accepted_membership_request_has_no_body(px: Px) -> None:
    answer = px.client.post(MEMBERSHIP, json={"add": [], "remove": []}, headers=KEY)
    assert (answer.status_code, answer.data, answer.mimetype) == (200, b"", None)
    assert px.counters()["writes"] == 1


def test_times_that_go_backwards_are_counted_and_the_last_call_wins(px: Px) -> None:
    segment = px.segment()
    px.tell(segment, add=["user-1"], at="2026-03-02T00:00:00Z")
    assert px.tell(segment, remove=["user-1"], at="2026-03-01T00:00:00Z") == 200
    assert px.counters()["times_backwards"] == 1
    assert px.shown()["segments"][0]["members"] == []


GOOD = {"lastQualificationTime": "2026-03-01T10:00:00Z", "identities": ["user-1"]}


@pytest.mark.parametrize(
    "change",
    [
        {"add": None},
        {"remove": "none"},
        {"identityType": "EMAIL"},
        {"identityType": "GLOBAL_ID"},
        {"add": ["user-1"]},
        {"add": [{**GOOD, "segmentId": ""}]},
        {"add": [{**GOOD, "segmentId": "unknown"}]},
        {"add": [{**GOOD, "lastQualificationTime": None}]},
        {"add": [{**GOOD, "lastQualificationTime": "yesterday"}]},
        {"add": [{**GOOD, "lastQualificationTime": "2026-03-01T10:00:00"}]},
        {"add": [{**GOOD, "identities": []}]},
        {"add": [{**GOOD, "identities": [7]}]},
        {"add": [{**GOOD, "identities": "user-1"}]},
        {"add": [GOOD], "remove": [GOOD]},
        {"add": [GOOD], "remove": [{**GOOD, "segmentId": "unknown"}]},
    ],
)
def test_a_bad_membership_request_changes_nothing(px: Px, change: dict[str, Any]) -> None:
    segment = px.segment()
    body: dict[str, Any] = {"identityType": "IDENTIFY_ID", "add": [], "remove": [], **change}
    for direction in ("add", "remove"):
        if isinstance(body[direction], list):
            body[direction] = [
                {"segmentId": segment, **action} if isinstance(action, dict) else action for action in body[direction]
            ]
    body = {name: value for name, value in body.items() if value is not None}
    answer = px.client.post(MEMBERSHIP, json=body, headers=KEY)
    assert (answer.status_code, answer.get_json()["externalapierror"]["status"]) == (400, "BAD_REQUEST")
    assert px.shown()["segments"][0]["times"] == {}


def test_a_body_that_is_no_json_is_refused(px: Px) -> None:
    assert px.client.post(MEMBERSHIP, data="add=user-1", headers=KEY).status_code == 400


@pytest.mark.parametrize(
    ("segment_ref", "by_id", "by_external_id"),
    [("id", 200, 400), ("external_id", 400, 200), ("either", 200, 200)],
)
def test_a_segment_is_known_by_the_configured_reference(
    clock: Clock, segment_ref: str, by_id: int, by_external_id: int
) -> None:
    px = Px(clock, segment_ref=segment_ref)
    segment = px.segment()
    assert px.tell(segment, add=["user-1"]) == by_id
    assert px.tell("src/vip", add=["user-1"]) == by_external_id


@pytest.mark.parametrize("status", [413, 400])
def test_too_many_identities_are_refused(clock: Clock, status: int) -> None:
    px = Px(clock, max_identities=2, oversize_status=status)
    segment = px.segment()
    assert px.tell(segment, add=["a", "b"], remove=["c"]) == status
    assert px.tell(segment, add=["a"], remove=["c"]) == 200


def test_unknown_users_can_be_refused(clock: Clock) -> None:
    px = Px(clock, unknown_users="reject")
    segment = px.segment()
    px.client.post("/_sandbox/users", json={"users": [{"identifyId": "user-1"}]})
    assert px.tell(segment, add=["user-1", "user-2"]) == 400
    assert px.tell(segment, add=["user-1"]) == 200
    assert px.shown()["segments"][0]["members"] == ["user-1"]


@pytest.mark.parametrize(
    ("feature", "status", "kind"),
    [("403", 403, "application/json"), ("404", 404, "application/json"), ("html", 403, "text/html")],
)
def test_a_subscription_without_external_segments(clock: Clock, feature: str, status: int, kind: str) -> None:
    px = Px(clock, feature=feature)
    answer = px.client.post(MEMBERSHIP, json={"add": [], "remove": []}, headers=KEY)
    assert (answer.status_code, answer.mimetype) == (status, kind)
    assert px.client.get("/v1/admin/subscription", headers=KEY).status_code == 200


def test_users_are_created_once_and_read_by_their_exact_id(px: Px) -> None:
    user = {"identifyId": "user/1 a", "propertyKeys": ["AP-SANDBOX0001-2"], "email": "Ann@example.com"}
    assert px.client.post("/v1/users", json=user, headers=KEY).status_code == 201
    assert px.client.post("/v1/users", json=user, headers=KEY).status_code == 400
    assert px.client.post("/v1/users", json={"identifyId": "x"}, headers=KEY).status_code == 400
    assert px.client.post("/v1/users", json={"propertyKeys": ["p"]}, headers=KEY).status_code == 400
    assert px.client.get("/v1/users/user%2F1%20a", headers=KEY).get_json()["id"] == "user/1 a"
    missing = px.client.get("/v1/users/USER%2F1%20a", headers=KEY)
    assert (missing.status_code, missing.get_json()["externalapierror"]["status"]) == (404, "NOT_FOUND")


def test_updating_a_user_touches_only_what_is_given(px: Px) -> None:
    planted = {"identifyId": "user-1", "email": "ann@example.com", "customAttributes": {"plan": "pro"}}
    px.client.post("/_sandbox/users", json=planted)
    change = {"identifyId": "user-1", "customAttributes": {"vip": True}, "numberOfVisits": 9}
    answer = px.client.put("/v1/users/update", json=change, headers=KEY)
    assert (answer.status_code, answer.data) == (204, b"")
    user = px.shown()["users"][0]
    assert user["customAttributes"] == {"plan": "pro", "vip": True}
    assert (user["email"], user.get("numberOfVisits")) == ("ann@example.com", None)
    unknown = px.client.put("/v1/users/update", json={"identifyId": "nobody"}, headers=KEY)
    assert unknown.status_code == 404
    assert px.client.put("/v1/users/update", data="x", headers=KEY).status_code == 400


def test_users_are_listed_in_pages_and_filtered(px: Px) -> None:
    users = [{"identifyId": f"user-{n}", "customAttributes": {"plan": "Pro" if n else "free"}} for n in range(3)]
    px.client.post("/_sandbox/users", json={"users": users})

    def listing(query: str) -> Any:
        return px.client.get(f"/v1/users?{query}", headers=KEY)

    first = listing("pageSize=2").get_json()
    rest = listing(f"pageSize=2&scrollId={first['scrollId']}").get_json()
    assert [user["id"] for user in first["users"] + rest["users"]] == ["user-0", "user-1", "user-2"]
    assert first["totalHits"] == 3
    found = listing("filter=customAttributes.plan==pro;identifyId==USER-2").get_json()
    assert [user["id"] for user in found["users"]] == ["user-2"]
    refused = ("pageSize=1001", "pageSize=0", "pageSize=x", "scrollId=abc", "filter=plan!=pro")
    assert {listing(query).status_code for query in refused} == {400}


def test_attributes_are_described(clock: Clock) -> None:
    px = Px(clock, attributes={"vip": "BOOLEAN"})
    (attribute,) = px.client.get("/v1/admin/model/user/attributes", headers=KEY).get_json()
    assert (attribute["apiName"], attribute["type"], attribute["state"]) == ("vip", "BOOLEAN", "ENABLED")


@pytest.mark.parametrize("body", [[], {"users": "x"}, {"email": "ann@example.com"}, {"users": ["x"]}])
def test_planting_nonsense_is_refused(px: Px, body: Any) -> None:
    assert px.client.post("/_sandbox/users", json=body).status_code == 400


def test_attributes_have_states_and_origins(px: Px) -> None:
    settings = {"attributes": {"vip": "BOOLEAN DISABLED", "email": "STRING ENABLED DEFAULT"}}
    assert px.client.post("/_sandbox/settings", json=settings).status_code == 200
    shown = px.client.get("/v1/admin/model/user/attributes", headers=KEY).get_json()
    assert [(one["apiName"], one["type"], one["state"], one["origin"]) for one in shown] == [
        ("email", "STRING", "ENABLED", "DEFAULT"),
        ("vip", "BOOLEAN", "DISABLED", "CUSTOM"),
    ]
    assert px.client.post("/_sandbox/settings", json={"attributes": ["vip"]}).status_code == 400


def test_values_no_attribute_can_take_are_counted(clock: Clock) -> None:
    px = Px(clock, attributes={"vip": "BOOLEAN", "plan": "STRING", "old": "BOOLEAN DISABLED"})
    px.client.post("/_sandbox/users", json={"identifyId": "user-1"})

    def put(**values: Any) -> int:
        change = {"identifyId": "user-1", "customAttributes": values}
        assert px.client.put("/v1/users/update", json=change, headers=KEY).status_code == 204
        unfit: int = px.counters()["unfit_values"]
        return unfit

    assert put(vip=True, plan="pro") == 0
    assert put(vip="true") == 1
    assert put(plan=False, old=True, unheard_of=True) == 4


def test_several_products_show_several_keys(clock: Clock) -> None:
    px = Px(clock, product_keys=("AP-ONE-2", "AP-TWO-2"))
    shown = px.client.get("/v1/admin/subscription", headers=KEY).get_json()
    assert [key["productKey"] for one in shown["products"] for key in one["productKeys"]] == ["AP-ONE-2", "AP-TWO-2"]
    assert px.client.post("/_sandbox/settings", json={"product_keys": "AP-ONE-2"}).status_code == 400


def test_a_key_that_may_only_read(clock: Clock) -> None:
    px = Px(clock, permission="read")
    assert px.client.get("/v1/admin/subscription", headers=KEY).status_code == 200
    assert px.client.put("/v1/users/update", json={}, headers=KEY).status_code == 401
    assert px.client.post(MEMBERSHIP, json={"add": [], "remove": []}, headers=KEY).status_code == 401


@pytest.mark.parametrize("shows_as", ["400", "404"])
def test_a_segment_can_be_deleted_by_hand(clock: Clock, shows_as: str) -> None:
    px = Px(clock, deleted_segment=shows_as)
    segment = px.segment("src/vip")
    assert px.client.delete("/_sandbox/segments/src/vip").status_code == 200
    assert px.client.delete("/_sandbox/segments/src/vip").status_code == 400
    assert px.tell(segment, add=["user-1"]) == int(shows_as)
    assert px.segment("src/vip") != segment


def test_renaming_can_be_refused(clock: Clock) -> None:
    px = Px(clock, renames="refused")
    texts = {"id": px.segment(), "name": "VIP", "description": "new"}
    put = px.client.put
    assert put("/v1/external_segment/metadata", json=texts, headers=KEY).status_code == 200
    assert put("/v1/external_segment/metadata", json={**texts, "name": "Loyal"}, headers=KEY).status_code == 400
    assert px.shown()["segments"][0]["name"] == "VIP"
