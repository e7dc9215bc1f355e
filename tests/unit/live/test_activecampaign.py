"""`make smoke-activecampaign` over the sandbox: what it says of accounts that behave in different ways."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.live.activecampaign.closing import counting_of_imports
from local.live.live_account import Exchange
from local.live.report import Fits
from relay.destinations.contract import Reply
from sandboxes.activecampaign import create_app
from sandboxes.activecampaign.settings import ActiveCampaignConfig
from tests.unit.live.runs import Outcome, World

KEY = "s3cret-key-of-ours"
VARIABLES = {
    "ACTIVECAMPAIGN_API_HOST": "acme.api-us1.com",
    "ACTIVECAMPAIGN_API_KEY": KEY,
    "LIST": "12",
    "EMAIL_DOMAIN": "example.com",
}
LIST_NAME = "Throw away"


def world(**settings: Any) -> World:
    given = {"api_key": KEY, "lists": {12: LIST_NAME, 13: "Newsletter"}, "fields": {3: "text", 4: "date"}, **settings}
    return World(create_app, ActiveCampaignConfig(**given))


def run(account: World, **variables: str) -> Outcome:
    return account.run("activecampaign", {**VARIABLES, **variables})


def fault(account: World, do: dict[str, Any], *, times: int | None = 1, after: int = 0, **match: str) -> None:
    answer = account.sandbox.post("/_sandbox/faults", json=[{"match": match, "times": times, "after": after, "do": do}])
    assert answer.status_code == 200, answer.get_data(as_text=True)


def writes(account: World) -> int:
    return int(account.counters()["writes"])


def test_every_line_fits_the_default_sandbox_and_nothing_is_left() -> None:
    account = world()

    outcome = run(account, FIELD="3")

    assert outcome.not_fitting() == {}
    assert outcome.status == 0
    assert (len(outcome.lines()), outcome.shown["left_over"]) == (27, [])
    state = account.state()
    assert (state["contacts"], state["tags"]) == ([], {})
    assert account.counters()["limit_violations"] == 0


def test_without_a_field_only_that_line_is_missing() -> None:
    outcome = run(world())

    assert (outcome.status, outcome.not_fitting(), len(outcome.lines())) == (0, {}, 26)


def test_the_output_holds_no_key_and_only_addresses_of_its_own() -> None:
    account = world()

    shown = account.run("activecampaign", {**VARIABLES, "FIELD": "3"}, as_json=False)
    as_given = run(account).output

    assert shown.status == 0
    for output in (shown.output, as_given):
        assert KEY not in output
        assert all(found.startswith("relay-smoke-") for found in re.findall(r"[\w.-]+@+[\w.-]+", output))
    assert "All 27 lines fit our reading." in shown.output
    assert LIST_NAME in shown.output


@pytest.mark.parametrize(
    ("flavour", "seen"),
    [("403", "403, JSON with message"), ("401", "401, JSON with message"), ("html", "200, an HTML page")],
)
def test_the_answer_to_a_made_up_key_is_told_as_seen(flavour: str, seen: str) -> None:
    account = world(wrong_key=flavour)

    outcome = run(account)

    assert outcome.lines()["the answer to a made-up key"]["seen"] == seen
    assert outcome.status == 0
    assert [
        request.headers["Api-Token"] for request in account.adapter.requests if KEY not in request.headers["Api-Token"]
    ] == ["relay-smoke-made-up-key"]


def test_success_that_names_created_contacts_only_is_told() -> None:
    seen = run(world(success_lists="created")).lines()["`success` of an import of contacts that are there already"]

    assert seen["seen"].startswith("completed, 0 of 3 in success")
    assert seen["fits"] == "yes"


def test_statuses_on_the_way_and_the_time_are_told() -> None:
    seen = run(world(processing_seconds=40.0)).lines()["how the import ended"]["seen"]

    assert "seen: false, waiting, claimed, active, completed" in seen
    assert 40 <= int(re.findall(r"after (\d+) s", seen)[0]) <= 60


def test_hidden_account_settings_fit() -> None:
    outcome = run(world(settings_forbidden=True))

    assert outcome.lines()["settings/account"]["seen"] == "403, JSON with message"
    assert outcome.status == 0


def test_an_import_that_never_ends_is_told_and_may_leave_contacts() -> None:
    outcome = run(world(processing_seconds=100_000.0))

    assert outcome.status == 1
    assert outcome.lines()["how the import ended"]["fits"] == "no"
    assert any("an import that had not ended" in text for text in outcome.shown["left_over"])


def test_rows_counted_from_nought_do_not_fit() -> None:
    account = world()
    body = {"success": 0, "message": "no", "failureReasons": [{"contact": 2, "failureReason": "Field 'email'"}]}
    fault(account, {"status": 400, "body": body}, path="/api/3/import/bulk_import", contains="-bad@@")

    outcome = run(account)

    assert list(outcome.not_fitting()) == ["a malformed address in the third of four rows"]
    assert "rows named: 2" in outcome.not_fitting()["a malformed address in the third of four rows"]
    assert outcome.status == 1


def test_a_refused_call_is_a_line_and_the_rest_goes_on() -> None:
    account = world()
    fault(account, {"status": 500}, times=None, path="/api/3/contact/sync")

    outcome = run(account)

    assert "unavailable" in outcome.not_fitting()["single contacts"]
    assert outcome.lines()["the status of an unknown batchId"]["fits"] == "yes"
    assert (outcome.status, account.state()["contacts"]) == (1, [])


def test_an_answer_in_another_shape_is_a_line() -> None:
    account = world()
    body = {"contactList": {"list": "12", "status": {"is": 1}}, "contacts": [3]}
    fault(account, {"status": 200, "body": body}, times=None, path="/api/3/contactLists")

    outcome = run(account)

    assert (outcome.status, account.state()["contacts"]) == (1, [])
    assert "subscribing again whom we unsubscribed" in outcome.not_fitting()


def test_being_slowed_down_is_waited_out_and_told() -> None:
    account = world()
    fault(account, {"status": 429, "headers": {"Retry-After": "7"}}, after=30, path="/api/3/")

    outcome = run(account)

    assert outcome.not_fitting() == {"calls refused with 429": "1"}
    assert 7.0 in account.clock.slept
    assert outcome.status == 1


def test_contacts_that_cannot_be_deleted_are_named() -> None:
    account = world()
    fault(account, {"status": 403}, method="DELETE", path="^/api/3/contacts/1$")

    outcome = run(account)

    (left,) = outcome.shown["left_over"]
    assert re.fullmatch(r"contact relay-smoke-\w+-1@example.com \(403\)", left)
    assert outcome.not_fitting() == {"deleting the contacts": "13 x 200, 1 x 403; then on the list: 1"}


def test_an_interrupted_run_deletes_what_it_made() -> None:
    account = world(processing_seconds=30.0)
    waited = account.clock.sleep

    def interrupted(seconds: float) -> None:
        waited(seconds)
        # The first import is queued, and none of its contacts is there yet.
        if account.counters()["imports"]:
            account.clock.sleep = waited  # type: ignore[method-assign]
            raise KeyboardInterrupt

    account.clock.sleep = interrupted  # type: ignore[method-assign]
    outcome = run(account)

    assert outcome.status == 2
    assert outcome.shown["problem"] == "interrupted"
    assert (account.counters()["imports"], account.state()["contacts"]) == (1, [])
    assert account.counters()["imported_contacts"] == 12
    assert outcome.shown["left_over"] == []


def test_a_list_with_contacts_is_refused() -> None:
    account = world()
    account.sandbox.post("/_sandbox/contacts", json={"email": "ann@example.com", "lists": {"12": 2}})

    outcome = run(account)

    assert (outcome.status, writes(account)) == (2, 0)
    assert "has contacts already" in outcome.shown["problem"]
    assert "ann@" not in outcome.output


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"LIST": "99"}, "there is no list 99"),
        ({"LIST": ""}, "LIST is missing"),
        ({"LIST": "12; true"}, "LIST cannot be"),
        ({"EMAIL_DOMAIN": "ann@example.com"}, "EMAIL_DOMAIN cannot be"),
        ({"FIELD": "4"}, "is of type date"),
        ({"FIELD": "5"}, "there is no custom field 5"),
        ({"ACTIVECAMPAIGN_API_KEY": "another-key"}, "not_authorised"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(variables: dict[str, str], reason: str) -> None:
    account = world()

    outcome = run(account, **variables)

    assert outcome.status == 2
    assert reason in outcome.shown["problem"]
    assert writes(account) == 0
    assert "another-key" not in outcome.output
    assert "ann@" not in outcome.output


def test_it_begins_only_when_the_lists_name_is_typed() -> None:
    account = world()
    questions: list[str] = []

    def answer(text: str) -> Outcome:
        def ask(question: str) -> str:
            questions.append(question)
            return text

        return account.run("activecampaign", {**VARIABLES, "YES": ""}, ask=ask)

    refused = answer("Newsletter\n")
    assert (refused.status, writes(account)) == (2, 0)
    assert answer(f"{LIST_NAME}\n").status == 0
    assert questions == [f'Type "{LIST_NAME}" to begin: '] * 2


def exchange(method: str, path: str, at: float, remaining: int | None, *, hurried: bool) -> Exchange:
    headers = {} if remaining is None else {"ratelimit-remaining": str(remaining)}
    sent = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=at)
    return Exchange(method, path, Reply(200, headers, {}, 2), sent, sent + timedelta(seconds=0.3), hurried, {})


@pytest.mark.parametrize(
    ("behind", "at", "fits"),
    [
        (4, 10.4, Fits.YES),
        (3, 10.4, Fits.NO),
        (2, 10.4, Fits.UNCLEAR),
        # By then the import may have left the window again.
        (4, 10.9, Fits.UNCLEAR),
        (None, 10.4, Fits.UNCLEAR),
    ],
)
def test_imports_are_counted_by_what_is_left_right_behind_one(behind: int | None, at: float, fits: Fits) -> None:
    alone = [exchange("GET", "/users/me", second, 4, hurried=False) for second in range(3)]
    after_import = [
        exchange("POST", "/import/bulk_import", 10.0, None, hurried=True),
        exchange("GET", "/import/info", at, behind, hurried=True),
    ]

    assert counting_of_imports([*alone, *after_import])[1] is fits
