"""Settings that stand still: one connection, one export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relay.domain.exports import Connection, Export
from relay.settings.exports import Outline
from relay.settings.settings import Settings
from relay.settings.shapes import Listing


@dataclass(frozen=True, slots=True)
class StillSettings:
    """Has every method of `Settings` that is used behind ingest."""

    the_connection: Connection
    the_export: Export

    def export(self, key: str, *, at_least: int = 0) -> Export:
        assert key == self.the_export.key
        return self.the_export

    def exports(self) -> Listing:
        return Listing({self.the_export.key: self.the_export}, [])

    def export_keys(self) -> list[str]:
        return [self.the_export.key]

    def export_outlines(self) -> Mapping[str, Outline]:
        return {}

    def connection(self, name: str, *, fresh: bool = False) -> Connection:
        assert name == self.the_connection.name
        return self.the_connection

    def as_settings(self) -> Settings:
        """Present them as the real ones."""
        return self  # type: ignore[return-value]
