"""Time as the sandboxes see it: it really passes, a number of times faster than on the wall."""

import time
from datetime import UTC, datetime, timedelta


class FastClock:
    """A `Clock` on which everything lasts as long as it would for a real destination.

    It shows the same in every process of this machine that it is handed to.
    All of the consumer lives on it (pace, delays of messages, age of imports), so that their proportions stay true.
    Only CPU time does not shrink: at scale 3 the machine looks three times slower than it is.
    """

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._origin = datetime.now(UTC)
        self._began = time.monotonic()
        self.slept_seconds = 0.0
        """How many seconds of this clock were spent in `sleep`, in this process."""

    def now(self) -> datetime:
        """Return the time on this clock."""
        return self._origin + timedelta(seconds=(time.monotonic() - self._began) * self._scale)

    def sleep(self, seconds: float) -> None:
        """Wait for seconds of this clock."""
        self.slept_seconds += seconds
        time.sleep(self.wall_seconds(seconds))

    def wall_seconds(self, seconds: float) -> float:
        """Return how many seconds on the wall are so many of this clock's."""
        return seconds / self._scale
