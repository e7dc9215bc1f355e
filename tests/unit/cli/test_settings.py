"""`relay sources`, `connections` and `exports`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from relay_cli.door import Schedule
from relay_cli.failures import AwsRefused
from tests.unit.cli.stack_fake import STOP, FakeDoor, Terminal, run

NEW_SOURCE = {"dialect": "relay-json", "auth": "bearer", "secret": "typed-secret", "profile_key": "identities.crm"}


def test_settings_are_listed_with_their_state(relay: Terminal) -> None:
    assert relay("sources", "list").lines[2].startswith("crm\tvalid\t3 min ago\t42.0\t1,100\t90\t3\t7")
    assert (
        "product\tgainsight_px\tProduct experience\tstopped\t1\tthe account is unpaid"
        in relay("connections", "list").lines
    )
    assert [one["key"] for one in relay("exports", "list", "--json").json_lines] == [
        "newsletter/vip",
        "newsletter/trial",
        "product/power",
    ]
    assert len(relay("exports", "list", "product").lines) == 3


@pytest.mark.parametrize(
    ("line", "secret"),
    [(["sources", "show", "crm"], "s3cret-token"), (["connections", "show", "newsletter"], "k3y")],
)
def test_secrets_are_shown_only_when_asked_for(relay: Terminal, line: list[str], secret: str) -> None:
    masked, shown, as_json = relay(*line), relay(*line, "--show-secrets"), relay(*line, "--json")

    assert (masked.code, secret in masked.out, "********" in masked.out) == (0, False, True)
    assert secret in shown.out
    assert secret not in as_json.out


def test_an_export_is_shown_with_its_schedule(relay: Terminal, door: FakeDoor) -> None:
    by_default = relay("exports", "show", "newsletter/vip")
    door.schedules["newsletter/vip"] = Schedule("newsletter.vip", "rate(6 hours)", "UTC", enabled=False)
    own = relay("exports", "show", "newsletter/vip")

    assert "schedule\tthe default schedule" in by_default.lines
    assert "segments\tcrm/vip, crm/trial" in own.lines
    assert 'options\t{"list_id": "7", "on_exit": "keep"}' in own.lines
    assert "schedule\trate(6 hours) UTC (disabled)" in own.lines
    assert relay("exports", "show", "newsletter/vip", "--json").json["state"] == "active"


@pytest.mark.parametrize(
    ("line", "near"),
    [
        (["sources", "show", "crn"], "Did you mean crm?"),
        (["connections", "show", "newsletr"], "Did you mean newsletter?"),
        (["exports", "show", "newsletter/vpi"], "Did you mean newsletter/vip"),
        (["exports", "show", "newsletter.vip"], "Did you mean newsletter/vip?"),
        (["exports", "add", "newslettr/new"], "Did you mean newsletter?"),
        (["queues", "redrive", "change-dlq"], "Did you mean changes-dlq"),
    ],
)
def test_unknown_names_suggest_near_ones(relay: Terminal, line: list[str], near: str) -> None:
    ended = relay(*line)

    assert (ended.code, near in ended.err) == (2, True)


@pytest.mark.parametrize("name", ["Shop", "-shop", "a/b", "x" * 64])
def test_what_nothing_can_be_called_is_refused(relay: Terminal, name: str) -> None:
    ended = relay("sources", "add", "--set", "dialect=relay-json", "--", name)

    assert (ended.code, "is no name" in ended.err) == (2, True)


def test_a_source_is_asked_for_field_by_field(relay: Terminal, door: FakeDoor) -> None:
    ended = relay("sources", "add", "web", keys="relay-json\nbearer\ntyped-secret\nidentities.crm\n")

    assert ended.code == 0
    assert door.secrets["sources/web"] == NEW_SOURCE
    assert "dialect: What dialect is. One of adobe-http, relay-json." in ended.err
    assert "secret (not shown):" in ended.err
    assert "https://api.example.com/v1/webhooks/web" in ended.err


def test_a_source_is_written_from_options_and_a_secret_from_standard_input(relay: Terminal, door: FakeDoor) -> None:
    line = ["sources", "add", "web", "--set", "dialect=relay-json", "--set", "auth=bearer"]
    ended = relay(*line, "--set", "profile_key=identities.crm", "--secret-file", "-", stdin="typed-secret\n")

    assert ended.code == 0
    assert door.secrets["sources/web"] == NEW_SOURCE
    assert "typed-secret" not in ended.out + ended.err


def test_a_secret_is_no_argument(relay: Terminal, door: FakeDoor) -> None:
    ended = relay("sources", "add", "web", "--set", "secret=abc")

    assert (ended.code, "sources/web" in door.secrets) == (2, False)
    assert "Next: --secret-file FILE" in ended.err


def refusing(question: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse whatever has no profile key or mapping."""
    missing = [name for name in ("profile_key", "mapping", "api_host") if name not in question["document"]]
    wanted = {"source": "profile_key", "export": "mapping", "connection": "api_host"}[question["kind"]]
    errors = [{"field": wanted, "what": "is missing", "near": "profilekey"}] if wanted in missing else []
    never_seen = {"field": "segments", "what": "never seen", "near": None}
    return {"errors": errors, "warnings": [never_seen, {**never_seen, "field": "account", "what": "is new"}]}


