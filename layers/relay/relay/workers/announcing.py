"""Announcing: runs, stops and recoveries as events on EventBridge, and records of runs in the bucket.

What happened is announced by the tick, at least once and within a minute or two, out of the notices that were written
with it. Where the outside does not take one, it waits, and nothing else does.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from relay.domain import ledger, moments
from relay.domain.problems import Busy, Problem, SettingsProblem
from relay.domain.runs import Run, RunState
from relay.domain.segment_imports import SegmentImport
from relay.observability import Count, Observability, safe_text
from relay.runs.pictures import counts_of, picture
from relay.stores import notices, runs, segment_imports
from relay.stores.database import Database
from relay.stores.notices import RECORD, Notice

SOURCE: Final = "audience-relay"
VERSION: Final = 1
"""Of the shape of events and records. New fields do not raise it."""

AT_ONCE: Final = 10
"""Events of one request. https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html"""


class Bus(Protocol):
    """What is used of boto3's EventBridge client."""

    def put_events(self, *, Entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:  # noqa: N803
        """https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html."""
        ...


class Bucket(Protocol):
    """What is used of boto3's S3 client."""

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> Any:  # noqa: N803
        """https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html."""
        ...


@dataclass(frozen=True, slots=True)
class Announcer:
    """Announces what waits for it. `bus` and `bucket` make their clients when there is something to announce."""

    database: Database
    stack: str
    bucket_name: str
    bus: Callable[[], Bus]
    bucket: Callable[[], Bucket]
    observe: Observability

    def step(self, _: object = None) -> None:
        """Announce all that waits; raises Busy, once the rest is done, where AWS did not take something."""
        waiting = notices.waiting(self.database)
        if not waiting:
            return
        apart = _OF_BREAKERS | _OF_IMPORTS
        found = self._runs({notice.about for notice in waiting if notice.what not in apart})
        failed: list[Problem] = []
        for notice in waiting:
            if notice.what == RECORD:
                self._try(failed, [notice], self._keep_record, found)
        events = [notice for notice in waiting if notice.what != RECORD]
        for start in range(0, len(events), AT_ONCE):
            self._try(failed, events[start : start + AT_ONCE], self._send, found)
        if failed:
            raise failed[0]

    def _try(
        self,
        failed: list[Problem],
        part: Sequence[Notice],
        announce: Callable[[Sequence[Notice], Mapping[str, Run]], Iterable[Notice]],
        found: Mapping[str, Run],
    ) -> None:
        try:
            done = list(announce(part, found))
        except (BotoCoreError, ClientError) as error:
            problem = _refused(error)
            self.observe.problem("announcement", problem)
            failed.append(problem)
            return
        notices.drop(self.database, done)
        if len(done) < len(part):
            failed.append(Busy("event_refused", f"EventBridge did not take {len(part) - len(done)} events"))

    def _runs(self, ids: Iterable[str]) -> Mapping[str, Run]:
        loaded = {run_id: runs.load(self.database, run_id) for run_id in ids}
        return {run_id: run for run_id, run in loaded.items() if run is not None}

    def _send(self, part: Sequence[Notice], found: Mapping[str, Run]) -> Iterable[Notice]:
        """Send events; return the notices that are done with. One of a run that is off the record is done with, too."""
        entries = [(notice, entry) for notice in part if (entry := self._entry(notice, found)) is not None]
        gone = [notice for notice in part if notice not in {one for one, _ in entries}]
        if not entries:
            return gone
        given = self.bus().put_events(Entries=[entry for _, entry in entries])
        results = given.get("Entries", [])
        taken = [one for (one, _), result in zip(entries, results, strict=True) if not result.get("ErrorCode")]
        return [*gone, *taken]

    def _entry(self, notice: Notice, found: Mapping[str, Run]) -> Mapping[str, Any] | None:
        if notice.what in _OF_BREAKERS:
            details = {name: None if value is None else safe_text(value) for name, value in notice.details}
            details["at"] = moments.text(notice.at)
        elif notice.what in _OF_IMPORTS:
            one = segment_imports.load(self.database, notice.about)
            if one is None:
                return None
            details = imported(one)
        elif notice.about in found:
            details = self.details(found[notice.about])
        else:
            return None
        return {
            "Time": notice.at,
            "Source": SOURCE,
            "DetailType": notice.what,
            "Detail": json.dumps({"version": VERSION, "id": notice.id, "stack": self.stack, **details}),
        }

    def _keep_record(self, part: Sequence[Notice], found: Mapping[str, Run]) -> Iterable[Notice]:
        for notice in part:
            run = found.get(notice.about)
            if run is not None:
                self._keep(run)
                self._measure(run)
        return part

    def _keep(self, run: Run) -> None:
        line = json.dumps({"version": VERSION, "stack": self.stack, **self.details(run)}) + "\n"
        self.bucket().put_object(
            Bucket=self.bucket_name, Key=record_key(run), Body=line.encode(), ContentType="application/x-ndjson"
        )

    def _measure(self, run: Run) -> None:
        """Show how long a run took, and how many more it rejected than the one before."""
        if run.ended_at is None or run.state not in _THROUGH:
            return
        seconds = round((run.ended_at - run.started_at).total_seconds())
        self.observe.count(Count.RUN_SECONDS, seconds, export=run.export)
        before = next((one for one in runs.latest(self.database, run.export) if _is_before(one, run)), None)
        if before is not None:
            rise = ledger.rejected_more(counts_of(self.database, before), counts_of(self.database, run))
            self.observe.count(Count.REJECTIONS_RISE, rise)
            self.observe.count(Count.REJECTIONS_RISE, rise, export=run.export)

    def details(self, run: Run) -> dict[str, Any]:
        """Return what is said of a run outside: the same in events and in records; no personal data."""
        ended = run.ended_at
        connection, _, _ = run.export.partition("/")
        shown = {name: value for name, value in picture(self.database, run).items() if name in _SHOWN}
        reason = None if run.reason is None else safe_text(run.reason)
        seconds = None if ended is None else round((ended - run.started_at).total_seconds(), 3)
        return {**shown, "connection": connection, "reason": reason, "seconds": seconds}


def imported(one: SegmentImport) -> dict[str, Any]:
    """Return what is said of an import of a segment: no personal data."""
    ended = one.ended_at
    return {
        "import": one.id,
        "segment": one.segment,
        "state": one.state.value,
        "at": moments.text(one.at),
        "begun_at": moments.text(one.begun_at),
        "ended_at": None if ended is None else moments.text(ended),
        "seconds": None if ended is None else round((ended - one.begun_at).total_seconds(), 3),
        "counts": dict(one.counts),
        "faults": [fault._asdict() for fault in one.faults],
        "reason": None if one.reason is None else safe_text(one.reason),
        "confirmed_by": one.confirmed_by,
    }


_OF_IMPORTS: Final = frozenset({notices.IMPORT_WAITS, notices.IMPORT_ENDED})
_OF_BREAKERS: Final = frozenset({notices.STOPPED, notices.RECOVERED})
_THROUGH: Final = frozenset({RunState.FINISHED, RunState.MANY_REJECTED})
_SHOWN: Final = (
    "run", "export", "cause", "state", "phase", "full", "retry", "settings", "started_at", "ended_at", "counts",
    "adds_up", "planned_leaving",
)  # fmt: skip


def record_key(run: Run) -> str:
    """Return where the record of a run lies in the bucket, by the day it began (UTC)."""
    return f"runs/year={run.started_at:%Y}/month={run.started_at:%m}/day={run.started_at:%d}/{run.id}.json"


def _is_before(one: Run, run: Run) -> bool:
    return one.state in _THROUGH and one.id != run.id and one.started_at < run.started_at


def _refused(error: BotoCoreError | ClientError) -> Problem:
    """Return what to say of a call that AWS did not take; an administrator must act where rights or names are wrong."""
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    if code in ("AccessDenied", "AccessDeniedException", "NoSuchBucket"):
        return SettingsProblem("not_announced", f"AWS refuses what is announced ({code})", field="template")
    return Busy("not_announced", f"AWS did not take what is announced ({code or type(error).__name__})")
