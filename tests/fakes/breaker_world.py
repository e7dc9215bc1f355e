"""Exports of two connections, their settings, and a destination that says what a test wants: what stops and goes on."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, SecretStr

from relay.breaker.accounts import Accounts
from relay.breaker.ownership import Ownership
from relay.breaker.prober import Prober
from relay.breaker.stops import Stops
from relay.destinations.contract import Account, Caller, Finding
from relay.domain.exports import Connection, Export
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Problem, SettingsProblem, StaleSettings
from relay.observability import Observability
from relay.settings.names import UnknownExport
from relay.stores import breakers
from relay.stores.breakers import Breaker
from relay.workers.opening import Opened, Opener
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase

CONNECTION = "letters"


class Credentials(BaseModel):
    """What an administrator writes down for the fake destination."""

    host: str = "first.example"
    key: SecretStr = SecretStr("first key")


@dataclass
class MemorySettings:
    """Settings that a test writes. A problem under an export's or a connection's name is raised instead."""

    saved: dict[str, Export] = field(default_factory=dict)
    problems: dict[str, SettingsProblem] = field(default_factory=dict)
    secrets: dict[str, Credentials] = field(default_factory=dict)
    """As they are read past what is kept; `kept` is what was read before."""
    kept: dict[str, Credentials] = field(default_factory=dict)

    def export(self, key: str, *, at_least: int = 0, fresh: bool = False) -> Export:
        if key in self.problems:
            raise self.problems[key]
        if key not in self.saved:
            raise UnknownExport("unknown_export", "there is none", field="export")
        if self.saved[key].version < at_least:
            raise StaleSettings("stale_settings", "not readable yet")
        return self.saved[key]

    def connection(self, name: str, *, fresh: bool = False) -> Connection:
        if name in self.problems:
            raise self.problems[name]
        if fresh or name not in self.kept:
            self.kept[name] = self.secrets.get(name, Credentials())
        return Connection(name, "tool", name, self.kept[name])


@dataclass
class Tool:
    """A destination whose exports own the targets that their options name. A check answers by its script."""

    name: str = "tool"
    findings: list[Finding] = field(default_factory=list)
    script: list[Problem] = field(default_factory=list)
    checks: list[tuple[str, ...]] = field(default_factory=list)
    """The exports that were looked at, by check."""
    on_check: Callable[[Account], None] = lambda account: None

    def owned(self, export: Export) -> frozenset[str]:
        return frozenset(export.options)

    def check(self, account: Account, exports: Sequence[Export]) -> list[Finding]:
        self.checks.append(tuple(export.name for export in exports))
        self.on_check(account)
        if self.script:
            raise self.script.pop(0)
        return self.findings


class BreakerWorld:
    """Export `main` of connection `letters` names `list/7`. Parts are made once."""

    def __init__(self, caller: Callable[[Connection], tuple[Caller, Callable[[], int]]] | None = None) -> None:
        self.clock, self.database = FakeClock(), MemoryDatabase()
        self.settings, self.tool = MemorySettings(), Tool()
        self.log = io.StringIO()
        self.observe = Observability(self.log)
        self.keyed = KeyedHash("stack key")
        known: Any = self.settings
        tool: Any = self.tool

        def no_calls(connection: Connection) -> tuple[Any, Callable[[], int]]:
            return None, lambda: 0

        self.accounts = Accounts(self.database, no_calls if caller is None else caller)
        self.ownership = Ownership(self.database, known, lambda name: tool, self.clock)
        self.stops = Stops(self.database, known, self.clock, self.observe)
        self.prober = Prober(
            self.database, known, lambda name: tool, self.accounts, self.ownership, self.clock, self.observe
        )
        self.opener = Opener(self.database, known, lambda name: tool, self.accounts, self.ownership, self.keyed)
        self.main = self.edit("main", "list/7")

    def another(self) -> Ownership:
        """Return the ownership of a new process, which remembers nothing."""
        return replace(self.ownership, _known={})

    def edit(self, name: str, *targets: str, connection: str = CONNECTION, active: bool = True) -> Export:
        """Write an export's settings."""
        self.clock.advance(1)
        version = round(self.clock.now().timestamp() * 1000)
        export = Export(connection, name, "tool", active, True, ("s/vip",), {}, targets, version)
        self.settings.saved[export.key] = export
        return export

    def delete(self, name: str) -> None:
        """Delete an export's settings."""
        del self.settings.saved[f"{CONNECTION}/{name}"]

    def open(self, name: str = "main", at_least: int = 0, **more: Any) -> Opened:
        """Open an export."""
        until = self.clock.now() + timedelta(minutes=5)
        return self.opener.open(f"{CONNECTION}/{name}", at_least=at_least, until=until, **more)

    def breaker(self, export: str | None = None) -> Breaker:
        """Return a breaker of the connection as it is stored."""
        return breakers.load_one(self.database, CONNECTION, export)

    def probe(self, export: str | None = None) -> bool:
        """Probe what is stopped, if that is due."""
        exports = [one for one in self.settings.saved.values() if export in (None, one.name)]
        return self.prober.probe_if_due(self.breaker(export), exports)

    def logged(self) -> list[dict[str, Any]]:
        """Return the lines that were logged."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]