def test_nothing_is_written_that_the_stack_refuses(relay: Terminal, door: FakeDoor) -> None:
    door.answers["validate"] = refusing
    before = dict(door.secrets)

    ended = relay("sources", "add", "web", "--set", "dialect=relay-json")

    assert ended.code == 1
    assert door.secrets == before
    assert ended.err.splitlines()[:3] == [
        "The source web cannot be written so.",
        "Nothing was written. All that is wrong:",
        "  profile_key: is missing (did you mean profilekey?)",
    ]


def test_what_is_there_already_is_not_overwritten(relay: Terminal, door: FakeDoor) -> None:
    assert relay("sources", "add", "crm", "--set", "auth=bearer").code == 2
    assert relay("exports", "add", "newsletter/vip", "--set", "state=paused").code == 2
    assert relay("exports", "duplicate", "newsletter/vip", "newsletter/trial").code == 2
    assert door.secrets["sources/crm"]["secret"] == "s3cret-token"


def test_a_connection_is_asked_for_what_its_destination_needs(relay: Terminal, door: FakeDoor) -> None:
    keys = "Mails\nI agree\nx.api-us1.com\nthe-key\n"
    ended = relay("connections", "add", "mails", "--destination", "activecampaign", keys=keys)

    assert ended.code == 0
    assert door.secrets["connections/mails"] == {
        "destination": "activecampaign",
        "display_name": "Mails",
        "privacy_consent": "I agree",
        "api_host": "x.api-us1.com",
        "api_key": "the-key",
    }


def test_several_secrets_come_as_one_object(relay: Terminal, door: FakeDoor) -> None:
    (relay.folder / "fields.json").write_text('{"display_name": "Px", "region": "us"}')
    line = ["connections", "add", "px", "--destination", "gainsight_px", "--consent", "--from", "fields.json"]

    assert relay(*line, "--secret-file", "-", stdin='{"api_key": "a", "region": "eu"}').code == 2
    assert relay(*line, "--secret-file", "-", stdin='{"api_key": "a"}').code == 0
    assert door.secrets["connections/px"]["api_key"] == "a"
    assert door.secrets["connections/px"]["privacy_consent"] == "I agree"


def test_an_edit_changes_what_it_names(relay: Terminal, door: FakeDoor) -> None:
    assert (
        relay("connections", "edit", "newsletter", "--set", "api_host=y.api-us1.com", "--unset", "display_name").code
        == 0
    )
    assert relay("connections", "edit", "product", "--secret-file", "-", stdin="new-key").code == 0

    assert "display_name" not in door.secrets["connections/newsletter"]
    assert door.secrets["connections/newsletter"]["api_host"] == "y.api-us1.com"
    assert door.secrets["connections/newsletter"]["api_key"] == "k3y"
    assert door.secrets["connections/product"]["api_key"] == "new-key"


