"""What operators ask: start runs, confirm and cancel them, show them, check and probe connections."""

from collections.abc import Callable, Mapping
from typing import Any

from relay.delivery.checking import EVERYTHING, Checker
from relay.delivery.events import EVERY_EXPORT, export_key, failed_event, refuse_others
from relay.delivery.launching import Launcher
from relay.delivery.probing import Prober
from relay.delivery.scheduled import ScheduledStarts
from relay.delivery.starting import Starter
from relay.domain.exports import Export
from relay.domain.problems import EventProblem, SettingsProblem
from relay.domain.runs import Run, RunState
from relay.observability import Observability
from relay.settings.names import is_name
from relay.settings.settings import Settings
from relay.stores import gates, runs
from relay.stores.database import Database
from relay.stores.gates import CONNECTION

BY_OPERATOR = "an operator"
ON_DEMAND = "on demand"


class Operator:
    """Answers the events of the admin function, each with a JSON object."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        starter: Starter,
        launcher: Launcher,
        scheduled: ScheduledStarts,
        checker: Checker,
        prober: Prober,
        observe: Observability,
    ) -> None:
        self._database = database
        self._settings = settings
        self._starter = starter
        self._launcher = launcher
        self._scheduled = scheduled
        self._checker = checker
        self._prober = prober
        self._observe = observe
        self._questions: Mapping[str, Callable[[Any], dict[str, Any]]] = {
            "exports": self._start_all,
            "export": self._start,
            "confirm": self._confirm,
            "cancel": self._cancel,
            "show": self._show,
            "runs": self._runs,
            "check": self._check,
            "probe": self._probe,
        }

    def handle(self, event: Any) -> dict[str, Any]:
        """Do what an event asks; it names one question.

        - `{"exports": "default"}`: start every export without a schedule of its own;
        - `{"export": "connection/export"}`: start one;
        - `{"confirm": run}`, `{"cancel": run}`, `{"show": run}`, `{"runs": "connection/export"}`;
        - `{"check": "connection"}`: look at an account and all it depends on; `{"check": "*"}`: at everything;
        - `{"probe": "connection"}`: probe what is stopped now, instead of in some minutes.

        Raises a Problem, once it is logged, for an event that is refused, so that the invocation fails.
        """
        try:
            question, asked = self._question(event)
            return self._questions[question](asked)
        except (EventProblem, SettingsProblem) as problem:
            self._observe.problem("refused event", problem, field=problem.field)
            raise
        except Exception as error:  # noqa: BLE001 - the runtime would log its text, which may hold personal data
            raise failed_event(error, self._observe) from None

    def _question(self, event: Any) -> tuple[str, Any]:
        named = [name for name in self._questions if isinstance(event, Mapping) and name in event]
        if len(named) != 1:
            raise EventProblem("no_question", f"names one of {', '.join(self._questions)}", field="event")
        refuse_others({name: value for name, value in event.items() if name != named[0]})
        return named[0], event[named[0]]

    def _start_all(self, asked: Any) -> dict[str, Any]:
        if asked != EVERY_EXPORT:
            raise EventProblem("unknown_exports", f'must be "{EVERY_EXPORT}"', field="exports")
        return self._scheduled.start_all()

    def _start(self, asked: Any) -> dict[str, Any]:
        return self._launcher.launch(export_key(asked, field="export"), ON_DEMAND)

    def _confirm(self, asked: Any) -> dict[str, Any]:
        run = self._run(asked, "confirm")
        export = self._settings.export(run.export)
        if self._starter.confirm(export, run.id, BY_OPERATOR):
            return {"confirmed": True}
        if run.state is RunState.NEEDS_CONFIRMATION:
            return {"confirmed": False, "reason": "the export was edited since: start another run"}
        reason = f"run {run.id} is {run.state.value}: only one that needs confirmation can be confirmed"
        return {"confirmed": False, "reason": reason}

    def _cancel(self, asked: Any) -> dict[str, Any]:
        run = self._run(asked, "cancel")
        export: Export | None
        try:
            export = self._settings.export(run.export)
        except SettingsProblem:
            export = None
        if self._starter.cancel(run.id, BY_OPERATOR, export):
            return {"cancelled": True}
        state = self._run(asked, "cancel").state
        return {"cancelled": False, "reason": f"run {run.id} is over ({state.value})"}

    def _show(self, asked: Any) -> dict[str, Any]:
        return self._launcher.picture(self._run(asked, "show"))

    def _run(self, asked: Any, field: str) -> Run:
        run = runs.load(self._database, asked) if isinstance(asked, str) and asked else None
        if run is None:
            raise EventProblem("unknown_run", "there is no such run", field=field)
        return run

    def _runs(self, asked: Any) -> dict[str, Any]:
        key = export_key(asked, field="runs")
        found = runs.latest(self._database, key)
        if not found and key not in self._settings.export_keys():
            raise EventProblem("unknown_export", "there is no such export", field="runs")
        return {"runs": [self._launcher.picture(run) for run in found]}

    def _check(self, asked: Any) -> dict[str, Any]:
        if asked == EVERYTHING:
            return self._checker.everything()
        return self._checker.connection(_connection(asked, "check"))

    def _probe(self, asked: Any) -> dict[str, Any]:
        """Probe every stop of a connection and its exports now; tell what was opened and what still is stopped."""
        connection = _connection(asked, "probe")
        exports = {one.name: one for one in self._settings.exports().valid.values() if one.connection == connection}
        closed = [gate for gate in gates.load_all(self._database, connection).values() if gate.closed]
        if not closed:
            # Says what is wrong with a name that nobody made.
            self._settings.connection(connection, fresh=True)
        opened = []
        for gate in sorted(closed, key=lambda gate: gate.scope != CONNECTION):
            concerned = list(exports.values()) if gate.scope == CONNECTION else _named(exports, gate)
            if (concerned or gate.scope == CONNECTION) and self._prober.probe(connection, gate, concerned):
                opened.append(gate.scope)
        return {"connection": connection, "opened": opened, "stopped": self._checker.stopped(connection)}


def _named(exports: Mapping[str, Export], gate: gates.Gate) -> list[Export]:
    export = exports.get(gates.export_of(gate.scope))
    return [] if export is None else [export]


def _connection(asked: Any, field: str) -> str:
    if not isinstance(asked, str) or not is_name(asked):
        raise EventProblem("not_a_connection", "must be a connection's name", field=field)
    return asked
