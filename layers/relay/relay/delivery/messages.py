"""What travels in the destination queues and the Checks queue: who to look at again, never what to send."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from relay.domain import moments
from relay.domain.keyed_hash import bucket_of

MAX_PROFILES = 200
"""How many profiles one LookAgain holds at most: a message stays small, and one call's worth fails together."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Look again at these profiles (of one shard) for one export.

    `settings` is the version of the export's settings the sender knew. `thorough` asks to try again also what was
    refused before. `run` names the run that waits for the outcome. `tries` is how often the profiles were sent before
    in imports that came to nothing.
    """

    connection: str
    export: str
    settings: int
    profiles: tuple[str, ...]
    thorough: bool = False
    run: str | None = None
    tries: int = 0

    KIND: ClassVar[str] = "look"

    def to_json(self) -> dict[str, Any]:
        """Return the message body."""
        return {
            "kind": self.KIND,
            "connection": self.connection,
            "export": self.export,
            "settings": self.settings,
            "profiles": list(self.profiles),
            "thorough": self.thorough,
            "run": self.run,
            "tries": self.tries,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "LookAgain":
        """Read a body made by `to_json`; KeyError or ValueError on anything else."""
        _expect_kind(body, cls.KIND)
        return cls(
            body["connection"],
            body["export"],
            body["settings"],
            tuple(body["profiles"]),
            body.get("thorough", False),
            body.get("run"),
            body.get("tries", 0),
        )


@dataclass(frozen=True, slots=True)
class Cursor:
    """Go on with a run: one shard, in its first pass (phase 1) or its second, after this profile id."""

    connection: str
    export: str
    settings: int
    run: str
    shard: int
    phase: int
    after: str

    KIND: ClassVar[str] = "run"

    def to_json(self) -> dict[str, Any]:
        """Return the message body."""
        return {
            "kind": self.KIND,
            "connection": self.connection,
            "export": self.export,
            "settings": self.settings,
            "run": self.run,
            "shard": self.shard,
            "phase": self.phase,
            "after": self.after,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Cursor":
        """Read a body made by `to_json`; KeyError or ValueError on anything else."""
        _expect_kind(body, cls.KIND)
        return cls(
            body["connection"],
            body["export"],
            body["settings"],
            body["run"],
            body["shard"],
            body["phase"],
            body["after"],
        )


@dataclass(frozen=True, slots=True)
class CheckImport:
    """Look whether an asynchronous import has finished; `attempt` counts the looks, from 0."""

    connection: str
    export: str
    flight: str
    attempt: int

    KIND: ClassVar[str] = "import"

    def to_json(self) -> dict[str, Any]:
        """Return the message body."""
        return {
            "kind": self.KIND,
            "connection": self.connection,
            "export": self.export,
            "flight": self.flight,
            "attempt": self.attempt,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "CheckImport":
        """Read a body made by `to_json`; KeyError or ValueError on anything else."""
        _expect_kind(body, cls.KIND)
        return cls(body["connection"], body["export"], body["flight"], body["attempt"])


@dataclass(frozen=True, slots=True)
class WakeLater:
    """Look again at these profiles at a due time, however far beyond a queue's longest delay (15 minutes).

    `run` names the run that waits for the outcome.
    """

    connection: str
    export: str
    settings: int
    profiles: tuple[str, ...]
    due: datetime
    run: str | None = None

    KIND: ClassVar[str] = "wake"

    def to_json(self) -> dict[str, Any]:
        """Return the message body."""
        return {
            "kind": self.KIND,
            "connection": self.connection,
            "export": self.export,
            "settings": self.settings,
            "profiles": list(self.profiles),
            "due": moments.text(self.due),
            "run": self.run,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "WakeLater":
        """Read a body made by `to_json`; KeyError or ValueError on anything else."""
        _expect_kind(body, cls.KIND)
        return cls(
            body["connection"],
            body["export"],
            body["settings"],
            tuple(body["profiles"]),
            moments.parse(body["due"]),
            body.get("run"),
        )


@dataclass(frozen=True, slots=True)
class Confirm:
    """Look at a due time whether profiles that ended as unconfirmed are as wanted by now; `look` counts from 0."""

    connection: str
    export: str
    profiles: tuple[str, ...]
    due: datetime
    look: int

    KIND: ClassVar[str] = "confirm"

    def to_json(self) -> dict[str, Any]:
        """Return the message body."""
        return {
            "kind": self.KIND,
            "connection": self.connection,
            "export": self.export,
            "profiles": list(self.profiles),
            "due": moments.text(self.due),
            "look": self.look,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Confirm":
        """Read a body made by `to_json`; KeyError or ValueError on anything else."""
        _expect_kind(body, cls.KIND)
        return cls(
            body["connection"], body["export"], tuple(body["profiles"]), moments.parse(body["due"]), body["look"]
        )


def group(connection: str, shard: int) -> str:
    """Return the FIFO message group of a connection's shard."""
    return f"{connection}#{shard}"


def shard_of(profile_id: str, shards: int) -> int:
    """Return the shard (0 to shards - 1) of a profile."""
    return bucket_of(profile_id) % shards


def by_shard(profile_ids: Sequence[str], shards: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (shard, profile ids) with at most MAX_PROFILES ids each, sorted, each id once."""
    sorted_ids: dict[int, list[str]] = {}
    for profile_id in sorted(set(profile_ids)):
        sorted_ids.setdefault(shard_of(profile_id, shards), []).append(profile_id)
    for shard, ids in sorted(sorted_ids.items()):
        for start in range(0, len(ids), MAX_PROFILES):
            yield shard, tuple(ids[start : start + MAX_PROFILES])


def _expect_kind(body: Mapping[str, Any], kind: str) -> None:
    if body["kind"] != kind:
        raise ValueError(f"not a message of kind {kind}")


Task = LookAgain | Cursor | CheckImport | WakeLater | Confirm

_KINDS: Mapping[str, Callable[[Mapping[str, Any]], Task]] = {
    LookAgain.KIND: LookAgain.from_json,
    Cursor.KIND: Cursor.from_json,
    CheckImport.KIND: CheckImport.from_json,
    WakeLater.KIND: WakeLater.from_json,
    Confirm.KIND: Confirm.from_json,
}


def from_json(body: Mapping[str, Any]) -> Task:
    """Read a body of any kind; KeyError or ValueError on what was not made here."""
    return _KINDS[body["kind"]](body)
