"""The one table of failures: kind of problem x how things stand -> what is done. Pure.

Whoever meets a problem asks this table: consumer, import checks, tick, route and ingest. What a destination's answer
means is said before, in its own table (`relay.destinations.error_table`): that one makes problems of answers, this one
says what follows from a problem. `docs/stops.md` prints both; a test holds the page to them.
"""

import random
from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.domain.exports import Export
from relay.domain.problems import (
    DEFECT,
    UNCONFIRMED,
    Actor,
    Busy,
    Conflict,
    ConnectionProblem,
    ExportProblem,
    Rejection,
    RejectionKind,
    SettingsProblem,
    StaleSettings,
    Transient,
)
from relay.settings.names import UnknownConnection, UnknownExport

if TYPE_CHECKING:
    # Ingest asks this table, too, and knows no store.
    from relay.stores.breakers import Breaker

PATIENCE: Final = timedelta(minutes=30)
"""After so long with nothing but transient failures a connection stops."""

MOST_RECEIVES: Final = 25
"""After so many receives of a message, some hours, passing trouble is left to a run: the queue's own limit (30) is for
defects."""

FIRST_BACKOFF: Final = timedelta(seconds=5)
LONGEST_BACKOFF: Final = timedelta(minutes=15)

LONGEST_HIDDEN: Final = timedelta(hours=11)
"""SQS hides a message for 12 hours at most, counted from its receipt.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html"""


class Stopped(Exception):  # noqa: N818 - a state, not an error
    """The connection or the export is stopped: a resync makes up for whatever came for it."""

    def __init__(self, export: Export, breaker: "Breaker") -> None:
        super().__init__(breaker.subject)
        self.export = export
        self.breaker = breaker


class Paused(Exception):  # noqa: N818 - a state, not an error
    """The administrator paused the export: a resync makes up for whatever came for it."""

    def __init__(self, export: Export) -> None:
        super().__init__(export.key)
        self.export = export


class Do(Enum):
    """What is done about the message that met a problem, or about the one profile.

    Where there is no message, the tick's next minute tries again, or the sender whom ingest answers with 503.
    """

    RETRY = "tried again with growing pauses"
    RETRY_SOON = "tried again within seconds"
    GO_ON = "the rest goes on in a new message"
    REJECT = "this one profile is rejected, with the reason"
    STOP_CONNECTION = "the connection stops, and a resync is requested"
    STOP_EXPORT = "the export stops, and a resync is requested"
    RESYNC = "a resync is requested, and the message is done"
    DROP = "the message is done"
    DEAD_LETTER = "tried again as it is; in the end it lies in the dead-letter queue"


class When(Enum):
    """How things stand."""

    ALWAYS = ""
    GOT_ON = "calls were made before the time ran out"
    TOO_LONG = "for half an hour there was nothing else"
    TOO_OFTEN = "the message came 25 times"


class Kind(Enum):
    """The kinds of problems; what makes one is said in `kind_of`."""

    DATA = "a profile that the mapping cannot make an identity of"
    REFUSED = "a profile that the destination refuses"
    UNCONFIRMED = "a profile of which an import says nothing clear, or at which the destination fails alone"
    SET_ASIDE = "a defect that one profile meets"
    TRANSIENT = "passing trouble of the destination"
    BUSY = "our own limits: pace, or AWS"
    CONFLICT = "others wrote the same, or the function's time is nearly over"
    STALE_SETTINGS = "settings older than those somebody acted on"
    CONNECTION = "the account refuses us"
    EXPORT = "one export cannot work"
    SETTINGS = "settings that cannot be used"
    GONE = "there is no such export any more"
    STOPPED = "the connection or export is stopped or paused"
    UNEXPECTED = "a defect that no single profile explains"


class Row(NamedTuple):
    """One line of the table; `says` is what comes of it, in a sentence for operators."""

    kind: Kind
    when: When
    do: Do
    actor: Actor
    says: str


