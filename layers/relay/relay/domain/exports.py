"""Exports: which segments go to which connection, mapped how."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic

from typing_extensions import TypeVar

Options = TypeVar("Options", default=Any)
Settings = TypeVar("Settings", default=Any)
"""A destination's own models. Where it does not matter whose they are, a plain `Export` is one of any."""


@dataclass(frozen=True, slots=True)
class Export(Generic[Options]):
    """Segments -> one connection, as an administrator wrote it and as it was validated.

    `options` is an instance of the destination's own options model. `version` grows with every edit (the time of
    the edit in milliseconds, so that it also grows when an export is deleted and made again). `only_if` is an
    expression: a profile in the segments for which it is false is no member.
    """

    connection: str
    name: str
    destination: str
    active: bool
    stream: bool
    segments: tuple[str, ...]
    mapping: Mapping[str, str]
    options: Options
    version: int
    only_if: str | None = None
    emptying: bool = False
    """Nobody is a member: whoever is assigned is taken out, as whoever leaves."""

    @property
    def key(self) -> str:
        """`connection/export`: unique in the stack."""
        return f"{self.connection}/{self.name}"


@dataclass(frozen=True, slots=True)
class Connection(Generic[Settings]):
    """One account at a destination; `settings` is an instance of the destination's own connection model."""

    name: str
    destination: str
    display_name: str
    settings: Settings
