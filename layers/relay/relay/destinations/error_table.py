"""Errors as data: which failure means what, who must act, and what is said about it.

A destination's table is a tuple of rows tried from the top; it starts with its own rows and ends with `DEFAULT_TABLE`.
What a success looks like stands in no table: every call names the function that reads it (`result_of`).
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TypeVar

from relay.destinations.contract import Reply
from relay.domain.problems import Actor, ConnectionProblem, ExportProblem, Rejection, Transient

MAX_RETRY_AFTER = timedelta(hours=1)
"""A destination that asks for more is asked again after this: a mistake of theirs must not stop us for days."""

SUCCESS = range(200, 300)

Result = TypeVar("Result")


class Outcome(Enum):
    """What an answer leads to, and who must act on it."""

    TRANSIENT = Actor.WAIT, "tried again"
    CONNECTION = Actor.ADMINISTRATOR, "the connection stops"
    EXPORT = Actor.ADMINISTRATOR, "the export stops"
    REJECTION = Actor.ADMINISTRATOR, "this one profile or record is refused"
    SPLIT = Actor.US, "something in this call is refused: it is taken apart to find out what"

    @property
    def actor(self) -> Actor:
        """Who must act."""
        return self.value[0]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: these statuses (and this condition) lead to that outcome.

    `code` and `message` are fixed texts: nothing a destination wrote gets into them. `taken` is as in Transient.
    `least_wait` applies when the answer names no `Retry-After`. `effect_within` is as in Problem: for answers of the
    destination itself. What a proxy before it answers says nothing about what the destination goes on to do.
    """

    statuses: Container[int]
    outcome: Outcome
    code: str
    message: str
    when: Callable[[Reply], bool] | None = None
    taken: bool | None = None
    least_wait: timedelta | None = None
    effect_within: timedelta | None = None

    def fits(self, reply: Reply) -> bool:
        """Return whether the row applies to an answer."""
        return reply.status in self.statuses and (self.when is None or self.when(reply))


Table = tuple[Row, ...]

About = Callable[[Reply], str | None]
"""Finds something of the destination's own in an answer that may be shown, such as a status in words."""

ODD_SUCCESSES = ("not_json", "unexpected_answer")
"""Codes of successes that are none: a page instead of JSON, or another shape."""

DEFAULT_TABLE: Table = (
    Row((429,), Outcome.TRANSIENT, "rate_limited", "asks us to slow down", taken=False),
    Row((408,), Outcome.TRANSIENT, "timeout", "gave up waiting for the request"),
    Row(range(500, 600), Outcome.TRANSIENT, "unavailable", "has a problem of its own"),
    Row(
        (401, 403),
        Outcome.CONNECTION,
        "not_authorised",
        "refuses the key or its permissions: check the connection's secret",
    ),
    Row((402,), Outcome.CONNECTION, "unpaid", "refuses because of a payment problem of the account"),
    Row(
        (404,), Outcome.CONNECTION, "not_found", "does not know the address: check the host or region of the connection"
    ),
    Row((400, 413, 422), Outcome.SPLIT, "refused", "refuses the content of the call"),
    Row(
        range(300, 400),
        Outcome.CONNECTION,
        "redirected",
        "redirects, which is not followed: check the host of the connection",
    ),
)


class OtherShape(Exception):  # noqa: N818 - what was found, not an error of ours
    """A success does not look like one; `what` names what could not be read. Nothing that was sent gets into it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """The content of a call was refused. `named` are the steps that the destination blames, if any, by their
    place in the call.

    No Problem: who makes the call says what it means. One that nobody sees to is a defect.
    """

    def __init__(self, row: Row, reply: Reply, named: Mapping[int, Rejection] | None = None) -> None:
        super().__init__(row.code)
        self.row = row
        self.reply = reply
        self.named = {} if named is None else named


def result_of(
    reply: Reply,
    table: Table,
    success: Callable[[Reply], Result],
    *,
    effect_within: timedelta | None = None,
    about: About | None = None,
) -> Result:
    """Return what `success` reads out of a success; it raises OtherShape when the answer is none.

    A success that is no JSON where some is wanted is a ConnectionProblem: a log-in or error page. JSON in another shape
    is a Transient; `effect_within` is as there. Any other status goes by the table: raises Refused where the content is
    refused, else as `refusal`.
    """
    if reply.status not in SUCCESS:
        raise refusal(reply, table, about)
    try:
        return success(reply)
    except OtherShape as other:
        if reply.body is None:
            what = "answered with something other than JSON: a log-in or error page; check the address and the key"
            raise ConnectionProblem("not_json", f"{what} (HTTP {reply.status})").with_outcome(None) from None
        raise Transient(
            "unexpected_answer", f"gave {other.what} in another shape", effect_within=effect_within
        ) from None


def refusal(reply: Reply, table: Table, about: About | None = None) -> Refused:
    """Return how the content of a call was refused, where that is what an answer without success says.

    Raises Transient, ConnectionProblem or ExportProblem for the others. A status no row fits is a ConnectionProblem:
    better stop and be looked at than lose profiles.
    """
    row = next((row for row in table if row.fits(reply)), None)
    if row is None:
        raise ConnectionProblem("unexpected_status", f"answered in a way nobody documented (HTTP {reply.status})")
    if row.outcome in (Outcome.REJECTION, Outcome.SPLIT):
        return Refused(row, reply)
    said = None if about is None else about(reply)
    text = f"{row.message} (HTTP {reply.status}{'' if said is None else ', ' + said})"
    if row.outcome in (Outcome.CONNECTION, Outcome.EXPORT):
        raise (ConnectionProblem if row.outcome is Outcome.CONNECTION else ExportProblem)(row.code, text)
    wait = retry_after(reply)
    raise Transient(
        row.code,
        text,
        taken=row.taken,
        retry_after=row.least_wait if wait is None else wait,
        effect_within=row.effect_within,
    )


def retry_after(reply: Reply) -> timedelta | None:
    """Read `Retry-After` (seconds or an HTTP date), clamped to 0..MAX_RETRY_AFTER; None when absent or unreadable.

    A date is measured from the answer's own `Date`, so that a wrong clock here or there does no harm.
    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    given = reply.headers.get("retry-after", "").strip()
    if not given:
        return None
    if given.isascii() and given.isdigit():
        # No more digits than the clamp has: a number of seconds that overflows a timedelta is still just "long".
        return timedelta(seconds=min(int(given[:12]), MAX_RETRY_AFTER.total_seconds()))
    until = _http_date(given)
    if until is None:
        return None
    now = _http_date(reply.headers.get("date", "")) or datetime.now(UTC)
    return min(max(until - now, timedelta(0)), MAX_RETRY_AFTER)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
