"""What travels in the queues behind the profile store: who is to be looked at, never what is to be sent.

look     destination queue   reconcile these profiles of an export
page     destination queue   go on with a run
import   Checks queue        look what became of an asynchronous import
confirm  Checks queue        look whether what ended as unconfirmed is done by now
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from relay.domain.keyed_hash import bucket_of

MAX_PROFILES = 200
"""How many profiles one `Look` names at most: a message stays small, and one call's worth fails together."""


@dataclass(frozen=True, slots=True)
class Look:
    """Reconcile these profiles, all of one shard, for one export; `settings` is the version the sender knew.

    `tries` says how often they were sent before in imports that came to nothing. `trace` is set where an operator asked
    for the look, and wants to see its requests and answers.
    """

    connection: str
    export: str
    settings: int
    profiles: tuple[str, ...]
    tries: int = 0
    trace: str | None = None

    KIND: ClassVar[str] = "look"

    def to_json(self) -> dict[str, Any]:
        """Return the message body."""
        return {
            "kind": self.KIND,
            "connection": self.connection,
            "export": self.export,
            "settings": self.settings,
            "profiles": list(self.profiles),
            **({"tries": self.tries} if self.tries else {}),
            **({} if self.trace is None else {"trace": self.trace}),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Look":
        """Read a body made by `to_json`; KeyError or ValueError on anything else."""
        place = body["connection"], body["export"], body["settings"]
        return cls(*place, tuple(body["profiles"]), body.get("tries", 0), body.get("trace"))


@dataclass(frozen=True, slots=True)
class Page:
    """Go on with a run: one shard, in one phase, after this profile id."""

    connection: str
    export: str
    settings: int
    run: str
    shard: int
    phase: int
    after: str

    KIND: ClassVar[str] = "page"

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
    def from_json(cls, body: Mapping[str, Any]) -> "Page":
        """Read a body made by `to_json`; KeyError or ValueError on anything else."""
        names = ("connection", "export", "settings", "run", "shard", "phase", "after")
        return cls(*(body[name] for name in names))


@dataclass(frozen=True, slots=True)
class CheckImport:
    """Look whether an asynchronous import has ended. `number` counts the looks at it; a double has an old number."""

    connection: str
    call: str
    number: int

    KIND: ClassVar[str] = "import"

    def to_json(self) -> dict[str, Any]:
        """Return the message body."""
        return {"kind": self.KIND, "connection": self.connection, "call": self.call, "number": self.number}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "CheckImport":
        """Read a body made by `to_json`; KeyError or ValueError on anything else."""
        return cls(body["connection"], body["call"], body["number"])


@dataclass(frozen=True, slots=True)
class Confirm:
    """Look whether the destination holds by now what ended as unconfirmed for these profiles of an export."""

    connection: str
    export: str
    settings: int
    profiles: tuple[str, ...]

    KIND: ClassVar[str] = "confirm"

    def to_json(self) -> dict[str, Any]:
        """Return the message body."""
        return {
            "kind": self.KIND,
            "connection": self.connection,
            "export": self.export,
            "settings": self.settings,
            "profiles": list(self.profiles),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Confirm":
        """Read a body made by `to_json`; KeyError or ValueError on anything else."""
        return cls(body["connection"], body["export"], body["settings"], tuple(body["profiles"]))


Task = Look | Page | CheckImport | Confirm

_KINDS: Mapping[str, Callable[[Mapping[str, Any]], Task]] = {
    Look.KIND: Look.from_json,
    Page.KIND: Page.from_json,
    CheckImport.KIND: CheckImport.from_json,
    Confirm.KIND: Confirm.from_json,
}


def from_json(body: Mapping[str, Any]) -> Task:
    """Read a body of any kind; KeyError or ValueError on what was not made here."""
    return _KINDS[body["kind"]](body)


def group(connection: str, shard: int) -> str:
    """Return the FIFO message group of a connection's shard."""
    return f"{connection}#{shard}"


def shard_of(profile_id: str, shards: int) -> int:
    """Return the shard (0 to shards - 1) of a profile."""
    return bucket_of(profile_id) % shards


def by_shard(profile_ids: Iterable[str], shards: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (shard, profile ids) with at most MAX_PROFILES ids each, sorted, each id once."""
    sorted_ids: dict[int, list[str]] = {}
    for profile_id in sorted(set(profile_ids)):
        sorted_ids.setdefault(shard_of(profile_id, shards), []).append(profile_id)
    for shard, ids in sorted(sorted_ids.items()):
        for start in range(0, len(ids), MAX_PROFILES):
            yield shard, tuple(ids[start : start + MAX_PROFILES])
