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

    Raises UsageFailure for one that there is not.
    """
    return [one for name in names for one in _found(folder / name, name)]


def _found(path: Path, name: str) -> Iterator[LocalFile]:
    try:
        inside = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
        for one in inside:
            status = one.stat()
            yield LocalFile(one.name, one, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
    except OSError as error:
        raise UsageFailure(f"{name} cannot be read.", error.strerror or "") from None
