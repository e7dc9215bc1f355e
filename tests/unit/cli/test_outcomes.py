"""What commands say of how things stand: their sentences, exit codes and lines of JSON."""

import json
from typing import Any

import pytest

from relay_cli.door import Posted
from tests.unit.cli.people_answers import SEGMENTS, at_one, change, following
from tests.unit.cli.stack_fake import NOW, STATUS, FakeDoor, Terminal, run


def quiet(**more: Any) -> dict[str, Any]:
    """Return a status in which all is well, but for one export."""
    connection = STATUS["connections"][0]
    exports = [{**connection["exports"][0], **more}, connection["exports"][1]]
    return {
        **STATUS,
        "sources": STATUS["sources"][:1],
        "connections": [{**connection, "exports": exports}],
        "queues": [one for one in STATUS["queues"] if one["kind"] == "queue"],
    }


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"last_run": run(state="needs-confirmation")}, "the last run needs somebody: newsletter/vip"),
        ({"last_run": run(state="many-rejected")}, "the last run needs somebody: newsletter/vip"),
        ({"set_aside": 3}, "3 profiles are set aside"),
        ({"schedule": None}, "no schedule starts newsletter/vip"),
    ],
)
def test_status_is_not_well_while_an_export_needs_somebody(
    relay: Terminal, door: FakeDoor, more: dict[str, Any], said: str
) -> None:
    door.answers["status"] = quiet(**more)

    assert relay("status").lines[0] == f"Not all is well: {said}. Next: relay check"


def test_status_is_not_well_where_aws_did_not_answer(relay: Terminal, door: FakeDoor) -> None:
    door.answers["status"] = {**quiet(), "unread": ["names: throttled"], "queues": []}

    said = relay("status").lines[0]

    assert said == "Not all is well: AWS did not answer for names; no queue could be read. Next: relay check"


def test_schedules_that_could_not_be_read_are_not_called_missing(relay: Terminal, door: FakeDoor) -> None:
    door.answers["status"] = {**quiet(schedule=None), "unread": ["schedules: throttled"]}

    assert "Not all is well: AWS did not answer for schedules." in relay("status").lines[0]


def test_an_empty_stack_says_what_to_write_first(relay: Terminal, door: FakeDoor) -> None:
    door.answers["status"] = {**quiet(), "sources": [], "connections": []}

    assert relay("status").lines[0] == "There is no source and no connection yet. Next: relay sources add NAME"
    assert relay("sources", "list").lines == ["There is no source yet. Next: relay sources add NAME"]
    assert relay("connections", "list").lines == ["There is no connection yet. Next: relay connections add NAME"]
    assert relay("exports", "list").lines == ["There is no export yet. Next: relay exports add CONNECTION/EXPORT"]


def test_exports_of_an_unknown_connection_are_not_an_empty_list(relay: Terminal) -> None:
    ended = relay("exports", "list", "newsleter")

    assert (ended.code, "Did you mean newsletter?" in ended.err) == (2, True)


@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)])
def test_somebody_rejected_is_an_exit_code(relay: Terminal, door: FakeDoor, form: tuple[str, ...]) -> None:
    one = {"profile": "p-1", "code": "no_email", "kind": "data", "leaving": False, "since": "2026-11-27T11:00:00Z"}
    door.answers["rejected"] = {"rejected": [{**one, "means": None, "then": "The next run."}], "next": None}
    assert relay("rejected", "newsletter/vip", *form).code == 1

    door.answers["rejected"] = {"rejected": [], "next": None}
    assert relay("rejected", "newsletter/vip", *form).code == 0


def test_an_empty_list_of_rejections_says_what_it_does_not_know(relay: Terminal, door: FakeDoor) -> None:
    door.answers["rejected"] = {"rejected": [], "next": None}

    assert "Next: relay plan newsletter/vip" in relay("rejected", "newsletter/vip").err


@pytest.mark.parametrize("command", ["show", "confirm", "cancel"])
def test_a_dot_where_a_slash_belongs_gets_a_hint(relay: Terminal, door: FakeDoor, command: str) -> None:
    ended = relay("runs", command, "newsletter.vip")

    assert (ended.code, "Did you mean newsletter/vip?" in ended.err, door.asked) == (2, True, [])


