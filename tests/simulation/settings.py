"""Settings as a simulation sees them: edited in the console at any moment, seen by every process a little later."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from relay.domain.exports import Connection, Export
from relay.domain.problems import SettingsProblem, StaleSettings
from relay.settings.exports import Outline
from relay.settings.names import UnknownExport
from relay.settings.shapes import Invalid, Listing

SEEN_WITHIN = timedelta(seconds=30)

INVALID = SettingsProblem("mapping", "is not known", field="mapping.emial")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of an export: which list it fills, and whether it keeps leavers."""

    list: str = "7"
    keep: bool = False


@dataclass
class Console:
    """The settings as they are written, with the time of each edit. Secrets are numbers, by connection."""

    now: Callable[[], datetime]
    exports: dict[str, Export] = field(default_factory=dict)
    invalid: set[str] = field(default_factory=set)
    secrets: dict[str, str] = field(default_factory=dict)
    versions: dict[tuple[str, int], Export] = field(default_factory=dict)
    """All that exports ever were, by key and version."""

    def edit(self, export: Export) -> Export:
        """Save an export; its version is the time of the edit in milliseconds, and always grows."""
        last = max((version for key, version in self.versions if key == export.key), default=0)
        version = max(int(self.now().timestamp() * 1000), last + 1)
        saved = self.exports[export.key] = replace(export, version=version)
        self.versions[export.key, version] = saved
        self.invalid.discard(export.key)
        return saved


@dataclass
class SimSettings:
    """What one process sees: nothing older than `SEEN_WITHIN`."""

    console: Console
    now: Callable[[], datetime]
    _seen: tuple[datetime, dict[str, Export], set[str], dict[str, str]] | None = None

    def _read(self) -> tuple[datetime, dict[str, Export], set[str], dict[str, str]]:
        if self._seen is None or self.now() - self._seen[0] > SEEN_WITHIN:
            self._seen = self.now(), dict(self.console.exports), set(self.console.invalid), dict(self.console.secrets)
        return self._seen

    def export(self, key: str, *, at_least: int = 0, fresh: bool = False) -> Export:
        export = self._find(key)
        if export.version < at_least:
            self._seen = None
            export = self._find(key)
        if export.version < at_least:
            raise StaleSettings("stale_settings", "not readable yet")
        return export

    def _find(self, key: str) -> Export:
        _, exports, invalid, _ = self._read()
        if key in invalid:
            raise INVALID
        if key not in exports:
            raise UnknownExport("unknown_export", "there is none", field="export")
        return exports[key]

    def exports(self, *, fresh: bool = False) -> Listing:
        _, exports, invalid, _ = self._read()
        valid = {key: export for key, export in exports.items() if key not in invalid}
        return Listing(valid, [Invalid(f"export {key}", INVALID) for key in sorted(invalid)])

    def export_keys(self) -> list[str]:
        return sorted(self._read()[1])

    def export_outlines(self) -> Mapping[str, Outline]:
        _, exports, _, _ = self._read()
        return {
            key: Outline(e.connection, e.name, e.active, e.stream, e.segments, e.version) for key, e in exports.items()
        }

    def connection(self, name: str, *, fresh: bool = False) -> Connection:
        if fresh:
            self._seen = None
        return Connection(name, name, name, self._read()[3][name])


def options_of(export: Export) -> Options:
    """Return the options of an export as this simulation writes them."""
    options: Any = export.options
    assert isinstance(options, Options)
    return options
