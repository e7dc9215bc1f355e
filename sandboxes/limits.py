"""Request quotas as the vendors enforce them, with a clock that can run faster than the wall clock."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class ScaledClock:
    """Measures durations `scale` times faster than the wall clock; dates stay those of the wall clock.

    Only durations are scaled because clients read dates (`sdate`, `expires_in`) with their own clock.
    """

    def __init__(self, clock: Callable[[], float] = time.time, scale: float = 1.0) -> None:
        if scale <= 0:
            raise ValueError("the time scale must be above zero")
        self._clock = clock
        self._scale = scale
        self._origin = clock()

    def elapsed(self) -> float:
        """Return the scaled seconds since this clock was made."""
        return (self._clock() - self._origin) * self._scale

    def wall_seconds(self, scaled: float) -> float:
        """Return how many seconds of wall time `scaled` sandbox seconds take."""
        return scaled / self._scale

    def timestamp(self) -> float:
        """Return the wall clock as seconds since 1970."""
        return self._clock()

    def now(self) -> datetime:
        """Return the wall clock as an aware UTC time."""
        return datetime.fromtimestamp(self._clock(), UTC)


class Quota(Protocol):
    """A limit on requests."""

    limit: int

    def admit(self) -> float | None:
        """Count one request; return None when it fits, else the scaled seconds until one would."""
        ...

    def remaining(self) -> int:
        """Return how many requests would fit now."""
        ...

    def report(self) -> dict[str, float]:
        """Return `limit`, `seconds`, `most_seen` (refused requests included) and `violations`."""
        ...


class SlidingQuota:
    """At most `limit` requests in any `seconds`.

    The vendors do not say whether their windows slide. Sliding is the strictest reading: who keeps it also keeps
    fixed windows. A refused request does not use the quota up, but it is part of `most_seen`.
    """

    def __init__(self, limit: int, seconds: float, elapsed: Callable[[], float]) -> None:
        self.limit = limit
        self._seconds = seconds
        self._elapsed = elapsed
        self._admitted: deque[float] = deque()
        self._seen: deque[float] = deque()
        self._most_seen = 0
        self._violations = 0

    def admit(self) -> float | None:
        """Count one request; return None when it fits, else the scaled seconds until one would."""
        now = self._expire()
        self._seen.append(now)
        self._most_seen = max(self._most_seen, len(self._seen))
        if len(self._admitted) < self.limit:
            self._admitted.append(now)
            return None
        self._violations += 1
        return self._admitted[0] + self._seconds - now if self._admitted else self._seconds

    def remaining(self) -> int:
        """Return how many requests would fit now."""
        self._expire()
        return self.limit - len(self._admitted)

    def report(self) -> dict[str, float]:
        """Return `limit`, `seconds`, `most_seen` (refused requests included) and `violations`."""
        return {
            "limit": self.limit,
            "seconds": self._seconds,
            "most_seen": self._most_seen,
            "violations": self._violations,
        }

    def _expire(self) -> float:
        now = self._elapsed()
        for times in (self._admitted, self._seen):
            while times and times[0] <= now - self._seconds:
                times.popleft()
        return now


class FixedQuota:
    """At most `limit` requests per period of `seconds`, counted from the clock's start.

    For a daily limit: remembering a million single times for a sliding day would cost more than it shows.
    """

    def __init__(self, limit: int, seconds: float, elapsed: Callable[[], float]) -> None:
        self.limit = limit
        self._seconds = seconds
        self._elapsed = elapsed
        self._period = 0
        self._admitted = 0
        self._seen = 0
        self._most_seen = 0
        self._violations = 0

    def admit(self) -> float | None:
        """Count one request; return None when it fits, else the scaled seconds until one would."""
        now = self._turn()
        self._seen += 1
        self._most_seen = max(self._most_seen, self._seen)
        if self._admitted < self.limit:
            self._admitted += 1
            return None
        self._violations += 1
        return (self._period + 1) * self._seconds - now

    def remaining(self) -> int:
        """Return how many requests would fit now."""
        self._turn()
        return self.limit - self._admitted

    def report(self) -> dict[str, float]:
        """Return `limit`, `seconds`, `most_seen` (refused requests included) and `violations`."""
        return {
            "limit": self.limit,
            "seconds": self._seconds,
            "most_seen": self._most_seen,
            "violations": self._violations,
        }

    def _turn(self) -> float:
        now = self._elapsed()
        period = int(now // self._seconds)
        if period != self._period:
            self._period, self._admitted, self._seen = period, 0, 0
        return now
