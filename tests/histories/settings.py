"""Settings as a history sees them: exports are edited at any moment, and every process sees that a little later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from relay.domain.exports import Connection
from relay.settings.settings import Settings
from tests.simulation.settings import Console, SimSettings


class SeenSettings(SimSettings):
    """What one process sees of the console's exports and of the one connection."""

    def __init__(self, console: Console, now: Callable[[], datetime], connection: Connection) -> None:
        super().__init__(console, now)
        self._connection = connection

    def connection(self, name: str, *, fresh: bool = False) -> Connection:
        assert name == self._connection.name
        return self._connection

    def as_settings(self) -> Settings:
        """Present them as the real ones, of which they have every method that is used behind ingest."""
        return self  # type: ignore[return-value]
