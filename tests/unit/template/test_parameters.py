"""What may be chosen when a stack is deployed."""

import re

import pytest

from local.stack import PACE_SCALE
from tests.unit.template.expanding import Source


def test_the_defaults_are_a_current_python_on_arm64(source: Source) -> None:
    parameters = source["Parameters"]
    assert parameters["Runtime"]["Default"] == "python3.13"
    assert parameters["Architecture"]["Default"] == "arm64"


def test_nothing_local_is_on_by_default(source: Source) -> None:
    parameters = source["Parameters"]
    assert parameters["PaceScale"]["Default"] == 1
    assert parameters["Sandboxes"]["Default"] == ""


@pytest.mark.parametrize(
    "sandboxes",
    [
        "",
        "gainsight_px=http://127.0.0.1:9102",
        "gainsight_px=http://localhost:9102",
        "acme_mail2=http://localhost:9103",
        "gainsight_px=http://127.0.0.1:9102,activecampaign=http://127.0.0.1:65535",
    ],
)
def test_a_sandbox_is_on_this_machine(source: Source, sandboxes: str) -> None:
    assert re.fullmatch(source["Parameters"]["Sandboxes"]["AllowedPattern"], sandboxes)


@pytest.mark.parametrize(
    "sandboxes",
    [
        "gainsight_px=https://collector.example",
        "gainsight_px=http://collector.example:80",
        "gainsight_px=http://127.0.0.1",
        "gainsight_px=http://127.0.0.1:9102@collector.example",
        "gainsight_px=http://127.0.0.1:9102/@collector.example",
        "gainsight_px=http://127.0.0.1.collector.example:80",
        "gainsight_px=http://127x0.0.1:80",
        "gainsight_px=http://localhost.collector.example:80",
        "gainsight_px=http://169.254.169.254:80",
        "gainsight_px=http://10.0.0.7:80",
        "gainsight_px=http://0.0.0.0:80",
        "gainsight_px=http://127.0.0.1:9102,activecampaign=http://collector.example:80",
        "gainsight_px=http://127.0.0.1:9102,",
        "gainsight_px=http://127.0.0.1:9102\n",
        "http://127.0.0.1:9102",
        " ",
    ],
)
def test_nothing_elsewhere_stands_in_for_a_destination(source: Source, sandboxes: str) -> None:
    assert not re.fullmatch(source["Parameters"]["Sandboxes"]["AllowedPattern"], sandboxes)


def test_only_sandboxes_are_called_faster_than_documented(source: Source) -> None:
    scale = source["Parameters"]["PaceScale"]
    assert scale["MinValue"] == 1
    assert PACE_SCALE <= scale["MaxValue"] <= 1000
    rule = source["Rules"]["PaceOfTheDestinations"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "Sandboxes"}, ""]}
    assert [assertion["Assert"] for assertion in rule["Assertions"]] == [{"Fn::Equals": [{"Ref": "PaceScale"}, "1"]}]