def test_an_editor_never_sees_a_secret(relay: Terminal, door: FakeDoor) -> None:
    seen: list[str] = []

    def edit(text: str) -> str:
        seen.append(text)
        return text.replace("x.api-us1.com", "z.api-us1.com")

    relay.edits = edit
    ended = relay("connections", "edit", "newsletter", keys="")

    assert ended.code == 0
    assert '"api_key": "(unchanged)"' in seen[0]
    assert door.secrets["connections/newsletter"]["api_key"] == "k3y"
    assert door.secrets["connections/newsletter"]["api_host"] == "z.api-us1.com"


@pytest.mark.parametrize(("text", "code"), [(None, 3), ("no json", 2), ("[]", 2)])
def test_an_edit_that_changes_nothing_or_is_no_object_writes_nothing(
    relay: Terminal, door: FakeDoor, text: str | None, code: int
) -> None:
    before = dict(door.exports)
    relay.edits = lambda given: given if text is None else text

    assert relay("exports", "edit", "newsletter/vip", keys="").code == code
    assert relay("exports", "edit", "newsletter/vip").code == 3
    assert door.exports == before


def test_what_is_written_down_is_tested(relay: Terminal, door: FakeDoor) -> None:
    door.answers["validate"] = refusing

    source, export = relay("sources", "test", "crm"), relay("exports", "test", "newsletter/vip")

    assert source.lines == ["The source crm is well."]
    assert source.err.splitlines() == ["warning: segments: never seen", "warning: account: is new"]
    assert (export.code, export.err.splitlines()[0]) == (0, "warning: segments: never seen")
    assert [question["looks"] for _, question in door.asked if question["ask"] == "validate"] == [True, True]


def test_a_source_shows_what_it_would_take_of_a_file(relay: Terminal, door: FakeDoor, tmp_path: Path) -> None:
    change = {
        "rejected": None,
        "profile": "p-1",
        "identities": ["crm"],
        "attributes": ["email"],
        "memberships": [{"segment": "crm/vip", "realized": True, "at": "2026-11-22T09:30:00Z"}],
        "forget": False,
    }
    answer = {
        "accepted": 1,
        "rejected": 0,
        "ignored_memberships": 2,
        "ignored": {"unknown_event": 3},
        "left_out": 0,
        "left_out_parts": [],
        "changes": [change],
    }
    door.answers["take"] = answer
    (tmp_path / "body.json").write_text("{}")
    shown = relay("sources", "test", "crm", "body.json")
    assert shown.code == 0
    assert "in crm/vip at 2026-11-22T09:30:00Z" in shown.out
    assert "unknown_event 3, memberships 2" in shown.out
    door.answers["take"] = {**answer, "rejected": 1}
    assert relay("sources", "test", "crm", "body.json").code == 1


def test_a_connection_is_tested_and_probed(relay: Terminal, door: FakeDoor) -> None:
    stopped = [{**STOP, "subject": "export product/power"}]
    door.answers["probe"] = {"connection": "product", "restarted": ["connection product"], "stopped": stopped}

    tested, probed = relay("connections", "test", "product"), relay("connections", "test", "product", "--probe")

    assert (tested.code, tested.lines) == (0, ["All is well."])
    assert (probed.code, probed.lines[0]) == (3, "connection product goes on.")
    assert "export product/power\tunpaid\tthe account is unpaid" in probed.lines
    door.answers["probe"] = {"connection": "product", "restarted": [], "stopped": []}
    assert relay("connections", "test", "product", "--probe").lines == ["Nothing is stopped."]


def test_a_source_is_removed_once_somebody_agrees(relay: Terminal, door: FakeDoor) -> None:
    assert relay("sources", "remove", "shop").code == 3
    assert relay("sources", "remove", "shop", keys="n\n").code == 3
    assert "sources/shop" in door.secrets

    ended = relay("sources", "remove", "shop", keys="y\n")
    assert (ended.code, "sources/shop" in door.secrets) == (0, False)
    assert "Stays: its profiles" in ended.err