def test_nobody_is_asked_about_a_run_that_cannot_be_confirmed(relay: Terminal, door: FakeDoor) -> None:
    door.answers["show"] = run(state="finished")

    ended = relay("runs", "confirm", "01RUN2", keys="yes\n")

    assert (ended.code, "profiles out of" in ended.err) == (1, False)
    assert "It is finished" in ended.err


def test_the_rate_of_a_run_that_began_long_ago_is_that_of_now(relay: Terminal, door: FakeDoor) -> None:
    looks = [
        run(state="running", counts={"selected": 270_000 + 300 * look}, seconds=1800 + 2 * look, share=0.5)
        for look in range(9)
    ]
    shown = iter([*looks, run()])
    door.answers["show"] = lambda _: next(shown)

    said = relay("runs", "show", "01RUN2", "--follow").err

    assert "150/s" in said
    assert "left" not in said


def test_a_time_zone_without_an_expression_is_refused(relay: Terminal, door: FakeDoor) -> None:
    ended = relay("exports", "schedule", "newsletter/vip", "--timezone", "Europe/Berlin")

    assert (ended.code, door.schedules) == (2, {})


@pytest.mark.parametrize("line", [("exports", "test", "newsletter/vip"), ("sources", "test", "crm")])
def test_what_is_written_and_wrong_names_the_edit(relay: Terminal, door: FakeDoor, line: tuple[str, ...]) -> None:
    door.answers["validate"] = {"errors": [{"field": "options", "what": "is wrong", "near": None}], "warnings": []}

    ended = relay(*line)

    assert (ended.code, "Nothing was written" in ended.err) == (1, False)
    assert f"Next: relay {line[0]} edit {line[2]}" in ended.err


def test_a_list_may_be_written_as_json(relay: Terminal, door: FakeDoor) -> None:
    relay("exports", "edit", "newsletter/vip", "--set", 'segments=["crm/vip", "crm/a,b"]')

    assert json.loads(door.exports["newsletter/vip"])["segments"] == ["crm/vip", "crm/a,b"]


@pytest.mark.parametrize(
    ("typed", "held"),
    [
        ("options.tell_again=1", {"options": {"tell_again": 1}}),
        ("options.tell_again=often", {"options": {"tell_again": "often"}}),
        ("options.value_in=true", {"options": {"value_in": "true"}}),
        ("stream=true", {"stream": True}),
        ("description=true", {"description": "true"}),
        ("options.unknown=7", {"options": {"unknown": "7"}}),
        ('only_if="a"', {"only_if": '"a"'}),
    ],
)
def test_a_value_has_the_type_of_its_field(relay: Terminal, door: FakeDoor, typed: str, held: dict[str, Any]) -> None:
    door.exports["product/power"] = json.dumps({"state": "active"})

    relay("exports", "edit", "product/power", "--set", typed)

    assert json.loads(door.exports["product/power"]) == {"state": "active", **held}


def test_a_report_below_a_file_cannot_be_written(relay: Terminal, door: FakeDoor) -> None:
    door.answers["show"] = run()
    (relay.folder / "afile").write_text("x", encoding="utf-8")

    assert relay("runs", "report", "01RUN2", "--html", "afile/x.html").code == 2


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_broken_description_of_the_local_stack_is_said(relay: Terminal, text: str) -> None:
    (relay.folder / ".local").mkdir()
    (relay.folder / ".local/stack.json").write_text(text, encoding="utf-8")

    ended = relay("status", "--local")

    assert (ended.code, "describes no stack" in ended.err) == (2, True)


def test_lines_of_json_say_all_that_the_text_says(relay: Terminal, door: FakeDoor) -> None:
    door.answers["runs"] = {"runs": [], "requested": ["newsletter/vip"]}
    door.answers["segments"] = {**SEGMENTS, "segments": []}
    door.answers["follow"] = following(change(), left_out=3)

    assert relay("runs", "list", "--json").json_lines == [{"requested": "newsletter/vip"}]
    assert relay("segments", "list", "--json").json_lines == [{"never_seen": "crm/typo"}]
    assert relay("send", "crm", "-", "--json", stdin="{}").json_lines[-1] == {"left_out": 3}


