"""What every sandbox's account has: settings, a lock, a clock, limits, faults, counts, and a way back to the start."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Generic, TypeVar

from sandboxes.config import AccountConfig
from sandboxes.limits import FixedQuota, Quota, ScaledClock, SlidingQuota
from sandboxes.scripted_faults import FaultScript
from sandboxes.tally import CallTally

DAY = 86_400.0

ConfigT = TypeVar("ConfigT", bound=AccountConfig)


class Account(ABC, Generic[ConfigT]):
    """An account of a vendor, in memory. `make_app` serves one call at a time; other threads hold `lock`."""

    limits: ClassVar[Mapping[str, float]] = {}
    """The settings that limit calls, each with the seconds it is about. A day is fixed, all else slides."""

    def __init__(
        self,
        config: ConfigT,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        time_scale: float = 1.0,
    ) -> None:
        """Make the account that `config` describes.

        `clock` gives seconds since 1970, `sleep` carries out scripted delays. Limits and whatever takes the vendor time
        pass `time_scale` times faster than the clock.
        """
        self.lock = threading.RLock()
        self.faults = FaultScript()
        self.clock = ScaledClock(clock, time_scale)
        self.sleep = sleep
        self._initial = config
        self.reset()

    def reset(self) -> None:
        """Go back to the account as it was made."""
        self.config = self._initial
        self.faults.clear()
        self.tally = CallTally()
        self.quotas: dict[str, Quota] = {
            name: (FixedQuota if seconds >= DAY else SlidingQuota)(self._limit(name), seconds, self.clock.elapsed)
            for name, seconds in self.limits.items()
        }
        self.fill()

    def change(self, changes: Mapping[str, object]) -> None:
        """Change settings of the running account; InvalidControlError, and nothing is changed, when one is bad."""
        self.config = self.config.changed(changes)
        for name, quota in self.quotas.items():
            quota.limit = self._limit(name)

    def admit(self, *limits: str) -> float | None:
        """Count a call at these limits, at all when none are named.

        Return None when it fits, else the scaled seconds until it would.
        """
        waits = [self.quotas[name].admit() for name in limits or self.quotas]
        return max((wait for wait in waits if wait is not None), default=None)

    @abstractmethod
    def fill(self) -> None:
        """Hold what an account of `config` holds at the start."""

    @abstractmethod
    def state(self, *, summary: bool) -> dict[str, object]:
        """Return everything the account holds, or with `summary` only sizes."""

    def counters(self) -> dict[str, object]:
        """Return counts that only this kind of account has."""
        return {}

    def _limit(self, name: str) -> int:
        limit: int = getattr(self.config, name)
        return limit
