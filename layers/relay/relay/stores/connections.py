"""What is kept of a connection, whichever export it concerns: the partitions of table `control` that bear its name."""

from typing import Final

from relay.stores.database import Database, Delete, Key, Table

PARTITIONS: Final = ("breakers", "imports", "notes", "owners", "pace")
"""How the names of the partitions begin, before `#connection`."""


def forget(database: Database, connection: str) -> None:
    """Delete all that is kept of a connection that is gone for good."""
    for beginning in PARTITIONS:
        partition = f"{beginning}#{connection}"
        items = database.query(Table.CONTROL, partition)
        database.write([Delete(Key(Table.CONTROL, partition, str(item["sk"]))) for item in items])
