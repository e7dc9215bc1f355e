"""Which stack is meant: by name, by the environment, by samconfig.toml, or the one on this machine."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay_cli.failures import UsageFailure

DESCRIPTION = Path(".local/stack.json")
CONFIGURATION = Path("samconfig.toml")
VARIABLE = "RELAY_STACK"
ENDPOINT = "AWS_ENDPOINT_URL"
WEBHOOKS = "WEBHOOK_URL"


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as far as it is known before AWS is asked.

    `prefix` is None where the stack's outputs say it. `endpoint` is set for a stack on this machine, with its
    `webhook_url` and `outputs`. Where the environment alone leads to one, `webhook_url` is set.
    """

    name: str
    prefix: str | None = None
    region: str | None = None
    profile: str | None = None
    endpoint: str | None = None
    webhook_url: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)


def find(
    folder: Path,
    environment: Mapping[str, str],
    *,
    stack: str | None,
    region: str | None,
    profile: str | None,
    local: bool,
) -> Stack:
    """Return the stack that is meant. Raises UsageFailure when nothing names one."""
    if local:
        return _local(folder)
    named = stack or environment.get(VARIABLE)
    if named:
        return _running(folder, environment, named) or Stack(
            named, region=region, profile=profile, webhook_url=_webhook_url(environment, named)
        )
    configured = _configured(folder)
    if "stack_name" in configured:
        return Stack(
            str(configured["stack_name"]),
            region=region or configured.get("region"),
            profile=profile or configured.get("profile"),
        )
    raise UsageFailure(
        "No stack is named.",
        f"There is no --stack, {VARIABLE} is not set, and no {CONFIGURATION} was found here.",
        "relay status --stack audience-relay",
    )


def _running(folder: Path, environment: Mapping[str, str], name: str) -> Stack | None:
    """Return the stack on this machine where the environment leads to it: its address for webhooks is another one."""
    endpoint = environment.get(ENDPOINT)
    if endpoint is None or _upwards(folder, DESCRIPTION) is None:
        return None
    local = _local(folder)
    return local if (local.name, local.endpoint) == (name, endpoint) else None


def _webhook_url(environment: Mapping[str, str], name: str) -> str | None:
    """Return the address for webhooks of a stack on this machine, in whatever folder: its output names AWS."""
    leads_there = ENDPOINT in environment and environment.get(VARIABLE) == name
    return environment.get(WEBHOOKS) if leads_there else None


def _local(folder: Path) -> Stack:
    file = _upwards(folder, DESCRIPTION)
    if file is None:
        raise UsageFailure("No stack runs on this machine.", f"There is no {DESCRIPTION} here.", "make up")
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
        return Stack(
            name=described["stack_name"],
            prefix=described["prefix"],
            region=described["region"],
            endpoint=described["endpoint_url"],
            webhook_url=described["webhook_url"],
            outputs=described["outputs"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageFailure(f"{file} describes no stack.", "", "make down, then make up") from None


def _configured(folder: Path) -> Mapping[str, Any]:
    """Return the parameters that the SAM CLI deploys with by default."""
    file = _upwards(folder, CONFIGURATION)
    if file is None:
        return {}
    try:
        sections = tomllib.loads(file.read_text(encoding="utf-8")).get("default", {})
    except tomllib.TOMLDecodeError as error:
        raise UsageFailure(f"{file} cannot be read.", str(error), "relay status --stack audience-relay") from None
    found: dict[str, Any] = {}
    for command in ("global", "deploy"):
        found |= sections.get(command, {}).get("parameters", {})
    return found


def _upwards(folder: Path, name: Path) -> Path | None:
    return next((file for parent in (folder, *folder.parents) if (file := parent / name).is_file()), None)
