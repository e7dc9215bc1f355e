"""How a command line starts: which stack it means, what it imports, how it fails, and its package."""

import io
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

import relay_cli
from relay.version import VERSION
from relay_cli import stacks
from relay_cli.app import build
from relay_cli.failures import UsageFailure
from relay_cli.main import World, main
from relay_cli.parts import Cell, Facts, Line, Table, Tone, ago, at, span
from relay_cli.relay import ANSWERED_BY
from relay_cli.screen import plain
from tests.unit.cli.people_answers import nobody
from tests.unit.cli.stack_fake import CODES, NOW, FakeDoor, Terminal, TerminalText

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "cli"

LOCAL = {
    "endpoint_url": "http://127.0.0.1:4566",
    "region": "us-east-1",
    "webhook_url": "http://127.0.0.1:4566/x/webhooks",
    "stack_name": "audience-relay-local",
    "prefix": "audience-relay",
    "outputs": {"Prefix": "audience-relay"},
    "sandboxes": {},
    "pids": {},
}


def found(folder: Path, environment: Mapping[str, str] | None = None, **named: Any) -> stacks.Stack:
    given: dict[str, Any] = {"stack": None, "region": None, "profile": None, "local": False, **named}
    return stacks.find(folder, environment or {}, **given)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    text = (
        '[default.global.parameters]\nstack_name = "of-the-file"\n[default.deploy.parameters]\nregion = "eu-west-1"\n'
    )
    (tmp_path / "samconfig.toml").write_text(text)
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local/stack.json").write_text(json.dumps(LOCAL))
    (tmp_path / "deep/er").mkdir(parents=True)
    return tmp_path


def test_a_stack_is_named_by_option_environment_or_file_in_this_order(project: Path) -> None:
    environment = {"RELAY_STACK": "of-the-environment"}

    assert found(project, environment, stack="of-the-option", region="r").name == "of-the-option"
    assert found(project, environment).name == "of-the-environment"
    by_file = found(project / "deep/er", profile="p")
    assert (by_file.name, by_file.region, by_file.profile) == ("of-the-file", "eu-west-1", "p")


def test_the_stack_on_this_machine_needs_nothing_else(project: Path) -> None:
    local = found(project / "deep", local=True)

    assert (local.name, local.prefix, local.endpoint) == (
        "audience-relay-local",
        "audience-relay",
        LOCAL["endpoint_url"],
    )


def test_the_environment_of_the_local_stack_means_the_local_stack(project: Path) -> None:
    environment = {"RELAY_STACK": "audience-relay-local", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}

    assert found(project, environment).webhook_url == LOCAL["webhook_url"]
    assert found(project, {**environment, "AWS_ENDPOINT_URL": "http://elsewhere"}).endpoint is None
    assert found(project, {"RELAY_STACK": "audience-relay-local"}).endpoint is None


def test_away_from_its_folder_the_environment_says_where_the_local_stack_takes_webhooks(tmp_path: Path) -> None:
    url = str(LOCAL["webhook_url"])
    local = {"RELAY_STACK": "audience-relay-local", "WEBHOOK_URL": url}
    environment = {**local, "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}

    assert found(tmp_path, environment).webhook_url == url
    # It is the address of no other stack.
    assert found(tmp_path, environment, stack="acme").webhook_url is None
    assert found(tmp_path, local).webhook_url is None


@pytest.mark.parametrize("text", ["", "not toml ["])
def test_without_a_name_there_is_no_stack(tmp_path: Path, text: str) -> None:
    (tmp_path / "samconfig.toml").write_text(text)

    with pytest.raises(UsageFailure):
        found(tmp_path)
    with pytest.raises(UsageFailure, match="No stack runs on this machine"):
        found(tmp_path, local=True)


def test_the_door_is_opened_to_the_stack_that_is_meant(relay: Terminal) -> None:
    relay("--stack", "acme", "status", "--region", "eu-central-1", "--profile", "work")

    assert relay.stacks == [stacks.Stack("acme", region="eu-central-1", profile="work")]


SLOW = ("boto3", "botocore", "rich.table", "rich.progress", "rich.live", "urllib.request", "email", "getpass", "csv")


def test_the_help_imports_nothing_that_is_slow() -> None:
    """A bound of seconds would measure the machine; `relay --help` takes 0.3 s where this was written."""
    code = f"import sys, relay_cli.main; print([name for name in {SLOW[:4]} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert shown.stdout == "[]\n"


@pytest.mark.parametrize("line", [["--help"], ["runs", "--help"], ["exports", "schedule", "--help"], ["--version"]])
def test_help_needs_no_stack(relay: Terminal, line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert relay(*line).code == 0
    assert relay.stacks == []
    assert capsys.readouterr().out != ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["stat"], 'Did you mean "status"?'),
        (["runs", "lst"], 'Did you mean "list"?'),
        (["status", "--wach"], "Did you mean --watch?"),
        (["runs", "list", "--limit", "many"], "many"),
        (["plan"], "EXPORT"),
    ],
)
def test_a_command_line_that_is_wrong_says_what_is_near_and_which_help(
    relay: Terminal, line: list[str], said: str
) -> None:
    ended = relay(*line)

    assert (ended.code, said in ended.err, "--help" in ended.err) == (2, True, True)
    assert relay.stacks == []


def test_a_stack_of_another_version_is_not_misunderstood(relay: Terminal, door: FakeDoor) -> None:
    door.invoke = lambda function, question: {"version": 2, "answer": {}}  # type: ignore[method-assign]

    ended = relay("status")

    assert (ended.code, "speaks another version" in ended.err) == (1, True)