def test_a_connection_with_exports_is_not_removed(relay: Terminal, door: FakeDoor) -> None:
    held = relay("connections", "remove", "newsletter", "--yes")
    free = relay("connections", "remove", "product", "--yes")

    assert (held.code, "Next: relay exports remove newsletter/trial" in held.err) == (1, True)
    assert free.code == 0
    assert sorted(door.secrets) == ["connections/newsletter", "sources/crm", "sources/shop"]


def test_an_export_is_written_with_lists_objects_and_dotted_fields(relay: Terminal, door: FakeDoor) -> None:
    given = {
        "segments": "crm/vip, crm/trial",
        "mapping.email": "attributes.email",
        "mapping.fields.4": "attributes.plan",
        "options.list_id": "12",
        "options.exclude_automations": "true",
    }
    line = [part for name, value in given.items() for part in ("--set", f"{name}={value}")]
    ended = relay("exports", "add", "newsletter/new", *line)

    assert ended.code == 0
    assert json.loads(door.exports["newsletter/new"]) == {
        "state": "active",
        "segments": ["crm/vip", "crm/trial"],
        "mapping": {"email": "attributes.email", "fields.4": "attributes.plan"},
        "options": {"list_id": "12", "exclude_automations": True},
    }
    assert "Next: relay plan newsletter/new" in ended.err


def test_an_export_is_asked_for_what_its_destination_needs(relay: Terminal, door: FakeDoor) -> None:
    assert relay("exports", "add", "newsletter/new", keys="crm/vip\nattributes.email\n12\n").code == 0

    assert json.loads(door.exports["newsletter/new"]) == {
        "state": "active",
        "segments": ["crm/vip"],
        "mapping": {"email": "attributes.email"},
        "options": {"list_id": "12"},
    }


def test_an_export_is_changed_paused_resumed_and_duplicated(relay: Terminal, door: FakeDoor) -> None:
    assert (
        relay(
            "exports", "edit", "newsletter/vip", "--set", "options.on_exit=unsubscribe", "--unset", "options.list_id"
        ).code
        == 0
    )
    assert json.loads(door.exports["newsletter/vip"])["options"] == {"on_exit": "unsubscribe"}

    assert relay("exports", "pause", "newsletter/vip").code == 0
    assert json.loads(door.exports["newsletter/vip"])["state"] == "paused"
    assert relay("exports", "pause", "newsletter/vip").lines == ["The export newsletter/vip is paused already."]
    assert relay("exports", "resume", "newsletter/vip").code == 0
    assert json.loads(door.exports["newsletter/vip"])["state"] == "active"

    assert relay("exports", "duplicate", "newsletter/vip", "newsletter/copy", "--set", "options.list_id=9").code == 0
    copy = json.loads(door.exports["newsletter/copy"])
    assert (copy["state"], copy["options"]["list_id"], copy["segments"]) == ("paused", "9", ["crm/vip", "crm/trial"])


def test_an_export_that_is_no_object_says_so(relay: Terminal, door: FakeDoor) -> None:
    door.exports["newsletter/vip"] = "not json"

    assert relay("exports", "show", "newsletter/vip").code == 1


@pytest.mark.parametrize("text", ["options", "=x"])
def test_an_assignment_has_a_field_and_a_value(relay: Terminal, text: str) -> None:
    assert relay("exports", "edit", "newsletter/vip", "--set", text).code == 2


