"""What operators ask: start runs, confirm and cancel them, show them, check and probe connections."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from relay.breaker.prober import Prober
from relay.domain.problems import EventProblem, SettingsProblem
from relay.domain.runs import RETRY_ALL, Run, RunState
from relay.events import EVERY_EXPORT, export_key, failed_event, refuse_others
from relay.observability import Observability
from relay.runs.starter import Starter
from relay.settings.names import is_name
from relay.settings.settings import Settings
from relay.stores import breakers, runs
from relay.stores.database import Database
from relay.workers.launcher import Launcher
from relay.workers.operators.checker import EVERYTHING, Checker
from relay.workers.scheduled_starts import ScheduledStarts

BY_OPERATOR = "an operator"
ON_DEMAND = "on demand"
RETRY = "retry"

_BESIDES = {"retry": ("code",)}
"""What may stand beside a question."""

_CODE = re.compile("[a-z][a-z0-9_]{0,59}")


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
            "retry": self._retry,
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
        - `{"retry": "connection/export", "code": "bounced"}`: start one that at once tries again what was rejected
          with this code (with any, when none is named);
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
        besides = _BESIDES.get(named[0], ())
        refuse_others({name: value for name, value in event.items() if name not in (named[0], *besides)})
        return named[0], event if besides else event[named[0]]

    def _start_all(self, asked: Any) -> dict[str, Any]:
        if asked != EVERY_EXPORT:
            raise EventProblem("unknown_exports", f'must be "{EVERY_EXPORT}"', field="exports")
        return self._scheduled.start_all()

    def _start(self, asked: Any) -> dict[str, Any]:
        return self._launcher.launch(export_key(asked, field="export"), ON_DEMAND)

    def _retry(self, event: Mapping[str, Any]) -> dict[str, Any]:
        code = event.get("code", RETRY_ALL)
        if not isinstance(code, str) or _CODE.fullmatch(code) is None:
            raise EventProblem("not_a_code", "must be one of those that a run counts as rejected:<code>", field="code")
        answer = self._launcher.launch(export_key(event["retry"], field="retry"), RETRY, retry=code)
        if answer["run"] is None:
            answer["reason"] += "; the rejections were not tried again: ask again when that is over"
        return answer

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
        if self._starter.cancel(run.id, BY_OPERATOR):
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
        """Probe all that is stopped of a connection now; say what goes on and what still is stopped."""
        connection = _connection(asked, "probe")
        exports = {one.name: one for one in self._settings.exports().valid.values() if one.connection == connection}
        stopped = [breaker for breaker in breakers.load_all(self._database, connection) if breaker.stop is not None]
        if not stopped:
            # Says what is wrong with a name that nobody made.
            self._settings.connection(connection, fresh=True)
        restarted = []
        for breaker in stopped:
            is_whole = breaker.export is None
            concerned = [export for name, export in exports.items() if is_whole or name == breaker.export]
            if (concerned or is_whole) and self._prober.probe(breaker, concerned):
                restarted.append(breaker.subject)
        return {"connection": connection, "restarted": restarted, "stopped": self._checker.stopped(connection)}


def _connection(asked: Any, field: str) -> str:
    if not isinstance(asked, str) or not is_name(asked):
        raise EventProblem("not_a_connection", "must be a connection's name", field=field)
    return asked
