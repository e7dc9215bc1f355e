"""What the plain world leaves out: exports deleted and made again, settings invalid for a while, changes that come
again much later, and processes that remember what they saw in earlier invocations."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from relay.delivery.opening import Opener
from relay.domain.exports import Connection, Export
from relay.domain.problems import SettingsProblem
from relay.queues import Message
from relay.settings.names import UnknownExport
from relay.settings.shapes import Invalid, Listing
from tests.simulation.settings import SimSettings
from tests.simulation.world import World

INVALID = SettingsProblem("mapping", "is not known", field="mapping.emial")


@dataclass
class TroubledSettings(SimSettings):
    """Exports may be missing or invalid."""

    invalid: set[str] = field(default_factory=set)

    def export(self, key: str, *, at_least: int = 0) -> Export:
        if key in self.invalid:
            raise INVALID
        if key not in self._read():
            raise UnknownExport("unknown_export", "there is none", field="export")
        return super().export(key, at_least=at_least)

    def exports(self) -> Listing:
        valid = {key: export for key, export in self._read().items() if key not in self.invalid}
        return Listing(valid, [Invalid(f"export {key}", INVALID) for key in self.invalid])


class WiderWorld(World):
    """Plays as the plain world does, with more going wrong."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        exports = self.settings.exports_now
        self.troubled = TroubledSettings(self.clock.now, exports)
        self.settings = self.troubled
        self.deleted: dict[str, Export] = {}
        self.posted_messages: list[Message] = []
        self._processes = [super(WiderWorld, self)._opener() for _ in range(2)]
        for process in self._processes:
            process.settings = self.troubled  # type: ignore[assignment]

    def _opener(self) -> Opener:
        """Return the opener of a process that served other invocations before."""
        opener = self.chance.choice(self._processes)

        def caller(connection: Connection) -> Any:
            destination = self.destinations[connection.destination]
            before = destination.writes
            return None, lambda: destination.writes - before

        opener.caller = caller
        return opener

    def start_run(self, name: str) -> None:
        if f"{name}/main" in self.deleted or f"{name}/main" in self.troubled.invalid:
            return

        def work() -> list[str]:
            try:
                self._starter().start(self.settings.export(f"{name}/main"), "schedule")
            except SettingsProblem:
                return []
            return []

        self._spawn(work, None, [])

    def post(self) -> None:
        before = len(self.changes.parcels)
        super().post()
        self.posted_messages += [Message(json.loads(parcel.body)) for parcel in self.changes.parcels[before:]]

    def edit_settings(self) -> None:
        edits: list[Callable[[], None]] = [
            super().edit_settings,
            self.delete_or_make_again,
            self.spoil_or_mend,
            self.come_again,
        ]
        self.chance.choice(edits if self.settings.exports_now else edits[1:])()

    def delete_or_make_again(self) -> None:
        if self.deleted:
            _, export = self.deleted.popitem()
            self.settings.edit(export)
        else:
            key = self.chance.choice(sorted(self.settings.exports_now))
            self.deleted[key] = self.settings.exports_now.pop(key)

    def spoil_or_mend(self) -> None:
        """Settings that cannot be read as they are written; mending them is an edit, too."""
        if self.troubled.invalid:
            self._mend()
        elif self.settings.exports_now:
            self.troubled.invalid.add(self.chance.choice(sorted(self.settings.exports_now)))

    def _mend(self) -> None:
        for key in self.troubled.invalid:
            if key in self.settings.exports_now:
                self.settings.edit(self.settings.exports_now[key])
        self.troubled.invalid.clear()

    def come_again(self) -> None:
        """A message of the Changes queue is delivered once more, long after it was handled."""
        if self.posted_messages:
            self.changes.send([self.chance.choice(self.posted_messages)])

    def settle_down(self) -> None:
        while self.deleted:
            self.delete_or_make_again()
        self._mend()
        for export in list(self.settings.exports_now.values()):
            self.settings.edit(replace(export, active=True))
        super().settle_down()
