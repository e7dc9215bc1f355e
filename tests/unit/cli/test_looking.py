"""`relay status`, `check` and `codes`."""

from datetime import timedelta
from typing import Any

import pytest

from relay_cli.failures import AwsRefused
from tests.unit.cli.stack_fake import CODES, NOW, STATUS, FakeDoor, Terminal
from tests.unit.cli.test_segment_imports import picture


def finding(subject: str, level: str, code: str, message: str, command: str) -> dict[str, str]:
    return {
        "subject": subject,
        "level": level,
        "code": code,
        "message": message,
        "who_must_act": "administrator",
        "command": command,
    }


FINDINGS = [
    finding("source shop", "warning", "unknown_source", "there is none", "relay sources add shop"),
    finding("connection product", "error", "unpaid", "is stopped", "relay connections test product --probe"),
]


def test_status_shows_everything_on_one_screen(relay: Terminal) -> None:
    ended = relay("status")

    assert ended.code == 3
    assert ended.lines[0].startswith(
        "Not all is well: look at shop, product; 2 profiles are set aside; 3 messages lie in dead-letter queues"
    )
    for shown in (
        "crm\tvalid\t3 min ago\t42.0\t1,100\t90\t3\t7",
        "shop\tsecret: is missing",
        "newsletter/vip\tactive",
        "unpaid",
        "in 15 h",
        "0.1.0",
    ):
        assert shown in ended.out
    assert (
        "product/power\tactive\tyes\tfinished\t10 min ago\t1,000\tno schedule\ta resync is requested, 2 set aside"
        in ended.out
    )


def test_status_says_that_all_is_well(relay: Terminal, door: FakeDoor) -> None:
    queues = [one for one in STATUS["queues"] if one["kind"] == "queue"]
    door.answers["status"] = {
        **STATUS,
        "sources": STATUS["sources"][:1],
        "connections": STATUS["connections"][:1],
        "queues": queues,
    }

    assert relay("status").lines[0] == "All is well."


def test_status_shows_imports_and_names_those_that_wait(relay: Terminal, door: FakeDoor) -> None:
    quiet = {**STATUS, "connections": [], "queues": [STATUS["queues"][0]], "sources": [STATUS["sources"][0]]}
    door.answers["status"] = {**quiet, "imports": [picture(), picture("i-2", "applying", segment="crm/trial")]}
    ended = relay("status")
    assert (ended.code, ended.lines[0]) == (
        3,
        "Not all is well: an import waits for somebody: crm/vip. Next: relay check",
    )
    assert "i-2\tcrm/trial\tapplying\t2026-11-27 12:00 UTC\t0 s ago\t101\t1\t0\t1" in ended.lines
    door.answers["status"] = {**quiet, "imports": [picture("i-2", "applying")]}
    assert relay("status").code == 0


def test_status_is_a_table_on_a_terminal_and_has_no_colour_where_none_is_wanted(relay: Terminal) -> None:
    relay.environment |= {"TERM": "xterm"}
    coloured = relay("status", terminal=True)
    relay.environment["NO_COLOR"] = "1"
    plain = relay("status", terminal=True)

    assert "\x1b[1;31m" in coloured.out
    assert "\x1b[1;31m" not in plain.out
    assert "━" in plain.out or "─" in plain.out


def test_status_as_json_is_the_answer_itself(relay: Terminal) -> None:
    assert relay("status", "--json").json == STATUS
    assert relay("--json", "status").json == STATUS


def test_status_is_watched_until_ctrl_c(relay: Terminal, door: FakeDoor) -> None:
    looks = iter([0, 1])

    def interrupt() -> None:
        if next(looks, None) is None:
            raise KeyboardInterrupt

    relay.on_sleep = interrupt
    ended = relay("status", "--watch", "--json")

    assert ended.code == 130
    assert [one["version"] for one in ended.json_lines] == ["0.1.0"] * 3
    assert ended.err == "interrupted; nothing is half-done\n"


def test_check_says_what_is_wrong_with_who_must_act_and_the_command_that_helps(relay: Terminal, door: FakeDoor) -> None:
    door.answers["check"] = {"well": False, "findings": FINDINGS}

    ended = relay("check", terminal=True)

    assert ended.code == 1
    assert "1 thing is wrong" in ended.out
    assert ended.out.index("connection product") < ended.out.index("source shop")
    assert "relay connections test product --probe" in ended.out


def test_check_is_a_table_in_a_pipe_and_lines_of_json(relay: Terminal, door: FakeDoor) -> None:
    door.answers["check"] = {"well": False, "findings": FINDINGS}

    assert relay("check").lines[1] == (
        "error\tconnection product\tunpaid\tis stopped\tadministrator\trelay connections test product --probe"
    )
    assert [one["code"] for one in relay("check", "--json").json_lines] == ["unpaid", "unknown_source"]


def test_check_is_well(relay: Terminal) -> None:
    ended = relay("check", terminal=True)

    assert (ended.code, "All is well." in ended.out) == (0, True)
    assert relay("check").lines == ["All is well."]
    assert relay("check", "--json").out == ""


def test_check_of_one_connection_asks_for_it_alone(relay: Terminal, door: FakeDoor) -> None:
    relay("check", "newsletter")

    assert door.asked == [("view", {"ask": "check", "version": 1, "connection": "newsletter"})]


def test_check_looks_at_the_callers_rights_the_clock_and_the_version(relay: Terminal, door: FakeDoor) -> None:
    denied = ("admin", "forget", "secrets", "schedules", "queues")
    door.denied = {what: AwsRefused("No.", f"{what}:Do") for what in denied}
    door.time = NOW - timedelta(minutes=7)
    stack = {"prefix": "audience-relay", "version": "0.2.0", "region": "eu-central-1"}
    door.answers["describe"] = {**door.answers["describe"], "stack": stack}

    found = [(one["code"], one["message"]) for one in relay("check", "--json").json_lines]

    lacking = [
        "start, confirm and cancel runs (admin:Do)",
        "forget people (forget:Do)",
        "read sources and connections (secrets:Do)",
        "list schedules (schedules:Do)",
        "look at queues (queues:Do)",
    ]
    assert found == [
        ("other_version", "this is version 0.1.0, the stack is 0.2.0"),
        ("clock_off", "its clock is off by 420 seconds"),
        ("rights", f"you may not {'; '.join(lacking)}"),
    ]


def test_rights_that_somebody_lacks_are_nothing_wrong(relay: Terminal, door: FakeDoor) -> None:
    door.denied = {"secrets": AwsRefused("No.", "secrets:Do")}

    ended = relay("check", terminal=True)

    assert (ended.code, "All is well. 1 thing to know:" in ended.out) == (0, True)
    assert "administrator" not in ended.out


def test_a_source_that_cannot_be_read_is_no_matter_of_rights(relay: Terminal, door: FakeDoor) -> None:
    door.deleted["sources/crm"] = door.secrets["sources/crm"]

    assert relay("check").lines == ["All is well."]


def test_codes_say_what_they_mean(relay: Terminal) -> None:
    assert relay("codes", "--json").json_lines == CODES
    assert "mail to the contact bounces" in relay("codes", "bounced").out


@pytest.mark.parametrize(("typed", "near"), [("bounce", "bounced"), ("upaid", "unpaid")])
def test_an_unknown_code_suggests_near_ones(relay: Terminal, typed: str, near: Any) -> None:
    ended = relay("codes", typed)

    assert (ended.code, f"Did you mean {near}?" in ended.err) == (2, True)
