"""Runs in DynamoDB: a header and a record per phase and shard (pk `run#id`), a list per export, and its last run.

A shard's record and its counts change together: a page adds its counts where it moves the cursor.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from relay.domain import moments
from relay.domain.runs import ENDED, Phase, Run, RunState, Shard, first_shards, marked
from relay.stores import notices
from relay.stores.database import ABSENT, Database, Delete, Expectation, Item, Key, Put, Table, Update
from relay.stores.notices import RECORD, RUN_ENDED, RUN_STARTED, RUN_WAITS, Notice

FORMAT: Final = 1

KEPT = timedelta(days=90)
"""How long the records of a run can be looked at, from its start."""

_COUNT = "count_"
_PAGE = 20


def begin(database: Database, run: Run) -> bool:
    """Write a new run and make it its export's last one; False when another run is active.

    The shards come first: nobody looks for them before there is a header.
    """
    item = database.get([_last(run.export)])[0]
    last = None if item is None else load(database, str(item["run"]))
    if last is not None and last.state not in ENDED:
        return False
    shards = [Put(_shard(run.id, shard), _shard_item(shard, _expiry(run))) for shard in first_shards(run)]
    database.write(shards)
    expect: Expectation = {"run": ABSENT} if item is None else {"run": str(item["run"])}
    begun = Update(_last(run.export), {"run": run.id}, expect=expect)
    return database.transact([*_records(run), begun, *map(notices.note, _announced(run, run.started_at))])


def refuse(database: Database, run: Run) -> None:
    """Record a run that could not start, with its reason."""
    database.transact([*_records(run), *map(notices.note, _announced(run, run.started_at))])


def _records(run: Run) -> list[Put]:
    return [
        Put(_header(run.id), _header_item(run, 1), {"pk": ABSENT}),
        Put(_listed(run.export, run.id), {"expires_at": _expiry(run)}),
    ]


def load(database: Database, run: str) -> Run | None:
    """Return a run's header."""
    item = database.get([_header(run)])[0]
    return None if item is None else _run(run, item)


def active(database: Database, export: str) -> Run | None:
    """Return the export's run that goes on or waits for confirmation."""
    item = database.get([_last(export)])[0]
    run = None if item is None else load(database, str(item["run"]))
    return None if run is None or run.state in ENDED else run


def current(database: Database, export: str) -> Run | None:
    """Return the run that goes on or waits for confirmation; when there is none, the newest.

    The newest by its id may be another: one whose start was refused meanwhile, or whose starter had a fast clock.
    """
    going_on = active(database, export)
    return newest(database, export) if going_on is None else going_on


def newest(database: Database, export: str) -> Run | None:
    """Return the run that was started or refused last."""
    return next(iter(latest(database, export, 1)), None)


def latest(database: Database, export: str, count: int = 20) -> list[Run]:
    """Return the last runs of an export, newest first."""
    listed = database.query(Table.CONTROL, f"runs#{export}", newest_first=True, limit=count)
    ids = [str(item["sk"]) for item in listed]
    items = database.get([_header(run) for run in ids])
    return [_run(run, item) for run, item in zip(ids, items, strict=True) if item is not None]


def before(database: Database, export: str, run: str = "") -> Iterator[Run]:
    """Yield the runs of an export that were started or refused before one, newest first; without one, all."""
    while listed := database.query(Table.CONTROL, f"runs#{export}", until=run, newest_first=True, limit=_PAGE):
        ids = [str(item["sk"]) for item in listed if item["sk"] != run]
        if not ids:
            return
        items = database.get([_header(one) for one in ids])
        yield from (_run(one, item) for one, item in zip(ids, items, strict=True) if item is not None)
        run = ids[-1]


def forget_last(database: Database, export: str) -> None:
    """Delete which run of an export was the last; the runs themselves are forgotten after `KEPT`."""
    database.write([Delete(_last(export))])


def shards(database: Database, run: str, phase: Phase | None = None) -> list[Shard]:
    """Return all shards of a run, of all phases or one."""
    prefix = "shard#" if phase is None else f"shard#{phase.value}#"
    return [_shard_of(item) for item in database.query(Table.CONTROL, f"run#{run}", prefix=prefix)]


def shard(database: Database, run: str, phase: Phase, index: int) -> Shard | None:
    """Return one shard."""
    item = database.get([_shard(run, Shard(index, phase))])[0]
    return None if item is None else _shard_of(item)


def move(run: Run, shard: Shard, *, to: str, done: bool, counts: Mapping[str, int], seen: int, now: datetime) -> Update:
    """Return the write that adds a page's counts and moves the cursor, if it still is where the page began.

    `seen` is how many profiles the page has looked at.
    """
    progress = marked(shard.progress, round((now - run.started_at).total_seconds()), seen)
    place: Item = {"after": to, "done": done, "moved_at": moments.text(now), "progress": json.dumps(progress)}
    return Update(_shard(run.id, shard), place, _columns(counts), {"after": shard.after, "done": False})


