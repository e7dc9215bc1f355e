"""What the parts of a set are read into, whatever their format."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from relay.domain.changes import Json

Require = Callable[[str, Sequence[str]], None]
"""Takes the name of a part and those of its columns; raises Unreadable when the part cannot be what it should be."""


class Unreadable(Exception):  # noqa: N818 - the outcome of a file, not an error of ours
    """A set cannot be read to its end, so nothing may be concluded from it. `reason` can be shown: it repeats no data
    but names of columns and parts."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Replaced(Unreadable):
    """An object was replaced or deleted since it was listed: what lies there now may be read."""


@dataclass(frozen=True, slots=True)
class Part:
    """One object of a set. `open` opens its bytes, from the beginning, as often as it is called."""

    name: str
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it was read: `line` counts from 1 as an editor does; in Parquet it is the number of the row."""

    part: str
    line: int
    values: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that cannot be read. `reason` is a closed text that repeats nothing of it."""

    part: str
    line: int
    reason: str
