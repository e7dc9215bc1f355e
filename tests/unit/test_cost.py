"""The page of costs: its prices are those of the benchmarks, its sums add up, and its figures are the measured ones."""

import re
from pathlib import Path

from local.benchmarks import prices
from tests.unit.template import expanding

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/cost.md").read_text(encoding="utf-8")
PERFORMANCE = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
QUEUES = 5
"""That functions look into: three, and one for each of two destinations."""


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    part = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.split("\n") if line.startswith("| ")]
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_a_stack_at_rest_costs_its_parts() -> None:
    *parts, total = rows("A stack at rest, a month")
    for what, count, each, dollars in parts:
        assert abs(float(count) * float(each) - float(dollars)) < 0.01, what
    assert abs(sum(float(part[3]) for part in parts) - float(total[3])) < 0.01
    prices_of = {what.split(":")[0]: float(price) for what, _, price, _ in parts}
    polled = (prices.SQS_STANDARD_REQUEST + prices.SQS_FIFO_REQUEST) / 2 * 1e6
    assert list(prices_of.values()) == [
        prices.SECRET_MONTH,
        prices.KEY_MONTH,
        prices.ALARM_MONTH,
        prices.METRIC_MONTH,
        prices.DASHBOARD_MONTH,
        round(polled, 2),
        round(prices.SECRET_READ * 1e4, 2),
    ]
    counts = {what.split(":")[0]: float(count) for what, count, _, _ in parts}
    assert round(QUEUES * prices.POLLS_MONTH / 1e6, 1) == counts["requests of idle queues, in millions"]
    assert round(2 * 60 * 24 * 30 / 1e4, 1) == counts["reads of secrets by the tick, in 10,000"]


def test_the_alarms_at_rest_are_those_of_the_template() -> None:
    resources = expanding.unrolled(expanding.read())["Resources"].values()
    alarms = [resource for resource in resources if resource["Type"] == "AWS::CloudWatch::Alarm"]
    (count,) = (count for what, count, _, _ in rows("A stack at rest, a month") if what == "alarms")
    assert int(count) == len(alarms)


def test_figures_of_a_million_are_those_that_were_measured() -> None:
    received, *measured = rows("A million profiles")
    gateway, ingest = map(float, re.findall(r"\d\.\d\d", received[0]))
    assert gateway == round(prices.API_GATEWAY_REQUEST * 1e5, 2)
    assert float(received[1]) == round(gateway + ingest, 2)
    assert len(measured) > 5
    for what, dollars in measured:
        assert f"${dollars}" in PERFORMANCE, what


def test_days_and_months_are_sums_of_them() -> None:
    known = {dollars for _, dollars in rows("A million profiles")}
    every, some, streamed = rows("1 million profiles a day")
    for what, day, month in (every, streamed):
        summands = re.findall(r"\d\.\d\d", what)
        assert set(summands) <= known
        assert abs(sum(map(float, summands)) - float(day)) < 0.005
        assert abs(30 * float(day) - float(month)) < 0.01
    assert abs(0.05 * float(every[1]) + 0.95 * 0.26 - float(some[1])) < 0.01
    assert abs(30 * float(some[1]) - float(some[2])) < 0.01
