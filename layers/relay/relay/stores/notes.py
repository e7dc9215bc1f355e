"""Notes: small facts kept per connection, such as the id that a destination gave to something of ours."""

from typing import Final

from relay.stores.database import ABSENT, Database, Item, Key, Put, Table, Update, Write

FORMAT: Final = 1


class ConnectionNotes:
    """The notes of one connection (pk `notes#connection`), as the destination contract's `Notes`."""

    def __init__(self, database: Database, connection: str) -> None:
        self._database = database
        self._pk = f"notes#{connection}"

    def get(self, key: str) -> str | None:
        """Return the note, None if there is none."""
        item = self._database.get([Key(Table.CONTROL, self._pk, key)])[0]
        return None if item is None else str(item["note"])

    def keep(self, key: str, value: str, *, replaces: str | None = None) -> str:
        """Keep a note if none is there (or the old one is `replaces`); return the note that is kept now."""
        place, item = Key(Table.CONTROL, self._pk, key), _item(value)
        write: Write = Put(place, item, {"pk": ABSENT})
        if replaces is not None:
            write = Update(place, item, expect={"note": replaces})
        if self._database.write([write])[0]:
            return value
        kept = self.get(key)
        return value if kept is None else kept


class NotesAsTheyAre(ConnectionNotes):
    """The same for who only looks: what is to be kept is used, and not stored."""

    def keep(self, key: str, value: str, *, replaces: str | None = None) -> str:  # noqa: ARG002 - as its base
        """Return the value."""
        return value


def _item(value: str) -> Item:
    return {"note": value, "format": FORMAT}
