"""Settings as a simulation sees them: edited in the console at any moment, seen by everyone a little later."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from relay.domain.exports import Connection, Export
from relay.domain.problems import StaleSettings
from relay.settings.exports import Outline
from relay.settings.shapes import Listing

SEEN_WITHIN = timedelta(seconds=30)


@dataclass
class SimSettings:
    now: Callable[[], datetime]
    exports_now: dict[str, Export] = field(default_factory=dict)
    _seen: tuple[datetime, dict[str, Export]] | None = None

    def edit(self, export: Export) -> None:
        """Save an export; its version is the time of the edit in milliseconds, and always grows."""
        old = self.exports_now.get(export.key)
        version = int(self.now().timestamp() * 1000)
        version = version if old is None else max(version, old.version + 1)
        self.exports_now[export.key] = replace(export, version=version)

    def _read(self) -> dict[str, Export]:
        if self._seen is None or self.now() - self._seen[0] > SEEN_WITHIN:
            self._seen = (self.now(), dict(self.exports_now))
        return self._seen[1]

    def export(self, key: str, *, at_least: int = 0) -> Export:
        if self._read()[key].version < at_least:
            self._seen = None
        export = self._read()[key]
        if export.version < at_least:
            raise StaleSettings("stale_settings", "not readable yet")
        return export

    def exports(self) -> Listing:
        return Listing(dict(self._read()), [])

    def export_outlines(self) -> Mapping[str, Outline]:
        return {
            key: Outline(e.connection, e.name, e.active, e.stream, e.segments, e.version)
            for key, e in self._read().items()
        }

    def connection(self, name: str, *, fresh: bool = False) -> Connection:
        return Connection(name, name, name, None)
