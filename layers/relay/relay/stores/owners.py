"""Owners: which export of a connection may change a target. pk `owners#connection`, sk the target.

`epoch` grows each time the target passes to another export: it is that moment in milliseconds since 1970, so that it
grows even over a record that was lost. `former` are exports that owned the target before and whose assignments may
still name it. The new owner's next run takes those over. After its DELIVER phase they are named no more.

The records live as long as their connection, also when the export is gone: what an epoch was must never come again.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from relay.stores.database import ABSENT, Database, Expectation, Item, Key, Put, Table, Update

FORMAT: Final = 1


class Owner(NamedTuple):
    """The export (by its name) that a target belongs to, since which epoch, and which ones it belonged to before."""

    export: str
    epoch: int
    former: tuple[str, ...] = ()


def load(database: Database, connection: str, targets: Iterable[str]) -> dict[str, Owner]:
    """Return the owners of those of the targets that have one."""
    names = list(targets)
    items = database.get([_key(connection, target) for target in names])
    return {target: _owner(item) for target, item in zip(names, items, strict=True) if item is not None}


def of_connection(database: Database, connection: str) -> list[Owner]:
    """Return the owners of all targets of a connection."""
    return [_owner(item) for item in database.query(Table.CONTROL, _partition(connection))]


def targets(database: Database, connection: str) -> list[str]:
    """Return all targets of a connection that were ever owned."""
    return [str(item["sk"]) for item in database.query(Table.CONTROL, _partition(connection))]


def to_adopt(database: Database, connection: str, export: str) -> dict[str, frozenset[str]]:
    """Return the targets of an export that were other exports' before, with those exports' keys.

    Those that its settings name no more are among them: it is still the one who takes people out of there.
    """
    found = {str(item["sk"]): _owner(item) for item in database.query(Table.CONTROL, _partition(connection))}
    return {
        target: frozenset(f"{connection}/{former}" for former in owner.former)
        for target, owner in found.items()
        if owner.export == export and owner.former
    }


def after(seen: Owner | None, export: str, now: datetime) -> Owner:
    """Return the owner of a target once an export takes it from the owner that was seen."""
    epoch = round(now.timestamp() * 1000)
    if seen is None:
        return Owner(export, epoch)
    former = {*seen.former, seen.export} - {export}
    return Owner(export, max(epoch, seen.epoch + 1), tuple(sorted(former)))


def take(
    database: Database, connection: str, target: str, export: str, seen: Owner | None, now: datetime
) -> Owner | None:
    """Give a target to an export, from the owner that was seen; None when somebody else was faster."""
    key, owner = _key(connection, target), after(seen, export, now)
    if seen is None:
        return owner if database.write([Put(key, _item(owner), {"pk": ABSENT})])[0] else None
    expect: Expectation = {"export": seen.export, "epoch": seen.epoch}
    return owner if database.write([Update(key, _item(owner), expect=expect)])[0] else None


def took_since(database: Database, connection: str, export: str, began: datetime) -> bool:
    """Return whether an export has taken a target from another one since a run of it `began`."""
    bound = round(began.timestamp() * 1000)
    return any(
        owner.export == export and bool(owner.former) and owner.epoch > bound
        for owner in of_connection(database, connection)
    )


def taken_over(database: Database, connection: str, export: str, began: datetime) -> None:
    """Note that an export's run has delivered: what its targets' former owners had is its own by now.

    Only for targets that were its own when the run `began`: of others, pages before may have missed something.
    """
    bound = round(began.timestamp() * 1000)
    for item in database.query(Table.CONTROL, _partition(connection)):
        owner = _owner(item)
        if owner.export == export and owner.former and owner.epoch <= bound:
            expect: Expectation = {"export": export, "epoch": owner.epoch}
            database.write([Update(_key(connection, str(item["sk"])), {"former": "[]"}, expect=expect)])


def _partition(connection: str) -> str:
    return f"owners#{connection}"


def _key(connection: str, target: str) -> Key:
    return Key(Table.CONTROL, _partition(connection), target)


def _item(owner: Owner) -> Item:
    return {"export": owner.export, "epoch": owner.epoch, "former": json.dumps(owner.former), "format": FORMAT}


def _owner(item: Item) -> Owner:
    return Owner(str(item["export"]), int(item["epoch"]), tuple(json.loads(str(item["former"]))))
