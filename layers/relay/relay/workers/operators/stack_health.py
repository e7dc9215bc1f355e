"""What is wrong with the stack itself: its functions, its queues, its clock."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from relay.deployed import Deployed
from relay.domain.problems import Actor
from relay.workers.operators import findings
from relay.workers.operators.findings import CheckFinding

OLD: Final = timedelta(hours=1)
"""A message that waits longer shows that its queue does not keep up."""
APART: Final = timedelta(seconds=30)
"""Clocks that differ more than this make waits too long or too short."""


def look(deployed: Deployed) -> Iterator[CheckFinding]:
    """Yield what is wrong with what was deployed."""
    yield from _versions(deployed)
    for queue in deployed.queues():
        subject = f"queue {queue.name}"
        if queue.is_dlq and queue.messages:
            number = f"{queue.messages} message{'' if queue.messages == 1 else 's'}"
            message = f"holds {number} that could not be processed: see why, then put them back or purge them"
            yield findings.error(subject, findings.DLQ, message, Actor.US)
        elif not queue.is_dlq and queue.oldest is not None and queue.oldest > OLD:
            hours = queue.oldest / timedelta(hours=1)
            message = f"its oldest message has waited for {hours:.1f} hours: the log of its function says why"
            yield findings.warning(subject, findings.BEHIND, message, Actor.WAIT)
    if deployed.skew is not None and abs(deployed.skew) > APART:
        seconds = round(deployed.skew.total_seconds())
        message = f"the clock of the functions is {seconds} seconds ahead of that of AWS"
        yield findings.warning("stack clock", findings.CLOCK, message, Actor.US)


def _versions(deployed: Deployed) -> Iterator[CheckFinding]:
    """Tell of functions whose library is another one than that of most."""
    libraries = deployed.libraries()
    if len(set(libraries.values())) > 1:
        usual = Counter(libraries.values()).most_common(1)[0][0]
        odd = ", ".join(sorted(name for name, version in libraries.items() if version != usual))
        message = f"functions have another version of the library than the others: {odd}. Deploy the stack again"
        yield findings.error("stack functions", findings.VERSIONS, message)
