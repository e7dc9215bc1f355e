"""A database that can be read, and refuses every write: for what must change nothing."""

from collections.abc import Sequence
from typing import NoReturn

from relay.stores.database import Database, Item, Key, Table, Write


class ReadOnlyDatabase:
    """Reads from another database; a write is the end of the test."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        return self._database.get(keys)

    def query(
        self,
        table: Table,
        pk: str,
        *,
        after: str = "",
        until: str = "",
        prefix: str = "",
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Item]:
        return self._database.query(
            table, pk, after=after, until=until, prefix=prefix, limit=limit, newest_first=newest_first
        )

    def scan(self, table: Table, *, after: str = "", limit: int) -> tuple[list[Item], str]:
        return self._database.scan(table, after=after, limit=limit)

    def write(self, writes: Sequence[Write]) -> NoReturn:
        raise AssertionError(f"nothing may be written, and these were: {writes}")

    def transact(self, writes: Sequence[Write]) -> NoReturn:
        raise AssertionError(f"nothing may be written, and these were: {writes}")
