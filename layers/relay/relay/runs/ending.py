"""How a run goes on: the next page, the next phase, a person's confirmation, its end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from relay.clock import Clock
from relay.domain import ledger
from relay.domain.exports import Export
from relay.domain.identity import CLOCK_MARGIN
from relay.domain.ledger import Column, LeaverColumn
from relay.domain.runs import Phase, Run, RunState, Shard
from relay.messages import Page
from relay.reconcile.enqueue import Enqueuer
from relay.runs.cancelled import cancelled_before
from relay.stores import breakers, defects, owners, runs
from relay.stores.database import Database

BOUND: Final = timedelta(hours=26)
"""How long a run waits for outstanding profiles after its last page: an import may be open for a day."""

PLANNED: Final = "a plan"
"""Who has confirmed a run of which no more leave than an operator has agreed to beforehand."""

EDITED: Final = "the export's settings were edited during the run"
NEW_OWNER: Final = "a target of the export was another export's when the run began"


@dataclass(frozen=True, slots=True)
class Ending:
    """Takes runs on from page to page and from phase to phase, and ends them."""

    database: Database
    clock: Clock
    enqueuer: Enqueuer

    def go_on(self, export: Export, run: Run, shard: Shard) -> None:
        """Send the next page of a shard, or see whether its phase is over."""
        if shard.done:
            self.go_on_if_over(export, run.id)
        else:
            self.send_pages(export, run, [shard])

    def send_pages(self, export: Export, run: Run, shards: Iterable[Shard]) -> None:
        """Send the messages of shards that are not through."""
        self.enqueuer.go_on(
            export.destination,
            [
                Page(export.connection, export.name, export.version, run.id, shard.index, shard.phase, shard.after)
                for shard in shards
                if not shard.done
            ],
        )

    def go_on_if_over(self, export: Export, run_id: str) -> None:
        """Begin the next phase of a run whose cursors are all through, ask for confirmation, or end it."""
        run = runs.load(self.database, run_id)
        if run is None or run.state is not RunState.RUNNING:
            return
        shards = runs.shards(self.database, run.id)
        if not all(shard.done for shard in shards if shard.phase is run.phase):
            return
        if run.phase is Phase.ASK:
            self._next_phase(export, run)
        elif run.phase is Phase.DELIVER:
            self._after_delivering(export, run, shards)
        else:
            self._end_if_settled(export, run, shards)

    def _after_delivering(self, export: Export, run: Run, shards: Sequence[Shard]) -> None:
        counts = ledger.total(shard.counts for shard in shards)
        if sum(counts.get(name, 0) for name in ("leaving", "changed", "forgotten")) == 0:
            self._let_through(export, run)
            self._end_if_settled(export, run, shards)
            return
        _, breaker = breakers.load(self.database, export.connection, export.name)
        passed = breaker.passed == run.settings
        leaving = ledger.would_leave(counts, looks=passed and export.stream)
        if run.planned_leaving is not None and leaving <= run.planned_leaving:
            self.remove_leavers(export, run, PLANNED)
        elif run.planned_leaving is not None:
            reason = f"{leaving} would leave, and the plan has {run.planned_leaving}: confirm the run or mend the data"
            runs.change_state(self.database, run, RunState.NEEDS_CONFIRMATION, self.clock.now(), reason)
        elif leaving and (cancelled := cancelled_before(self.database, run.export, run.id)) is not None:
            reason = (
                f"run {cancelled.id} was cancelled while it took leavers out, and {leaving} are left: confirm the run"
            )
            runs.change_state(self.database, run, RunState.NEEDS_CONFIRMATION, self.clock.now(), reason)
        elif ledger.needs_confirmation(counts, passed=passed, streams=export.stream):
            assigned = counts.get("assigned", 0)
            reason = f"{leaving} of {assigned} assigned would leave: confirm the run or mend the data"
            runs.change_state(self.database, run, RunState.NEEDS_CONFIRMATION, self.clock.now(), reason)
        else:
            self.remove_leavers(export, run)

    def remove_leavers(self, export: Export, run: Run, confirmed_by: str | None = None) -> None:
        """Begin the last phase: the leavers that were counted may go."""
        self._let_through(export, run)
        self._next_phase(export, run, confirmed_by)

    def _let_through(self, export: Export, run: Run) -> None:
        """Note that every member had the chance to claim, and nobody stands in the way of leavers any more.

        Whoever met a defect has not taken over what former owners had: then the next run tries again.
        """
        met = defects.of_export(self.database, export.key, defects.MOST_SHOWN)
        if not any(defect.at >= run.started_at - CLOCK_MARGIN for defect in met):
            owners.taken_over(self.database, export.connection, export.name, run.started_at)
        breakers.pass_guard(self.database, export.connection, export.name, run.settings)

    def _next_phase(self, export: Export, run: Run, confirmed_by: str | None = None) -> None:
        if runs.next_phase(self.database, run, confirmed_by):
            later = replace(run, phase=Phase(run.phase + 1))
            self.send_pages(export, later, runs.shards(self.database, run.id, later.phase))

    def _end_if_settled(self, export: Export, run: Run, shards: Sequence[Shard]) -> None:
        counts, now = ledger.total(shard.counts for shard in shards), self.clock.now()
        # A person may have confirmed it days after its start.
        moved_at = max(shard.moved_at or run.started_at for shard in shards)
        rejects = ledger.rejects_too_many(counts)
        reason = rejects
        if not ledger.is_settled(counts):
            if export.version > run.settings:
                # What is outstanding under the old settings may never be answered: nobody sends it any more.
                self.give_way(export, run, EDITED)
                return
            if now - moved_at < BOUND:
                if owners.took_since(self.database, export.connection, export.name, run.started_at):
                    # Looks take nobody out until another run has taken over what the former owner had.
                    self.give_way(export, run, NEW_OWNER)
                return
            still = counts.get(Column.OUTSTANDING, 0) + counts.get(LeaverColumn.OUTSTANDING, 0)
            hours = int(BOUND / timedelta(hours=1))
            still_open = f"what became of {still} was still open after {hours} hours"
            reason = still_open if rejects is None else f"{rejects}; {still_open}"
        state = RunState.FINISHED if rejects is None else RunState.MANY_REJECTED
        if runs.change_state(self.database, run, state, now, reason):
            defects.forget_older(self.database, export.key, run.started_at - CLOCK_MARGIN)

    def give_way(self, export: Export, run: Run, reason: str) -> None:
        """End a run whose counts do not hold for the export as it is now, and request another."""
        breakers.request_resync(self.database, export.connection, export.name)
        runs.change_state(self.database, run, RunState.STOPPED, self.clock.now(), reason)
