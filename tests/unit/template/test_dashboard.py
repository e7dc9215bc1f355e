"""The dashboard: every metric in it is one that the code shows, with just these dimensions."""

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from relay.observability import Count, Observability
from tests.unit.template.expanding import Resources, Source, of

ROOT = Path(__file__).parents[3]
SEARCH = re.compile(r"""SEARCH\('\{([\w/,"${}]+)\} (.*?)MetricName="(\w+)"', '(\w+)', \d+\)""")
OF_QUEUES = {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"}


def widgets(resources: Resources) -> list[dict[str, Any]]:
    (dashboard,) = of(resources, "AWS::CloudWatch::Dashboard").values()
    text, more = dashboard["DashboardBody"]["Fn::Sub"]
    assert more == {"Words": {"Fn::Join": [" ", {"Fn::Split": ["-", {"Ref": "Prefix"}]}]}}
    return [widget["properties"] for widget in json.loads(text)["widgets"]]


def searched(resources: Resources) -> set[tuple[str, frozenset[str]]]:
    """Return the metrics of the dashboard with the dimensions that are searched for, of the relay's own namespace."""
    found = set()
    for widget in widgets(resources):
        for (metric,) in widget["metrics"]:
            ((schema, terms, name, _),) = SEARCH.findall(metric["expression"])
            namespace, *dimensions = schema.split(",")
            if namespace == '"${Prefix}"':
                found.add((name, frozenset(dimensions)))
            else:
                assert (namespace, dimensions) == ("AWS/SQS", ["QueueName"])
                assert name in OF_QUEUES
                assert terms.startswith("${Words} ")
    return found


@cache
def shown() -> frozenset[tuple[str, frozenset[str]]]:
    """Return every metric that the code shows, with its dimensions. Its function is one more, `service`."""
    found: set[tuple[str, frozenset[str]]] = set()
    for file in [*(ROOT / "layers/relay/relay").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        direct = [call for call in calls if call.args and _called(call) == "count"]
        named = {id(call.args[0]) for call in direct}
        table = {one for node in ast.walk(tree) if id(node) not in named and (one := _member(node)) is not None}
        for call in direct:
            dimensions = frozenset({"service", *(keyword.arg or "" for keyword in call.keywords)})
            one = _member(call.args[0])
            variable = isinstance(call.args[0], ast.Name) and bool(call.keywords)
            found |= {(name, dimensions) for name in ([one] if one is not None else table if variable else [])}
    return frozenset(found)


def _called(call: ast.Call) -> str:
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def _member(node: ast.AST) -> str | None:
    is_member = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Count"
    return Count[node.attr].value if is_member and isinstance(node, ast.Attribute) else None


def test_every_metric_of_the_dashboard_is_shown_by_the_code_with_these_dimensions(resources: Resources) -> None:
    assert len(searched(resources)) >= 14
    assert searched(resources) - shown() == set()


def test_every_line_of_a_metric_has_its_function_as_a_dimension(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "tick")
    Observability().count(Count.RUN_SECONDS, 7, export="letters/main")
    line = json.loads(capsys.readouterr().out)
    assert [sorted(names) for names in line["_aws"]["CloudWatchMetrics"][0]["Dimensions"]] == [["export", "service"]]
    assert line["service"] == "tick"


def test_the_dashboard_shows_all_that_operators_ask_first(resources: Resources) -> None:
    names = {name for name, _ in searched(resources)}
    changes = {f"Changes{outcome}" for outcome in ("Accepted", "Merged", "Ignored", "Rejected")}
    assert names >= changes | {"ProfilesDelivered", "RejectionsByCode", "DestinationCalls", "CallsAllowed"}
    assert names >= {"RunSeconds", "NeedsAttention", "ImportCounts", "ImportsEnded", "ImportSeconds"}
    assert len({widget["title"] for widget in widgets(resources)}) == len(widgets(resources)) == 14


def test_each_graph_has_a_place_of_its_own(resources: Resources) -> None:
    (dashboard,) = of(resources, "AWS::CloudWatch::Dashboard").values()
    placed = json.loads(dashboard["DashboardBody"]["Fn::Sub"][0])["widgets"]
    cells = [
        (x, y)
        for one in placed
        for x in range(one["x"], one["x"] + one["width"])
        for y in range(one["y"], one["y"] + 6)
    ]
    assert len(cells) == len(set(cells)) == 14 * 12 * 6
    assert max(x for x, _ in cells) < 24


def test_a_parameter_turns_it_off(source: Source) -> None:
    assert source["Parameters"]["Dashboard"]["AllowedValues"] == ["on", "off"]
    ((_, entry),) = (
        (name, entry) for name, entry in source["Resources"].items() if entry["Type"] == "AWS::CloudWatch::Dashboard"
    )
    assert source["Conditions"][entry["Condition"]] == {"Fn::Equals": [{"Ref": "Dashboard"}, "on"]}


def test_a_jump_of_rejections_raises_an_alarm(resources: Resources) -> None:
    functions = of(resources, "AWS::Lambda::Function")
    service = functions["TickFunction"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
    (alarm,) = (
        one for one in of(resources, "AWS::CloudWatch::Alarm").values() if one["MetricName"] == "RejectionsRise"
    )
    assert (alarm["MetricName"], frozenset({"service"})) in shown()
    assert alarm["Dimensions"] == [{"Name": "service", "Value": service}]
    assert (alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]) == (
        "Maximum",
        "GreaterThanThreshold",
        10,
    )
    assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]
