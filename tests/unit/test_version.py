"""The version stands in `relay/version.py`; every other place says the same."""

import io
import json
import re
import tomllib
from pathlib import Path

import pytest

from relay import version
from relay.destinations.calling import shared_session
from relay.observability import Observability
from relay.version import USER_AGENT, VERSION
from tests.unit.template import expanding

ROOT = Path(__file__).parents[2]


def test_it_is_a_semantic_version() -> None:
    assert re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?", VERSION)
    assert f"audience-relay/{VERSION}" == USER_AGENT


def test_the_template_says_it_in_its_description_and_its_output() -> None:
    template = expanding.read()
    assert template["Description"].startswith(f"Audience Relay {VERSION}: ")
    assert template["Outputs"]["Version"]["Value"] == VERSION


@pytest.mark.parametrize("environment", ["default", "local"])
def test_resources_are_tagged_with_it_by_a_plain_deployment(environment: str) -> None:
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    assert settings[environment]["deploy"]["parameters"]["tags"] == f"application=audience-relay version={VERSION}"


def test_the_project_says_it() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"] == VERSION


def test_destinations_are_told_it() -> None:
    assert shared_session().headers["User-Agent"] == USER_AGENT


def test_every_line_of_the_log_has_it() -> None:
    stream = io.StringIO()
    observability = Observability(stream)
    observability.info("call")
    observability.problem("defect", ValueError())
    assert [json.loads(line)["service_version"] for line in stream.getvalue().splitlines()] == [VERSION, VERSION]


def test_it_is_written_down_nowhere_else_in_the_library() -> None:
    others = [file for file in (ROOT / "layers/relay/relay").rglob("*.py") if file != Path(version.__file__)]
    assert [file for file in others if f'"{VERSION}"' in file.read_text(encoding="utf-8")] == []
