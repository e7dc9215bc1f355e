"""Breakers: whether a connection, or one of its exports, is stopped and why, and whether a resync is requested.

One item per connection and one per export: pk `breakers#connection`, sk `connection` or `export#name`. Every change is
one conditional write of one item; a stop and its end are written together with their notice. `epoch` counts how often a
breaker changed between running and stopped, so the condition "the epoch is still the one that was read" means that
nobody stopped it or let it go on meanwhile.

**Requests.** Whoever does not do some work asks for a resync first: a run that makes up for it. A request is a new
token, whatever stood there. Whoever starts runs reads the token, starts a run, and then clears the token if it is still
the one that was read. So each request is followed by a run that starts after the request was written, and each run
reads what is stored then. That holds whether or not something is stopped at that moment. Therefore a request needs no
condition on a stop, and no second item. One that comes just when a stop ends costs one run too many. None is ever lost.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from relay.domain import moments
from relay.domain.problems import Actor, Conflict, Problem
from relay.stores import notices
from relay.stores.database import ABSENT, Database, Delete, Expectation, Item, Key, Table, Update
from relay.stores.notices import RECOVERED, STOPPED, Notice

FORMAT: Final = 1

PROBE_EVERY: Final = timedelta(minutes=3)
"""The pause before each probe of what is stopped."""

LONGEST_PROBE_PAUSE: Final = timedelta(hours=1)

RELAPSE_WITHIN: Final = timedelta(minutes=15)
"""What stops again sooner after it went on has a fault that its probe does not see: each time the pause doubles."""

FAILURES_APART: Final = timedelta(hours=1)
"""Much longer than the longest backoff: failures further apart say nothing of the time between them."""

TRIES: Final = 10

_CONNECTION: Final = "connection"


class Stop(NamedTuple):
    """Why something is stopped: what stopped it, or what the latest probe found. Not probed before `probe_at`."""

    code: str
    reason: str
    actor: Actor
    probe_at: datetime


class Failures(NamedTuple):
    """The first and the last failure of a row without a success."""

    since: datetime
    last: datetime


class Breaker(NamedTuple):
    """The breaker of a connection (`export` is None) or of one of its exports.

    `since` is when it was stopped, or when it last went on; None before its first stop. `relapses` counts the stops in
    a row that came soon after it went on. `passed` is the version of an export's settings under which a run has passed
    the guard on leavers. `resync` is the token of a request, empty when there is none.
    """

    connection: str
    export: str | None
    epoch: int = 0
    stop: Stop | None = None
    since: datetime | None = None
    relapses: int = 0
    failures: Failures | None = None
    passed: int = 0
    resync: str = ""

    @property
    def subject(self) -> str:
        """Return what it belongs to, for logs and operators: `connection c` or `export c/e`."""
        return f"connection {self.connection}" if self.export is None else f"export {self.connection}/{self.export}"


def load(database: Database, connection: str, export: str) -> tuple[Breaker, Breaker]:
    """Return the breakers of a connection and of one of its exports, by one read."""
    names = (None, export)
    items = database.get([_key(connection, name) for name in names])
    of_connection, of_export = (_breaker(connection, name, item) for name, item in zip(names, items, strict=True))
    return of_connection, of_export


def load_one(database: Database, connection: str, export: str | None) -> Breaker:
    """Return one breaker; `export` None stands for the connection's."""
    return _breaker(connection, export, database.get([_key(connection, export)])[0])


def load_all(database: Database, connection: str) -> list[Breaker]:
    """Return the breakers that were ever written of a connection and its exports, the connection's first."""
    items = database.query(Table.CONTROL, _partition(connection))
    return [_breaker(connection, _export_of(str(item["sk"])), item) for item in items]


def stop(database: Database, breaker: Breaker, problem: Problem, now: datetime) -> bool:
    """Stop what was seen running, to be announced; False when somebody else changed that, or it was seen stopped."""
    if breaker.stop is not None:
        return False
    is_relapse = breaker.since is not None and now - breaker.since < RELAPSE_WITHIN
    relapses = breaker.relapses + 1 if is_relapse else 0
    stopped: Item = {
        **_reason(problem),
        "epoch": breaker.epoch + 1,
        "since": moments.text(now),
        "relapses": relapses,
        "probe_at": moments.text(now + _pause(relapses)),
        "failing_since": "",
    }
    return _announce(database, breaker, stopped, STOPPED, now, _reason(problem))


def restate(database: Database, breaker: Breaker, problem: Problem) -> Breaker:
    """Note that what is stopped has another reason now; return it as it is shown from now on."""
    if breaker.stop is None or breaker.stop[:3] == (problem.code, problem.what, problem.actor):
        return breaker
    _change(database, breaker, {**_reason(problem)})
    return breaker._replace(stop=Stop(problem.code, problem.what, problem.actor, breaker.stop.probe_at))


def restart(database: Database, breaker: Breaker, now: datetime) -> bool:
    """Let go on what was seen stopped, to be announced; False when somebody else changed that meanwhile."""
    if breaker.stop is None:
        return False
    running: Item = {"code": "", "reason": "", "epoch": breaker.epoch + 1, "since": moments.text(now)}
    before = {
        "code": breaker.stop.code,
        "reason": breaker.stop.reason,
        "actor": breaker.stop.actor.value,
        "stopped_at": None if breaker.since is None else moments.text(breaker.since),
    }
    return _announce(database, breaker, running, RECOVERED, now, before)


