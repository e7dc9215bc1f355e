"""Starting, confirming and cancelling runs."""

import secrets
from collections.abc import Callable
from dataclasses import replace

from relay.clock import Clock
from relay.delivery.cursors import Cursors
from relay.destinations.contract import Destination
from relay.domain.exports import Export
from relay.domain.runs import ENDED, Run, RunState
from relay.stores import gates, runs, segments
from relay.stores.database import Database


class Starter:
    """Starts a run where one may start: one at a time per export, never while a gate is closed."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        cursors: Cursors,
        destinations: Callable[[str], Destination],
        *,
        new_id: Callable[[], str] = lambda: secrets.token_hex(3),
    ) -> None:
        self._database = database
        self._clock = clock
        self._cursors = cursors
        self._destinations = destinations
        self._new_id = new_id

    def start(self, export: Export, cause: str, *, afresh: bool = True, retry: str | None = None) -> Run | None:
        """Start a run and return it; None when another is active, or when it is owed instead (gate closed, paused).

        `retry` asks it to try rejections again, as `Run.retry`.
        A run that waits for confirmation gives way to one that counts `afresh`, or under other settings.
        A segment the store has never seen is a configuration error, not an empty set: then the returned run is
        refused and says so.
        """
        now = self._clock.now()
        if any(gate.closed for gate in gates.load(self._database, export.connection, export.name)):
            gates.owe_always(self._database, export.connection, export.name)
            return None
        if not export.active:
            return None
        run = Run(
            id=f"{now:%Y%m%dT%H%M%S}-{self._new_id()}",
            export=export.key,
            cause=cause,
            state=RunState.RUNNING,
            phase=1,
            shards=self._destinations(export.destination).shards,
            settings=export.version,
            started_at=now,
            retry=retry,
        )
        unseen = sorted(set(export.segments) - segments.known(self._database, export.segments))
        if unseen:
            return self._refuse(run, f"segments never seen: {', '.join(unseen)}")
        self._supersede(export, afresh=afresh)
        if not runs.begin(self._database, run):
            return None
        self._cursors.resume(export, run, runs.shards(self._database, run.id))
        return run

    def _refuse(self, run: Run, reason: str) -> Run:
        refused = replace(run, state=RunState.REFUSED, reason=reason, ended_at=run.started_at)
        last = runs.newest(self._database, run.export)
        if last is not None and (last.state, last.reason, last.settings) == (RunState.REFUSED, reason, run.settings):
            return last
        runs.refuse(self._database, refused)
        return refused

    def _supersede(self, export: Export, *, afresh: bool) -> None:
        active = runs.active(self._database, export.key)
        run = None if active is None else runs.load(self._database, active)
        if run is None or run.state is not RunState.NEEDS_CONFIRMATION:
            return
        if afresh or run.settings != export.version:
            runs.change_state(self._database, run, RunState.CANCELLED, self._clock.now(), "superseded by a newer run")

    def confirm(self, export: Export, run_id: str, by: str) -> bool:
        """Let a run remove its leavers; False when it does not wait for that or the settings were edited since."""
        run = runs.load(self._database, run_id)
        if run is None or run.state is not RunState.NEEDS_CONFIRMATION or run.settings != export.version:
            return False
        self._cursors.second_pass(export, run, by)
        return True

    def cancel(self, run_id: str, by: str, export: Export | None) -> bool:
        """End a run where it stands; what it has not reached is left to the next run. False when it is over.

        Whoever a streaming export waited for is looked at once more, since the run does so no longer. None stands for
        an export whose settings are invalid.
        """
        run = runs.load(self._database, run_id)
        if run is None or run.state in ENDED:
            return False
        if not runs.change_state(self._database, run, RunState.CANCELLED, self._clock.now(), f"cancelled by {by}"):
            return False
        if export is not None and export.stream:
            self._cursors.wake(export, runs.waiting(self._database, run_id), None)
        return True
