"""Waiting for an import by asking about it, as the engine does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from local.live.activecampaign.smoke import Smoke
from local.live.replies import at
from local.live.report import NotThereError
from relay.destinations.contract import Answer, ImportReport, OpenImport, Step
from relay.domain.exports import Export
from relay.domain.problems import Problem, Rejection

LONGEST = timedelta(minutes=15)
_OFTEN = timedelta(seconds=30)
"""So long it is asked about at the pace of calls; afterwards with pauses."""
_PAUSE_SECONDS = 10.0
_LAST_WAIT = timedelta(minutes=1)
_ENDS = ("completed", "failed", "interrupted")
INFO = "import/info"
BULK_IMPORT = "import/bulk_import"


@dataclass(frozen=True, slots=True)
class Ended:
    """How an import ended: `refused` by the place in the steps sent; `body` is its last status page."""

    finished: bool
    refused: dict[int, Rejection]
    took: timedelta
    statuses: tuple[str, ...]
    body: Any

    def named(self, key: str) -> list[str]:
        """Return what the status page lists under `success` or `failure`, in lower case."""
        listed = at(self.body, key)
        return [str(item).lower() for item in listed] if isinstance(listed, list) else []


def wait_for(smoke: Smoke, export: Export, answer: Answer, steps: Sequence[Step], queued_at: datetime) -> Ended:
    """Ask about an import until it has ended, or for a quarter of an hour."""
    if answer.import_id is None:
        raise NotThereError("nothing was queued")
    places = [place for place in range(len(steps)) if place not in answer.refused]
    waiting = [steps[place] for place in places]
    clock = smoke.live.clock
    with smoke.live.witness.watch() as seen:
        while True:
            now = clock.now()
            asked = OpenImport(answer.import_id, queued_at, now, answer.queued)
            report = smoke.destination.import_report(smoke.account, export, asked, waiting)
            if report.finished or now - queued_at > LONGEST:
                break
            if now - queued_at > _OFTEN:
                clock.sleep(_PAUSE_SECONDS)
    if report.finished:
        smoke.ended_imports.update(answer.import_id.split(","))
    pages = [exchange for exchange in seen if exchange.is_call("GET", INFO)]
    statuses = dict.fromkeys(status_word(at(page.reply.body, "status")) for page in pages)
    ended_at = pages[-1].answered_at if pages else clock.now()
    refused = _refused(report, places)
    return Ended(
        report.finished, refused, ended_at - queued_at, tuple(statuses), pages[-1].reply.body if pages else None
    )


def open_imports(smoke: Smoke) -> list[str]:
    """Return the ids of imports that were queued and are not known to have ended, asking for up to a minute."""
    queued = [
        at(sent.reply.body, "batchId") for sent in smoke.live.witness.exchanges if sent.is_call("POST", BULK_IMPORT)
    ]
    waiting = [each for each in queued if isinstance(each, str) and each not in smoke.ended_imports]
    last_look = smoke.live.clock.now() + _LAST_WAIT
    while waiting and smoke.live.clock.now() < last_look:
        waiting = [each for each in waiting if not _has_ended(smoke, each)]
    return waiting


def _has_ended(smoke: Smoke, import_id: str) -> bool:
    try:
        state = smoke.client.import_state(import_id)
    except Problem:
        return False
    return state is None or state.status in _ENDS


def status_word(status: Any) -> str:
    """Return a status as it is shown: the boolean `false` of an import's first second included."""
    return "false" if status is False else str(status)


def _refused(report: ImportReport, places: Sequence[int]) -> dict[int, Rejection]:
    return {places[index]: rejection for index, rejection in report.refused.items()}