def test_a_reader_that_has_read_enough_is_no_trouble(door: FakeDoor, tmp_path: Path) -> None:
    """`relay codes | head -1`, in a process of its own, since it closes its output for good."""
    code = (
        "import sys; from tests.unit.cli.test_starting import closed_early; "
        f"sys.path.insert(0, {str(PACKAGE)!r}); sys.exit(closed_early())"
    )
    environment = {**os.environ, "PYTHONPATH": f"{PACKAGE}:{ROOT}:{ROOT / 'layers/relay'}"}
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert (ended.returncode, ended.stderr) == (0, b"")


def closed_early() -> int:
    door = FakeDoor(answers={"codes": {"codes": CODES * 5000}})
    world = World(environment={"RELAY_STACK": "acme"}, open_door=lambda _: door)
    return main(["codes"], world)


def test_what_would_steer_a_terminal_is_not_printed(relay: Terminal, door: FakeDoor) -> None:
    odd = "a\x1b[2Jb\x07\nc\u202e"
    door.answers["explain"] = nobody(odd)

    assert relay("explain", "p-1").out == "a?[2Jb? c?\n"
    assert "\x1b[2J" not in relay("explain", "p-1", terminal=True).out


def test_parts_are_plain_text_in_a_pipe() -> None:
    assert list(plain(Line("a"))) == ["a"]
    assert list(plain(Facts([("a", Cell("b", Tone.BAD))], title="t"))) == ["t:", "a\tb"]
    assert list(plain(Table(("x", "y"), [["1", Cell("2")]], title="t"))) == ["t:", "x\ty", "1\t2"]


def test_times_and_spans_are_short() -> None:
    assert [span(seconds) for seconds in (None, 0.4, 59, 60, 7199, 7200, 200_000)] == [
        "-", "0 s", "59 s", "1 min", "120 min", "2 h", "2 d"
    ]  # fmt: skip
    assert (at("2026-11-27T12:00:00"), at("odd"), at(None)) == ("2026-11-27 12:00 UTC", "-", "-")
    assert (ago("2026-11-27T11:00:00Z", NOW), ago("2026-11-27T12:00:30+00:00", NOW), ago(None, NOW)) == (
        "60 min ago", "in 30 s", "-"
    )  # fmt: skip


def test_an_editor_of_the_caller_is_opened_and_its_file_is_gone_afterwards(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nstat -c %a "$1" > ' + str(tmp_path / "mode") + '\nprintf changed > "$1"\n')
    editor.chmod(0o755)
    world = World(environment={"EDITOR": str(editor), "RELAY_STACK": "x"}, folder=tmp_path)
    relay = world.relay(options())

    assert relay.edit("before") == "changed"
    assert (tmp_path / "mode").read_text() == "600\n"
    editor.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(relay_cli.failures.Failure, match="failed"):
        relay.edit("before")


def test_secrets_come_from_standard_input_as_bytes(tmp_path: Path) -> None:
    keys = io.TextIOWrapper(io.BytesIO("schlüssel".encode()))
    relay = World(keys=keys, environment={}, folder=tmp_path).relay(options())

    assert relay.read("-") == "schlüssel".encode()


def test_the_end_of_the_input_is_no_answer(relay: Terminal, door: FakeDoor) -> None:
    ended = relay("sources", "add", "web", keys="relay-json\n")

    assert (ended.code, "sources/web" in door.secrets) == (3, False)
    assert isinstance(TerminalText(), io.StringIO)


def options() -> Any:
    from relay_cli.app import Options

    return Options(None, None, None, local=False, as_json=False)


def commands(app: App, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], App]:
    """Return every command below an app that does something, by its words."""
    found_: dict[tuple[str, ...], App] = {}
    for name in app:
        if name.startswith("-"):
            continue
        below = commands(app[name], (*path, name))
        found_ |= below or {(*path, name): app[name]}
    return found_


def test_every_command_has_a_help_that_names_each_of_its_parameters() -> None:
    every = commands(build(lambda _: None))  # type: ignore[arg-type, return-value]

    assert len(every) > 40
    for path, app in every.items():
        known = app.assemble_argument_collection(parse_docstring=True)
        assert app.help, path
        assert [one.name for one in known if one.parameter.parse is not False and not one.parameter.help] == [], path


def test_questions_are_asked_of_the_functions_that_answer_them() -> None:
    from relay.workers.operators.questions import QUESTIONS

    assert {name: ANSWERED_BY[name] for name in QUESTIONS} == {
        name: kind.level.function for name, kind in QUESTIONS.items()
    }


def test_its_version_is_the_products() -> None:
    assert relay_cli.__version__ == VERSION


def test_its_package_is_built_installed_and_runs(tmp_path: Path) -> None:
    """What it needs of others lies in the environment that runs the tests."""
    uv = ROOT / ".tools/install/bin/uv"
    install = [str(uv), "pip", "install", "--quiet", "--offline", "--no-config", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--python", sys.executable, "--target", str(tmp_path / "here"), str(PACKAGE)], check=True)

    code = "import relay_cli.report.document as d; print(d.__file__); print(d.written.__doc__); d._style()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "here")}
    for command, said in (
        ([sys.executable, str(tmp_path / "here/bin/relay"), "--version"], f"{VERSION}\n"),
        ([sys.executable, "-c", code], f"{tmp_path}/here/relay_cli/report/document.py"),
    ):
        shown = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (shown.stdout.startswith(said), shown.stderr) == (True, "")


def test_its_lock_file_has_what_it_needs_with_hashes() -> None:
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (PACKAGE / "requirements.txt").read_text(), re.MULTILINE))
    tested = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE))

    needed = [re.split("[><=]", one)[0] for one in project["dependencies"]]
    assert needed == ["boto3", "cyclopts", "rich"]
    assert set(needed) <= locked.keys()
    assert {name: tested.get(name) for name in locked} == locked