def test_the_schedule_of_an_export_is_there_as_json(relay: Terminal, door: FakeDoor) -> None:
    assert relay("exports", "schedule", "newsletter/vip", "--json").json["schedule"] is None
    door.put_schedule("newsletter/vip", "rate(6 hours)", "UTC")

    assert relay("exports", "schedule", "newsletter/vip", "--json").json["schedule"] == {
        "name": "newsletter.vip",
        "expression": "rate(6 hours)",
        "timezone": "UTC",
        "enabled": True,
    }


@pytest.mark.parametrize(("status", "helps"), [(400, "correct the file"), (401, "relay sources test crm")])
def test_a_refused_body_is_the_files_fault(relay: Terminal, door: FakeDoor, status: int, helps: str) -> None:
    door.webhook = Posted(status, "{}", NOW)

    assert f"Next: {helps}" in relay("send", "crm", "-", stdin="{").err


def test_many_changes_are_summed_up(relay: Terminal, door: FakeDoor) -> None:
    changes = [change(position=place, profile=f"p-{place}") for place in range(30)]
    rejected = change(position=30, exports=[at_one("rejected", "bounced")])
    door.answers["follow"] = following(*changes, rejected)

    lines = relay("send", "crm", "-", stdin="{}").lines

    assert lines[0].startswith("how many\tfirst change")
    assert lines[1].startswith("30\t1\t")
    assert lines[-1].startswith("1\t31\tmerged\tnewsletter/vip\trejected\tbounced")


@pytest.mark.parametrize(
    ("obstacle", "code", "helps"),
    [
        ("stopped", 3, "Next: relay check newsletter"),
        ("paused", 3, "Next: relay exports resume newsletter/vip"),
        ("active", 1, None),
        ("replan", 1, None),
    ],
)
def test_what_keeps_a_run_from_starting_is_an_exit_code(
    relay: Terminal, door: FakeDoor, obstacle: str, code: int, helps: str | None
) -> None:
    door.answers["run"] = {"export": "newsletter/vip", "run": None, "obstacle": obstacle, "reason": "so it is"}

    ended = relay("run", "newsletter/vip")

    assert (ended.code, ended.lines) == (
        code,
        ["No run of newsletter/vip started: so it is.", *([] if helps is None else [helps])],
    )


@pytest.mark.parametrize(
    ("export", "code", "helps"),
    [("newsletter/vip", 1, "relay runs list newsletter/vip"), ("product/power", 3, "relay check product")],
)
def test_a_stopped_run_needs_somebody_only_while_something_is_stopped(
    relay: Terminal, door: FakeDoor, export: str, code: int, helps: str
) -> None:
    door.answers["show"] = run(export=export, state="stopped", reason="the export's settings were edited")

    ended = relay("runs", "show", "01RUN2")

    assert (ended.code, ended.lines[-1]) == (code, f"Next: {helps}")


def requested(*runs: Any) -> Any:
    """Answer `runs` with the last run of each look; the first looks have the run of before, and one is requested."""
    looks = iter(runs)

    def answer(_: Any) -> dict[str, Any]:
        found = next(looks)
        return {"runs": [] if found is None else [run(found)], "requested": ["newsletter/vip"]}

    return answer


@pytest.mark.parametrize("before", [None, "01RUN1"])
def test_a_run_that_starts_by_itself_after_an_edit_is_followed(
    relay: Terminal, door: FakeDoor, before: str | None
) -> None:
    edited = {"export": "newsletter/vip", "run": None, "obstacle": "edited", "reason": "it was edited just now"}
    door.answers |= {"run": edited, "runs": requested(before, before, "01RUN2"), "show": run()}

    ended = relay("run", "newsletter/vip", "--follow")

    assert (ended.code, "The run of newsletter/vip is finished" in ended.lines[0]) == (0, True)
    assert "it was edited just now" in ended.err


def test_a_run_that_does_not_start_by_itself_in_time_is_a_time_out(relay: Terminal, door: FakeDoor) -> None:
    edited = {"export": "newsletter/vip", "run": None, "obstacle": "edited", "reason": "it was edited just now"}
    door.answers |= {"run": edited, "runs": {"runs": [], "requested": ["newsletter/vip"]}}

    ended = relay("run", "newsletter/vip", "--follow", "--timeout", "10")

    assert (ended.code, "relay runs list newsletter/vip" in ended.err) == (5, True)
    assert relay("run", "newsletter/vip", "--follow", "--full").code == 1
