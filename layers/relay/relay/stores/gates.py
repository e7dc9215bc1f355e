"""Gates: whether a connection or one of its exports is stopped, why, and what it owes.

Stopping is dropping and owing a run: messages that arrive at a closed gate are acknowledged after noting `owed`,
on the condition that the gate is still closed with the same epoch. pk `gates#connection`, sk `connection` or
`export#name`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.domain import moments
from relay.domain.problems import Actor, Problem
from relay.stores.database import ABSENT, Database, Delete, Expectation, Item, Key, Table, Update, write_one

CONNECTION = "connection"

FAILURES_APART = timedelta(hours=1)
"""Much longer than the longest backoff: failures further apart say nothing of the time between them."""

QUIET = timedelta(minutes=15)
"""A gate that closes for the same reason sooner after it was opened flaps: its probe does not see what is wrong."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The state of one gate. `epoch` counts its closings.

    `code`, `reason` and `actor` (who must act) tell what is wrong now: what closed it, or what the latest probe found.
    `failing_since` and `failed_at` are the first and the last failure of a row without a success. `passed` is the
    version of an export's settings under which a run has counted the leavers and was let through. `flaps` counts the
    closings in a row that came for the same code (`last_code`, once it is open) soon after it was `reopened_at`.
    """

    scope: str
    closed: bool = False
    code: str = ""
    reason: str = ""
    actor: Actor = Actor.ADMINISTRATOR
    epoch: int = 0
    since: datetime | None = None
    failing_since: datetime | None = None
    failed_at: datetime | None = None
    passed: int = 0
    owed: int = 0
    probed_at: datetime | None = None
    reopened_at: datetime | None = None
    last_code: str = ""
    flaps: int = 0


def scope_of(export_name: str | None) -> str:
    """Return the scope of a gate: the whole connection (None) or one export."""
    return CONNECTION if export_name is None else f"export#{export_name}"


def export_of(scope: str) -> str:
    """Return the name of the export of a scope that is not a connection's."""
    return scope.removeprefix("export#")


def _key(connection: str, scope: str) -> Key:
    return Key(Table.CONTROL, f"gates#{connection}", scope)


def load(database: Database, connection: str, export_name: str) -> tuple[Gate, Gate]:
    """Return the connection's gate and the export's."""
    scopes = [CONNECTION, scope_of(export_name)]
    items = database.get([_key(connection, scope) for scope in scopes])
    one, other = (_gate(scope, item) for scope, item in zip(scopes, items, strict=True))
    return one, other


def load_one(database: Database, connection: str, scope: str) -> Gate:
    """Return one gate of a connection."""
    return _gate(scope, database.get([_key(connection, scope)])[0])


def load_all(database: Database, connection: str) -> dict[str, Gate]:
    """Return all gates of a connection by scope."""
    return {
        str(item["sk"]): _gate(str(item["sk"]), item) for item in database.query(Table.CONTROL, f"gates#{connection}")
    }


def close(
    database: Database,
    connection: str,
    gate: Gate,
    code: str,
    reason: str,
    now: datetime,
    actor: Actor = Actor.ADMINISTRATOR,
) -> None:
    """Close a gate that was seen open; nothing happens if somebody else changed it meanwhile."""
    write_one(
        database,
        Update(
            _key(connection, gate.scope),
            {
                "closed": True,
                "code": code,
                "reason": reason,
                "actor": actor.value,
                "epoch": gate.epoch + 1,
                "since": moments.text(now),
                "failing_since": "",
                "flaps": _flaps(gate, code, now),
            },
            {},
            _as_seen(gate),
        ),
    )


def _flaps(gate: Gate, code: str, now: datetime) -> int:
    if gate.reopened_at is None or code != gate.last_code or now - gate.reopened_at >= QUIET:
        return 0
    return gate.flaps + 1


def restate(database: Database, connection: str, gate: Gate, problem: Problem) -> Gate:
    """Note that what is stopped has another reason now; return it as it is told from now on."""
    if (gate.code, gate.reason, gate.actor) == (problem.code, problem.what, problem.actor):
        return gate
    told: Item = {"code": problem.code, "reason": problem.what, "actor": problem.actor.value}
    write_one(database, Update(_key(connection, gate.scope), told, {}, _as_seen(gate)))
    return replace(gate, code=problem.code, reason=problem.what, actor=problem.actor)


