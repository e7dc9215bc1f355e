"""Settings are refused before they are written, with all that is wrong at once, in the words of the running stack."""

from __future__ import annotations

from typing import Any

import pytest

from relay.destinations import registry
from relay.destinations.contract import Finding, Level
from relay.domain.exports import Connection
from relay.domain.problems import Busy, ConnectionProblem
from relay.settings.settings import Settings
from relay.workers.operators.validating import Validate, Validated, Validator
from tests.fakes.bench import CONNECTION, LAPSED, TOOL, VIP, Bench
from tests.fakes.clock import FakeClock
from tests.fakes.secrets import FakeParameters, FakeSecrets

SOURCE = {"dialect": "relay-json", "auth": "bearer", "secret": "a-long-token", "profile_key": "identities.crm"}
ACCOUNT = {
    "destination": "activecampaign",
    "display_name": "Newsletter",
    "privacy_consent": "I agree",
    "api_host": "example.api-us1.com",
    "api_key": "k3y",
}
EXPORT: dict[str, Any] = {
    "state": "active",
    "segments": [VIP],
    "mapping": {"email": "attributes.email"},
    "options": {"list_id": "7"},
}


def validate(kind: str, name: str, document: dict[str, Any]) -> Validated:
    secrets = FakeSecrets()
    secrets["relay/connections/newsletter"] = ACCOUNT
    settings = Settings("relay", secrets=secrets, ssm=FakeParameters(), clock=FakeClock())
    stack = Bench().stack
    parts = stack.accounts, stack.ownership, stack.clock
    validator = Validator(stack.database, settings, registry.load, *parts)
    return validator.validate(Validate(kind=kind, name=name, document=document))  # type: ignore[arg-type]


def test_an_export_of_an_unknown_connection_is_told_with_the_nearest_name() -> None:
    secrets = FakeSecrets()
    settings = Settings("relay", secrets=secrets, ssm=FakeParameters(), clock=FakeClock())
    stack = Bench().stack
    parts = stack.accounts, stack.ownership, stack.clock, lambda: [CONNECTION]
    validator = Validator(stack.database, settings, registry.load, *parts)
    [error] = validator.validate(Validate(kind="export", name="leters/main", document=EXPORT)).errors
    assert (error.field, error.near) == ("connection", CONNECTION)
    assert error.what == "there is no connection leters; the nearest is letters"


def test_what_must_be_a_number_says_so() -> None:
    [error] = validate("export", "newsletter/vip", {**EXPORT, "options": {"list_id": "seven"}}).errors
    assert (error.field, error.what) == ("options.list_id", "must be a number as the vendor shows it, such as 7")


def told(answer: Validated) -> list[tuple[str, str | None]]:
    return [(error.field, error.near) for error in answer.errors]


@pytest.mark.parametrize(
    ("kind", "name", "document"),
    [("source", "crm", SOURCE), ("connection", "newsletter", ACCOUNT), ("export", "newsletter/vip", EXPORT)],
)
def test_what_can_be_written_has_no_errors(kind: str, name: str, document: dict[str, Any]) -> None:
    assert validate(kind, name, document) == Validated(errors=[], warnings=[])


@pytest.mark.parametrize(
    ("kind", "name", "document", "expected"),
    [
        ("source", "crm", {**SOURCE, "auth": "none", "dialekt": "x"}, [("auth", None), ("dialekt", "dialect")]),
        ("source", "crm", {**SOURCE, "profile_key": ["identities.crm"]}, [("profile_key", None)]),
        ("source", "CRM", SOURCE, [("name", None)]),
        (
            "connection",
            "newsletter",
            {"destination": "activecampain", "api_key": "k"},
            [("display_name", None), ("privacy_consent", None), ("destination", "activecampaign")],
        ),
        (
            "connection",
            "newsletter",
            {**ACCOUNT, "privacy_consent": "yes", "api_host": "ftp://x", "api_kay": "k"},
            [("privacy_consent", None), ("api_host", None), ("api_kay", "api_key")],
        ),
        ("connection", "newsletter", {**ACCOUNT, "api_key": 7}, [("api_key", None)]),
        (
            "export",
            "newsletter/vip",
            {"state": "on", "segments": ["vip"], "mapping": {"emial": "attributes.email"}, "options": {"list": "7"}},
            [
                ("state", None),
                ("segments", None),
                ("mapping.email", None),
                ("mapping.emial", "email"),
                ("options.list_id", None),
                ("options.list", "list_id"),
            ],
        ),
        ("export", "newsletter/vip", {**EXPORT, "segmets": []}, [("segmets", "segments")]),
        ("export", "newsletter.vip", EXPORT, [("export", None)]),
        ("export", "nobody/vip", EXPORT, [("connection", None)]),
    ],
)
def test_all_that_is_wrong_is_told_at_once_with_the_nearest_names(
    kind: str, name: str, document: dict[str, Any], expected: list[tuple[str, str | None]]
) -> None:
    answer = validate(kind, name, document)
    assert told(answer) == expected
    for error in answer.errors:
        assert error.what
        for word in ("pydantic", "Value error", "Input should", "Field required", "jmespath", "str_type"):
            assert word not in error.what


def test_a_dot_where_a_slash_belongs_gets_a_hint() -> None:
    assert "slash" in validate("export", "newsletter.vip", EXPORT).errors[0].what