def test_an_export_has_a_schedule_of_its_own(relay: Terminal, door: FakeDoor) -> None:
    line = ["exports", "schedule", "newsletter/vip"]

    assert "has no schedule of its own" in relay(*line).out
    assert relay(*line, "cron(0 4 * * ? *)", "--timezone", "Europe/Berlin").code == 0
    assert door.schedules["newsletter/vip"] == Schedule(
        "newsletter.vip", "cron(0 4 * * ? *)", "Europe/Berlin", enabled=True
    )
    assert "runs at cron(0 4 * * ? *) Europe/Berlin." in relay(*line).out
    door.answers["validate"] = {
        "errors": [{"field": "timezone", "what": "there is no time zone Europe/Berln", "near": "Europe/Berlin"}],
        "warnings": [],
    }
    wrong = relay(*line, "cron(0 4 * * ? *)", "--timezone", "Europe/Berln")
    assert (wrong.code, "Europe/Berlin" in wrong.err) == (1, True)
    assert door.schedules["newsletter/vip"].timezone == "Europe/Berlin"
    assert relay(*line, "--remove").code == 0
    assert (door.schedules, relay(*line, "--remove").code) == ({}, 2)


def test_an_export_is_removed_with_its_schedule(relay: Terminal, door: FakeDoor) -> None:
    door.put_schedule("newsletter/vip", "rate(6 hours)", "UTC")
    kept = relay("exports", "remove", "newsletter/vip", keys="n\n")
    assert (kept.code, sorted(door.exports)) == (3, ["newsletter/trial", "newsletter/vip"])

    ended = relay("exports", "remove", "newsletter/vip", "--yes")

    assert (ended.code, sorted(door.exports), door.schedules) == (0, ["newsletter/trial"], {})
    assert "Everybody whom the export brought to the destination stays there." in ended.err