def count(run: str, phase: Phase, index: int, counts: Mapping[str, int]) -> Update:
    """Return the write that moves profiles between columns."""
    return Update(_shard(run, Shard(index, phase)), {}, _columns(counts))


def note_sent_again(database: Database, run: str, shards: Iterable[Shard], now: datetime) -> None:
    """Note that the messages of shards were sent again, as if they had moved."""
    moved: Item = {"moved_at": moments.text(now)}
    database.write(
        [Update(_shard(run, shard), moved, expect={"after": shard.after, "done": False}) for shard in shards]
    )


def next_phase(database: Database, run: Run, confirmed_by: str | None = None) -> bool:
    """Begin a run's next phase; False when somebody else changed the run. Nothing is announced."""
    header = replace(run, state=RunState.RUNNING, phase=Phase(run.phase + 1), reason=None, confirmed_by=confirmed_by)
    return database.write([_changed(run, header)])[0]


def change_state(database: Database, run: Run, state: RunState, now: datetime, reason: str | None = None) -> bool:
    """Write a run's new state, to be announced; False when somebody else changed the run."""
    header = replace(run, state=state, reason=reason, ended_at=now if state in ENDED else None)
    return database.transact([_changed(run, header), *map(notices.note, _announced(header, now))])


def _changed(run: Run, header: Run) -> Update:
    return Update(_header(run.id), _header_item(header, run.version + 1), expect={"version": run.version})


def _announced(run: Run, now: datetime) -> list[Notice]:
    """Return what is announced of a run that has come to its state."""
    if run.state in ENDED:
        return [Notice(now, RUN_ENDED, run.id), Notice(now, RECORD, run.id)]
    return [Notice(now, RUN_WAITS if run.state is RunState.NEEDS_CONFIRMATION else RUN_STARTED, run.id)]


def _columns(counts: Mapping[str, int]) -> dict[str, int]:
    return {f"{_COUNT}{name}": number for name, number in counts.items() if number}


def _header(run: str) -> Key:
    return Key(Table.CONTROL, f"run#{run}", "header")


def _shard(run: str, shard: Shard) -> Key:
    return Key(Table.CONTROL, f"run#{run}", f"shard#{shard.phase.value}#{shard.index:03d}")


def _listed(export: str, run: str) -> Key:
    return Key(Table.CONTROL, f"runs#{export}", run)


def _last(export: str) -> Key:
    return Key(Table.CONTROL, f"export#{export}", "run")


def _expiry(run: Run) -> int:
    return int((run.started_at + KEPT).timestamp())


def _header_item(run: Run, version: int) -> Item:
    return {
        "format": FORMAT,
        "export": run.export,
        "cause": run.cause,
        "state": run.state.value,
        "phase": run.phase.value,
        "shards": run.shards,
        "settings": run.settings,
        "started_at": moments.text(run.started_at),
        "ended_at": "" if run.ended_at is None else moments.text(run.ended_at),
        "reason": run.reason or "",
        "confirmed_by": run.confirmed_by or "",
        "retry": run.retry or "",
        "full": run.full,
        "planned_leaving": "" if run.planned_leaving is None else run.planned_leaving,
        "version": version,
        "expires_at": _expiry(run),
    }


def _run(run: str, item: Item) -> Run:
    return Run(
        id=run,
        export=str(item["export"]),
        cause=str(item["cause"]),
        state=RunState(str(item["state"])),
        phase=Phase(int(item["phase"])),
        shards=int(item["shards"]),
        settings=int(item["settings"]),
        started_at=moments.parse(str(item["started_at"])),
        ended_at=moments.parse(str(item["ended_at"])) if item["ended_at"] else None,
        reason=str(item["reason"]) or None,
        confirmed_by=str(item["confirmed_by"]) or None,
        retry=str(item["retry"]) or None,
        full=bool(item.get("full", False)),
        planned_leaving=int(planned) if (planned := item.get("planned_leaving", "")) != "" else None,
        version=int(item["version"]),
    )


def _shard_item(shard: Shard, expires_at: int) -> Item:
    moved_at = "" if shard.moved_at is None else moments.text(shard.moved_at)
    return {"after": shard.after, "done": shard.done, "moved_at": moved_at, "expires_at": expires_at, "format": FORMAT}


def _shard_of(item: Item) -> Shard:
    _, phase, index = str(item["sk"]).split("#")
    return Shard(
        index=int(index),
        phase=Phase(int(phase)),
        after=str(item["after"]),
        done=bool(item["done"]),
        counts={name.removeprefix(_COUNT): int(value) for name, value in item.items() if name.startswith(_COUNT)},
        moved_at=moments.parse(str(item["moved_at"])) if item["moved_at"] else None,
        progress=tuple((int(at), int(done)) for at, done in json.loads(str(item.get("progress", "[]")))),
    )
