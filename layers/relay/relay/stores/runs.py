"""Runs in DynamoDB: a header and a record per shard (pk `run#id`), a list per export, its newest and its active run."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum

from relay.domain import moments
from relay.domain.problems import DEFECT, Problem
from relay.domain.runs import ENDED, Outcome, Run, RunState, Shard
from relay.stores.database import (
    ABSENT,
    Database,
    Delete,
    Expectation,
    Item,
    Key,
    Put,
    Table,
    Update,
    Write,
    write_one,
)

_ASIDE = {"outstanding": -1, "rejected": 1, f"rejected:{DEFECT}": 1}

KEPT = timedelta(days=90)
"""How long the records of a run can be looked at, from its start."""


ASKS_FOR = timedelta(minutes=3)
"""Longer than a function's time-out: who has been asking the account for so long has died."""


class Readiness(Enum):
    """Whether a run's account was asked: it was, this one shall, or somebody else does right now."""

    READY = "ready"
    ASK = "ask"
    WAIT = "wait"


def _header(run: str) -> Key:
    return Key(Table.CONTROL, f"run#{run}", "header")


def _shard(run: str, shard: int) -> Key:
    return Key(Table.CONTROL, f"run#{run}", f"shard#{shard:03d}")


def _waiting(run: str, profile: str) -> Key:
    return Key(Table.CONTROL, f"run#{run}", f"waiting#{profile}")


def _aside(run: str, profile: str) -> Key:
    return Key(Table.CONTROL, f"run#{run}", f"aside#{profile}")


def _listed(export: str, run: str) -> Key:
    return Key(Table.CONTROL, f"runs#{export}", run)


def _readiness(run: str) -> Key:
    return Key(Table.CONTROL, f"run#{run}", "ready")


def _active(export: str) -> Key:
    return Key(Table.CONTROL, f"active#{export}", "run")


def _newest(export: str) -> Key:
    return Key(Table.CONTROL, f"active#{export}", "newest")


def _expiry(run: Run) -> int:
    return int((run.started_at + KEPT).timestamp())


def begin(database: Database, run: Run) -> bool:
    """Write a new run and make it the export's active one; False when another run is active."""
    start: Item = {"phase": 1, "after": "", "done": False, "moved_at": moments.text(run.started_at)}
    return write_one(
        database,
        Put(_active(run.export), {"run": run.id}, {"pk": ABSENT}),
        *_records(run),
        *(Put(_shard(run.id, index), {**start, "expires_at": _expiry(run)}) for index in range(run.shards)),
    )


def refuse(database: Database, run: Run) -> None:
    """Record a run that could not start, with its reason."""
    write_one(database, *_records(run))


def _records(run: Run) -> list[Write]:
    return [
        Put(_header(run.id), _header_item(run, 1), {"pk": ABSENT}),
        Put(_listed(run.export, run.id), {"cause": run.cause, "expires_at": _expiry(run)}),
        Put(_newest(run.export), {"run": run.id}),
    ]


def load(database: Database, run: str) -> Run | None:
    """Return a run's header."""
    item = database.get([_header(run)])[0]
    return None if item is None else _run(run, item)


def active(database: Database, export: str) -> str | None:
    """Return the id of the export's active run."""
    item = database.get([_active(export)])[0]
    return None if item is None else str(item["run"])


def newest(database: Database, export: str) -> Run | None:
    """Return the run that was started or refused last."""
    item = database.get([_newest(export)])[0]
    return None if item is None else load(database, str(item["run"]))


def latest(database: Database, export: str, count: int = 20) -> list[Run]:
    """Return the last runs of an export, newest first."""
    ids = [str(item["sk"]) for item in database.query(Table.CONTROL, f"runs#{export}")][-count:]
    items = database.get([_header(run) for run in ids])
    return [_run(run, item) for run, item in zip(ids, items, strict=True) if item is not None][::-1]


def forget_pointers(database: Database, export: str) -> None:
    """Delete which runs of an export are active and newest; the runs themselves are forgotten after `KEPT`."""
    write_one(database, Delete(_active(export)), Delete(_newest(export)))


def shards(database: Database, run: str) -> list[Shard]:
    """Return all shards of a run."""
    return [_shard_from(item) for item in database.query(Table.CONTROL, f"run#{run}", prefix="shard#")]


def shard(database: Database, run: str, index: int) -> Shard | None:
    """Return one shard."""
    item = database.get([_shard(run, index)])[0]
    return None if item is None else _shard_from(item)


def waiting(database: Database, run: str) -> list[str]:
    """Return the profiles whose outcome a run waits for."""
    given_up = {profile for profile, item in _named(database, run, "aside#").items() if _is_given_up(item)}
    return [profile for profile in _named(database, run, "waiting#") if profile not in given_up]


