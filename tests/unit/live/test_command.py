"""Where a smoke test gets its connection from, and how the command ends when it cannot begin."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from local.live.command import run
from local.live.report import Fits, Report
from sandboxes.activecampaign import create_app
from sandboxes.activecampaign.settings import ActiveCampaignConfig
from tests.fakes.secrets import FakeSecrets
from tests.unit.live.runs import Outcome, World

ROOT = Path(__file__).parents[3]
KEY = "s3cret-key-of-ours"
ASKED_FOR = {"LIST": "12", "EMAIL_DOMAIN": "example.com"}
CREDENTIALS = {"ACTIVECAMPAIGN_API_HOST": "acme.api-us1.com", "ACTIVECAMPAIGN_API_KEY": KEY}
SECRET = {
    "destination": "activecampaign",
    "display_name": "Newsletters",
    "privacy_consent": "I agree",
    "api_host": "acme.api-us1.com",
    "api_key": KEY,
}


def with_variables(variables: dict[str, str], secrets: FakeSecrets | None = None) -> Outcome:
    account = World(create_app, ActiveCampaignConfig(api_key=KEY, lists={12: "Throw away"}))
    return account.run("activecampaign", {**ASKED_FOR, **variables}, secrets=secrets)


def test_a_deployed_connection_needs_no_copy_of_its_secret() -> None:
    secrets = FakeSecrets()
    secrets["audience-relay/connections/news"] = SECRET
    secrets["blue/connections/news"] = SECRET

    outcomes = [
        with_variables({"CONNECTION": "news"}, secrets),
        with_variables({"CONNECTION": "news", "PREFIX": "blue"}, secrets),
    ]

    assert [outcome.status for outcome in outcomes] == [0, 0]
    assert secrets.reads == ["audience-relay/connections/news", "blue/connections/news"]
    assert all(KEY not in outcome.output for outcome in outcomes)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, "no credentials"),
        ({"ACTIVECAMPAIGN_API_KEY": KEY}, "api_host: is missing"),
        ({"CONNECTION": "other"}, "unknown_connection"),
        ({"CONNECTION": "pixels"}, "is one of gainsight_px"),
        ({"CONNECTION": "unwilling"}, "no_consent"),
        ({"CONNECTION": "news", **CREDENTIALS}, "not both"),
        ({**CREDENTIALS, "SANDBOX": "http://example.com"}, "SANDBOX must be"),
        ({**CREDENTIALS, "SANDBOX": "https://127.0.0.1"}, "SANDBOX must be"),
        ({**CREDENTIALS, "MAKEFLAGS": f" -- LIST=12 ACTIVECAMPAIGN_API_KEY={KEY}"}, "not on the command line"),
    ],
)
def test_unusable_settings_end_it_with_their_reason(variables: dict[str, str], reason: str) -> None:
    secrets = FakeSecrets()
    secrets["audience-relay/connections/news"] = SECRET
    secrets["audience-relay/connections/unwilling"] = {**SECRET, "privacy_consent": "no"}
    secrets["audience-relay/connections/pixels"] = {
        **{name: SECRET[name] for name in ("display_name", "privacy_consent")},
        "destination": "gainsight_px",
        "region": "eu",
        "api_key": KEY,
    }

    outcome = with_variables(variables, secrets)

    assert outcome.status == 2
    assert reason in outcome.shown["problem"]
    assert KEY not in outcome.output


def test_nobody_who_could_answer_ends_it() -> None:
    def nobody(question: str) -> str:
        raise EOFError

    account = World(create_app, ActiveCampaignConfig(api_key=KEY, lists={12: "Throw away"}))

    outcome = account.run("activecampaign", {**ASKED_FOR, **CREDENTIALS, "YES": ""}, ask=nobody)

    assert outcome.status == 2
    assert "YES=1" in outcome.shown["problem"]


@pytest.mark.parametrize("name", ["activecampaign", "gainsight-px"])
def test_the_command_ends_with_2_when_it_cannot_begin(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "local.live", name],
        cwd=ROOT,
        env={"PYTHONPATH": "layers/relay:."},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (2, "")
    assert "Could not run: no credentials" in ended.stdout


def test_make_knows_both_commands() -> None:
    makefile = (ROOT / "Makefile").read_text()

    assert all(f"\nsmoke-{name}:" in makefile for name in ("activecampaign", "gainsight-px"))


def test_json_can_be_asked_for_by_a_variable() -> None:
    out = io.StringIO()

    assert run("activecampaign", {"JSON": "1"}, out) == 2
    assert Outcome(2, out.getvalue()).shown["destination"] == "activecampaign"


def test_a_report_strikes_out_secrets_and_addresses_whatever_is_said() -> None:
    out = io.StringIO()
    report = Report("activecampaign", out, as_json=False, hidden=[KEY])

    report.line("answer", "-", f"{KEY} of Ann <ann.o'hara+1@example.com>, relay-smoke-1@example.com", Fits.YES)
    report.keeps("contact bob@example.com")
    report.end()

    assert KEY not in out.getvalue()
    assert "hara" not in out.getvalue()
    assert "bob@" not in out.getvalue()
    assert "relay-smoke-1@example.com" in out.getvalue()
