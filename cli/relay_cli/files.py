"""Files on this machine that are uploaded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from relay_cli.failures import UsageFailure


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file. `modified` is aware."""

    name: str
    path: Path
    size: int
    modified: datetime

    def open(self) -> BinaryIO:
        """Open its bytes. Raises UsageFailure."""
        try:
            return self.path.open("rb")
        except OSError as error:
            raise UsageFailure(f"{self.name} cannot be read.", error.strerror or "") from None


def found(folder: Path, names: Sequence[str]) -> list[LocalFile]:
    """Return files by their names; of a folder those that lie in it, in the order of their names.

    Of a folder those are left out whose names begin with a dot. Raises UsageFailure for a file that there is not, and
    for a folder with folders in it: what lies there would be left out without a word.
    """
    return [one for name in names for one in _found(folder / name, name)]


def _found(path: Path, name: str) -> Iterator[LocalFile]:
    try:
        inside = [one for one in sorted(path.iterdir()) if one.name[0] != "."] if path.is_dir() else [path]
        for one in inside:
            if one.is_dir() and one.name[0] != "_":
                raise UsageFailure(f"{name} has a folder {one.name} in it.", "All files must lie in one folder.")
            if one.is_dir():
                continue
            status = one.stat()
            yield LocalFile(one.name, one, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
    except OSError as error:
        raise UsageFailure(f"{name} cannot be read.", error.strerror or "") from None
