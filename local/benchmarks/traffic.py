"""What a process sent over the wire."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from local.benchmarks.fast_clock import FastClock
from relay.destinations.calling import shared_session


@dataclass
class Series:
    """Calls of one kind: how many, and when the first and the last of them left."""

    calls: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def note(self, now: datetime) -> None:
        """Count a call."""
        self.calls += 1
        self.first = self.first or now
        self.last = now

    @classmethod
    def of(cls, found: Sequence["Series"]) -> "Series":
        """Return several as one."""
        return cls(
            sum(each.calls for each in found),
            min((each.first for each in found if each.first is not None), default=None),
            max((each.last for each in found if each.last is not None), default=None),
        )

    def per_second(self) -> float:
        """Return their rate from the first to the last, 0 when there are fewer than two.

        The last call only ends the time that the others took, so it is not counted.
        """
        if self.first is None or self.last is None or self.last <= self.first:
            return 0.0
        return (self.calls - 1) / (self.last - self.first).total_seconds()


@dataclass
class Traffic:
    """What was sent: bytes of bodies in all, and calls by method and last word of the path."""

    sent_bytes: int = 0
    series: dict[tuple[str, str], Series] = field(default_factory=dict)

    def add(self, other: "Traffic") -> None:
        """Add what another process sent."""
        self.sent_bytes += other.sent_bytes
        for call in other.series:
            both = [traffic.series[call] for traffic in (self, other) if call in traffic.series]
            self.series[call] = Series.of(both)

    def clear(self) -> None:
        """Begin again."""
        self.sent_bytes, self.series = 0, {}

    def of(self, *calls: tuple[str, str]) -> Series:
        """Return the calls of these kinds as one series."""
        return Series.of([self.series[call] for call in calls if call in self.series])


class _Meter(HTTPAdapter):
    """Sends as usual, and takes note."""

    def __init__(self, traffic: Traffic, clock: FastClock) -> None:
        super().__init__()
        self._traffic = traffic
        self._clock = clock

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        body = request.body or b""
        word = (request.path_url or "").partition("?")[0].rpartition("/")[2]
        self._traffic.sent_bytes += len(body)
        self._traffic.series.setdefault((request.method or "", word), Series()).note(self._clock.now())
        return super().send(request, *args, **kwargs)


@contextmanager
def metered(clock: FastClock) -> Iterator[Traffic]:
    """Take note of all that the relay's session of this process sends meanwhile."""
    traffic, session = Traffic(), shared_session()
    usual = session.get_adapter("http://")
    session.mount("http://", _Meter(traffic, clock))
    try:
        yield traffic
    finally:
        session.mount("http://", usual)