class Emptying:
    """What runs of newsletter/vip come to once nobody fits."""

    def __init__(self, door: FakeDoor, *, kept: int = 0, ended: str = "finished") -> None:
        self.door = door
        self.kept = kept
        self.starts = iter([None, "01RUN5"])
        self.states = iter(["running", "needs-confirmation", "running", ended])
        self.confirmed = False
        door.answers |= {
            "run": self._run,
            "runs": {"runs": [run("01RUN4")]},
            "show": self._show,
            "confirm": self._confirm,
        }

    def _run(self, _: Mapping[str, Any]) -> dict[str, Any]:
        assert json.loads(self.door.exports["newsletter/vip"])["only_if"] == "`false`"
        started = next(self.starts)
        if started is None:
            return {
                "export": "newsletter/vip",
                "run": None,
                "obstacle": "edited",
                "reason": "the export was edited just now",
            }
        return run(started, state="running")

    def _show(self, question: Mapping[str, Any]) -> dict[str, Any]:
        counts = {"selected": 0, "leaving": 900, "removed": 900 - self.kept, "kept": self.kept}
        return run(question["run"], state=next(self.states), counts=counts)

    def _confirm(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self.confirmed = True
        return {"done": True, "reason": None}


def leaving(door: FakeDoor, on_exit: str = "unsubscribe") -> None:
    document = json.loads(door.exports["newsletter/vip"])
    door.exports["newsletter/vip"] = json.dumps({**document, "options": {"list_id": "7", "on_exit": on_exit}})


def test_members_are_taken_out_before_an_export_is_removed(relay: Terminal, door: FakeDoor) -> None:
    leaving(door)
    emptying = Emptying(door)

    ended = relay("exports", "remove", "newsletter/vip", "--take-members-out", keys="y\n")

    assert (ended.code, emptying.confirmed, sorted(door.exports)) == (0, True, ["newsletter/trial"])
    assert ended.lines == ["The export newsletter/vip is removed. 900 profiles were taken out."]
    assert "leaves it first (on_exit is unsubscribe)" in ended.err


@pytest.mark.parametrize(("kept", "ended"), [(3, "finished"), (0, "stopped"), (0, "cancelled")])
def test_an_export_stays_while_somebody_is_still_there(relay: Terminal, door: FakeDoor, kept: int, ended: str) -> None:
    leaving(door)
    Emptying(door, kept=kept, ended=ended)

    assert relay("exports", "remove", "newsletter/vip", "--take-members-out", "--yes").code == 1
    assert "newsletter/vip" in door.exports


def test_a_run_of_before_is_not_taken_for_the_one_that_takes_everybody_out(relay: Terminal, door: FakeDoor) -> None:
    """Given a run under older settings and a clock here that is slow, Then the export stays."""
    leaving(door)
    emptying = Emptying(door)
    emptying.starts = iter([None] * 1000)
    door.answers["runs"] = {"runs": [run("01RUN4", started_at="2099-01-01T00:00:00Z", settings=1732690000000)]}
    ended = relay("exports", "remove", "newsletter/vip", "--take-members-out", "--yes")
    assert (ended.code, "newsletter/vip" in door.exports) == (5, True)


def test_whoever_may_start_no_run_empties_nothing(relay: Terminal, door: FakeDoor) -> None:
    leaving(door)
    Emptying(door)
    before = dict(door.exports)
    door.denied["admin"] = AwsRefused("AWS refused lambda:InvokeFunction.")
    assert relay("exports", "remove", "newsletter/vip", "--take-members-out", "--yes").code == 4
    assert door.exports == before


def test_an_export_that_is_no_json_can_be_mended_and_removed(relay: Terminal, door: FakeDoor) -> None:
    good = door.exports["newsletter/vip"]
    door.exports["newsletter/vip"] = "{"
    assert relay("exports", "edit", "newsletter/vip", "--set", "state=paused").code == 1
    assert relay("exports", "edit", "newsletter/vip", "--from", "-", stdin=good).code == 0
    assert json.loads(door.exports["newsletter/vip"]) == json.loads(good)
    door.exports["newsletter/vip"] = "{"
    assert relay("exports", "remove", "newsletter/vip", "--yes").code == 0
    assert "newsletter/vip" not in door.exports


def test_secrets_of_a_misspelt_destination_are_shown_to_nobody(relay: Terminal, door: FakeDoor) -> None:
    door.secrets["connections/newsletter"]["destination"] = "activecampain"
    assert "k3y" not in relay("connections", "show", "newsletter").out
    shown: list[str] = []

    def look(text: str) -> str:
        shown.append(text)
        return text

    relay.edits = look
    relay("connections", "edit", "newsletter", keys="")
    assert shown
    assert "k3y" not in shown[0]


def test_a_secret_is_no_argument_where_the_destination_is_asked_for_later(relay: Terminal, door: FakeDoor) -> None:
    line = ["connections", "add", "fresh", "--set", "api_key=TOPSECRET"]
    ended = relay(*line, keys="activecampaign\n" + "x\n" * 9)
    assert (ended.code, "connections/fresh" in door.secrets) == (2, False)
    assert "TOPSECRET" not in ended.out + ended.err


def test_nobody_is_taken_out_where_leavers_are_kept(relay: Terminal, door: FakeDoor) -> None:
    before = dict(door.exports)

    ended = relay("exports", "remove", "newsletter/vip", "--take-members-out", "--yes")

    assert (ended.code, door.exports) == (1, before)
    assert "relay exports edit newsletter/vip --set options.on_exit=unsubscribe" in ended.err


def test_a_run_that_takes_out_and_does_not_start_is_a_time_out(relay: Terminal, door: FakeDoor) -> None:
    leaving(door)
    Emptying(door).starts = iter([None] * 1000)

    ended = relay("exports", "remove", "newsletter/vip", "--take-members-out", "--yes")

    assert (ended.code, "newsletter/vip" in door.exports) == (5, True)
    assert "the export was edited just now" in ended.err


def test_taking_members_out_goes_on_where_it_was_interrupted(relay: Terminal, door: FakeDoor) -> None:
    leaving(door)
    Emptying(door)

    def interrupt() -> None:
        raise KeyboardInterrupt

    relay.on_sleep = interrupt
    ended = relay("exports", "remove", "newsletter/vip", "--take-members-out", "--yes")
    assert (ended.code, "newsletter/vip" in door.exports) == (130, True)
    assert "newsletter/vip is written so that everybody leaves" in ended.err
    assert "relay exports edit newsletter/vip --set state=active --unset only_if" in ended.err

    relay.on_sleep = lambda: None
    Emptying(door)
    assert relay("exports", "remove", "newsletter/vip", "--take-members-out", "--yes").code == 0
    assert "newsletter/vip" not in door.exports
