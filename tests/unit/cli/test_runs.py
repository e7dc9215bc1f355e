"""`relay run`, `relay runs` and `relay plan`."""

import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.unit.cli.stack_fake import NOW, FakeDoor, RefusedError, Terminal, run, text_of


def test_a_finished_run_says_whom_it_leaves_to_the_next_one(relay: Terminal, door: FakeDoor) -> None:
    door.answers["show"] = run(counts={"selected": 3, "unchanged": 3, "left_to_next_run": 300})
    said = "3 of 3 profiles are as they should be. 300 profiles changed just before it: the next run takes them out."
    assert said in relay("runs", "show", "01RUN2").out


def test_a_run_is_started_and_shown(relay: Terminal, door: FakeDoor) -> None:
    door.answers["run"] = run(state="running")

    ended = relay("run", "newsletter/vip")

    assert door.asked == [("admin", {"ask": "run", "version": 1, "export": "newsletter/vip"})]
    assert (ended.code, ended.lines[0]) == (0, "The run of newsletter/vip goes on: 1,000 profiles so far.")
    assert "rejected because\tprofiles\tmeans\tthen" in ended.out
    assert ended.lines[-1] == "Next: relay runs show 01RUN2 --follow"


def test_a_run_that_sends_everybody_again(relay: Terminal, door: FakeDoor) -> None:
    door.answers["run"] = run(state="running")
    relay("run", "newsletter/vip", "--full")

    assert door.asked[0][1]["full"] is True


def test_a_run_is_followed_to_its_end(relay: Terminal, door: FakeDoor) -> None:
    previous = [before(1000)]
    halfway = {"selected": 500, "delivered": 490, "rejected": 10, "rejected:bounced": 10}
    looks = [
        run(
            state="running",
            counts={**halfway, "selected": 300 + 20 * look},
            previous=previous,
            seconds=1800 + 2 * look,
            share=0.3 + 0.02 * look,
        )
        for look in range(10)
    ]
    shown = iter([*looks, run()])
    door.answers |= {"run": run(state="running"), "show": lambda _: next(shown)}

    ended = relay("run", "newsletter/vip", "--follow")

    assert (ended.code, ended.lines[0]) == (
        0,
        "The run of newsletter/vip is finished: 900 of 1,000 profiles are as they should be.",
    )
    said = [line for line in ended.err.splitlines() if line.startswith("run 01RUN2: ")]
    assert said == [
        "run 01RUN2: 46%, 460 profiles, 10 rejected, 10/s, 54 s left in this phase",
    ]


def test_a_run_that_waits_for_the_destination_says_for_how_many_and_no_rate(relay: Terminal, door: FakeDoor) -> None:
    looks = [
        run(state="running", counts={"selected": 400 + 40 * look, "outstanding": 400}, seconds=2 * look, share=share)
        for look, share in enumerate([0.8] + [1.0] * 9)
    ]
    shown = iter([*looks, run()])
    door.answers["show"] = lambda _: next(shown)

    said = relay("runs", "show", "01RUN2", "--follow").err

    assert "100%, 720 profiles, 400 wait for the destination\n" in said


def test_a_run_is_followed_with_a_bar_on_a_terminal(relay: Terminal, door: FakeDoor) -> None:
    shown = iter([run(state="running", share=0.25), run()])
    door.answers |= {"run": run(state="running"), "show": lambda _: next(shown)}
    ended = relay("run", "newsletter/vip", "--follow", terminal=True)

    assert "25%" in ended.err
    assert "25%" not in ended.out


def test_following_too_long_is_a_time_out_and_the_run_goes_on(relay: Terminal, door: FakeDoor) -> None:
    door.answers |= {"run": run(state="running"), "show": run(state="running")}

    ended = relay("run", "newsletter/vip", "--follow", "--timeout", "10")

    assert (ended.code, ended.out) == (5, "")
    assert "Run 01RUN2 goes on." in ended.err


