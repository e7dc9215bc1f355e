"""Notes: small facts kept per connection, and which export a target belongs to."""

from relay.stores.database import ABSENT, Database, Delete, Expectation, Key, Put, Table, write_one


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
        place = Key(Table.CONTROL, self._pk, key)
        expect: Expectation = {"pk": ABSENT} if replaces is None else {"note": replaces}
        if write_one(self._database, Put(place, {"note": value}, expect)):
            return value
        kept = self.get(key)
        return value if kept is None else kept

    def forget_owner(self, export_name: str) -> None:
        """Delete the notes that say that targets belong to an export."""
        owned = [
            Key(Table.CONTROL, self._pk, str(item["sk"]))
            for item in self._database.query(Table.CONTROL, self._pk, prefix=owner_note(""))
            if item["note"] == export_name
        ]
        if owned:
            self._database.write([[Delete(key, {"note": export_name})] for key in owned])


def owner_note(target: str) -> str:
    """Return the key of the note that says which export a target belongs to."""
    return f"owner of {target}"
