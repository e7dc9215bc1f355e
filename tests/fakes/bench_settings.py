"""Settings that a test writes down as it goes, in place of secrets and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from relay.domain.exports import Connection, Export
from relay.domain.problems import SettingsProblem, StaleSettings
from relay.settings.exports import Outline
from relay.settings.names import UnknownConnection, UnknownExport, UnknownSource
from relay.settings.settings import Settings
from relay.settings.shapes import Invalid, Listing


class BenchSettings:
    """Exports, and connections by name with their destinations.

    A problem under the key of an export, the name of a connection, or `source` with its name is raised instead.
    """

    def __init__(self, connections: Mapping[str, str]) -> None:
        self.connections = dict(connections)
        self.saved: dict[str, Export] = {}
        self.problems: dict[str, SettingsProblem] = {}
        self.profile_key = "identities.crm"
        self.missing_sources: set[str] = set()
        self.secrets: dict[str, str] = {}
        self.fresh_secrets: dict[str, str] = {}
        """What a secret is when it is read afresh."""

    def save(self, export: Export) -> Export:
        """Keep an export as it is."""
        self.saved[export.key] = export
        return export

    def delete(self, key: str) -> None:
        """Delete an export."""
        del self.saved[key]

    def export(self, key: str, *, at_least: int = 0, fresh: bool = False) -> Export:
        if key in self.problems:
            raise self.problems[key]
        if key not in self.saved:
            raise UnknownExport("unknown_export", "there is none", field="export")
        self.connection(self.saved[key].connection)
        if self.saved[key].version < at_least:
            raise StaleSettings("stale_settings", "not readable yet")
        return self.saved[key]

    def exports(self, *, fresh: bool = False) -> Listing:
        valid: dict[str, Export] = {}
        invalid: dict[str, SettingsProblem] = {}
        for key in self.export_keys():
            try:
                valid[key] = self.export(key)
            except SettingsProblem as problem:
                is_own = key in self.problems
                invalid[f"export {key}" if is_own else f"connection {key.split('/')[0]}"] = problem
        return Listing(valid, [Invalid(subject, problem) for subject, problem in invalid.items()])

    def export_keys(self) -> list[str]:
        return sorted({*self.saved, *(key for key in self.problems if "/" in key)})

    def export_outlines(self) -> dict[str, Outline]:
        return {
            key: Outline(export.connection, export.name, export.active, export.stream, export.segments, export.version)
            for key, export in self.exports().valid.items()
        }

    def source(self, name: str) -> Any:
        if name in self.missing_sources:
            raise UnknownSource("unknown_source", "there is none", field="source")
        if f"source {name}" in self.problems:
            raise self.problems[f"source {name}"]
        return SimpleNamespace(name=name, profile_key=self.profile_key)

    def connection(self, name: str, *, fresh: bool = False) -> Connection:
        if name in self.problems:
            raise self.problems[name]
        if name not in self.connections:
            raise UnknownConnection("unknown_connection", "there is none", field="connection")
        if fresh and name in self.fresh_secrets:
            self.secrets[name] = self.fresh_secrets[name]
        return Connection(name, self.connections[name], name, self.secrets.get(name, "first secret"))

    def identity_key(self) -> str:
        return "bench"

    def as_settings(self) -> Settings:
        """Present them as the real ones, of which they have every method that is used behind ingest."""
        return self  # type: ignore[return-value]
