"""What the plain world leaves out: several exports of a connection that share targets in turn, exports deleted and made
again, settings invalid for a while, new secrets, and changes that come again much later."""

from collections.abc import Callable
from dataclasses import replace

from relay.domain import changes
from relay.domain.exports import Export
from relay.queues import Message
from tests.simulation.destinations import Kind, targets_of
from tests.simulation.settings import Options, options_of
from tests.simulation.world import SEGMENTS, World


class WiderWorld(World):
    """Plays as the plain world does, with more going on around it."""

    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        self.deleted: dict[str, Export] = {}
        super().__init__(seed, tell)

    def _make_exports(self, name: str) -> None:
        """Make two exports that share a connection, and nothing else."""
        if self.destinations[name].kind is Kind.ANSWERS:
            first, second = self.chance.sample(SEGMENTS, 2)
            self.console.edit(self._export(name, "main", (first,), Options("7")))
            self.console.edit(self._export(name, "other", (second,), Options("7")))
        else:
            self.console.edit(self._export(name, "main", SEGMENTS, Options("7")))
            self.console.edit(self._export(name, "other", SEGMENTS, Options("8")))

    def edit_settings(self) -> None:
        edits: list[Callable[[], None]] = [
            super().edit_settings,
            self.hand_over,
            self.hand_over,
            self.delete_or_make_again,
            self.spoil_or_mend,
            self.rotate_a_secret,
        ]
        self.chance.choice(edits if self.console.exports else edits[3:4])()

    def hand_over(self) -> None:
        """The exports of a connection swap what they own, one after the other: for a while both may want the same."""
        name = self.chance.choice(list(self.destinations))
        exports = [export for export in self.console.exports.values() if export.connection == name]
        if len(exports) < 2:
            return
        self.happened["exports handed over"] += 1
        self.chance.shuffle(exports)
        one, other = exports
        self._edit(replace(one, segments=other.segments, options=replace(options_of(one), list=options_of(other).list)))
        if self.chance.random() < 0.7:
            to = replace(options_of(other), list=options_of(one).list)
            self._edit(replace(other, segments=one.segments, options=to))

    def delete_or_make_again(self) -> None:
        if self.deleted:
            _, export = self.deleted.popitem()
            self._edit(export)
        elif self.console.exports:
            key = self.chance.choice(sorted(self.console.exports))
            self.was_deleted.add(key)
            self.deleted[key] = self.console.exports.pop(key)
            self.console.invalid.discard(key)
            self.say(f"deletes {key}")

    def spoil_or_mend(self) -> None:
        """Settings cannot be read as they are written; mending them is an edit, too."""
        if self.console.invalid:
            self._mend_invalid()
        elif self.console.exports:
            self.console.invalid.add(self.chance.choice(sorted(self.console.exports)))
            self.say(f"invalid: {self.console.invalid}")

    def _mend_invalid(self) -> None:
        for key in sorted(self.console.invalid):
            self._edit(self.console.exports[key])

    def rotate_a_secret(self) -> None:
        """A connection gets a new secret, which its destination takes at once, and the old one no more."""
        name = self.chance.choice(list(self.destinations))
        secret = f"{int(self.console.secrets[name]) + 1}"
        self.console.secrets[name] = self.destinations[name].key = secret

    def post(self) -> None:
        super().post()
        if self.chance.random() < 0.1:
            # A message of the Changes queue is delivered once more, long after it was handled.
            self.changes.send([Message(changes.to_json(self.chance.choice(self.posted)))])

    def _mend_settings(self) -> None:
        """Bring all exports back, and let no two of them want the same."""
        while self.deleted:
            self.delete_or_make_again()
        self._mend_invalid()
        super()._mend_settings()
        for name, destination in self.destinations.items():
            main, other = (self.console.exports[f"{name}/{export}"] for export in ("main", "other"))
            if targets_of(destination.kind, main).keys() & targets_of(destination.kind, other).keys():
                if destination.kind is Kind.ANSWERS:
                    first, second = self.chance.sample(SEGMENTS, 2)
                    self._edit(replace(main, segments=(first,)))
                    self._edit(replace(other, segments=(second,)))
                else:
                    unused = "8" if options_of(main).list == "7" else "7"
                    self._edit(replace(other, options=replace(options_of(other), list=unused)))