def waited_for(database: Database, run: str) -> set[str]:
    """Return the profiles whose outcome a run waits for, or that were set aside: they are counted beside its pages."""
    return {*_named(database, run, "waiting#"), *_named(database, run, "aside#")}


def _named(database: Database, run: str, prefix: str) -> dict[str, Item]:
    items = database.query(Table.CONTROL, f"run#{run}", prefix=prefix)
    return {str(item["sk"])[len(prefix) :]: item for item in items}


def still_waiting(database: Database, run: str, profiles: Sequence[str]) -> list[str]:
    """Return those of the profiles whose outcome the run still waits for."""
    items = database.get([place(run, profile) for profile in profiles for place in (_waiting, _aside)])
    pairs = zip(items[::2], items[1::2], strict=True)
    return [
        profile
        for profile, (waits, aside) in zip(profiles, pairs, strict=True)
        if waits is not None and not _is_given_up(aside)
    ]


def move(
    run: str,
    index: int,
    *,
    phase: int,
    after: str,
    to: str,
    done: bool,
    counts: Mapping[str, int],
    waiting: Iterable[str],
    aside: Mapping[str, Outcome],
    now: datetime,
) -> list[Write]:
    """Return the group that adds a page's counts and moves the cursor, if it still is where the page began.

    `aside` names those counted as set aside instead of as waiting, as rejected or outstanding: nobody counts the
    rejected once more, and an import, or a wait for what it sends again, ends what is outstanding.
    """
    place: Item = {"after": to, "done": done, "moved_at": moments.text(now)}
    return [
        Update(_shard(run, index), place, _columns(counts), {"phase": phase, "after": after, "done": False}),
        *(begin_wait(run, profile, now) for profile in waiting),
        *(
            Put(_aside(run, profile), _aside_item(now, given_up=outcome is Outcome.REJECTED))
            for profile, outcome in aside.items()
        ),
    ]


def note_nudge(database: Database, run: str, index: int, now: datetime) -> None:
    """Note that a shard's message was sent again, as if it had moved."""
    write_one(database, Update(_shard(run, index), {"moved_at": moments.text(now)}))


def begin_wait(run: str, profile: str, now: datetime) -> Write:
    """Return the write that has a run wait for the outcome of a profile that its ledger counts as outstanding."""
    return Put(_waiting(run, profile), {"state": "waiting", **_kept_from(now)})


def wait_once_more(database: Database, waits: Collection[tuple[str, str]], now: datetime) -> list[Write]:
    """Return the writes that have runs wait for profiles, as (run, profile), that an import was to count.

    That holds also where such a wait was given up because the import was to end it.
    """
    pairs = sorted(waits)
    aside = database.get([_aside(run, profile) for run, profile in pairs])
    return [
        *(begin_wait(run, profile, now) for run, profile in pairs),
        *(
            Put(_aside(run, profile), _aside_item(now, given_up=False))
            for (run, profile), item in zip(pairs, aside, strict=True)
            if _is_given_up(item)
        ),
    ]


def end_wait(database: Database, run: str, index: int, profile: str, outcome: Outcome, reason: str | None) -> bool:
    """Move one awaited profile to its column, once; False when that was done already."""
    counts: dict[str, int] = {}
    if outcome in (Outcome.ABSENT, Outcome.HELD):
        counts = {"outstanding": -1, "unchanged": 1}
    elif outcome is not Outcome.OUTSTANDING:
        counts = {"outstanding": -1, outcome.value: 1}
        if reason is not None:
            counts[f"rejected:{reason}"] = 1
    writes: list[Write] = [Delete(_waiting(run, profile), {"state": "waiting"})]
    if counts:
        writes.append(Update(_shard(run, index), {}, _columns(counts)))
    return write_one(database, *writes)


def give_up_wait(database: Database, run: str, index: int, profile: str, outcome: Outcome, now: datetime) -> None:
    """Count an awaited profile as set aside, once, even where the record that it is awaited cannot be written.

    With the outcome OUTSTANDING an import will count it.
    """
    is_rejected = outcome is Outcome.REJECTED
    try:
        end_wait(database, run, index, profile, outcome, DEFECT if is_rejected else None)
    except Problem:
        raise
    except Exception:  # noqa: BLE001 - whatever is wrong with that record, the run must not wait for ever
        write_one(
            database,
            Put(_aside(run, profile), _aside_item(now, given_up=True), {"given_up": ABSENT}),
            *([count_aside(run, index)] if is_rejected else []),
        )


def count(run: str, index: int, counts: Mapping[str, int]) -> Update:
    """Return the write that moves profiles between columns."""
    return Update(_shard(run, index), {}, _columns(counts))


def count_aside(run: str, index: int) -> Update:
    """Return the write that moves an outstanding profile to those set aside."""
    return count(run, index, _ASIDE)


