"""One clock for the relay, its queues and the sandbox; a function that outlives its time-out is killed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 5, 1, 8, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone, by its time-out or by bad luck: nothing may catch this."""


class VirtualClock:
    """Moves only when told or slept on; `deadline` is when the running invocation's time is up."""

    def __init__(self) -> None:
        self.time = START
        self.deadline: datetime | None = None

    def now(self) -> datetime:
        return self.time

    def timestamp(self) -> float:
        return self.time.timestamp()

    def advance(self, seconds: float) -> None:
        """Let time pass, as for the sandbox: it does not die of our time-out."""
        self.time += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        """Let time pass for the relay."""
        self.advance(seconds)
        self.live_or_die()

    def seconds_left(self) -> float:
        """Return what is left of the running invocation."""
        return 1e9 if self.deadline is None else (self.deadline - self.time).total_seconds()

    def live_or_die(self) -> None:
        """Kill the running invocation when its time is up."""
        if self.seconds_left() <= 0:
            raise Killed("time-out")