def test_no_value_of_a_secret_is_repeated() -> None:
    document = {**ACCOUNT, "api_key": "two words", "s3cret-value-as-key": "x", "api_host": "s3cret host"}
    text = validate("connection", "newsletter", document).model_dump_json()
    for value in ("two words", "s3cret-value-as-key", "s3cret host"):
        assert value not in text


# Looks.


@pytest.fixture
def bench() -> Bench:
    bench = Bench(streams=False)
    bench.store(2, email="2@x.example", name="Kim")
    return bench


def looked(bench: Bench, kind: str = "export", name: str = f"{CONNECTION}/new", **document: Any) -> Any:
    fresh = {"state": "active", "segments": [VIP], "mapping": {"email": "attributes.email"}}
    given = {**fresh, **document} if kind == "export" else document
    return bench.ask("validate", kind=kind, name=name, document=given, looks=True)


def test_a_segment_that_was_never_seen_is_refused_with_the_nearest(bench: Bench) -> None:
    [error] = looked(bench, segments=[VIP, "shop/vpi"])["errors"]
    assert (error["field"], error["near"]) == ("segments", VIP)
    assert "segments never seen: shop/vpi" in error["what"]
    [error] = looked(bench, segments=[LAPSED])["errors"]
    assert LAPSED in error["what"]


def test_a_mapping_that_finds_nothing_is_refused_with_what_is_there(bench: Bench) -> None:
    [error] = looked(bench, mapping={"email": "attributes.emial"})["errors"]
    assert error["field"] == "mapping"
    assert "did you mean email?" in error["what"]


@pytest.mark.parametrize("text", ["attributes.name == 'Kim'", "attributes.name == 'Tom'"])
def test_whoever_may_only_look_learns_no_value_by_expressions(bench: Bench, text: str) -> None:
    """Given an expression that asks for a value, Then the answer is the same whether or not somebody has it."""
    assert looked(bench, only_if=text) == {"errors": [], "warnings": []}
    mapped = {"email": f"{text} && attributes.email || attributes.nosuch"}
    [error] = looked(bench, mapping=mapped)["warnings"]
    assert error["what"].endswith("there is no nosuch in attributes. There are email, name")


def test_what_the_account_does_not_have_is_refused(bench: Bench) -> None:
    bench.tool.findings = [
        Finding(f"{CONNECTION}/new", Level.ERROR, "list 99 is not there"),
        Finding("limit", Level.WARNING, "there is room for 3 more"),
    ]
    answer = looked(bench)
    assert [(error["field"], error["what"]) for error in answer["errors"]] == [("options", "list 99 is not there")]
    assert [warning["what"] for warning in answer["warnings"]] == ["there is room for 3 more"]


@pytest.mark.parametrize("problem", [ConnectionProblem("not_authorised", "refuses the key"), Busy("pace", "no slot")])
def test_an_account_that_does_not_answer_is_a_warning(bench: Bench, problem: Exception) -> None:
    bench.tool.probe_script = [problem]
    answer = looked(bench, "connection", CONNECTION, destination=TOOL, display_name="x", privacy_consent="I agree")
    assert answer["errors"] == []
    assert "not looked at" in answer["warnings"][0]["what"]


def test_what_an_account_asks_for_does_not_slow_down_the_connection_of_that_name(bench: Bench) -> None:
    """Given credentials that somebody tries under the name of a connection, Then they are called under another one."""
    opened: list[str] = []
    before = bench.stack.caller

    def caller(connection: Connection) -> Any:
        opened.append(connection.name)
        return before(connection)

    bench.stack.caller = caller
    looked(bench, "connection", CONNECTION, destination=TOOL, display_name="x", privacy_consent="I agree")
    assert opened
    assert CONNECTION not in opened


def test_a_schedule_is_checked_with_its_time_zone_and_the_length_of_its_name(bench: Bench) -> None:
    given = {"expression": "cron(0 4 * * *)", "timezone": "Europe/Berln"}
    answer = bench.ask("validate", kind="schedule", name=f"{CONNECTION}/{'x' * 60}", document=given)
    assert [error["field"] for error in answer["errors"]] == ["timezone", "expression", "name"]
    good = {"expression": "cron(0 4 * * ? *)", "timezone": "Europe/Berlin"}
    assert bench.ask("validate", kind="schedule", name=f"{CONNECTION}/main", document=good)["errors"] == []


def test_a_list_that_belongs_to_another_export_is_refused(bench: Bench) -> None:
    bench.stack.ownership.own(bench.export)
    assert any("belongs to export main" in error["what"] for error in looked(bench)["errors"])
    [error] = looked(bench, options={"else": "x", "list_id": VIP})["errors"]
    assert (error["field"], error["what"][:17]) == ("options.list_id", "segment shop/vip ")


def test_a_check_says_the_same_words_of_what_was_edited_in_the_console_instead(bench: Bench) -> None:
    [beforehand] = looked(bench, name=f"{CONNECTION}/main", segments=["shop/vpi"])["errors"]
    bench.edit(segments=("shop/vpi",))
    found = bench.ask("check", connection=CONNECTION)["findings"]
    assert beforehand["what"] in [one["message"] for one in found]
    assert "segments never seen: shop/vpi" in bench.ask("run", export=f"{CONNECTION}/main")["reason"]