TABLE: Final = (
    Row(
        Kind.DATA,
        When.ALWAYS,
        Do.REJECT,
        Actor.ADMINISTRATOR,
        "Tried again by every look: when the profile or the settings change.",
    ),
    Row(
        Kind.REFUSED,
        When.ALWAYS,
        Do.REJECT,
        Actor.ADMINISTRATOR,
        "Tried again when the profile or the settings change, by later runs at most daily, and on request.",
    ),
    Row(
        Kind.UNCONFIRMED,
        When.ALWAYS,
        Do.REJECT,
        Actor.WAIT,
        "Looked up again after 1, 4 and 12 hours, and sent again by the next run.",
    ),
    Row(
        Kind.SET_ASIDE,
        When.ALWAYS,
        Do.REJECT,
        Actor.US,
        "Only this profile is set aside. Every look and every run tries it again.",
    ),
    Row(Kind.TRANSIENT, When.TOO_LONG, Do.STOP_CONNECTION, Actor.WAIT, ConnectionProblem.next_step),
    Row(
        Kind.TRANSIENT,
        When.TOO_OFTEN,
        Do.RESYNC,
        Actor.WAIT,
        "It is left to the run that starts by itself.",
    ),
    Row(Kind.TRANSIENT, When.ALWAYS, Do.RETRY, Actor.WAIT, Transient.next_step),
    Row(Kind.BUSY, When.GOT_ON, Do.GO_ON, Actor.WAIT, "It is no failed try."),
    Row(Kind.BUSY, When.TOO_OFTEN, Do.RESYNC, Actor.WAIT, "It is left to the run that starts by itself."),
    Row(Kind.BUSY, When.ALWAYS, Do.RETRY, Actor.WAIT, Busy.next_step),
    Row(Kind.CONFLICT, When.GOT_ON, Do.GO_ON, Actor.WAIT, "It is no failed try."),
    Row(Kind.CONFLICT, When.TOO_OFTEN, Do.RESYNC, Actor.WAIT, "It is left to the run that starts by itself."),
    Row(Kind.CONFLICT, When.ALWAYS, Do.RETRY_SOON, Actor.WAIT, Conflict.next_step),
    Row(Kind.STALE_SETTINGS, When.TOO_OFTEN, Do.RESYNC, Actor.WAIT, "It is left to the run that starts by itself."),
    Row(Kind.STALE_SETTINGS, When.ALWAYS, Do.RETRY_SOON, Actor.WAIT, StaleSettings.next_step),
    Row(
        Kind.CONNECTION,
        When.ALWAYS,
        Do.STOP_CONNECTION,
        Actor.ADMINISTRATOR,
        f"Before that, the secret is read once more. {ConnectionProblem.next_step}",
    ),
    Row(Kind.EXPORT, When.ALWAYS, Do.STOP_EXPORT, Actor.ADMINISTRATOR, ExportProblem.next_step),
    Row(Kind.SETTINGS, When.ALWAYS, Do.RESYNC, Actor.ADMINISTRATOR, SettingsProblem.next_step),
    Row(
        Kind.GONE,
        When.ALWAYS,
        Do.DROP,
        Actor.WAIT,
        "What it left is kept for 30 days. Made again by then, it goes on where it was.",
    ),
    Row(
        Kind.STOPPED,
        When.ALWAYS,
        Do.RESYNC,
        Actor.ADMINISTRATOR,
        "When it goes on, one run makes up for everything that came meanwhile.",
    ),
    Row(
        Kind.UNEXPECTED,
        When.ALWAYS,
        Do.DEAD_LETTER,
        Actor.US,
        "Redrive the queue after the fix. Messages say only who is to be looked at, so any order will do.",
    ),
)
"""Of the rows of a kind the first that holds counts; the last one of each always does."""


def kind_of(problem: BaseException | Rejection) -> Kind:
    """Return the kind of a problem, or of why a profile was rejected."""
    if isinstance(problem, Rejection):
        if problem.code in _BY_CODE:
            return _BY_CODE[problem.code]
        return Kind.DATA if problem.kind is RejectionKind.DATA else Kind.REFUSED
    return next((kind for classes, kind in _BY_CLASS if isinstance(problem, classes)), Kind.UNEXPECTED)


def row_for(
    problem: BaseException | Rejection,
    *,
    receives: int = 1,
    failing: timedelta = timedelta(),
    got_on: bool = False,
) -> Row:
    """Return what is to be done about a problem.

    `receives` counts the receives of its message, this one included. `failing` is for how long the connection has met
    nothing but transient failures. `got_on` says that calls were made before the function's time ran out.
    """
    kind = kind_of(problem)
    holds = {
        When.ALWAYS: True,
        When.GOT_ON: got_on,
        When.TOO_LONG: failing >= PATIENCE,
        When.TOO_OFTEN: receives >= MOST_RECEIVES,
    }
    return next(row for row in TABLE if row.kind is kind and holds[row.when])


def tells_of_destination(problem: BaseException) -> bool:
    """Return whether a problem is a failure of the destination, which counts towards `PATIENCE`."""
    return kind_of(problem) is Kind.TRANSIENT


def pause_before_retry(
    do: Do, receives: int, at_least: timedelta | None = None, chance: Callable[[], float] = random.random
) -> timedelta:
    """Return how long a message is hidden that is tried again, with jitter.

    RETRY: up to 5 s after the first receive, doubling to 15 minutes, but `at_least` what the destination asked for.
    RETRY_SOON: 1 to 5 s. Anything else: none.
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    if do is Do.RETRY_SOON:
        return timedelta(seconds=1 + 4 * chance())
    if do is not Do.RETRY:
        return timedelta()
    pause = min(FIRST_BACKOFF * float(2 ** min(receives - 1, 20)), LONGEST_BACKOFF) * chance()
    return min(pause if at_least is None else max(pause, at_least), LONGEST_HIDDEN)


_BY_CODE: Final = {UNCONFIRMED: Kind.UNCONFIRMED, DEFECT: Kind.SET_ASIDE}

_BY_CLASS: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Kind], ...]] = (
    # A class stands before those it is derived from.
    (Busy, Kind.BUSY),
    (Transient, Kind.TRANSIENT),
    (Conflict, Kind.CONFLICT),
    (StaleSettings, Kind.STALE_SETTINGS),
    (ConnectionProblem, Kind.CONNECTION),
    (ExportProblem, Kind.EXPORT),
    ((UnknownConnection, UnknownExport), Kind.GONE),
    (SettingsProblem, Kind.SETTINGS),
    ((Stopped, Paused), Kind.STOPPED),
)
