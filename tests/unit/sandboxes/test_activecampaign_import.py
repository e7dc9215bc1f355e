"""The bulk import: quotas, validation, asynchronous processing and what it refuses."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from sandboxes.activecampaign import create_app
from sandboxes.activecampaign.rows import is_email
from sandboxes.activecampaign.settings import ActiveCampaignConfig

from .conftest import Clock

TOKEN = {"Api-Token": "ac-key"}
PATH = "/api/3/import/bulk_import"


class Importer:
    """One sandbox and short ways to import into it."""

    def __init__(self, clock: Clock, time_scale: float = 1, **settings: Any) -> None:
        defaults: dict[str, Any] = {
            "lists": {7: "Newsletter", 8: "Events"},
            "fields": {1: "text", 2: "date"},
            "requests_per_second": 1000,
        }
        config = ActiveCampaignConfig(api_key="ac-key", **{**defaults, **settings})
        app = create_app(config, clock, time_scale=time_scale)
        self.client: FlaskClient = app.test_client()
        self.clock = clock

    def post(self, *contacts: Any) -> Any:
        return self.client.post(PATH, json={"contacts": list(contacts)}, headers=TOKEN)

    def queue(self, *contacts: Any) -> str:
        return str(self.post(*contacts).get_json()["batchId"])

    def info(self, batch_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/api/3/import/info?batchId={batch_id}", headers=TOKEN)
        page: dict[str, Any] = answer.get_json()
        return page

    def run(self, *contacts: Any) -> dict[str, Any]:
        batch_id = self.queue(*contacts)
        self.clock.advance(6)
        return self.info(batch_id)

    def plant(self, email: str, **more: Any) -> None:
        self.client.post("/_sandbox/contacts", json={"email": email, **more})

    def contacts(self) -> dict[str, dict[str, Any]]:
        state = self.client.get("/_sandbox/state").get_json()
        return {contact["email"]: contact for contact in state["contacts"]}


@pytest.fixture
def importer(clock: Clock) -> Importer:
    return Importer(clock)


def row(email: str, *subscribe: Any, **more: Any) -> dict[str, Any]:
    return {"email": email, "subscribe": [{"listid": number} for number in subscribe], **more}


def test_an_import_is_queued_and_carried_out_later(importer: Importer) -> None:
    answer = importer.post(row("ann@example.com", 7), row("bob@example.com", "8"))
    body = answer.get_json()
    assert answer.status_code == 200
    assert {key: body[key] for key in ("Success", "queued_contacts", "message")} == {
        "Success": 1,
        "queued_contacts": 2,
        "message": "Contact import queued",
    }
    seen = []
    for wait in (0.5, 0.6, 1.4, 2, 1.6):
        importer.clock.advance(wait)
        seen.append(importer.info(body["batchId"])["status"])
    assert seen == [False, "waiting", "claimed", "active", "completed"]
    assert importer.info(body["batchId"]) == {"status": "completed", "success": ["1", "2"], "failure": []}
    standing = importer.contacts()["ann@example.com"]["lists"]["7"]
    assert (standing["status"], standing["by"]) == (1, "import")


def test_nothing_is_applied_before_the_import_is_done(importer: Importer) -> None:
    batch_id = importer.queue(row("ann@example.com", 7))
    importer.clock.advance(5.9)
    assert importer.info(batch_id) == {"status": "active", "success": [], "failure": []}
    assert importer.contacts() == {}


def test_time_scale_speeds_processing_up(clock: Clock) -> None:
    importer = Importer(clock, time_scale=60)
    batch_id = importer.queue(row("ann@example.com", 7))
    clock.advance(0.11)
    assert importer.info(batch_id)["status"] == "completed"


def test_rows_update_what_they_name_and_leave_the_rest(importer: Importer) -> None:
    importer.plant("Ann@example.com", firstName="Ann", lastName="Lee", fields={"1": "red"}, tags=["old"])
    fields = [{"id": 2, "value": "2026-01-31"}, {"id": 99, "value": "no such field"}]
    info = importer.run({"email": "ann@example.com", "last_name": "Ray", "fields": fields, "tags": ["new"]})
    assert info["success"] == ["1"]
    contact = importer.contacts()["Ann@example.com"]
    assert (contact["firstName"], contact["lastName"]) == ("Ann", "Ray")
    assert contact["fields"] == {"1": "red", "2": "2026-01-31"}
    assert contact["tags"] == ["new", "old"]


def test_keys_in_camel_case_are_dropped_silently(importer: Importer) -> None:
    importer.run({"email": "ann@example.com", "firstName": "Ann"})
    assert importer.contacts()["ann@example.com"]["firstName"] == ""


def test_success_can_name_created_contacts_only(clock: Clock) -> None:
    importer = Importer(clock, success_lists="created")
    importer.plant("ann@example.com")
    assert importer.run(row("ann@example.com", 7), row("bob@example.com", 7))["success"] == ["2"]


@pytest.mark.parametrize("status", [2, 3])
def test_someone_who_left_or_bounced_is_not_subscribed_again(importer: Importer, status: int) -> None:
    importer.plant("ann@example.com", lists={"7": status})
    info = importer.run(row("ann@example.com", 7, first_name="Ann"), row("bob@example.com", 7))
    assert info["failure"] == ["ann@example.com"]
    contact = importer.contacts()["ann@example.com"]
    assert (contact["lists"]["7"]["status"], contact["lists"]["7"]["by"]) == (status, "hand")
    assert contact["firstName"] == ""
    assert importer.run(row("ann@example.com", 8))["failure"] == []


def test_leaving_through_an_import_bars_the_way_back_too(importer: Importer) -> None:
    importer.run(row("ann@example.com", 7))
    importer.run({"email": "ann@example.com", "unsubscribe": [{"listid": 7}]})
    standing = importer.contacts()["ann@example.com"]["lists"]["7"]
    assert (standing["status"], standing["by"]) == (2, "import")
    assert importer.run(row("ann@example.com", 7))["failure"] == ["ann@example.com"]


@pytest.mark.parametrize("mark", ["excluded", "bounced"])
def test_a_blocked_address_fails(importer: Importer, mark: str) -> None:
    importer.plant("ann@example.com", **{mark: True})
    assert importer.run(row("Ann@example.com", 7))["failure"] == ["Ann@example.com"]


@pytest.mark.parametrize(
    ("excluded_at", "queued", "failure"),
    [("both", 1, ["ann@example.com"]), ("queue", 1, []), ("import", 2, ["ann@example.com"])],
)
def test_excluded_addresses_are_left_out_of_the_count_or_named_or_both(
    clock: Clock, excluded_at: str, queued: int, failure: list[str]
) -> None:
    importer = Importer(clock, excluded_at=excluded_at, excluded=frozenset({"ann@example.com"}))
    answer = importer.post(row("ann@example.com", 7), row("bob@example.com", 7)).get_json()
    assert answer["queued_contacts"] == queued
    clock.advance(6)
    assert importer.info(answer["batchId"]) == {"status": "completed", "success": ["1"], "failure": failure}


@pytest.mark.parametrize(("what", "failure"), [("subscribes", []), ("refuses", ["ann@example.com"])])
def test_one_who_was_removed_without_objecting(clock: Clock, what: str, failure: list[str]) -> None:
    importer = Importer(clock, removed_in_import=what)
    importer.plant("ann@example.com", lists={"7": 91})
    assert importer.run(row("ann@example.com", 7))["failure"] == failure
    assert importer.contacts()["ann@example.com"]["lists"]["7"]["status"] == (91 if failure else 1)


@pytest.mark.parametrize(
    ("heeded_at", "started"), [("payload", [2, 0, 2, 0]), ("contact", [2, 2, 0, 0]), ("either", [2, 0, 0, 0])]
)
def test_automations_start_unless_they_are_excluded_where_the_account_looks(
    clock: Clock, heeded_at: str, started: list[int]
) -> None:
    found = []
    for payload, contact in ((False, False), (True, False), (False, True), (True, True)):
        importer = Importer(clock, exclude_automations_at=heeded_at)
        rows = [{**row(email, 7), "exclude_automations": contact} for email in ("ann@example.com", "bob@example.com")]
        body = {"contacts": rows, "exclude_automations": payload}
        assert importer.client.post(PATH, json=body, headers=TOKEN).status_code == 200
        clock.advance(6)
        found.append(importer.client.get("/_sandbox/counters").get_json()["automations_started"])
    assert found == started


def test_imports_can_count_among_the_requests_of_a_second(clock: Clock) -> None:
    importer = Importer(clock, imports_count=True, requests_per_second=1)
    assert importer.post(row("ann@example.com", 7)).status_code == 200
    assert importer.post(row("bob@example.com", 7)).status_code == 429


def test_contacts_over_the_limit_fail_but_active_ones_do_not(clock: Clock) -> None:
    importer = Importer(clock, contact_limit=1)
    info = importer.run(row("ann@example.com", 7), row("bob@example.com", 7), row("ann@example.com", 8))
    assert (info["success"], info["failure"]) == (["1", "1"], ["bob@example.com"])
    importer.run({"email": "ann@example.com", "unsubscribe": [{"listid": 7}, {"listid": 8}]})
    assert importer.run(row("bob@example.com", 7))["failure"] == []


def test_a_row_for_a_list_that_does_not_exist_fails(importer: Importer) -> None:
    assert importer.run(row("ann@example.com", 99))["failure"] == ["ann@example.com"]


@pytest.mark.parametrize(
    ("outcome", "status", "success", "held"),
    [
        ({"status": "failed"}, "failed", [], 0),
        ({"status": "interrupted"}, "interrupted", ["1"], 1),
        ({"unreported": ["Ann@example.com"]}, "completed", ["2"], 2),
    ],
)
def test_an_import_can_end_badly(
    importer: Importer, outcome: dict[str, Any], status: str, success: list[str], held: int
) -> None:
    importer.client.post("/_sandbox/import_outcomes", json=[outcome])
    info = importer.run(row("ann@example.com", 7), row("bob@example.com", 7))
    assert info == {"status": status, "success": success, "failure": []}
    assert len(importer.contacts()) == held
    assert importer.run(row("cy@example.com", 7))["status"] == "completed"


def test_an_import_that_takes_longer_ends_after_one_that_was_queued_later(importer: Importer) -> None:
    importer.client.post("/_sandbox/import_outcomes", json=[{"seconds": 600}])
    importer.queue(row("ann@example.com", 7, first_name="old"))
    importer.queue(row("ann@example.com", 7, first_name="new"))
    held = []
    for pause in (6, 593, 1):
        importer.clock.advance(pause)
        page = importer.client.get(PATH, headers=TOKEN).get_json()
        held.append((importer.contacts()["ann@example.com"]["firstName"], bool(page["outstanding"])))
    assert held == [("new", True), ("new", True), ("old", False)]


@pytest.mark.parametrize(
    "outcomes", [{}, ["failed"], [{"status": "lost"}], [{"unreported": "x"}], [{"ends": 1}], [{"seconds": "1"}]]
)
def test_import_outcomes_are_checked(importer: Importer, outcomes: Any) -> None:
    assert importer.client.post("/_sandbox/import_outcomes", json=outcomes).status_code == 400


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("ann@example.com", "not an object"),
        ({"first_name": "Ann"}, "'email' not found"),
        ({"email": "ann@localhost"}, "'email' incorrect format"),
        ({"email": ["ann@example.com"]}, "'email' incorrect format"),
        (row("ann@example.com", phone=4930), "'phone'"),
        (row("ann@example.com", fields={"1": "x"}), "'fields'"),
        (row("ann@example.com", fields=["x"]), "'fields'"),
        (row("ann@example.com", fields=[{"id": "1", "value": "x"}]), "'fields.id'"),
        (row("ann@example.com", fields=[{"id": 1, "value": 5}]), "'fields.value'"),
        (row("ann@example.com", tags="VIP"), "'tags'"),
        (row("ann@example.com", tags=[""]), "'tags'"),
        (row("ann@example.com", "seven"), "'subscribe.listid'"),
        ({"email": "ann@example.com", "unsubscribe": 7}, "'unsubscribe'"),
    ],
)
def test_one_bad_row_refuses_the_whole_import(importer: Importer, bad: Any, reason: str) -> None:
    answer = importer.post(row("bob@example.com", 7), bad)
    (failure,) = answer.get_json()["failureReasons"]
    assert (answer.status_code, answer.get_json()["success"], failure["contact"]) == (400, 0, 2)
    assert reason in failure["failureReason"]
    assert importer.client.get("/_sandbox/counters").get_json()["imports"] == 0


def test_every_bad_row_is_named(importer: Importer) -> None:
    answer = importer.post({}, row("bob@example.com", 7), {"email": "x"})
    assert [failure["contact"] for failure in answer.get_json()["failureReasons"]] == [1, 3]


@pytest.mark.parametrize("body", ["nonsense", "[]", "{}", '{"contacts": []}', '{"contacts": "x"}'])
def test_a_request_without_contacts_is_refused_with_texts(importer: Importer, body: str) -> None:
    answer = importer.client.post(PATH, data=body, headers=TOKEN)
    assert answer.status_code == 400
    assert isinstance(answer.get_json()["failureReasons"][0], str)


def test_an_import_holds_at_most_250_contacts(importer: Importer) -> None:
    rows = [row(f"user{number}@example.com", 7) for number in range(251)]
    assert importer.post(*rows).status_code == 400
    assert importer.post(*rows[:250]).get_json()["queued_contacts"] == 250


@pytest.mark.parametrize("status", [413, 400])
def test_a_body_of_400_000_bytes_is_too_large(clock: Clock, status: int) -> None:
    importer = Importer(clock, oversize_status=status)
    body = json.dumps({"contacts": [row("ann@example.com", 7)]})
    fitting = importer.client.post(PATH, data=body.ljust(399_999), headers=TOKEN)
    too_large = importer.client.post(PATH, data=body.ljust(400_000), headers=TOKEN)
    assert (fitting.status_code, too_large.status_code) == (200, status)


def test_imports_have_their_own_quotas_and_answer_400(importer: Importer) -> None:
    pair = (row("ann@example.com", 7), row("bob@example.com", 7))
    assert {importer.post(*pair).status_code for _ in range(100)} == {200}
    refused = importer.post(*pair)
    assert (refused.status_code, refused.get_json()["message"]) == (400, "Rate limit exceeded.")
    assert isinstance(refused.get_json()["failureReasons"][0], str)
    assert {importer.post(pair[0]).status_code for _ in range(20)} == {200}
    assert importer.post(pair[0]).status_code == 400
    quotas = importer.client.get("/_sandbox/counters").get_json()["quotas"]
    assert quotas["imports_per_minute"]["most_seen"] == 101
    assert quotas["single_imports_per_minute"]["violations"] == 1
    assert quotas["requests_per_second"]["most_seen"] == 0
    importer.clock.advance(60)
    assert importer.post(*pair).status_code == 200


def test_the_status_call_wants_an_id_and_shrugs_at_an_unknown_one(importer: Importer) -> None:
    answer = importer.client.get("/api/3/import/info", headers=TOKEN)
    assert (answer.status_code, answer.get_json()["success"]) == (400, 0)
    assert importer.info("unknown") == {"status": False, "success": [], "failure": []}


def test_the_overview_counts_imports_by_day(importer: Importer) -> None:
    importer.queue(row("ann@example.com", 7))
    importer.clock.advance(6)
    importer.queue(row("ann@example.com", 7), row("bob@example.com", 7))
    page = importer.client.get(PATH, headers=TOKEN).get_json()
    assert [(day["batches"], day["contacts"]) for day in page["outstanding"]] == [("1", "2")]
    assert [(day["batches"], day["contacts"]) for day in page["recentlyCompleted"]] == [("1", "1")]
    importer.clock.advance(8 * 86_400)
    assert importer.client.get(PATH, headers=TOKEN).get_json() == {"outstanding": [], "recentlyCompleted": []}


@pytest.mark.parametrize("address", ["a@example.com", "o'neil+x@mail.example.co", "ü@example.com"])
def test_good_addresses(address: str) -> None:
    assert is_email(address)


@pytest.mark.parametrize(
    "address",
    ["", "a", "@example.com", "a@example", "a@example.c", "a@.com", "a b@example.com", "a@b@example.com", "a;@x.com"],
)
def test_bad_addresses(address: str) -> None:
    assert not is_email(address)
