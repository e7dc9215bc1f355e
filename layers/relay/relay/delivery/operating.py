"""What schedules and operators ask of exports: start runs, confirm and cancel them, show them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from relay.delivery.checking import look_at
from relay.delivery.opening import Opener
from relay.delivery.starting import Starter
from relay.destinations.contract import Level
from relay.domain import moments
from relay.domain.exports import Export
from relay.domain.problems import SettingsProblem
from relay.domain.runs import ENDED, RETRY_ALL, Run, ledger_adds_up, total
from relay.observability import Observability
from relay.settings import Settings
from relay.stores import gates, runs
from relay.stores.database import Database

BY_OPERATOR = "an operator"
ON_DEMAND = "on demand"
SCHEDULE = "schedule"
RETRY = "retry"

_CODE = re.compile("[a-z][a-z0-9_]{0,59}")


class Operator:
    """Answers the events of the export function, each with a JSON object."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        starter: Starter,
        opener: Opener,
        own_schedules: Callable[[], set[str]],
        observe: Observability,
    ) -> None:
        self._database = database
        self._settings = settings
        self._starter = starter
        self._opener = opener
        self._own_schedules = own_schedules
        self._observe = observe

    def handle(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Do what an event asks.

        - `{"exports": "default"}`: start every export without a schedule of its own;
        - `{"export": "connection/export"}`: start one on demand; its own schedule adds `"cause": "schedule"`;
        - `{"retry": "connection/export", "code": "bounced"}`: start one that at once tries again what was rejected
          with this code (with any, when none is named);
        - `{"confirm": run}`, `{"cancel": run}`, `{"show": run}`, `{"runs": "connection/export"}`;
        - `{"check": "connection"}`: look at an account and its exports.
        """
        match event:
            case {"exports": "default"}:
                return self._start_all()
            case {"export": str(key)}:
                return self._start(key, str(event.get("cause", ON_DEMAND)))
            case {"retry": str(key)}:
                return self._retry(key, event.get("code", RETRY_ALL))
            case {"confirm": str(run)}:
                return self._confirm(run)
            case {"cancel": str(run)}:
                return self._cancel(run)
            case {"show": str(run)}:
                found = runs.load(self._database, run)
                return {"error": "there is no such run"} if found is None else self.picture(found)
            case {"runs": str(key)}:
                return {"runs": [self.picture(run) for run in runs.latest(self._database, key)]}
            case {"check": str(connection)}:
                return self._check(connection)
            case _:
                return {"error": "an event names exports, export, retry, confirm, cancel, show, runs or check"}

    def _start_all(self) -> dict[str, Any]:
        listing = self._settings.exports()
        for invalid in listing.problems:
            self._observe.problem("settings", invalid.problem, subject=invalid.subject)
        own = self._own_schedules()
        return {"started": [self._start(key, SCHEDULE) for key in sorted(listing.valid) if key not in own]}

    def _start(self, key: str, cause: str, *, retry: str | None = None) -> dict[str, Any]:
        try:
            export = self._settings.export(key)
        except SettingsProblem as problem:
            self._observe.problem("settings", problem, export=key)
            return {"export": key, "error": str(problem)}
        run = self._starter.start(export, cause, retry=retry)
        if run is None:
            return {"export": key, "run": None, "reason": self._why_not(export, cause)}
        self._observe.info("run", export=key, run=run.id, outcome=run.state.value)
        return self.picture(run)

    def _retry(self, key: str, code: object) -> dict[str, Any]:
        if not isinstance(code, str) or _CODE.fullmatch(code) is None:
            return {"export": key, "error": "code is one of those that a run counts as rejected:<code>"}
        answer = self._start(key, RETRY, retry=code)
        if answer.get("run", key) is None:
            answer["reason"] += "; the rejections were not tried again: ask again when that is over"
        return answer

    def _why_not(self, export: Export, cause: str) -> str:
        """Return what stands in the way of a run that could not start. A schedule's follows the one that is active."""
        if not export.active:
            return "the export is paused"
        for gate in gates.load(self._database, export.connection, export.name):
            if gate.closed:
                stopped = "connection" if gate.scope == gates.CONNECTION else "export"
                return f"the {stopped} is stopped ({gate.code}: {gate.reason}); a run is owed and starts by itself"
        active = runs.active(self._database, export.key)
        run = None if active is None else runs.load(self._database, active)
        if run is None or run.state in ENDED:
            return "what stood in the way has just ended: ask again"
        if cause != SCHEDULE:
            return f"run {run.id} is active ({run.state.value})"
        gates.owe_always(self._database, export.connection, export.name)
        return f"run {run.id} is active ({run.state.value}); another follows it by itself"

    def _confirm(self, run_id: str) -> dict[str, Any]:
        run = runs.load(self._database, run_id)
        if run is None:
            return {"error": "there is no such run"}
        try:
            export = self._settings.export(run.export)
        except SettingsProblem as problem:
            return {"confirmed": False, "error": str(problem)}
        return {"confirmed": self._starter.confirm(export, run_id, BY_OPERATOR)}

    def _cancel(self, run_id: str) -> dict[str, Any]:
        run = runs.load(self._database, run_id)
        try:
            export = None if run is None else self._settings.export(run.export)
        except SettingsProblem:
            export = None
        return {"cancelled": self._starter.cancel(run_id, BY_OPERATOR, export)}

    def _check(self, connection: str) -> dict[str, Any]:
        findings = look_at(self._opener, connection)
        closed = [gate for gate in gates.load_all(self._database, connection).values() if gate.closed]
        return {
            "connection": connection,
            "well": not closed and all(finding.level is not Level.ERROR for finding in findings),
            "stopped": [{"scope": gate.scope, "code": gate.code, "reason": gate.reason} for gate in closed],
            "findings": [
                {
                    "subject": finding.subject,
                    "level": finding.level.value,
                    "message": finding.message,
                    "who_must_act": None if finding.actor is None else finding.actor.value,
                }
                for finding in findings
            ],
        }

    def picture(self, run: Run) -> dict[str, Any]:
        """Return a run with its ledger as a JSON object."""
        counts = total(runs.shards(self._database, run.id))
        return {
            "run": run.id,
            "export": run.export,
            "cause": run.cause,
            "state": run.state.value,
            "reason": run.reason,
            "retry": run.retry,
            "pass": run.phase,
            "settings": run.settings,
            "started_at": moments.text(run.started_at),
            "ended_at": None if run.ended_at is None else moments.text(run.ended_at),
            "counts": {name: number for name, number in sorted(counts.items()) if number},
            "adds_up": ledger_adds_up(counts),
        }
