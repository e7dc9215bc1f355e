"""At every declared limit for as long as it counts, the vendor never has to refuse.

What is driven are the quotas of the sandbox, in its own time. Which of them a call counts in is found out by making it.
"""

from __future__ import annotations

import heapq
import random
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest

from relay.destinations.contract import Quota
from tests.contract.conftest import SUBJECTS
from tests.contract.conversations import CONVERSATIONS, INQUIRIES
from tests.contract.subject import Subject
from tests.fakes.wire import Sent

DAY = timedelta(days=1)
JITTER = 0.1
"""Seconds by which a call can arrive later than another that left with it."""


def declared(kind: type[Subject]) -> dict[str, Quota]:
    """Return the quotas a destination declares, by name; of several with one name the fastest."""
    package = type(kind().destination).__module__
    modules = [module for name, module in sys.modules.items() if f"{name}.".startswith(f"{package}.")]
    found: dict[str, Quota] = {}
    for value in (value for module in modules for value in vars(module).values() if isinstance(value, Quota)):
        known = found.get(value.name, value)
        found[value.name] = max(known, value, key=lambda quota: quota.calls / quota.per.total_seconds())
    return found


def conversing(kind: type[Subject]) -> Iterator[tuple[Subject, str, Sent]]:
    """Yield requests that are made under each quota: the subject, the quota's name, the request."""
    for name, conversation in CONVERSATIONS.items():
        if conversation.fits(kind):
            subject = kind()
            conversation.before(subject)
            subject.attempt(conversation.steps(subject))
            if name == "one joins":
                for inquiry in INQUIRIES.values():
                    inquiry(subject)
            yield from (
                (subject, quota.name, sent) for quota, sent in zip(subject.paced, subject.wire.requests, strict=True)
            )


def counting(subject: Subject, sent: Sent) -> frozenset[str]:
    """Return the sandbox's quotas that count a request."""
    subject.time.pass_(2 * 3_600)
    quotas = subject.account_under_test.quotas
    before = {name: quota.remaining() for name, quota in quotas.items()}
    subject.wire.act(sent)
    return frozenset(name for name, quota in quotas.items() if quota.remaining() < before[name])


def counted_by_name(name: str) -> dict[str, frozenset[str]]:
    """Return the sandbox's quotas in which calls under each declared quota of a destination count."""
    found: dict[str, frozenset[str]] = {}
    for kind in SUBJECTS:
        if kind.name == name:
            for subject, quota, sent in conversing(kind):
                if quota not in found:
                    found[quota] = counting(subject, sent)
    return found


def arrivals(quotas: Mapping[str, Quota], seconds: float) -> Iterator[float]:
    """Yield when calls arrive that leave at every slot of these quotas, in seconds from now, in their order.

    For an hour and less they arrive with jitter.
    """
    found = heapq.merge(*(_slots(quota, seconds) for quota in quotas.values()))
    if seconds > 3 * 3_600:
        return found
    chance = random.Random(0)
    return iter(sorted(slot + JITTER * chance.random() for slot in found))


def _slots(quota: Quota, seconds: float) -> Iterator[float]:
    apart = quota.per.total_seconds() / quota.calls
    day, used = 0, 0
    for number in range(int(seconds / apart)):
        slot = number * apart
        if slot // DAY.total_seconds() > day:
            day, used = day + 1, 0
        used += 1
        if quota.a_day is None or used <= quota.a_day:
            yield slot


@pytest.mark.parametrize("name", sorted({kind.name for kind in SUBJECTS}))
def test_the_vendor_never_has_to_refuse(name: str) -> None:
    kind = next(kind for kind in SUBJECTS if kind.name == name)
    quotas, counted = declared(kind), counted_by_name(name)
    assert counted.keys() == quotas.keys(), "no conversation of the suite makes a call under one of them"
    subject = kind()
    for limit in subject.account_under_test.quotas:
        subject.reset()
        limited = subject.account_under_test.quotas[limit]
        ours = {one: quotas[one] for one, limits in counted.items() if limit in limits}
        window = limited.report()["seconds"]
        began = subject.time.seconds
        for at in arrivals(ours, _enough(ours, window)):
            subject.time.seconds = began + at
            assert limited.admit() is None, f"{limit} is passed after {at:.1f} s by {sorted(ours)}"
        assert ours, f"nothing of ours counts in {limit}"
        assert limited.report()["most_seen"] > limited.limit / 2, f"{limit} is hardly used: was it driven?"


def _enough(quotas: Mapping[str, Quota], window: float) -> float:
    """Return how long a limit is driven: some of its windows, at least a minute; of a day until the budget is used."""
    if window < DAY.total_seconds():
        return max(3 * window, 60)
    # Nothing leaves any more once a budget is used up.
    used = [
        quota.a_day * quota.per.total_seconds() / quota.calls for quota in quotas.values() if quota.a_day is not None
    ]
    return min([window, *(1.05 * seconds for seconds in used)])
