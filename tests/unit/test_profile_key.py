"""Which profile a change is about."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from relay.domain.expressions import compiled
from relay.settings.sources import SourceSettings
from relay.sources import adobe_http
from relay.sources.profile_key import keys_of
from relay.sources.reading import Incoming
from tests.examples import example

RAW = {
    "person": {"id": 12},
    "identityMap": {"crmId": [{"id": "c-9"}, {"id": "c-5", "primary": True}, {"id": "c-1"}], "x": [{"xdm:id": "x-1"}]},
}


def profile(**changed: Any) -> Incoming:
    fields: dict[str, Any] = {
        "raw": RAW,
        "place": (),
        "snapshot": True,
        "identities": {"crmId": ["c-9", "c-5", "c-1"], "ECID": ["2", "10"], "gone": None, "half": ["\ud83d", "h"]},
        "attributes": {"person": {"id": 12}, "vip": True, "blank": " ", "score": 1.5, "name": "Ada", "number": 1001.0},
        "memberships": [],
    }
    return Incoming(**{**fields, **changed})


def test_the_identifying_values() -> None:
    table: list[tuple[str, set[str]]] = [
        ("identities.crmId", {"c-9", "c-5", "c-1"}),
        ("identities.crmId[0]", {"c-9"}),
        ("identities.ECID", {"2", "10"}),
        ("identities.half", {"h"}),
        ("identityMap.crmId", {"c-9", "c-5", "c-1"}),
        ("identityMap.crmId[?primary].id", {"c-5"}),
        ("identityMap.crmId[0].id", {"c-9"}),
        ("identityMap.x", {"x-1"}),
        ("attributes.person.id", {"12"}),
        ("person.id", {"12"}),
        ("identities.email || attributes.name", {"Ada"}),
        ("[attributes.name, person.id]", {"Ada", "12"}),
    ]
    for expression, keys in table:
        with example(expression, keys):
            assert keys_of(profile(), compiled(expression)) == keys


def test_how_identifying_values_are_compared() -> None:
    table: list[tuple[Any, Any, bool]] = [
        ("c-1", " c-1\t", True),
        ("c-1", "C-1", False),
        (1001, 1001.0, True),
        (1001, "1001", True),
        ("1001", "1001.0", False),
        ("Kim@Example.com", "kim@example.com ", True),
        ("kim@b\u00fccher.example", "kim@xn--bcher-kva.example", True),
        ("Kim@Example@com", "kim@example@com", False),
        ("Kim @ home", "kim @ home", False),
    ]
    for one, other, is_same in table:
        with example(one, other, is_same):
            keys = [keys_of(profile(attributes={"key": value}), compiled("attributes.key")) for value in (one, other)]
            assert all(len(found) == 1 for found in keys)
            assert (keys[0] == keys[1]) is is_same


def test_what_identifies_nobody() -> None:
    table: list[str] = [
        "identities.email",
        "identities.gone",
        "attributes.vip",
        "attributes.blank",
        "attributes.score",
        "attributes",
        "sort(attributes.name)",
        "join('-', [attributes.name, attributes.missing])",
        "to_string(attributes.missing)",
        "identities.ECID[5]",
        "identities.ECID[?@ == 'no']",
    ]
    for expression in table:
        with example(expression):
            assert not keys_of(profile(), compiled(expression))


def test_the_examples_of_the_page_name_whom_they_say() -> None:
    page = (Path(__file__).parents[2] / "docs/sources.md").read_text(encoding="utf-8")
    table = page.partition("### `profile_key`\n")[2].partition("It may yield")[0]
    body = {
        "identityMap": {
            "ECID": [{"id": "e1"}, {"id": "e2", "primary": True}],
            "crm": [{"id": "c1"}, {"id": "c2"}],
        },
        "email": "Kim@example.com",
    }
    (profile,) = adobe_http.read(
        json.dumps(body).encode(),
        SourceSettings("aep", "adobe-http", "bearer", ("t",), "identities.crm"),
        datetime(2026, 3, 1, tzinfo=UTC),
    ).profiles
    found = {
        expression: keys_of(profile, compiled(expression))
        for expression in re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)[1:]
    }
    assert found == {
        "identities.crm": {"c1", "c2"},
        "identities.crm[0]": {"c1"},
        "[identities.crm, attributes.email]": {"c1", "c2", "kim@example.com"},
        "identityMap.ECID[?primary].id": {"e2"},
    }