def begin_probe(database: Database, breaker: Breaker, now: datetime) -> bool:
    """Claim the next probe of what is stopped; False when somebody else does it, or it goes on already."""
    if breaker.stop is None:
        return False
    seen = {"probe_at": moments.text(breaker.stop.probe_at)}
    return _change(database, breaker, {"probe_at": moments.text(now + _pause(breaker.relapses))}, seen)


def note_failure(database: Database, breaker: Breaker, now: datetime) -> timedelta:
    """Note that a call failed; return for how long all have. A long silence between two failures begins a new row.

    Zero when somebody else noted something meanwhile: then what was read says nothing.
    """
    row = breaker.failures
    since = now if row is None or now - row.last > FAILURES_APART else row.since
    changes: Item = {"failing_since": moments.text(since), "failed_at": moments.text(now)}
    return now - since if _change(database, breaker, changes, _failures_as_seen(breaker)) else timedelta()


def note_success(database: Database, breaker: Breaker) -> None:
    """End a row of failures."""
    if breaker.failures is not None:
        _change(database, breaker, {"failing_since": ""})


def request_resync(database: Database, connection: str, export: str, *, token: str | None = None) -> None:
    """Ask for a run of an export that makes up for what is not done now. To be written before that is let go."""
    asked = secrets.token_hex(4) if token is None else token
    database.write([Update(_key(connection, export), {"resync": asked, "format": FORMAT})])


def clear_resync(database: Database, breaker: Breaker) -> bool:
    """Forget the request that was read, once its run is started; False when there is a newer one."""
    if breaker.export is None or not breaker.resync:
        return False
    write = Update(_key(breaker.connection, breaker.export), {"resync": ""}, expect={"resync": breaker.resync})
    return database.write([write])[0]


def pass_guard(database: Database, connection: str, export: str, version: int) -> None:
    """Note that a run under this version of the settings was let through; a later version stays.

    Raises Conflict when others kept noting something.
    """
    for _ in range(TRIES):
        item = database.get([_key(connection, export)])[0]
        passed = None if item is None else item.get("passed")
        if passed is not None and int(passed) >= version:
            return
        expect: Expectation = {"passed": ABSENT if passed is None else int(passed)}
        if database.write([Update(_key(connection, export), {"passed": version, "format": FORMAT}, expect=expect)])[0]:
            return
    raise Conflict("contention", "others kept noting that a run passed the guard")


def forget(database: Database, connection: str, export: str) -> None:
    """Delete what is kept of an export that is gone for good."""
    database.write([Delete(_key(connection, export))])


def _change(database: Database, breaker: Breaker, changes: Item, seen: Expectation | None = None) -> bool:
    """Write changes if the breaker is still stopped, or still running, as it was seen."""
    return database.write([_changed(breaker, changes, seen)])[0]


def _announce(
    database: Database, breaker: Breaker, changes: Item, what: str, now: datetime, details: Mapping[str, str | None]
) -> bool:
    """Write changes as `_change`, together with the notice of them."""
    about = f"{breaker.subject}#{breaker.epoch + 1}"
    named = {"connection": breaker.connection, "export": breaker.export, **details}
    notice = Notice(now, what, about, tuple(named.items()))
    return database.transact([_changed(breaker, changes), notices.note(notice)])


def _changed(breaker: Breaker, changes: Item, seen: Expectation | None = None) -> Update:
    expect: Expectation = {"epoch": breaker.epoch or ABSENT, **(seen or {})}
    return Update(_key(breaker.connection, breaker.export), {**changes, "format": FORMAT}, expect=expect)


def _reason(problem: Problem) -> dict[str, str]:
    return {"code": problem.code, "reason": problem.what, "actor": problem.actor.value}


def _pause(relapses: int) -> timedelta:
    return min(PROBE_EVERY * float(2 ** min(relapses, 20)), LONGEST_PROBE_PAUSE)


def _failures_as_seen(breaker: Breaker) -> Expectation:
    # Never noted and noted as over look the same to the reader, so only a row under way can be expected.
    return {} if breaker.failures is None else {"failing_since": moments.text(breaker.failures.since)}


def _partition(connection: str) -> str:
    return f"breakers#{connection}"


def _key(connection: str, export: str | None) -> Key:
    return Key(Table.CONTROL, _partition(connection), _CONNECTION if export is None else f"export#{export}")


def _export_of(sk: str) -> str | None:
    return None if sk == _CONNECTION else sk.removeprefix("export#")


def _breaker(connection: str, export: str | None, item: Item | None) -> Breaker:
    if item is None:
        return Breaker(connection, export)

    def moment(name: str) -> datetime | None:
        text = str(item.get(name, ""))
        return moments.parse(text) if text else None

    code, probe_at = str(item.get("code", "")), moment("probe_at")
    since, last = moment("failing_since"), moment("failed_at")
    return Breaker(
        connection=connection,
        export=export,
        epoch=int(item.get("epoch", 0)),
        stop=Stop(code, str(item["reason"]), Actor(str(item["actor"])), probe_at) if code and probe_at else None,
        since=moment("since"),
        relapses=int(item.get("relapses", 0)),
        failures=None if since is None or last is None else Failures(since, last),
        passed=int(item.get("passed", 0)),
        resync=str(item.get("resync", "")),
    )
