"""`make smoke-gainsight-px` over the sandbox: what it says of subscriptions that behave in different ways."""

from __future__ import annotations

from typing import Any

import pytest

from sandboxes.gainsight_px import create_app
from sandboxes.gainsight_px.settings import GainsightPxConfig
from tests.unit.live.runs import SANDBOX, Outcome, World

TESTER = "tester@example.com/é 1"
LOG_IN = {
    "GAINSIGHT_PX_REGION": "eu",
    "GAINSIGHT_PX_USERNAME": "sandbox@example.com",
    "GAINSIGHT_PX_PASSWORD": "sandbox-password",
    "GAINSIGHT_PX_CLIENT_ID": "sandbox-subscription",
    "GAINSIGHT_PX_CLIENT_SECRET": "sandbox-client-secret",
    "GAINSIGHT_PX_TOKEN_URL": f"{SANDBOX}/oauth/token",
}
BY_KEY = {"GAINSIGHT_PX_REGION": "us", "GAINSIGHT_PX_API_KEY": "sandbox-api-key"}
REFERENCE = "segmentId as PX's id, or as our external id"
UNKNOWN = "an id that no user has, put in and taken out"


def world(**settings: Any) -> World:
    made = World(create_app, GainsightPxConfig(**settings))
    made.sandbox.post("/_sandbox/users", json={"identifyId": TESTER})
    return made


def run(account: World, variables: dict[str, str] = LOG_IN, **more: str) -> Outcome:
    return account.run("gainsight-px", {"IDENTIFY_ID": TESTER, **variables, **more})


def members(account: World) -> list[str]:
    return [member for segment in account.state()["segments"] for member in segment["members"]]


@pytest.mark.parametrize("variables", [LOG_IN, BY_KEY], ids=["log-in", "key"])
def test_every_line_fits_the_default_sandbox_and_nobody_stays_in_the_segment(variables: dict[str, str]) -> None:
    account = world()

    outcome = run(account, variables)

    assert outcome.not_fitting() == {}
    assert outcome.status == 0
    (segment,) = account.state()["segments"]
    assert (segment["name"], segment["members"]) == ("relay smoke test", [])
    assert outcome.shown["left_over"] == [
        'external segment "relay smoke test" (external id relay/smoke-test): no call to delete one is documented'
    ]


def test_a_second_run_uses_the_same_segment() -> None:
    account = world()

    outcomes = [run(account), run(account)]

    assert [outcome.status for outcome in outcomes] == [0, 0]
    assert len(account.state()["segments"]) == 1


def test_the_token_is_described_and_fetched_once() -> None:
    lines = run(world(token_lifetime=3600.0)).lines()

    assert lines["the token"]["seen"].endswith("type Bearer, for 3600 s")
    assert lines["the token is used again"]["seen"].startswith("1 token for ")


@pytest.mark.parametrize("as_json", [True, False])
def test_the_output_holds_no_secret_and_no_id(as_json: bool) -> None:
    account = world()

    outcome = account.run("gainsight-px", {"IDENTIFY_ID": TESTER, **LOG_IN}, as_json=as_json)

    kept_back = [*(LOG_IN[name] for name in LOG_IN if name != "GAINSIGHT_PX_REGION"), TESTER, "@example.com"]
    assert [text for text in kept_back if text in outcome.output] == []
    assert outcome.status == 0


def test_it_says_what_cannot_be_undone_before_it_asks() -> None:
    account = world()
    asked: list[int] = []

    def ask(question: str) -> str:
        asked.append(len(account.state()["segments"]))
        return "no"

    outcome = account.run("gainsight-px", {"IDENTIFY_ID": TESTER, **LOG_IN, "YES": ""}, as_json=False, ask=ask)

    assert (outcome.status, asked, account.state()["segments"]) == (2, [0], [])
    assert "It cannot be undone: PX documents no call that deletes an external segment." in outcome.output


def test_a_subscription_that_wants_our_id_is_told_and_the_user_still_leaves() -> None:
    account = world(segment_ref="external_id")

    outcome = run(account)

    assert "set segment_ref to external_id" in outcome.not_fitting()[REFERENCE]
    assert (outcome.status, members(account)) == (1, [])
    assert outcome.lines()["the given user taken out again"]["fits"] == "yes"


def test_a_refusal_of_unknown_ids_fits_as_well() -> None:
    account = world(unknown_users="reject")

    outcome = run(account)

    assert outcome.lines()[UNKNOWN]["seen"].startswith("in: 400, ")
    assert (outcome.status, outcome.not_fitting()) == (0, {})


def test_a_given_user_whom_px_does_not_know_is_told() -> None:
    outcome = run(world(), IDENTIFY_ID="nobody at all")

    assert list(outcome.not_fitting()) == ["the given user"]
    assert outcome.status == 1


@pytest.mark.parametrize("feature", ["403", "404", "html"])
def test_a_feature_that_is_off_is_told(feature: str) -> None:
    outcome = run(world(feature=feature))

    assert outcome.status == 1
    assert outcome.lines()["reading the subscription (permission Read)"]["fits"] == "yes"
    assert outcome.lines()["an update of nobody's membership"]["fits"] == "no"
    assert outcome.shown["left_over"] == []


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({**LOG_IN, "IDENTIFY_ID": " "}, "IDENTIFY_ID is missing"),
        ({**LOG_IN, "GAINSIGHT_PX_PASSWORD": "not-the-password"}, "invalid_grant"),
        ({**BY_KEY, "GAINSIGHT_PX_API_KEY": "not-the-key"}, "not_authorised"),
        ({**LOG_IN, "GAINSIGHT_PX_REGION": "mars"}, "region"),
    ],
)
def test_what_cannot_work_ends_before_anything_is_written(variables: dict[str, str], reason: str) -> None:
    account = world()

    outcome = run(account, variables)

    assert outcome.status == 2
    assert reason in outcome.shown["problem"]
    assert "not-the-" not in outcome.output
    assert account.state()["segments"] == []
