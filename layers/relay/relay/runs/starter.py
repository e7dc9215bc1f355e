"""Starting, confirming and cancelling runs."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from relay.clock import Clock
from relay.destinations.contract import Destination
from relay.domain import moments
from relay.domain.exports import Export
from relay.domain.identity import CLOCK_MARGIN
from relay.domain.runs import ENDED, Phase, Run, RunState
from relay.runs.ending import Ending
from relay.stores import breakers, runs, segments
from relay.stores.database import Database


@dataclass(frozen=True, slots=True)
class Starter:
    """Starts a run where one may start: one at a time per export, never while something is stopped or just edited."""

    database: Database
    clock: Clock
    ending: Ending
    destinations: Callable[[str], Destination]
    settings_age: timedelta = timedelta()
    """How old settings may be that a function works with. No run begins sooner after an edit: until then others may
    act on what was before."""
    new_id: Callable[[], str] = lambda: secrets.token_hex(3)

    def start(
        self,
        export: Export,
        cause: str,
        *,
        supersede: bool = True,
        retry: str | None = None,
        full: bool = False,
        planned_leaving: int | None = None,
    ) -> Run | None:
        """Start a run and return it; None when another is active, or when it is requested for later instead.

        It is requested while the connection or export is stopped or was just edited; a paused one has none. `retry`,
        `full` and `planned_leaving` are those of `Run`: what is requested for later has none. With `supersede` it takes
        the place of a run that waits for confirmation; one under other settings gives way in any case. A segment the
        store has never seen is a configuration error, not an empty set: then the returned run is refused and says so.
        """
        if any(breaker.stop is not None for breaker in breakers.load(self.database, export.connection, export.name)):
            breakers.request_resync(self.database, export.connection, export.name)
            return None
        if not export.active:
            return None
        now = self.clock.now()
        if now < moments.from_milliseconds(export.version) + self.settings_age + CLOCK_MARGIN:
            breakers.request_resync(self.database, export.connection, export.name)
            return None
        run = Run(
            id=f"{now:%Y%m%dT%H%M%S}-{now.microsecond // 1000:03d}{self.new_id()}",
            export=export.key,
            cause=cause,
            state=RunState.RUNNING,
            phase=Phase.ASK,
            shards=self.destinations(export.destination).shards,
            settings=export.version,
            started_at=now,
            retry=retry,
            full=full,
            planned_leaving=planned_leaving,
        )
        unseen = sorted(set(export.segments) - segments.known(self.database, export.segments))
        if unseen:
            return self._refuse(run, f"segments never seen: {', '.join(unseen)}")
        self._supersede(export, supersede=supersede)
        if not runs.begin(self.database, run):
            return None
        self.ending.send_pages(export, run, runs.shards(self.database, run.id, Phase.ASK))
        return run

    def _refuse(self, run: Run, reason: str) -> Run:
        refused = replace(run, state=RunState.REFUSED, reason=reason, ended_at=run.started_at)
        last = runs.newest(self.database, run.export)
        if last is not None and (last.state, last.reason, last.settings) == (RunState.REFUSED, reason, run.settings):
            return last
        runs.refuse(self.database, refused)
        return refused

    def _supersede(self, export: Export, *, supersede: bool) -> None:
        run = runs.active(self.database, export.key)
        if run is None or run.state is not RunState.NEEDS_CONFIRMATION:
            return
        if supersede or run.settings != export.version:
            runs.change_state(self.database, run, RunState.CANCELLED, self.clock.now(), "superseded by a newer run")

    def confirm(self, export: Export, run_id: str, by: str) -> bool:
        """Let a run remove its leavers; False when it does not wait for that or the settings were edited since."""
        run = runs.load(self.database, run_id)
        if run is None or run.state is not RunState.NEEDS_CONFIRMATION or run.settings != export.version:
            return False
        self.ending.remove_leavers(export, run, by)
        return True

    def cancel(self, run_id: str, by: str) -> bool:
        """End a run where it stands; what it has not reached is left to the next run. False when it is over."""
        run = runs.load(self.database, run_id)
        if run is None or run.state in ENDED:
            return False
        return runs.change_state(self.database, run, RunState.CANCELLED, self.clock.now(), f"cancelled by {by}")
