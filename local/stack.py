"""The real stack on one machine: an AWS emulator, the destination sandboxes, `template.yaml` deployed by the SAM CLI.

    python -m local.stack up|down

The ports are free ones unless RELAY_PORT_AWS and RELAY_PORT_<DESTINATION> say otherwise.
Everything lives in `.local/` of this checkout, so that several checkouts can run at once; `.local/stack.json` describes
the running stack.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from local.processes import LocalStackError, Processes, tail
from sandboxes import names

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".local"
DESCRIPTION = FOLDER / "stack.json"

# The emulator takes this key for its account's root; functions get sessions of their own roles.
_ROOT_KEY = "test"
_INSTALLER = ROOT / ".tools/install"
_SAM = ROOT / ".tools/sam/bin/sam"
_EMULATOR = ROOT / ".tools/emulator/bin/python"
_SERVICES = (
    "apigateway,cloudformation,cloudwatch,dynamodb,events,iam,kms,lambda,logs,s3,scheduler,secretsmanager,sns,sqs,"
    "ssm,sts"
)
PACE_SCALE = 20
"""How many times faster than documented the destinations are called here, and the sandboxes let time pass."""
SETTINGS_SECONDS = 1
"""How long functions keep settings here before they read them again."""
RUNS_START_SECONDS = SETTINGS_SECONDS + 5.5
"""How long after an edit no run begins here: until every function has read it, and the margin for clocks."""
_SAM_SECONDS = 300


@dataclass(frozen=True)
class LocalStack:
    """A running local stack, as `.local/stack.json` describes it."""

    endpoint_url: str
    region: str
    webhook_url: str
    stack_name: str
    prefix: str
    outputs: dict[str, str]
    sandboxes: dict[str, dict[str, str]]
    pids: dict[str, int] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    """What `local.samples` put there; nothing where it was not asked to."""

    def client(self, service: str) -> Any:
        """Return an AWS client for the emulator, with an administrator's rights."""
        # Here, so that `down` needs nothing that was installed.
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=_ROOT_KEY,
            aws_secret_access_key=_ROOT_KEY,
            config=Config(retries={"mode": "standard"}),
        )


Say = Callable[[str], None]


def running() -> LocalStack | None:
    """Return this checkout's stack if it runs."""
    try:
        stack = LocalStack(**json.loads(DESCRIPTION.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    return stack if Processes(FOLDER).pids().keys() >= stack.pids.keys() else None


def write_description(stack: LocalStack) -> None:
    """Write `.local/stack.json`."""
    DESCRIPTION.write_text(json.dumps(asdict(stack), indent=2) + "\n", encoding="utf-8")


def up(say: Say = print) -> LocalStack:
    """Start this checkout's stack, or return the one that runs. What a failed start began is stopped again."""
    stack = running()
    if stack is not None:
        say(f"already up: {stack.endpoint_url}")
        return stack
    down(say)
    try:
        return _start(say)
    except BaseException:
        down(say)
        raise


def down(say: Say = print) -> None:
    """Stop everything that `up` started, also what a crashed run left."""
    DESCRIPTION.unlink(missing_ok=True)
    stopped = Processes(FOLDER).stop_all()
    shutil.rmtree(FOLDER / "tmp", ignore_errors=True)
    if stopped:
        say(f"stopped {', '.join(stopped)}")


@contextlib.contextmanager
def local_stack(say: Say = print) -> Iterator[LocalStack]:
    """Use the stack that runs, or one that is started here and taken down at the end."""
    was_running = running() is not None
    try:
        yield up(say)
    finally:
        if not was_running:
            down(say)


def _start(say: Say) -> LocalStack:
    began = time.monotonic()

    def progress(text: str) -> None:
        say(f"{time.monotonic() - began:5.1f} s  {text}")

    _check_tools()
    temporary = FOLDER / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    settings = _samconfig()
    region, name = settings["region"], settings["stack_name"]
    processes = Processes(FOLDER)
    port = _port("RELAY_PORT_AWS")
    endpoint = f"http://127.0.0.1:{port}"

    progress("starting the AWS emulator and the sandboxes")
    _start_emulator(processes, port, region, temporary)
    addresses = _start_sandboxes(processes)
    environment = _environment(temporary) | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": region,
        "RELAY_LAYER_TARGETS": "host",
        "RELAY_PARQUET_TARGET": "host",
        "PYTHON": str(_INSTALLER / "bin/python"),
    }
    progress("building with the SAM CLI")
    _sam(processes, "build", environment)
    processes.wait("emulator", "the emulator's answer", 60, lambda: _answers(f"{endpoint}/_ministack/health"))
    progress(f"deploying {name} to {endpoint}")
    parameters = {
        "Runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "Architecture": {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64"),
        "SettingsSeconds": str(SETTINGS_SECONDS),
        "PaceScale": str(PACE_SCALE),
        "Sandboxes": ",".join(f"{destination}={address}" for destination, address in addresses.items()),
    }
    overrides = [f"{key}={value}" for key, value in parameters.items()]
    _sam(processes, "deploy", environment, "--parameter-overrides", *overrides)
    stack = _describe(endpoint, region, name, addresses, processes.pids())
    write_description(stack)
    progress(f"up: webhooks at {stack.webhook_url}, described in {DESCRIPTION.relative_to(ROOT)}")
    return stack