def readiness(database: Database, run: Run, shard: int, now: datetime) -> Readiness:
    """Return whether the account was asked for a run. With ASK it is for this shard to ask; nobody else does."""
    item = database.get([_readiness(run.id)])[0]
    if item is not None and item["ready"]:
        return Readiness.READY
    # Who asked before and begins again has died: messages of one shard are handled one at a time.
    dead = item is None or int(item["by"]) == shard or now - moments.parse(str(item["at"])) > ASKS_FOR
    if not dead:
        return Readiness.WAIT
    expect: Expectation = {"pk": ABSENT} if item is None else {"by": int(item["by"]), "at": str(item["at"])}
    asks: Item = {"ready": False, "by": shard, "at": moments.text(now), "expires_at": _expiry(run)}
    return Readiness.ASK if write_one(database, Put(_readiness(run.id), asks, expect)) else Readiness.WAIT


def note_ready(database: Database, run: Run) -> None:
    """Note that the account was asked and takes the run."""
    write_one(database, Update(_readiness(run.id), {"ready": True}))


def ask_again(database: Database, run: Run) -> None:
    """Note that the account did not answer: whoever comes next asks."""
    write_one(database, Delete(_readiness(run.id), {"ready": False}))


def second_pass(database: Database, run: Run, confirmed_by: str | None, now: datetime) -> bool:
    """Begin the second pass: header and every shard at once; False when it began already."""
    header = replace(run, state=RunState.RUNNING, phase=2, confirmed_by=confirmed_by)
    back: Item = {"phase": 2, "after": "", "done": False, "moved_at": moments.text(now)}
    return write_one(
        database,
        Put(_header(run.id), _header_item(header, run.version + 1), {"version": run.version}),
        *(Update(_shard(run.id, index), back, {}, {"phase": 1}) for index in range(run.shards)),
    )


def change_state(database: Database, run: Run, state: RunState, now: datetime, reason: str | None = None) -> bool:
    """Write a run's new state; an ended run is no longer its export's active one. False when it changed meanwhile."""
    ended = state in ENDED
    header = replace(run, state=state, reason=reason, ended_at=now if ended else None)
    writes: list[Write] = [Put(_header(run.id), _header_item(header, run.version + 1), {"version": run.version})]
    if ended:
        writes.append(Delete(_active(run.export), {"run": run.id}))
    return write_one(database, *writes)


def _kept_from(now: datetime) -> Item:
    return {"expires_at": int((now + KEPT).timestamp())}


def _aside_item(now: datetime, *, given_up: bool) -> Item:
    """What is kept of a profile that was set aside; `given_up` says that the run waits for it no more."""
    return {"given_up": True, **_kept_from(now)} if given_up else _kept_from(now)


def _is_given_up(aside: Item | None) -> bool:
    return aside is not None and "given_up" in aside


def _columns(counts: Mapping[str, int]) -> dict[str, int]:
    return {f"count_{name}": number for name, number in counts.items() if number}


def _header_item(run: Run, version: int) -> Item:
    item: Item = {
        "export": run.export,
        "cause": run.cause,
        "state": run.state.value,
        "phase": run.phase,
        "shards": run.shards,
        "settings": run.settings,
        "started_at": moments.text(run.started_at),
        "version": version,
        "expires_at": _expiry(run),
    }
    if run.ended_at is not None:
        item["ended_at"] = moments.text(run.ended_at)
    if run.reason is not None:
        item["reason"] = run.reason
    if run.confirmed_by is not None:
        item["confirmed_by"] = run.confirmed_by
    if run.retry is not None:
        item["retry"] = run.retry
    return item


def _run(run: str, item: Item) -> Run:
    return Run(
        id=run,
        export=str(item["export"]),
        cause=str(item["cause"]),
        state=RunState(str(item["state"])),
        phase=int(item["phase"]),
        shards=int(item["shards"]),
        settings=int(item["settings"]),
        started_at=moments.parse(str(item["started_at"])),
        ended_at=moments.parse(str(item["ended_at"])) if "ended_at" in item else None,
        reason=str(item["reason"]) if "reason" in item else None,
        confirmed_by=str(item["confirmed_by"]) if "confirmed_by" in item else None,
        retry=str(item["retry"]) if "retry" in item else None,
        version=int(item["version"]),
    )


def _shard_from(item: Item) -> Shard:
    prefix = "count_"
    return Shard(
        index=int(str(item["sk"])[-3:]),
        phase=int(item["phase"]),
        after=str(item["after"]),
        done=bool(item["done"]),
        counts={name[len(prefix) :]: int(value) for name, value in item.items() if name.startswith(prefix)},
        moved_at=moments.parse(str(item["moved_at"])),
    )