def reopen(database: Database, connection: str, gate: Gate, now: datetime) -> bool:
    """Open a gate that was seen closed; False if somebody else changed it meanwhile."""
    opened: Item = {
        "closed": False,
        "code": "",
        "reason": "",
        "failing_since": "",
        "reopened_at": moments.text(now),
        "last_code": gate.code,
    }
    return write_one(database, Update(_key(connection, gate.scope), opened, {}, _as_seen(gate)))


def owe(database: Database, connection: str, gate: Gate, export_name: str) -> bool:
    """Note that an export owes a run because of a closed gate; False when that gate is no longer so closed."""
    owing = Update(_key(connection, scope_of(export_name)), {}, {"owed": 1})
    if gate.scope == owing.key.sk:
        return write_one(database, Update(owing.key, {}, {"owed": 1}, _as_seen(gate)))
    return write_one(database, Update(_key(connection, gate.scope), {}, {"dropped": 1}, _as_seen(gate)), owing)


def owe_always(database: Database, connection: str, export_name: str) -> None:
    """Note that an export owes a run, whatever its gates say (it is paused, or its settings are invalid)."""
    write_one(database, Update(_key(connection, scope_of(export_name)), {}, {"owed": 1}))


def forget(database: Database, connection: str, export_name: str) -> None:
    """Delete what is kept of an export that is gone for good."""
    write_one(database, Delete(_key(connection, scope_of(export_name))))


def pay(database: Database, connection: str, gate: Gate) -> bool:
    """Forget a debt for which a run was started; False when more was owed meanwhile."""
    return write_one(database, Update(_key(connection, gate.scope), {"owed": 0}, {}, {"owed": gate.owed}))


def note_failure(database: Database, connection: str, gate: Gate, now: datetime) -> datetime:
    """Note that a call failed; return since when all have. A long silence between two failures begins a new row."""
    since = gate.failing_since
    if since is None or gate.failed_at is None or now - gate.failed_at > FAILURES_APART:
        since = now
    told: Item = {"failing_since": moments.text(since), "failed_at": moments.text(now)}
    write_one(database, Update(_key(connection, gate.scope), told, {}, _as_seen(gate)))
    return since


def note_success(database: Database, connection: str, gate: Gate) -> None:
    """Forget that calls failed."""
    if gate.failing_since is not None:
        write_one(database, Update(_key(connection, gate.scope), {"failing_since": ""}, {}, _as_seen(gate)))


def pass_guard(database: Database, connection: str, export_name: str, version: int) -> None:
    """Note that a run under this version of the settings has counted the leavers and may remove them."""
    write_one(database, Update(_key(connection, scope_of(export_name)), {"passed": version}))


def note_probe(database: Database, connection: str, gate: Gate, now: datetime) -> bool:
    """Note that a closed gate is being probed; False when somebody else does."""
    return write_one(
        database, Update(_key(connection, gate.scope), {"probed_at": moments.text(now)}, {}, _as_seen(gate))
    )


def _as_seen(gate: Gate) -> Expectation:
    """Expect the gate's closing as it was read; a gate never written has no epoch."""
    return {"epoch": gate.epoch if gate.epoch else ABSENT, "closed": gate.closed if gate.epoch else ABSENT}


def _gate(scope: str, item: Item | None) -> Gate:
    if item is None:
        return Gate(scope)

    def moment(name: str) -> datetime | None:
        text = str(item.get(name, ""))
        return moments.parse(text) if text else None

    return Gate(
        scope=scope,
        closed=bool(item.get("closed", False)),
        code=str(item.get("code", "")),
        reason=str(item.get("reason", "")),
        actor=Actor(str(item.get("actor", Actor.ADMINISTRATOR.value))),
        epoch=int(item.get("epoch", 0)),
        since=moment("since"),
        failing_since=moment("failing_since"),
        failed_at=moment("failed_at"),
        passed=int(item.get("passed", 0)),
        owed=int(item.get("owed", 0)),
        probed_at=moment("probed_at"),
        reopened_at=moment("reopened_at"),
        last_code=str(item.get("last_code", "")),
        flaps=int(item.get("flaps", 0)),
    )
