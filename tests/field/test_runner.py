"""The runner itself: what it prints, what it refuses, and how time passes in it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.observability import Count
from relay.routing.router import Router
from tests.examples import example
from tests.fakes.invocations import TIME_OUT
from tests.fakes.virtual_clock import START
from tests.field.__main__ import main
from tests.field.comparing import differences
from tests.field.reading import Case, CaseError, Setup, read_case
from tests.field.replaying import Replay, replay
from tests.field.world import CHANGES_BATCH, World
from tests.unit.template import expanding

ROOT = Path(__file__).parents[2]
KEY = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7"
KIM = {
    "identities": {"crm": "c-1"},
    "attributes": {"email": "kim@example.com", "plan": "pro"},
    "memberships": [{"segment": "vip", "status": "realized", "at": "2026-04-30T09:30:00Z"}],
}
JOIN = {"post": {"changes": [KIM]}}
KEYS = ["case", "statuses", "contacts", "refusals", "warnings", "runs", "defects", "dead"]
KEYS += ["memberships", "events", "schedules", "checks"]

Write = Callable[..., Path]
"""Writes a case file of steps and a setup, and returns its path."""


@pytest.fixture
def written(tmp_path: Path) -> Write:
    def write(*steps: Any, name: str = "case.json", **setup: Any) -> Path:
        file = tmp_path / name
        file.write_text(json.dumps({"setup": setup, "steps": steps}))
        return file

    return write


# What it prints.


def test_each_file_gives_one_line_in_order(written: Write, capsys: pytest.CaptureFixture[str]) -> None:
    files = [written(JOIN, {"settle": 1}, name="b.json"), written(JOIN, name="a.json", kind="px")]
    assert main([str(file) for file in files]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert list(first) == KEYS
    assert [contact["email"] for contact in first["contacts"]] == ["kim@example.com"]
    assert (second["case"], second["members"]) == ("a.json", {})


def test_a_replay_is_the_same_every_time(written: Write) -> None:
    file = written(JOIN, {"settle": 1}, {"run": 2}, {"event": {"runs": "acme/everyone"}}, processing_seconds=40)
    assert replay(read_case(file)) == replay(read_case(file))


def test_the_command_needs_no_path_to_the_library(written: Write) -> None:
    command = [sys.executable, "-m", "tests.field", str(written(JOIN))]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["statuses"] == [202]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "must be an object with a list of steps"),
        ('{"steps": [{"wait": 5}]}', "step 1: must be an object with one of post"),
        ('{"steps": [{"settle": 1}, {"settle": "soon"}]}', "step 2: settle: must be a number"),
        ('{"steps": [{"until": "noon"}]}', "step 1: until: must be a time"),
        ('{"steps": [{"post": {}, "before": "v1, "}]}', "step 1: post does not take before"),
        ('{"steps": [], "setup": {"kind": "crm"}}', "setup: kind must be one of ac, px"),
        ('{"steps": [], "setup": {"colour": "red"}}', "neither ours nor an option of the sandbox: colour"),
        (
            '{"steps": [], "setup": {"processing_seconds": "long"}}',
            "setup: processing_seconds: Input should be a valid number",
        ),
    ],
)
def test_a_bad_file_is_told_by_name_and_stops_no_other(
    content: str, reason: str, written: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(content)
    assert main([str(bad), str(tmp_path / "missing.json"), str(written(JOIN))]) == 2
    given = capsys.readouterr()
    assert json.loads(given.out)["case"] == "case.json"
    assert f"{bad}: " in given.err
    assert reason in given.err
    assert f"{tmp_path / 'missing.json'}: cannot be read" in given.err


# What it does.


def test_a_signature_counts_only_with_its_key(written: Write) -> None:
    other = KEY[::-1]
    signed = [{"sign": key, "changes": [KIM]} for key in (KEY, other)]
    file = written(*signed, {"sign": KEY, "before": "v2,else", "changes": [KIM]}, auth="standard-webhooks", secret=KEY)
    assert replay(read_case(file))["statuses"] == [202, 401, 202]


def test_settings_that_make_no_sense_are_told_as_in_the_product(written: Write) -> None:
    file = written(JOIN, {"settle": 1}, {"check": "acme"}, mapping={"email": "attributes.email", "emial": "a"})
    line = replay(read_case(file))
    assert line["contacts"] == []
    assert not line["checks"][0]["well"]
    assert "mapping.emial" in line["checks"][0]["findings"][0]["message"]


def test_options_of_the_sandbox_reach_it(written: Write) -> None:
    file = written(JOIN, {"settle": 1}, {"check": "acme"}, unpaid=True)
    assert replay(read_case(file))["checks"][0]["well"] is False


def test_a_refusal_is_counted_by_profile(written: Write) -> None:
    nobody = {"attributes": {"email": "lee@example.com"}}
    without_address = [{**KIM, "identities": {"crm": crm}, "attributes": {}} for crm in ("c-2", "c-3")]
    file = written({"post": {"changes": [KIM, nobody, *without_address]}}, {"settle": 1})
    assert replay(read_case(file))["refusals"] == {"no_identity": 1, "no_email": 2}


def test_what_the_scheduler_lists_counts_from_then_on(written: Write) -> None:
    listed = [{"Name": name} for name in ("somebody-elses", "acme.weekly", "acme.everyone")]
    start = {"event": {"exports": "default"}}
    line = replay(read_case(written(JOIN, start, {"own_schedules": listed}, start, stream=False)))
    assert line["schedules"] == [["acme/everyone", "acme/weekly"]]
    assert [len(event["answer"]["started"]) for event in line["events"]] == [1, 0]


def test_an_error_that_nobody_expects_is_a_defect_and_its_message_dies(
    written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trip(router: Router, records: Any) -> list[str]:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Router, "route", trip)
    line = replay(read_case(written(JOIN, {"settle": 3})))
    assert (line["statuses"], line["contacts"], line["defects"], line["dead"]) == ([202], [], 10, 1)


def test_warnings_are_counted_by_code() -> None:
    replayed = Replay(Case("case.json", Setup(), []))
    for outcome, number in (("unfit_expression", 2), ("unfit_expression", 1), ("another", 1)):
        replayed.world.stack.observe.count(Count.WARNINGS, number, connection="acme", outcome=outcome)
    assert replayed.play()["warnings"] == {"another": 1, "unfit_expression": 3}


# Time.


def test_settling_ends_when_all_is_at_rest_and_a_run_takes_its_hours(written: Write) -> None:
    replayed = Replay(read_case(written(JOIN, {"settle": 5})))
    replayed.play()
    assert replayed.world.clock.now() < START + timedelta(minutes=5)
    replayed = Replay(read_case(written(JOIN, {"run": 5}, {"later": 30})))
    replayed.play()
    assert replayed.world.clock.now() == START + timedelta(hours=5, seconds=30)


def test_until_a_moment_that_has_passed_takes_no_time(written: Write) -> None:
    replayed = Replay(read_case(written({"until": "2026-05-01T10:00:00+02:00"}, {"until": "2026-05-01T08:04:00Z"})))
    replayed.play()
    assert replayed.world.clock.now() == START + timedelta(minutes=4)


def test_queues_are_as_in_the_template() -> None:
    template = expanding.unrolled(expanding.read())
    resources, world = template["Resources"], World(Setup())
    for name, queue in (("changes", world.changes), ("checks", world.checks), ("activecampaign", world.queue)):
        described = resources[f"{name}Queue"]["Properties"]
        assert described["VisibilityTimeout"] == queue.visibility.total_seconds()
        assert described["RedrivePolicy"]["maxReceiveCount"] == queue.receive_limit
    route = resources["RouteFunction"]["Properties"]
    batches = [event["Properties"]["BatchSize"] for event in route["Events"].values()]
    assert batches == [CHANGES_BATCH]
    assert template["Globals"]["Function"]["Timeout"] == TIME_OUT.seconds


# Comparing.


def test_a_result_is_right_where_all_that_is_expected_is_there() -> None:
    table: list[tuple[Any, bool]] = [
        ({"contacts": [{"email": "a"}, {"email": "b", "lists": {"7": 1}}]}, True),
        ({"contacts": [{"email": "a"}]}, False),
        ({"contacts": [{"email": "a"}, {"email": "c"}]}, False),
        ({"refusals": {"no_email": 1}}, False),
        ({"warnings": ["unfit_expression"]}, True),
        ({"warnings": []}, False),
        ({"checks": [{"well": False, "findings": [{"message": "mapping.email"}]}]}, True),
        ({"checks": [{"well": False, "findings": [{"message": "mapping.phone"}]}]}, False),
        ({"events": [{"answer": None, "error": ""}]}, True),
        ({"events": [{"answer": None, "error": None}]}, False),
        ({"members": {}}, False),
        ([{"defects": 1}, {"defects": 0}], True),
        ([{"defects": 1}, {"defects": 2}], False),
    ]
    for expect, is_right in table:
        with example(expect, is_right):
            line = {
                "contacts": [{"email": "a", "lists": {}}, {"email": "b", "lists": {"7": 1, "8": 2}}],
                "refusals": {"no_email": 1, "excluded": 1},
                "warnings": {"unfit_expression": 9},
                "checks": [
                    {"well": False, "findings": [{"message": "well"}, {"message": "mapping.email: is unknown"}]}
                ],
                "events": [{"answer": None, "error": "SettingsProblem: unknown"}],
                "defects": 0,
            }
            assert (differences(expect, line) == []) is is_right


def test_a_text_of_many_repeats_is_written_short(written: Write) -> None:
    [step] = read_case(written({"post": {"bio": {"$repeat": ["ab", 3]}}})).steps
    assert step.value == {"bio": "ababab"}


def test_a_case_without_steps_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "case.json"
    file.write_text("{}")
    with pytest.raises(CaseError, match="list of steps"):
        read_case(file)
