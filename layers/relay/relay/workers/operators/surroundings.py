"""What decides, for all profiles of an export alike, when something is done next."""

from dataclasses import dataclass

from relay.domain.exports import Export
from relay.domain.runs import Run
from relay.stores import breakers, runs
from relay.stores.breakers import Breaker
from relay.stores.database import Database


@dataclass(frozen=True, slots=True)
class Surroundings:
    """An export's state beside its profiles. `run` is the one that goes on, or the last one."""

    is_active: bool
    streams: bool
    has_passed_guard: bool
    of_connection: Breaker
    of_export: Breaker
    run: Run | None

    @property
    def works(self) -> bool:
        """Return whether looks are acted on by now: the export streams, and nothing is paused or stopped."""
        return self.is_active and self.streams and self.of_connection.stop is None and self.of_export.stop is None


def surroundings(database: Database, export: Export) -> Surroundings:
    """Return what decides when something is done next for an export."""
    of_connection, of_export = breakers.load(database, export.connection, export.name)
    return Surroundings(
        export.active,
        export.stream,
        of_export.passed == export.version,
        of_connection,
        of_export,
        runs.current(database, export.key),
    )