def _check_tools() -> None:
    for tool in (_INSTALLER, _SAM, _EMULATOR):
        if not tool.exists():
            raise LocalStackError(f"{tool.relative_to(ROOT)} is missing; run `make setup`")


def _samconfig() -> dict[str, str]:
    with (ROOT / "samconfig.toml").open("rb") as file:
        settings: dict[str, str] = tomllib.load(file)["local"]["global"]["parameters"]
    return settings


def _port(variable: str) -> int:
    """Return the port that the environment names, or a free one."""
    if named := os.environ.get(variable):
        return int(named)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _environment(temporary: Path) -> dict[str, str]:
    """Only what is needed: a real AWS account's credentials or profile on this machine must never be used."""
    kept = {key: value for key, value in os.environ.items() if key in ("HOME", "LANG") or key.startswith("PIP_")}
    return kept | {
        "PATH": f"{_INSTALLER / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "TMPDIR": str(temporary),
        "AWS_ACCESS_KEY_ID": _ROOT_KEY,
        "AWS_SECRET_ACCESS_KEY": _ROOT_KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAM_CLI_TELEMETRY": "0",
    }


def _start_emulator(processes: Processes, port: int, region: str, temporary: Path) -> None:
    environment = _environment(temporary) | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": region,
        "SERVICES": _SERVICES,
        # Requests are held to the policies of who sends them, so a right that a function lacks shows here.
        "AUTH": "true",
        # These would listen on ports of their own.
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "INFO",
        "PYTHONUNBUFFERED": "1",
        "STATE_DIR": str(temporary / "state"),
        "S3_DATA_DIR": str(temporary / "s3"),
    }
    processes.start("emulator", [_EMULATOR, "-P", ROOT / "local/emulator.py"], environment, temporary)


def _start_sandboxes(processes: Processes) -> dict[str, str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    for destination in names():
        port = os.environ.get(f"RELAY_PORT_{destination.upper()}", "0")
        command = [sys.executable, "-m", "sandboxes", destination, "--port", port, "--time-scale", str(PACE_SCALE)]
        processes.start(destination, command, environment, ROOT)
    return {
        destination: processes.wait(
            destination, "the sandbox's address", 30, partial(_address, processes.log(destination))
        )
        for destination in names()
    }


def _address(log: Path) -> str | None:
    first, end, _ = log.read_text(encoding="utf-8").partition("\n")
    return first.removeprefix("listening on ").strip() if end else None


def _answers(url: str) -> bool | None:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return True if answer.status == 200 else None
    return None


def _sam(processes: Processes, command: str, environment: Mapping[str, str], *arguments: str) -> None:
    name = f"sam-{command}"
    processes.start(name, [_SAM, command, "--config-env", "local", *arguments], environment, ROOT)
    if processes.finish(name, _SAM_SECONDS):
        log = processes.log(name)
        raise LocalStackError(f"sam {command} failed ({log.relative_to(ROOT)}):\n{tail(log, around='CREATE_FAILED')}")


def _describe(
    endpoint: str, region: str, name: str, addresses: Mapping[str, str], pids: Mapping[str, int]
) -> LocalStack:
    stack = LocalStack(endpoint, region, "", name, "", {}, {}, dict(pids))
    (described,) = stack.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    return LocalStack(
        endpoint_url=endpoint,
        region=region,
        # Where the emulator serves what on AWS is the output WebhookUrl.
        webhook_url=f"{endpoint}/_aws/execute-api/{outputs['ApiId']}/{outputs['StageName']}/webhooks",
        stack_name=name,
        prefix=outputs["Prefix"],
        outputs=outputs,
        sandboxes={destination: {"url": address} for destination, address in addresses.items()},
        pids=dict(pids),
    )


def _main(arguments: list[str]) -> int:
    # Ended by a signal, `up` still has to stop what it began.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        match arguments:
            case ["up"]:
                up()
            case ["down"]:
                down()
            case _:
                print("usage: python -m local.stack up|down", file=sys.stderr)
                return 2
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
