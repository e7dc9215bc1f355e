"""What schedules ask for: runs, and nothing else. Whoever may write schedules can start any export, no more."""

from collections.abc import Callable
from typing import Any, TypeVar

from relay.clock import Clock
from relay.domain.problems import EventProblem, SettingsProblem, Transient, Unexpected
from relay.events import SCHEDULED, export_to_start, failed_event
from relay.observability import Fields
from relay.schedules import Timetable
from relay.stores import breakers
from relay.workers.launcher import Launcher, Obstacle, not_started

PAUSES = (5.0, 25.0)
"""Seconds before a question that AWS did not answer is asked again: nobody repeats an event."""

Answer = TypeVar("Answer")


class ScheduledStarts:
    """Answers the events of the export function, each with a JSON object."""

    def __init__(self, launcher: Launcher, schedules: Callable[[], Timetable], clock: Clock) -> None:
        self._launcher = launcher
        self._schedules = schedules
        self._clock = clock
        self._observe = launcher.observe

    def handle(self, event: Any) -> dict[str, Any]:
        """Start what an event names (see `export_to_start`).

        Raises EventProblem or SettingsProblem for an event that is refused, another Problem when it fails, once it is
        logged: the invocation fails, so that the function's error metric shows it.
        """
        key = None
        try:
            key = export_to_start(event)
            return self.start_all() if key is None else self._start(key)
        except (EventProblem, SettingsProblem) as problem:
            where = Fields(field=problem.field)
            if key is not None:
                where["export"] = key
            self._observe.problem("refused event", problem, **where)
            raise
        except Exception as error:  # noqa: BLE001 - the runtime would log its text, which may hold personal data
            raise failed_event(error, self._observe) from None

    def start_all(self) -> dict[str, Any]:
        """Start every valid export without a schedule of its own; what is invalid is logged and starts nothing.

        Raises Unexpected at the end when an export could not be started.
        """
        listing = self._patiently(self._launcher.settings.exports)
        for invalid in listing.problems:
            self._observe.problem("settings", invalid.problem, subject=invalid.subject)
        own = self._patiently(self._schedules).exports
        started, failed = [], []
        for key in sorted(listing.valid):
            if key in own:
                continue
            try:
                started.append(self._start(key))
            except SettingsProblem as problem:
                self._observe.problem("settings", problem, export=key)
                started.append({"export": key, "error": str(problem)})
            except Exception as error:  # noqa: BLE001 - what one export meets must keep no other from starting
                self._observe.problem("not started", error, export=key)
                failed.append(key)
        if failed:
            raise Unexpected("not_started", f"{', '.join(failed)} could not be started; the log says why")
        return {"started": started}

    def _start(self, key: str) -> dict[str, Any]:
        """Start one export; where passing trouble keeps it from that, the tick starts it."""
        try:
            return self._launcher.launch(key, SCHEDULED)
        except Transient as problem:
            self._observe.problem("start left to the tick", problem, export=key)
            connection, name = key.split("/")
            self._patiently(lambda: breakers.request_resync(self._launcher.database, connection, name))
            return not_started(key, Obstacle.UNREAD, f"{problem}; the run starts by itself in a minute or two")

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        for pause in PAUSES:
            try:
                return ask()
            except Transient:
                self._clock.sleep(pause)
        return ask()
