"""The control API, the same for both sandboxes, tried on one of them."""

import pytest
from flask.testing import FlaskClient

from sandboxes.gainsight_px import create_app
from sandboxes.gainsight_px.settings import GainsightPxConfig

from .conftest import Clock

KEY = {"X-APTRINSIC-API-KEY": "k"}
METADATA = "/v1/external_segment/metadata"


@pytest.fixture
def client(clock: Clock) -> FlaskClient:
    return create_app(GainsightPxConfig(api_key="k"), clock, clock.sleep).test_client()


def create(client: FlaskClient, name: str = "Ready to buy") -> int:
    return client.post(METADATA, json={"name": name}, headers=KEY).status_code


def counters(client: FlaskClient) -> dict[str, object]:
    answer: dict[str, object] = client.get("/_sandbox/counters").get_json()
    return answer


def test_counters_tell_calls_by_operation_and_status(client: FlaskClient) -> None:
    assert create(client) == 200
    assert client.post(METADATA, json={}, headers=KEY).status_code == 400
    assert client.get("/v1/nothing", headers=KEY).status_code == 404
    shown = counters(client)
    assert shown["calls"] == 3
    assert shown["operation_statuses"] == {
        f"POST {METADATA}": {"200": 1, "400": 1},
        "GET (no such path)": {"404": 1},
    }
    assert shown["statuses"] == {"200": 1, "400": 1, "404": 1}
    assert (shown["write_calls"], shown["writes"]) == (2, 1)


def test_a_scripted_status_is_answered_without_processing(client: FlaskClient) -> None:
    do = {"status": 429, "headers": {"Retry-After": "3"}, "body": {"error": "slow down"}}
    client.post("/_sandbox/faults", json=[{"match": {"path": METADATA}, "do": do}])
    answer = client.post(METADATA, json={"name": "x"}, headers=KEY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert answer.get_json() == {"error": "slow down"}
    assert client.get("/_sandbox/state").get_json()["segments"] == []
    assert create(client) == 200
    shown = counters(client)
    assert shown["injected"] == {"status_429": 1}
    assert (shown["write_calls"], shown["writes"], shown["limit_violations"]) == (2, 1, 0)


def test_a_scripted_success_counts_as_no_write(client: FlaskClient) -> None:
    client.post("/_sandbox/faults", json={"do": {"status": 200, "body": "ok"}})
    assert client.post(METADATA, json={"name": "x"}, headers=KEY).text == "ok"
    assert counters(client)["writes"] == 0


def test_a_scripted_log_in_page_looks_like_success(client: FlaskClient) -> None:
    client.post("/_sandbox/faults", json={"do": {"html": True}})
    answer = client.post(METADATA, json={"name": "x"}, headers=KEY)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert counters(client)["writes"] == 0


def test_a_delay_is_slept_and_the_request_processed(client: FlaskClient, clock: Clock) -> None:
    client.post("/_sandbox/faults", json={"do": {"delay": 2.5}})
    assert create(client) == 200
    assert clock.slept == [2.5]
    assert counters(client)["injected"] == {"delay": 1}


@pytest.mark.parametrize(("when", "created"), [("before", 0), ("after", 1)])
def test_a_dropped_connection_gives_no_answer(client: FlaskClient, when: str, created: int) -> None:
    client.post("/_sandbox/faults", json={"do": {"drop": when}})
    with pytest.raises(ConnectionError):
        create(client)
    assert len(client.get("/_sandbox/state").get_json()["segments"]) == created
    shown = counters(client)
    assert shown["statuses"] == {"dropped": 1}
    assert (shown["write_calls"], shown["writes"]) == (1, created)


def test_faults_can_be_seen_and_taken_back(client: FlaskClient) -> None:
    client.post("/_sandbox/faults", json={"times": None, "do": {"status": 500}})
    assert [rule["fault"] for rule in client.get("/_sandbox/faults").get_json()["waiting"]] == ["status_500"]
    client.delete("/_sandbox/faults")
    assert create(client) == 200


def test_the_control_api_is_not_faulted_and_refuses_nonsense(client: FlaskClient) -> None:
    client.post("/_sandbox/faults", json={"times": None, "do": {"status": 500}})
    assert client.post("/_sandbox/faults", json={"do": {}}).status_code == 400
    assert client.get("/_sandbox/counters").status_code == 200


def test_settings_change_while_running_and_all_or_none(client: FlaskClient) -> None:
    assert client.post("/_sandbox/settings", json={"api_key": "new", "feature": "off"}).status_code == 400
    assert client.post("/_sandbox/settings", json={"time_scale": 2}).status_code == 400
    assert client.post("/_sandbox/settings", json=[]).status_code == 400
    assert create(client) == 200
    assert client.post("/_sandbox/settings", json={"api_key": "new"}).get_json() == {"changed": ["api_key"]}
    assert create(client) == 401


def test_reset_goes_back_to_the_start(client: FlaskClient) -> None:
    create(client)
    client.post("/_sandbox/settings", json={"api_key": "new"})
    client.post("/_sandbox/faults", json={"do": {"status": 500}})
    client.post("/_sandbox/reset")
    assert counters(client)["calls"] == 0
    assert client.get("/_sandbox/state").get_json()["segments"] == []
    assert create(client) == 200


def test_the_summary_leaves_members_out(client: FlaskClient) -> None:
    create(client)
    shown = client.get("/_sandbox/state?summary=true").get_json()["segments"][0]
    assert shown["member_count"] == 0
    assert "members" not in shown
