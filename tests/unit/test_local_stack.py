"""Which ports the local stack is told to listen on; nothing is started."""

import json
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from local import stack
from relay.domain.identity import CLOCK_MARGIN
from sandboxes import names

SANDBOXES = names()
VARIABLES = ("RELAY_PORT_AWS", *(f"RELAY_PORT_{name.upper()}" for name in SANDBOXES))


class Started:
    """Remembers what would be started; every sandbox says that it listens on the port it was told."""

    commands: dict[str, list[str]]
    environments: dict[str, Mapping[str, str]]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> None:
        self.commands[name] = [str(part) for part in command]
        self.environments[name] = environment
        self.log(name).write_text(f"listening on http://127.0.0.1:{self.port_of(name)}\n")

    def finish(self, name: str, seconds: float) -> int:
        return 0

    def wait(self, name: str, what: str, seconds: float, look: Callable[[], Any]) -> Any:
        return None if name == "emulator" else look()

    def stop_all(self) -> list[str]:
        return []

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def pids(self) -> dict[str, int]:
        return {}

    @classmethod
    def port_of(cls, name: str) -> str | None:
        command = cls.commands[name]
        return command[command.index("--port") + 1] if "--port" in command else None


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Started]:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    shutil.copy(stack.ROOT / "samconfig.toml", tmp_path)
    for name, value in {
        "ROOT": tmp_path,
        "FOLDER": tmp_path,
        "DESCRIPTION": tmp_path / "stack.json",
        "Processes": Started,
        "_check_tools": lambda: None,
        "_describe": lambda endpoint, region, name, addresses, pids: stack.LocalStack(
            endpoint, region, "", name, "", {}, {destination: {"url": url} for destination, url in addresses.items()}
        ),
    }.items():
        monkeypatch.setattr(stack, name, value)
    Started.commands, Started.environments = {}, {}
    return Started


def test_ports_that_the_environment_names_are_used_and_described(
    started: type[Started], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ports = {variable: str(41001 + place) for place, variable in enumerate(VARIABLES)}
    for variable, port in ports.items():
        monkeypatch.setenv(variable, port)
    assert {"activecampaign", "gainsight_px"} <= set(SANDBOXES)
    of_sandboxes = {name: ports[f"RELAY_PORT_{name.upper()}"] for name in SANDBOXES}

    up = stack.up(lambda _: None)

    assert started.environments["emulator"]["GATEWAY_PORT"] == "41001"
    assert {name: started.port_of(name) for name in SANDBOXES} == of_sandboxes
    assert up.endpoint_url == "http://127.0.0.1:41001"
    assert up.sandboxes == {name: {"url": f"http://127.0.0.1:{port}"} for name, port in of_sandboxes.items()}
    assert all(
        started.environments[f"sam-{step}"]["AWS_ENDPOINT_URL"] == up.endpoint_url for step in ("build", "deploy")
    )
    given = json.loads((tmp_path / "stack.json").read_text())
    assert (given["endpoint_url"], given["sandboxes"]) == (up.endpoint_url, up.sandboxes)


# Nothing is connected to: a port is only bound, here and by the code.
@pytest.mark.enable_socket
def test_free_ports_are_chosen_where_the_environment_names_none(started: type[Started]) -> None:
    up = stack.up(lambda _: None)

    port = started.environments["emulator"]["GATEWAY_PORT"]
    assert up.endpoint_url == f"http://127.0.0.1:{port}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", int(port)))
    assert {started.port_of(name) for name in SANDBOXES} == {"0"}, "the kernel chooses, the sandbox says which"


def test_runs_are_waited_for_as_long_as_the_engine_wants() -> None:
    enough = stack.SETTINGS_SECONDS + CLOCK_MARGIN.total_seconds()
    assert enough < stack.RUNS_START_SECONDS < enough + 1
