"""Notes: small facts kept per connection, such as an id that its destination gave us."""

from relay.stores.database import ABSENT, Database, Key, Put, Table, Update, Write


class ConnectionNotes:
    """The notes of one connection (pk `notes#connection`), as the destination contract's `Notes`."""

    def __init__(self, database: Database, connection: str) -> None:
        self._database = database
        self._pk = f"notes#{connection}"

    def get(self, key: str) -> str | None:
        """Return the note, None if there is none."""
        item = self._database.get([self._place(key)])[0]
        return None if item is None else str(item["note"])

    def keep(self, key: str, value: str, *, replaces: str | None = None) -> str:
        """Keep a note if none is there (or the old one is `replaces`); return the note that is kept now."""
        place = self._place(key)
        write: Write = Put(place, {"note": value}, {"pk": ABSENT})
        if replaces is not None:
            write = Update(place, {"note": value}, expect={"note": replaces})
        if self._database.write([write])[0]:
            return value
        kept = self.get(key)
        return value if kept is None else kept

    def _place(self, key: str) -> Key:
        return Key(Table.CONTROL, self._pk, key)
