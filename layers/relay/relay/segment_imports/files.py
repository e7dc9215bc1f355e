"""What an import needs of files, and of a place for the ids that it has seen."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from relay.domain.changes import Json
from relay.domain.segment_imports import FilePart, RowFault
from relay.files.rows import Row


class FileSet(NamedTuple):
    """Objects that make one set of a segment. `due` is when to look again, None when all of it is there.

    `refused` is why it cannot be a set. `written` is when the last of it was written, None where that is `at`.
    """

    at: datetime
    parts: tuple[FilePart, ...]
    due: datetime | None = None
    refused: str | None = None
    written: datetime | None = None


class Member(NamedTuple):
    """Who a row is about, and what it says of them. `profile_ids` are sorted, and empty where a row names nobody."""

    profile_ids: tuple[str, ...]
    identities: Mapping[str, Sequence[str] | None]
    attributes: Mapping[str, Json]
    is_in: bool = True
    """Whether the row says that the profile is in the segment."""
    place: int = 0
    """The row's place in its set, from 0: of two rows of one person the later counts."""


class Files(Protocol):
    """The files of segments. All methods raise Transient when AWS does not answer."""

    def sets(self, segment: str) -> Sequence[FileSet]:
        """Return the sets that lie in the folder of a segment (`source/segment`)."""
        ...

    def rows(
        self, segment: str, parts: Sequence[FilePart], watch: Callable[[], None] | None = None
    ) -> Iterator[Row | RowFault]:
        """Yield all rows, in the same order each time; raises Unreadable. `watch` is that of `read_rows`."""
        ...

    def members(self, segment: str) -> Callable[[Row], Member]:
        """Return what says who a row is about; that raises ValueError, without values, where a row cannot be used."""
        ...

    def allows_empty(self, segment: str) -> bool:
        """Return whether a set without members may empty the segment."""
        ...


class Pages(Protocol):
    """Keeps who an import has seen, by page."""

    def keep(self, import_id: str, page: int, ids: bytes) -> None:
        """Keep the ids of a page, which is named by the number of rows before it."""
        ...

    def read(self, import_id: str) -> Iterator[bytes]:
        """Yield the ids of all pages."""
        ...

    def drop(self, import_id: str) -> None:
        """Delete all pages."""
        ...
