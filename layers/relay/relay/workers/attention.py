"""What waits for somebody. The tick raises the alarm for it, a check shows it, and both ask here."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.domain.exports import Export
from relay.domain.problems import ConnectionProblem, ExportProblem, ImportProblem, Problem, RunProblem, SettingsProblem
from relay.domain.runs import WAITS_FOR_SOMEBODY, Run, RunState
from relay.domain.segment_imports import ImportState
from relay.settings.shapes import Listing
from relay.stores import receipts, runs, segment_imports
from relay.stores.breakers import Breaker
from relay.stores.database import Database

NOBODY_AT_LEAST: Final = 20
"""So many changes of a source in a row without anybody are no single mistake of its sender."""


LAST_IMPORTS: Final = 20
"""Among so many imports of a segment one is looked for that began after a refused one and is done."""


@dataclass(frozen=True, slots=True)
class Attention:
    """One thing that waits for somebody; `subject` is `connection`, `source`, `segment` or `export` with its name."""

    subject: str
    problem: Problem


def of_settings(listing: Listing) -> Iterator[Attention]:
    """Yield every export and connection whose settings are invalid."""
    for invalid in listing.problems:
        yield Attention(invalid.subject, invalid.problem)


def of_breaker(breaker: Breaker) -> Iterator[Attention]:
    """Yield why something is stopped; nothing while it is not."""
    if breaker.stop is not None:
        kind = ConnectionProblem if breaker.export is None else ExportProblem
        problem: Problem = kind(breaker.stop.code, breaker.stop.reason)
        problem.actor = breaker.stop.actor
        yield Attention(breaker.subject, problem)


def of_runs(database: Database, export: Export) -> Iterator[Attention]:
    """Yield what the last run of an active export waits for; a paused one rests because it was asked to."""
    run = telling_run(database, export.key) if export.active else None
    if run is not None and run.state in WAITS_FOR_SOMEBODY:
        yield Attention(f"export {export.key}", RunProblem(run.state.value, f"run {run.id}: {run.reason}"))


def of_sources(database: Database, exports: Iterable[Export]) -> Iterator[Attention]:
    """Yield the sources of exports whose `profile_key` has found nobody in what they were last sent."""
    sources: Sequence[str] = sorted({segment.split("/", 1)[0] for export in exports for segment in export.segments})
    for source, nobody in receipts.in_vain(database, sources).items():
        if nobody.changes >= NOBODY_AT_LEAST or nobody.is_all:
            what = (
                f"found nobody in the last {nobody.changes} changes it was sent: correct it, or what the platform sends"
            )
            yield Attention(f"source {source}", SettingsProblem("nobody_identified", what, field="profile_key"))


def of_imports(database: Database, now: datetime) -> Iterator[Attention]:
    """Yield the imports that wait for a confirmation, and those that were refused with none done after them."""
    done: dict[str, datetime] = {}
    for one in segment_imports.of_interest(database, now):
        what = f"import {one.id}: {one.reason}"
        if one.state is ImportState.NEEDS_CONFIRMATION:
            yield Attention(f"segment {one.segment}", ImportProblem("import_waits", what))
        elif one.state is ImportState.REFUSED:
            if one.segment not in done:
                others = segment_imports.latest(database, one.segment, LAST_IMPORTS)
                done[one.segment] = max(
                    (other.begun_at for other in others if other.state is ImportState.DONE), default=one.begun_at
                )
            if done[one.segment] <= one.begun_at:
                yield Attention(f"segment {one.segment}", ImportProblem("import_refused", what))


def telling_run(database: Database, export: str) -> Run | None:
    """Return the run that shows how an export is. One under way, or ended from outside, leaves it to the one before."""
    newest = runs.newest(database, export)
    if newest is None or newest.state not in (RunState.RUNNING, RunState.CANCELLED, RunState.STOPPED):
        return newest
    through = (run for run in runs.latest(database, export) if run.state in (RunState.FINISHED, RunState.MANY_REJECTED))
    return next(through, None)
