"""Key, limits, settings pages, and the calls for one contact at a time."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from sandboxes.activecampaign import create_app
from sandboxes.activecampaign.settings import ActiveCampaignConfig

from .conftest import Clock

TOKEN = {"Api-Token": "ac-key"}


def sandbox(clock: Clock, **settings: Any) -> FlaskClient:
    defaults: dict[str, Any] = {
        "lists": {7: "Newsletter", 8: "Events"},
        "fields": {1: "text", 2: "date"},
        "requests_per_second": 1000,
    }
    return create_app(ActiveCampaignConfig(api_key="ac-key", **{**defaults, **settings}), clock).test_client()


@pytest.fixture
def client(clock: Clock) -> FlaskClient:
    return sandbox(clock)


def sync(client: FlaskClient, **contact: Any) -> Any:
    return client.post("/api/3/contact/sync", json={"contact": contact}, headers=TOKEN)


def stand(client: FlaskClient, contact: Any, list_id: Any, status: Any, **more: Any) -> Any:
    body = {"contactList": {"contact": contact, "list": list_id, "status": status, **more}}
    return client.post("/api/3/contactLists", json=body, headers=TOKEN)


def shown(client: FlaskClient, email: str) -> dict[str, Any]:
    contacts = client.get("/_sandbox/state").get_json()["contacts"]
    found: dict[str, Any] = next(contact for contact in contacts if contact["email"] == email)
    return found


@pytest.mark.parametrize(
    ("flavour", "status", "kind"),
    [("403", 403, "application/json"), ("401", 401, "application/json"), ("html", 200, "text/html")],
)
def test_a_wrong_key_is_refused_in_each_reported_way(clock: Clock, flavour: str, status: int, kind: str) -> None:
    client = sandbox(clock, wrong_key=flavour)
    for headers in ({}, {"Api-Token": "wrong"}):
        answer = client.post("/api/3/contact/sync", json={"contact": {"email": "a@example.com"}}, headers=headers)
        assert (answer.status_code, answer.mimetype) == (status, kind)
    counters = client.get("/_sandbox/counters").get_json()
    assert (counters["write_calls"], counters["writes"]) == (2, 0)


@pytest.mark.parametrize(("heeded", "found"), [(True, ["2", "1"]), (False, ["1", "2", "3"])])
def test_contacts_by_their_ids(clock: Clock, heeded: bool, found: list[str]) -> None:
    client = sandbox(clock, ids_filter=heeded)
    for name in ("ann", "bob", "cem"):
        client.post("/_sandbox/contacts", json={"email": f"{name}@example.com"})
    page = client.get("/api/3/contacts?ids[]=2&ids[]=1&ids[]=9&limit=100", headers=TOKEN).get_json()
    assert [contact["id"] for contact in page["contacts"]] == found


def test_the_right_key_names_its_user(client: FlaskClient) -> None:
    assert client.get("/api/3/users/me", headers=TOKEN).get_json()["user"]["id"] == "1"


def test_an_unpaid_account_answers_402(client: FlaskClient) -> None:
    client.post("/_sandbox/settings", json={"unpaid": True})
    assert client.get("/api/3/users/me", headers=TOKEN).status_code == 402


def test_more_than_five_requests_in_a_second_are_refused(clock: Clock) -> None:
    client = sandbox(clock, requests_per_second=5)
    answers = [client.get("/api/3/users/me", headers=TOKEN) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0"]
    assert answers[0].headers["RateLimit-Limit"] == "5"
    assert answers[5].headers["Retry-After"] == "1"
    clock.advance(1.01)
    assert client.get("/api/3/users/me", headers=TOKEN).status_code == 200
    quota = client.get("/_sandbox/counters").get_json()["quotas"]["requests_per_second"]
    assert quota == {"limit": 5, "seconds": 1, "most_seen": 6, "violations": 1}


def test_lists_come_in_pages_without_the_invisible(clock: Clock) -> None:
    client = sandbox(clock, lists={number: f"List {number}" for number in range(1, 131)}, invisible_lists={130})
    pages = [
        client.get(f"/api/3/lists{query}", headers=TOKEN).get_json()
        for query in ("", "?limit=500", "?limit=100&offset=100")
    ]
    assert [len(page["lists"]) for page in pages] == [20, 100, 29]
    assert {page["meta"]["total"] for page in pages} == {"129"}
    assert pages[0]["lists"][0]["id"] == "1"


def test_one_list_is_found_missing_or_forbidden(clock: Clock) -> None:
    client = sandbox(clock, invisible_lists={8})
    assert client.get("/api/3/lists/7", headers=TOKEN).get_json()["list"]["name"] == "Newsletter"
    missing = client.get("/api/3/lists/99", headers=TOKEN)
    assert (missing.status_code, missing.get_json()) == (404, {"message": "No Result found for _List with id 99"})
    assert client.get("/api/3/lists/x", headers=TOKEN).status_code == 404
    forbidden = client.get("/api/3/lists/8", headers=TOKEN)
    assert (forbidden.status_code, forbidden.get_json()["errors"][0]["status"]) == (403, 403)


def test_fields_show_their_types(client: FlaskClient) -> None:
    page = client.get("/api/3/fields", headers=TOKEN).get_json()
    assert [(field["id"], field["type"]) for field in page["fields"]] == [("1", "text"), ("2", "date")]
    assert page["meta"]["total"] == "2"


def test_account_settings_show_the_contact_limit_to_admins_only(client: FlaskClient) -> None:
    client.post("/_sandbox/contacts", json={"email": "ann@example.com", "lists": {"7": 1}})
    page = client.get("/api/3/settings/account", headers=TOKEN).get_json()
    assert (page["subscriber_limit"], page["subscriber_total"]) == (2_500_000, 1)
    client.post("/_sandbox/settings", json={"settings_forbidden": True})
    assert client.get("/api/3/settings/account", headers=TOKEN).status_code == 403


def test_an_unknown_path_is_answered_in_json(client: FlaskClient) -> None:
    answer = client.get("/api/3/nothing", headers=TOKEN)
    assert (answer.status_code, answer.mimetype) == (404, "application/json")


def test_sync_creates_then_updates_only_what_is_given(client: FlaskClient) -> None:
    values = [{"field": "1", "value": "blue"}, {"field": "99", "value": "ignored"}]
    created = sync(client, email="Ann@example.com", firstName="Ann", phone="+49 30 1", fieldValues=values)
    assert created.status_code == 201
    assert created.get_json()["contact"]["id"] == "1"
    updated = sync(client, email="ann@EXAMPLE.com", lastName="Lee", first_name="dropped")
    assert updated.status_code == 200
    assert shown(client, "Ann@example.com") == {
        "id": "1",
        "email": "Ann@example.com",
        "firstName": "Ann",
        "lastName": "Lee",
        "phone": "+49 30 1",
        "fields": {"1": "blue"},
        "tags": [],
        "lists": {},
    }


def test_sync_refuses_a_missing_and_a_bad_address(client: FlaskClient) -> None:
    missing = sync(client, firstName="Ann")
    assert missing.status_code == 400
    assert missing.get_json()["errors"][0]["title"] == "Bad Request"
    bad = sync(client, email="ann@localhost")
    assert (bad.status_code, bad.get_json()["errors"][0]["code"]) == (422, "email_invalid")
    assert sync(client, email="ann@example.com", fieldValues=5).status_code == 400
    assert client.post("/api/3/contact/sync", data="x", headers=TOKEN).status_code == 400


def test_contact_lists_set_a_status_and_even_resubscribe(client: FlaskClient) -> None:
    client.post("/_sandbox/contacts", json={"email": "ann@example.com", "lists": {"7": 2}})
    assert shown(client, "ann@example.com")["lists"]["7"]["by"] == "hand"
    answer = stand(client, "1", 7, 1, sourceid=4)
    assert answer.get_json()["contactList"]["status"] == 1
    standing = shown(client, "ann@example.com")["lists"]["7"]
    assert (standing["status"], standing["sourceid"], standing["by"]) == (1, 4, "api")
    listed = client.get("/api/3/contacts/1/contactLists", headers=TOKEN).get_json()["contactLists"]
    assert [(row["list"], row["status"]) for row in listed] == [("7", "1")]


def test_telling_a_status_again_changes_nothing_unless_by_hand(client: FlaskClient, clock: Clock) -> None:
    sync(client, email="ann@example.com")
    stand(client, 1, 7, 2)
    first = shown(client, "ann@example.com")["lists"]["7"]
    clock.advance(60)
    stand(client, 1, 7, 2)
    assert shown(client, "ann@example.com")["lists"]["7"] == first
    client.post("/_sandbox/contacts", json={"email": "ann@example.com", "lists": {"7": 2}})
    assert shown(client, "ann@example.com")["lists"]["7"]["by"] == "hand"


def test_contact_lists_refuse_what_does_not_exist(client: FlaskClient) -> None:
    sync(client, email="ann@example.com")
    assert stand(client, 1, 7, 3).status_code == 422
    assert stand(client, 99, 7, 1).status_code == 404
    assert stand(client, 1, 99, 1).get_json() == {"message": "No Result found for _List with id 99"}
    bare = client.post("/api/3/contactLists", json={"contactList": {"list": 7}}, headers=TOKEN)
    assert (bare.status_code, bare.get_json()) == (400, {})


def test_contacts_are_selected_by_address_list_status_and_id(client: FlaskClient) -> None:
    people = [
        {"email": "ann@example.com", "lists": {"7": 1}},
        {"email": "bob@example.com", "lists": {"7": 2}},
        {"email": "cy@example.com", "lists": {"8": 1}},
    ]
    client.post("/_sandbox/contacts", json={"contacts": people})

    def found(query: str) -> list[str]:
        page = client.get(f"/api/3/contacts?{query}", headers=TOKEN).get_json()
        return [contact["email"].partition("@")[0] for contact in page["contacts"]]

    assert found("email=BOB@example.com") == ["bob"]
    assert found("email=nobody@example.com") == []
    assert found("listid=7") == ["ann", "bob"]
    assert found("listid=7&status=2") == ["bob"]
    assert found("status=1") == ["ann", "cy"]
    assert found("limit=1&offset=1") == ["bob"]
    assert found("id_greater=1&orders[id]=ASC") == ["bob", "cy"]


def test_one_contact_shows_its_fields(client: FlaskClient) -> None:
    sync(client, email="ann@example.com", fieldValues=[{"field": 1, "value": "blue"}])
    page = client.get("/api/3/contacts/1", headers=TOKEN).get_json()
    assert (page["contact"]["email"], page["fieldValues"][0]["value"]) == ("ann@example.com", "blue")
    for path in ("/api/3/contacts/9", "/api/3/contacts/9/contactLists", "/api/3/contacts/9/contactTags"):
        assert client.get(path, headers=TOKEN).status_code == 404


def test_a_tag_is_taken_off_by_the_id_of_the_association(client: FlaskClient) -> None:
    sync(client, email="ann@example.com")
    stand(client, 1, 7, 1)

    def tag(**body: Any) -> Any:
        return client.post("/api/3/contactTags", json={"contactTag": body}, headers=TOKEN)

    created = client.post("/api/3/tags", json={"tag": {"tag": "VIP", "tagType": "contact"}}, headers=TOKEN)
    assert (created.status_code, created.get_json()["tag"]["id"]) == (201, "1")
    assert client.post("/api/3/tags", json={"tag": {"tag": "vip"}}, headers=TOKEN).status_code == 422
    assert client.post("/api/3/tags", json={"tag": {}}, headers=TOKEN).status_code == 422
    assert client.get("/api/3/tags?search=vi", headers=TOKEN).get_json()["meta"]["total"] == "1"
    first, again = tag(contact=1, tag="1"), tag(contact="1", tag=1)
    assert (first.status_code, again.status_code) == (201, 200)
    association = first.get_json()["contactTag"]["id"]
    assert association != "1"
    assert shown(client, "ann@example.com")["tags"] == ["VIP"]
    listed = client.get("/api/3/contacts/1/contactTags", headers=TOKEN).get_json()["contactTags"]
    assert [row["id"] for row in listed] == [association]
    assert client.delete("/api/3/contactTags/1", headers=TOKEN).status_code == 404
    gone = client.delete(f"/api/3/contactTags/{association}", headers=TOKEN)
    assert (gone.status_code, gone.get_json()) == (200, {})
    assert shown(client, "ann@example.com")["tags"] == []
    assert tag(contact=9, tag=1).get_json()["errors"][0]["detail"] == "Contact not found"
    assert tag(contact=1, tag=9).status_code == 404
    assert tag(tag=1).get_json()["errors"][0]["source"]["pointer"] == "/data/attributes/contact"


def test_planted_contacts_carry_everything(client: FlaskClient) -> None:
    planted = {
        "email": "ann@example.com",
        "firstName": "Ann",
        "fields": {"2": "2026-01-31"},
        "tags": ["VIP"],
        "lists": {"7": 3},
        "excluded": True,
        "bounced": True,
    }
    (contact,) = client.post("/_sandbox/contacts", json=planted).get_json()["contacts"]
    assert (contact["fields"], contact["tags"], contact["lists"]["7"]["status"]) == ({"2": "2026-01-31"}, ["VIP"], 3)
    state = client.get("/_sandbox/state").get_json()
    assert (state["excluded"], state["bounced"]) == (["ann@example.com"], ["ann@example.com"])


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"contacts": "x"},
        {"contacts": ["x"]},
        {},
        {"email": "ann"},
        {"email": "ann@example.com", "lists": {"99": 1}},
        {"email": "ann@example.com", "lists": {"7": "gone"}},
        {"email": "ann@example.com", "lists": [7]},
        {"email": "ann@example.com", "tags": "VIP"},
        {"email": "ann@example.com", "name": "Ann"},
    ],
)
def test_planting_nonsense_is_refused(client: FlaskClient, body: Any) -> None:
    assert client.post("/_sandbox/contacts", json=body).status_code == 400


def test_a_deleted_contact_comes_back_as_a_new_one(client: FlaskClient) -> None:
    client.post("/_sandbox/contacts", json={"email": "ann@example.com", "lists": {"7": 1}})
    assert client.delete("/_sandbox/contacts/ANN@example.com").get_json() == {"deleted": True}
    assert client.delete("/_sandbox/contacts/ann@example.com").get_json() == {"deleted": False}
    assert client.get("/_sandbox/state?summary=true").get_json()["active_contacts"] == 0
    assert sync(client, email="ann@example.com").get_json()["contact"]["id"] == "2"
