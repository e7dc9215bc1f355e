"""Any other JSON, by expressions of the source's secret."""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from relay.domain.problems import SettingsProblem
from relay.problem_details import Refusal
from relay.settings.sources import source_of
from relay.sources.mapped import read
from relay.sources.mapping import FIELDS
from relay.sources.reading import Reading
from tests.webhooks import json_values

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEEDED = {"dialect": "mapped", "auth": "bearer", "secret": "token-1", "profile_key": "identities.crm"}
PLAIN = {"identities": "{crm: id, email: emails}", "segment": "audience", "in": "member"}


def reading(body: Any, **mapping: str) -> Reading:
    return read(json.dumps(body).encode(), source_of("any", {**NEEDED, **mapping}), NOW)


def held(found: Reading) -> list[tuple[str, bool]]:
    return [(m.segment, m.realized) for one in found.profiles for m in one.memberships]


PAGE = (Path(__file__).parents[3] / "docs/sources/mapped.md").read_text(encoding="utf-8")


def recipe(platform: str) -> dict[str, str]:
    """Return the expressions of a recipe, as its page has them."""
    [section] = [one for one in PAGE.split("\n## ") if one.startswith(platform)]
    found: dict[str, str] = {}
    for line in section.splitlines():
        if line.startswith("| `") and not line.startswith("| `secret`"):
            keys, values = line.removeprefix("|").replace("\\|", "\0").split("|")[:2]
            named = dict(zip(re.findall("`(.+?)`", keys), re.findall("`(.+?)`", values), strict=True))
            found |= {key: value.replace("\0", "|") for key, value in named.items() if key in FIELDS}
    return found


SALESFORCE, POSTHOG, POWER_AUTOMATE = recipe("Salesforce"), recipe("PostHog"), recipe("Power Automate")


@pytest.mark.parametrize("as_text", [False, True])
def test_the_recipe_for_data_actions_of_salesforce(as_text: bool) -> None:
    def event(prompt: str, now: Any, before: Any) -> dict[str, Any]:
        written = [json.dumps(one) if as_text else one for one in (now, before)]
        return {
            "EventPrompt": prompt,
            "EventPublishDateTime": "2026-02-11T08:15:30.000Z",
            "Offset": f"o-{prompt}",
            "PayloadCurrentValue": written[0],
            "PayloadPrevValue": written[1],
        }

    row = {"ContactId__c": "003A", "Segment__c": "vip", "Email__c": "kim@x.example"}
    found = reading({"count": 2, "events": [event("INSERT", row, {}), event("DELETE", {}, row)]}, **SALESFORCE)
    assert held(found) == [("any/vip", True), ("any/vip", False)]
    assert [one.identities for one in found.profiles] == [{"crm": ["003A"]}] * 2
    assert [one.webhook_id for one in found.profiles] == ["o-INSERT", "o-DELETE"]
    assert [one.attributes for one in found.profiles] == [{"email": "kim@x.example"}, {}], "an exit clears no address"
    emptied = reading({"events": [event("UPDATE", {**row, "Email__c": None}, row)]}, **SALESFORCE)
    assert [one.attributes for one in emptied.profiles] == [{"email": None}], "who has no address any more keeps none"


def test_the_recipe_for_posthog() -> None:
    body = {
        "event": {
            "uuid": "018f-1",
            "event": "cohort entered",
            "properties": {"cohort": "power-users"},
            "timestamp": "2026-02-11T08:15:30Z",
        },
        "person": {"id": "p-1", "properties": {"email": "kim@x.example", "plan": "gold"}},
    }
    found = reading(body, **POSTHOG)
    assert held(found) == [("any/power-users", True)]
    assert found.profiles[0].attributes == {"email": "kim@x.example", "plan": "gold"}
    assert found.profiles[0].at == datetime(2026, 2, 11, 8, 15, 30, tzinfo=UTC)
    seen = reading({**body, "event": {"event": "$pageview", "properties": {"cohort": "power-users"}}}, **POSTHOG)
    assert (held(seen), seen.profiles[0].ignored_memberships) == ([], 1)


def test_the_recipe_for_power_automate() -> None:
    rows = [{"customerid": "c-1", "emailaddress1": "kim@x.example", "fullname": "Kim", "modifiedon": None}]
    found = reading({"segment": "vip", "status": "exited", "value": rows}, **POWER_AUTOMATE)
    assert held(found) == [("any/vip", False)]
    assert found.profiles[0].memberships[0].at == NOW


def test_a_list_is_read_element_by_element() -> None:
    one = {"id": 1, "emails": ["a@x.example", "b@x.example"], "audience": ["vip", "old"], "member": "false"}
    found = reading([one, "odd", {"id": 2}], **PLAIN)
    assert found.profiles[0].identities == {"crm": ["1"], "email": ["a@x.example", "b@x.example"]}
    assert held(found) == [("any/vip", False), ("any/old", False)]
    assert [error.pointer for error in found.misshapen] == ["#/1", "#/2/in"]


@pytest.mark.parametrize("body", [{}, {"rows": 5}, [], 5])
def test_a_body_in_which_each_finds_nothing_is_refused(body: Any) -> None:
    with pytest.raises(Refusal) as caught:
        reading(body, **PLAIN, each="rows")
    assert caught.value.status == 422
    assert caught.value.sentences().endswith(" nothing of it was taken. The expression each finds nothing in the body.")


@pytest.mark.parametrize(
    ("mapping", "code"),
    [
        ({"at": "when"}, "unfit_time"),
        ({"attributes": "audience"}, "unfit_attribute"),
        ({"attributes": "sum(emails)"}, "unfit_attribute"),
    ],
)
def test_what_an_expression_does_not_find_is_told(mapping: dict[str, str], code: str) -> None:
    good = {"id": 1, "audience": "vip", "member": True}
    odd = {**good, "when": "odd", "emails": ["odd"]}
    found = reading([good, odd], **PLAIN, **mapping)
    told = [*found.profiles[-1].left_out_counts] if len(found.profiles) == 2 else ["unfit_time"]
    assert told == [code]


@pytest.mark.parametrize(
    ("mapping", "field"),
    [
        ({}, "identities"),
        ({"identities": "ids"}, "segment"),
        ({"identities": "ids", "segment": "s"}, "in"),
        ({"identities": "ids", "segment": "s", "in": "a", "status": "b"}, "status"),
        ({"identities": "ids", "attributes": "a", "in": "a"}, "segment"),
        ({"identities": "ids[", "segment": "s", "in": "a"}, "identities"),
    ],
)
def test_a_mapping_that_says_too_little_is_refused_by_field(mapping: dict[str, str], field: str) -> None:
    with pytest.raises(SettingsProblem) as caught:
        source_of("any", {**NEEDED, **mapping})
    assert field in {fault.field for fault in caught.value.faults}


def test_expressions_of_another_dialect_are_refused_by_name() -> None:
    with pytest.raises(SettingsProblem) as caught:
        source_of("any", {**NEEDED, "dialect": "relay-json", "each": "rows"})
    assert [fault.field for fault in caught.value.faults] == ["each"]


@given(json_values)
def test_nothing_but_a_refusal_comes_of_any_body(value: Any) -> None:
    for mapping in (PLAIN, {**PLAIN, "each": "rows"}, SALESFORCE):
        for body in (value, {"rows": value}, {"id": value, "audience": value, "member": value}, {"events": [value]}):
            with suppress(Refusal):
                reading(body, **mapping)