def test_ctrl_c_while_following_does_not_end_the_run(relay: Terminal, door: FakeDoor) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    relay.on_sleep = interrupt
    door.answers |= {"run": run(state="running"), "show": run(state="running")}
    ended = relay("run", "newsletter/vip", "--follow")

    assert ended.code == 130
    assert ended.err.splitlines()[-1] == "interrupted; nothing is half-done"
    assert [question["ask"] for _, question in door.asked] == ["run", "show"]


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("finished", 0),
        ("needs-confirmation", 3),
        ("stopped", 1),
        ("many-rejected", 1),
        ("refused", 1),
        ("cancelled", 1),
    ],
)
def test_how_a_run_ended_is_the_exit_code(relay: Terminal, door: FakeDoor, state: str, code: int) -> None:
    door.answers["show"] = run(state=state, reason="so it is")

    ended = relay("runs", "show", "01RUN2")

    assert ended.code == code
    assert state == "finished" or "(so it is)" in ended.lines[0]


def test_every_export_without_a_schedule_is_started(relay: Terminal, door: FakeDoor) -> None:
    not_started = {
        "export": "newsletter/trial",
        "run": None,
        "obstacle": "paused",
        "reason": "the export is paused",
    }
    door.answers["run_all"] = {"started": [run(), run("01RUN3", export="product/power")], "not_started": [not_started]}

    ended = relay("run", "--all")

    assert ended.code == 1
    assert ended.lines == [
        "newsletter/vip: run 01RUN2 started.",
        "product/power: run 01RUN3 started.",
        "newsletter/trial: the export is paused.",
    ]


@pytest.mark.parametrize("line", [["run"], ["run", "newsletter/vip", "--all"], ["run", "--all", "--full"]])
def test_a_run_names_one_export_or_all(relay: Terminal, door: FakeDoor, line: list[str]) -> None:
    assert relay(*line).code == 2
    assert door.asked == []


def test_runs_are_listed(relay: Terminal, door: FakeDoor) -> None:
    door.answers["runs"] = {"runs": [run(), run("01RUN1", state="cancelled")]}

    ended = relay("runs", "list", "newsletter/vip", "--limit", "2")

    assert door.asked[0][1] == {"ask": "runs", "version": 1, "export": "newsletter/vip", "limit": 2}
    assert ended.lines[1] == "01RUN2\tnewsletter/vip\tfinished\t10 min ago\t6 min\t1,000\t600\t300\t80\t5"
    assert [one["state"] for one in relay("runs", "list", "--json").json_lines] == ["finished", "cancelled"]


def test_a_table_that_is_wider_than_the_terminal_is_shown_row_below_row(relay: Terminal, door: FakeDoor) -> None:
    door.answers["runs"] = {"runs": [run(), run("01RUN1", state="cancelled")]}
    relay.environment |= {"COLUMNS": "60", "TERM": "xterm"}
    narrow = words(relay("runs", "list", terminal=True).out)
    relay.environment["COLUMNS"] = "160"
    wide = words(relay("runs", "list", terminal=True).out)

    assert narrow[:3] == [["01RUN2"], ["export", "newsletter/vip"], ["state", "finished"]]
    assert wide[0][:3] == ["run", "export", "state"]


def words(shown: str) -> list[list[str]]:
    """Return the words of each line, without what makes them bold or coloured."""
    return [line.split() for line in re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()]


def test_an_export_stands_for_its_last_run(relay: Terminal, door: FakeDoor) -> None:
    door.answers |= {"runs": {"runs": [run("01RUN9")]}, "show": lambda question: run(question["run"])}

    assert relay("runs", "show", "newsletter/vip", "--json").json["run"] == "01RUN9"


def test_an_export_without_a_run_says_how_to_start_one(relay: Terminal, door: FakeDoor) -> None:
    door.answers["runs"] = {"runs": []}

    ended = relay("runs", "show", "newsletter/vip")

    assert (ended.code, "Next: relay run newsletter/vip" in ended.err) == (1, True)


