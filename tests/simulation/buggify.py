"""Rare things that our own code may do, planted from here: it stalls between two of its steps, it is overtaken there,
it dies there, and its limits are so small that the code beyond them runs.

Nothing in the library knows of this. Functions are wrapped, and constants replaced, while a schedule is played.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from random import Random
from typing import Any
from unittest.mock import patch

from relay import messages
from relay.breaker import failures, ownership, pace
from relay.breaker.prober import Prober
from relay.breaker.stops import Stops
from relay.reconcile import handover, reconciler, recorder, survey
from relay.reconcile.adoption import Adoption
from relay.reconcile.confirmation import Confirmation
from relay.reconcile.enqueue import Enqueuer
from relay.reconcile.handover import Handover
from relay.reconcile.reconciler import Reconciler
from relay.reconcile.recorder import Recorder
from relay.routing import write
from relay.routing.ask import Asker
from relay.runs import candidates, pages, settlement
from relay.runs.ending import Ending
from relay.runs.pages import Pages
from relay.runs.settlement import Settlement
from relay.runs.starter import Starter
from relay.segment_imports.applying import Applier
from relay.segment_imports.importer import Importer
from relay.stores import assignments, outstanding, waits
from relay.workers.consumer import Consumer
from relay.workers.import_checks import ImportChecker
from relay.workers.tick import Ticker

POINTS: Sequence[tuple[type, str]] = (
    (Reconciler, "_assign"),
    (Reconciler, "_begin"),
    (Reconciler, "_round"),
    (Reconciler, "_take"),
    (Reconciler, "reduce"),
    (Handover, "hand_over"),
    (Adoption, "take_out"),
    (Recorder, "record"),
    (Recorder, "see_to"),
    (Confirmation, "_record"),
    (Enqueuer, "look"),
    (Enqueuer, "check_import"),
    (Pages, "_read"),
    (Pages, "_move"),
    (Ending, "go_on"),
    (Ending, "send_pages"),
    (Ending, "_let_through"),
    (Settlement, "_settle"),
    (Starter, "_supersede"),
    (Stops, "stop"),
    (Prober, "look"),
    (Asker, "ask"),
    (Consumer, "_react"),
    (ImportChecker, "_settle"),
    (Ticker, "_wake"),
    (Importer, "_check"),
    (Importer, "_take_turn"),
    (Importer, "_apply_page"),
    (Applier, "apply"),
    (Applier, "exit"),
)
"""Functions at whose beginning and end something rare may happen."""

LIMITS: Mapping[tuple[Any, str], Sequence[Any]] = {
    (pages, "CHUNK"): (1, 2),
    (survey, "ROOM"): (1, 3),
    (pages, "LEAST"): (1,),
    (candidates, "LISTING"): (1, 2),
    (messages, "MAX_PROFILES"): (1, 2),
    (outstanding, "MOST"): (1, 2),
    (assignments, "PAGE"): (1, 2),
    (waits, "READ_AT_ONCE"): (1, 2),
    (waits, "PARTITIONS"): (1,),
    (reconciler, "LOST_RACES"): (2,),
    (recorder, "LOST_RACES"): (2,),
    (settlement, "LOST_RACES"): (1,),
    (handover, "LOST_RACES"): (1,),
    (ownership, "TRIES"): (1,),
    (pace, "ATTEMPTS"): (1,),
    (write, "TRIES"): (4,),
    (failures, "MOST_RECEIVES"): (2, 5),
    (failures, "PATIENCE"): (timedelta(seconds=20), timedelta(minutes=5)),
}
"""Constants, and smaller values that must do as well."""


@contextmanager
def buggified(chance: Random, happens: Callable[[str], None]) -> Iterator[None]:
    """Call `happens` at every point with its name, and draw smaller limits, while this lasts."""
    with ExitStack() as stack:
        for owner, name in POINTS:
            point = f"{owner.__name__}.{name}"
            stack.enter_context(patch.object(owner, name, _wrapped(getattr(owner, name), point, happens)))
        for (module, name), values in LIMITS.items():
            if chance.random() < 0.1:
                stack.enter_context(patch.object(module, name, chance.choice(values)))
        yield


def _wrapped(function: Callable[..., Any], point: str, happens: Callable[[str], None]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **named: Any) -> Any:
        happens(f"before {point}")
        result = function(*args, **named)
        happens(f"after {point}")
        return result

    return wrapper
