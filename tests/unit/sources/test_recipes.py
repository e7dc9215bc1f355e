"""The bodies of the recipes are taken whole, and the published schema of relay-json says what the reader says."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from jsonschema import Draft202012Validator, FormatChecker

from local import openapi
from relay.settings.sources import SourceSettings
from relay.sources.reading import Reading
from relay.sources.relay_json import read
from tests.webhooks import relay_bodies

DOCS = Path(__file__).parents[3] / "docs"
SCHEMA: dict[str, Any] = json.loads((DOCS / "relay-json.schema.json").read_text(encoding="utf-8"))
FITS = Draft202012Validator(SCHEMA, format_checker=FormatChecker(["date-time"]))
SECTIONS = (DOCS / "sources" / "recipes.md").read_text(encoding="utf-8").split("\n## ")[1:]
RECIPES = [(section.partition("\n")[0], *re.findall(r"```json\n(.+?)```", section, re.DOTALL)) for section in SECTIONS]


def reading(raw: str) -> Reading:
    source = SourceSettings("crm", "relay-json", "bearer", (), "identities.crm")
    return read(raw.encode(), source, datetime(2026, 11, 22, 10, tzinfo=UTC))


@pytest.mark.parametrize(("platform", "body"), RECIPES, ids=[recipe[0] for recipe in RECIPES])
def test_the_body_of_a_recipe_is_taken_whole(platform: str, body: str) -> None:
    found = reading(body)
    assert [one.left_out_counts for one in found.profiles] == [{}] * len(json.loads(body)["changes"]), platform
    assert all(one.memberships and one.identities["crm"] for one in found.profiles)
    assert list(FITS.iter_errors(json.loads(body))) == []


def test_every_platform_has_a_recipe() -> None:
    assert [name.partition(" ")[0].strip(":") for name, _ in RECIPES] == [
        "Hightouch", "RudderStack", "Census", "Power",
    ]  # fmt: skip


def test_the_schema_is_what_the_code_prints() -> None:
    assert openapi.SCHEMA.read_text(encoding="utf-8") == openapi.schema_text(), "run `make pages`"
    Draft202012Validator.check_schema(SCHEMA)


@settings(max_examples=40)
@given(relay_bodies)
def test_a_body_that_fits_the_schema_is_taken_whole(body: Any) -> None:
    assume(FITS.is_valid(body))
    found = reading(json.dumps(body))
    assert len(found.profiles) == len(body["changes"])
    assert (found.misshapen, found.left_out) == ([], [])
    assert not any(one.left_out_counts for one in found.profiles)


@pytest.mark.parametrize("change", [{}, {"odd": 1}, {"memberships": [{"segment": "s"}]}, {"identities": {"crm": 1.5}}])
def test_a_change_that_the_reader_refuses_does_not_fit_the_schema(change: Any) -> None:
    assert not FITS.is_valid({"changes": [change]})