class Confirming:
    """A run that waits, as the stack holds it."""

    def __init__(self, door: FakeDoor) -> None:
        self.state = "needs-confirmation"
        door.answers |= {"show": lambda _: self._shown(), "confirm": self._confirm, "cancel": self._cancel}

    def _shown(self) -> dict[str, Any]:
        return run(state=self.state, counts={"selected": 10, "leaving": 1200, "changed": 34})

    def _confirm(self, _: Mapping[str, Any]) -> dict[str, Any]:
        if self.state != "needs-confirmation":
            return {"done": False, "reason": f"run 01RUN2 is {self.state}"}
        self.state = "running"
        return {"done": True, "reason": None}

    def _cancel(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self.state = "cancelled"
        return {"done": True, "reason": None}


def test_a_run_is_confirmed_by_a_person(relay: Terminal, door: FakeDoor) -> None:
    waiting = Confirming(door)

    ended = relay("runs", "confirm", "01RUN2", keys="y\n")

    assert "Take up to 1,234 profiles out of newsletter/vip at the destination?" in ended.err
    assert (ended.code, waiting.state) == (0, "running")


@pytest.mark.parametrize("keys", ["n\n", "\n", ""])
def test_a_run_is_not_confirmed_without_a_yes(relay: Terminal, door: FakeDoor, keys: str) -> None:
    waiting = Confirming(door)

    assert relay("runs", "confirm", "01RUN2", keys=keys).code == 3
    assert waiting.state == "needs-confirmation"


def test_a_run_is_not_confirmed_where_nobody_is_there(relay: Terminal, door: FakeDoor) -> None:
    waiting = Confirming(door)

    ended = relay("runs", "confirm", "01RUN2")

    assert (ended.code, waiting.state) == (3, "needs-confirmation")
    assert "Next: relay runs confirm 01RUN2 --yes" in ended.err


def test_what_cannot_be_confirmed_says_why(relay: Terminal, door: FakeDoor) -> None:
    Confirming(door).state = "finished"

    ended = relay("runs", "confirm", "01RUN2", "--yes")

    assert (ended.code, "It is finished: only a run that needs confirmation can be confirmed." in ended.err) == (
        1,
        True,
    )


def test_a_run_is_cancelled(relay: Terminal, door: FakeDoor) -> None:
    waiting = Confirming(door)

    assert relay("runs", "cancel", "01RUN2").code == 0
    assert waiting.state == "cancelled"


@pytest.mark.parametrize("requested", [False, True])
def test_cancelling_says_what_was_done_what_is_left_and_what_happens_next(
    relay: Terminal, door: FakeDoor, requested: bool
) -> None:
    door.answers["cancel"] = {"done": True, "reason": None, "removed": 210, "left": 90, "requested": requested}

    ended = relay("runs", "cancel", "01RUN2")

    assert ended.lines[:3] == [
        "Run 01RUN2 is cancelled.",
        "Taken out: 210. Still there of those who were to leave: 90.",
        "The next run waits for a confirmation before it takes anybody out, however few are left.",
    ]
    assert ("is requested" in ended.lines[3]) is requested


NONE: Mapping[str, Any] = {"join": [], "change": [], "leave": [], "rejected": []}


def planning(question: Mapping[str, Any]) -> dict[str, Any]:
    """Two pages of a plan."""
    first = question.get("after") is None
    return {
        "settings": 17,
        "counts": {"selected": 500, "join": 4, "change": 3, "leave": 2, "unchanged": 480, "rejected:bounced": 11},
        "first": {
            "join": ["p-1" if first else "p-2"],
            "change": [],
            "leave": ["p-3"],
            "rejected": [["p-4", "bounced"]],
        },
        "assigned_before": 700,
        "obstacles": ["the connection is stopped (unpaid)"] if first else [],
        "next": "00ff" * 8 if first else None,
    }


def test_a_plan_adds_its_pages_up_and_writes_nothing(relay: Terminal, door: FakeDoor) -> None:
    door.answers["plan"] = planning

    ended = relay("plan", "newsletter/vip")

    assert ended.code == 0
    assert (
        ended.lines[0] == "A run of newsletter/vip would change something: 8 join, 6 change, 4 leave. Nothing was sent."
    )
    assert "selected\t1,000\tprofiles in the segments" in ended.lines
    assert "rejected:bounced\t22\trelay codes bounced" in ended.lines
    assert [line for line in ended.lines if line.startswith("join\tp-")] == ["join\tp-1\t", "join\tp-2\t"]
    assert "A run would not start now: the connection is stopped (unpaid)." in ended.lines
    assert {question["ask"] for _, question in door.asked} == {"plan"}


def test_a_plan_says_by_its_exit_code_that_there_are_changes(relay: Terminal, door: FakeDoor) -> None:
    door.answers["plan"] = planning
    changing = relay("plan", "newsletter/vip", "--exit-code", "--json")
    door.answers["plan"] = {"settings": 17, "counts": {"selected": 5, "unchanged": 5}, "first": NONE, "next": None}
    same = relay("plan", "newsletter/vip", "--exit-code")

    assert (changing.code, changing.json["counts"]["join"]) == (10, 8)
    assert (same.code, same.lines[0]) == (0, "A run of newsletter/vip would change nothing.")


def test_a_plan_is_made_again_when_the_settings_change_in_the_middle(relay: Terminal, door: FakeDoor) -> None:
    pages = iter([17, 18, 18, 18])

    def answer(question: Mapping[str, Any]) -> dict[str, Any]:
        return {**planning(question), "settings": next(pages)}

    door.answers["plan"] = answer

    found = relay("plan", "newsletter/vip", "--json").json
    assert (found["settings"], found["counts"]["selected"]) == (18, 1000)


def test_a_plan_as_markdown(relay: Terminal, door: FakeDoor) -> None:
    door.answers["plan"] = planning

    lines = relay("plan", "newsletter/vip", "--format", "md").lines
    assert lines[:2] == ["## Plan of `newsletter/vip`", ""]
    assert lines[2] == "A run would not start now: the connection is stopped (unpaid)."
    assert lines[4:6] == ["| what | profiles | means |", "|---|---:|---|"]
    assert "| leave | `p-3` |  |" in lines


def test_a_plan_in_a_file_confirms_a_run(relay: Terminal, door: FakeDoor) -> None:
    door.answers |= {"plan": planning, "run": run(state="running")}
    relay("plan", "newsletter/vip", "--out", "plan.json")

    ended = relay("run", "newsletter/vip", "--plan", "plan.json")

    assert ended.code == 0
    assert door.asked[-1][1]["planned"] == {"settings": 17, "leaving": 4}
    assert json.loads((relay.folder / "plan.json").read_text())["made_at"] == "2026-11-27T12:00:00+00:00"


def test_a_plan_of_another_export_and_what_is_no_plan_are_refused(relay: Terminal, door: FakeDoor) -> None:
    door.answers["plan"] = planning
    relay("plan", "newsletter/vip", "--out", "plan.json")
    (relay.folder / "odd.json").write_text("[]")

    other = relay("run", "newsletter/trial", "--plan", "plan.json")
    odd = relay("run", "newsletter/vip", "--plan", "odd.json")
    missing = relay("run", "newsletter/vip", "--plan", "missing.json")

    assert [other.code, odd.code, missing.code] == [2, 2, 2]
    assert "run" not in {question["ask"] for _, question in door.asked}


def test_a_refusal_of_the_stack_says_all_that_is_wrong(relay: Terminal, door: FakeDoor) -> None:
    def answer(_: Mapping[str, Any]) -> Any:
        errors = [
            {"field": "export", "what": "there is no such export", "near": "newsletter/vip"},
            {"field": "first", "what": "must be 1 to 100", "near": None},
        ]
        raise RefusedError(code="unknown_export", what="export: there is no such export", field="export", errors=errors)

    door.answers["plan"] = answer
    ended = relay("plan", "newsletter/vpi")

    assert ended.code == 1
    assert ended.err.splitlines() == [
        "The stack refuses this (unknown_export).",
        "  export: there is no such export (did you mean newsletter/vip?)",
        "  first: must be 1 to 100",
        "Next: Nothing was done.",
    ]
    as_json = json.loads(relay("plan", "newsletter/vpi", "--json").err)
    assert as_json["error"]["errors"][0]["near"] == "newsletter/vip"


class Page(HTMLParser):
    """Tags and texts of a report."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def reported(relay: Terminal, door: FakeDoor, **more: Any) -> Page:
    door.answers["show"] = run(**more)
    assert relay("runs", "report", "01RUN2", "--html", "report.html").code == 0
    return Page((relay.folder / "report.html").read_text())


def before(selected: int) -> dict[str, Any]:
    return {
        "run": f"01RUN{selected}",
        "state": "finished",
        "started_at": text_of(NOW),
        "ended_at": text_of(NOW),
        "counts": {"selected": selected},
    }


FULL: Mapping[str, Any] = {
    "progress": [[text_of(NOW), 0], ["2026-11-27T12:05:00Z", 700], ["2026-11-27T12:10:00Z", 995]],
    "limits": [
        {"what": "ActiveCampaign", "calls": 5, "seconds": 1, "a_day": 20_000, "used_today": 5_000},
        {"what": "imports", "calls": 100, "seconds": 60, "a_day": None, "used_today": None},
    ],
    "previous": [before(0), before(1)],
    "codes": [
        {"code": "bounced", "means": "mail bounces", "then": "tried again daily"},
        {"code": "no_email", "means": "has no address", "then": "tried by every look"},
    ],
}


def test_a_report_shows_the_flow_the_progress_the_calls_the_reasons_and_the_runs_before(
    relay: Terminal, door: FakeDoor
) -> None:
    page = reported(relay, door, **FULL)

    shown = " ".join(page.texts)
    for text in ("What became of everybody", "rejected: bounced", "600", "60.0 %", "How far it got", "12 calls"):
        assert text in shown
    assert "0.7 % of the limit of ActiveCampaign (5 in 1 s)" in shown
    for text in ("mail bounces", "tried again daily", "has no address", "this one", "outstanding"):
        assert text in shown
    assert "25.0 % of the calls of a day of ActiveCampaign" in shown
    # The flow and the progress, each for wide and narrow screens; three meters; three bars and five keys of columns.
    assert page.tags.count("svg") == 4 + 3 + 3 + 5


def test_a_report_needs_nothing_from_elsewhere_and_runs_nothing(relay: Terminal, door: FakeDoor) -> None:
    odd = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    codes = [{"code": "bounced", "means": odd, "then": odd}]
    page = reported(relay, door, export=odd, reason=odd, cause=odd, codes=codes, previous=[{**before(3), "run": odd}])

    assert page.addresses == []
    assert {"script", "img", "link", "iframe", "object"}.isdisjoint(page.tags)
    text = (relay.folder / "report.html").read_text()
    assert not re.search(r"url\(|@import|https?:", text)


def test_a_report_of_a_run_that_selected_nobody_and_goes_on(relay: Terminal, door: FakeDoor) -> None:
    page = reported(relay, door, state="running", counts={})

    assert "Nobody was selected." in page.texts
    assert "svg" not in page.tags


def test_a_report_of_leavers(relay: Terminal, door: FakeDoor) -> None:
    page = reported(
        relay, door, counts={"selected": 5, "unchanged": 5, "leaving": 10, "removed": 7, "kept": 2, "returned": 1}
    )

    assert "Who leaves: 10" in page.texts


def test_a_report_names_the_most_frequent_reasons_and_adds_the_others_up(relay: Terminal, door: FakeDoor) -> None:
    reasons = {f"rejected:code_{n}": 10 * n for n in range(1, 10)}
    page = reported(relay, door, counts={"selected": 450, "rejected": 450, **reasons})

    assert "rejected: code_9" in page.texts
    assert "rejected: code_3" not in page.texts
    assert "rejected: other reasons" in page.texts


def test_a_report_goes_to_standard_output(relay: Terminal, door: FakeDoor) -> None:
    door.answers["show"] = run()

    assert relay("runs", "report", "01RUN2", "--html", "-").out.startswith("<!doctype html>")


def test_a_report_that_cannot_be_written_leaves_nothing(relay: Terminal, door: FakeDoor) -> None:
    door.answers["show"] = run()

    assert relay("runs", "report", "01RUN2", "--html", "no/such/folder.html").code == 2
    assert list(relay.folder.iterdir()) == []
