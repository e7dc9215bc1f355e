from typing import Any

import pytest

from sandboxes.answers import InvalidControlError
from sandboxes.scripted_faults import FaultScript


def kinds(script: FaultScript, *calls: tuple[str, str]) -> list[str | None]:
    faults = [script.take(method, path, b"") for method, path in calls]
    return [fault.kind() if fault else None for fault in faults]


def test_a_rule_acts_after_some_requests_and_as_often_as_it_says() -> None:
    script = FaultScript()
    script.append([{"match": {"method": "post", "path": "/a"}, "after": 1, "times": 2, "do": {"status": 503}}])
    assert kinds(script, *[("POST", "/a")] * 4) == [None, "status_503", "status_503", None]
    assert script.waiting() == []


def test_the_first_rule_with_times_left_wins() -> None:
    script = FaultScript()
    script.append([{"do": {"status": 500}}, {"times": None, "do": {"drop": "after"}}])
    assert kinds(script, *[("GET", "/x")] * 3) == ["status_500", "drop_after", "drop_after"]


def test_a_path_is_a_prefix_or_a_regular_expression() -> None:
    script = FaultScript()
    script.append({"match": {"path": "/api/3/contact"}, "do": {"html": True}})
    script.append({"match": {"path": r"^/v1/users/\d+$"}, "do": {"status": 404}})
    assert kinds(script, ("GET", "/v1/users/me"), ("GET", "/v1/users/12")) == [None, "status_404"]
    assert kinds(script, ("GET", "/x/api/3/contact"), ("GET", "/api/3/contacts")) == [None, "html"]


def test_a_rule_can_look_into_the_body() -> None:
    script = FaultScript()
    script.append({"match": {"contains": "user-7"}, "do": {"status": 400}})
    assert script.take("POST", "/", b'["user-1"]') is None
    assert script.take("POST", "/", b'["user-7"]') is not None


def test_cleared_rules_do_nothing() -> None:
    script = FaultScript()
    script.append({"do": {"status": 500}})
    script.clear()
    assert script.take("GET", "/", b"") is None


@pytest.mark.parametrize(
    "rule",
    [
        "status 500",
        {},
        {"do": {}},
        {"do": {"status": 500, "html": True}},
        {"do": {"status": "500"}},
        {"do": {"drop": "sometimes"}},
        {"do": {"delay": -1}},
        {"do": {"status": 429, "headers": ["Retry-After"]}},
        {"do": {"status": 500}, "times": 0},
        {"do": {"status": 500}, "after": -1},
        {"do": {"status": 500}, "match": {"path": "^("}},
        {"do": {"status": 500}, "match": {"verb": "GET"}},
        {"do": {"status": 500}, "match": {"method": 1}},
        {"do": {"status": 500}, "often": True},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_and_none_of_its_list_added(rule: Any) -> None:
    script = FaultScript()
    with pytest.raises(InvalidControlError):
        script.append([{"do": {"status": 500}}, rule])
    assert script.waiting() == []
