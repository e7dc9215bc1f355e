"""The registry of codes: what each means, who must act, and what happens by itself.

A code names what happened to a profile, a connection, an export, a request or a question. Destinations explain their
own: `reasons` are their rejections, `stops` what stops because of them. A test finds every code that the library can
raise; one without an entry fails it.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

from relay.breaker.failures import TABLE
from relay.breaker.failures import Kind as Failing
from relay.destinations import registry
from relay.destinations.contract import Destination
from relay.destinations.standard import MALFORMED_EMAIL, MALFORMED_IDENTITY, NO_EMAIL, NO_IDENTITY
from relay.domain.problems import DEFECT, UNCONFIRMED, Actor, ConnectionProblem, ExportProblem, Fault, QuestionProblem
from relay.domain.runs import RunState
from relay.reconcile.desired import TOO_MANY_IDENTITIES, UNFIT_EXPRESSION, UNFIT_ONLY_IF
from relay.sources.mparticle import OTHER_REQUEST, SUBSCRIPTION, VERIFICATION
from relay.sources.segment import COMPUTED_TRAIT, UNKNOWN_EVENT
from relay.workers.operators import findings
from relay.workers.operators.protocol import Answer, Question


class CodeKind(StrEnum):
    """Where a code is met."""

    REJECTION = "rejection"
    """A profile that a destination cannot take."""
    STOP = "stop"
    """Why a connection or an export is stopped."""
    REFUSAL = "refusal"
    """Why a webhook, a part of it, an event or a question was not taken."""
    WARNING = "warning"
    """What a check or a run tells though the work goes on."""
    PROBLEM = "problem"
    """What keeps something from working, or passes by itself."""


class Code(Answer):
    """One code."""

    code: str
    kind: CodeKind
    destination: str | None = None
    means: str
    who_must_act: Actor
    then: str


class ListCodes(Question):
    """Show what every code means."""


class Codes(Answer):
    """All codes, by kind."""

    codes: list[Code]


class _Entry(NamedTuple):
    means: str
    actor: Actor
    then: str


def _row(kind: Failing) -> str:
    return next(row.says for row in TABLE if row.kind is kind)


_NOBODY = Actor.WAIT
_ADMINISTRATOR, _WAIT, _US = Actor.ADMINISTRATOR, Actor.WAIT, Actor.US
_CONNECTION, _EXPORT = ConnectionProblem.next_step, ExportProblem.next_step
_AGAIN = _row(Failing.TRANSIENT)
_NOTHING = "Nothing was done. Correct the question."
_SENT_AGAIN = "Nothing of the request was taken. The platform sends it again, or not: correct it."
_LEFT_OUT = "The rest of the profile is taken."
_COUNTED = "It is counted, and the rest of the body is taken."
_EVENT = "Nothing was started. Correct the input of the schedule; the event lies in the dead-letter queue."
_IGNORED = "It is ignored until it is corrected; everything else goes on."
_SHOWN = "It is shown until somebody acts."
_DATA, _REFUSED = _row(Failing.DATA), _row(Failing.REFUSED)

_REJECTIONS: Final[Mapping[str, _Entry]] = {
    TOO_MANY_IDENTITIES.code: _Entry(TOO_MANY_IDENTITIES.detail, _ADMINISTRATOR, _DATA),
    UNFIT_EXPRESSION: _Entry(
        "The expression of the identity cannot be worked out for the profile.", _ADMINISTRATOR, _DATA
    ),
    UNFIT_ONLY_IF.code: _Entry(UNFIT_ONLY_IF.detail, _ADMINISTRATOR, _DATA),
    UNCONFIRMED: _Entry("The destination never said whether it took the profile.", _WAIT, _row(Failing.UNCONFIRMED)),
    DEFECT: _Entry("A defect of ours was met with the profile: report it.", _US, _row(Failing.SET_ASIDE)),
}

_STOPS: Final[Mapping[str, _Entry]] = {
    "not_authorised": _Entry("The destination refuses the key or its permissions.", _ADMINISTRATOR, _CONNECTION),
    "unpaid": _Entry("The destination has blocked the account until it is paid.", _ADMINISTRATOR, _CONNECTION),
    "not_found": _Entry("There is nothing at the address of the connection.", _ADMINISTRATOR, _CONNECTION),
    "redirected": _Entry("The destination answers with a redirect: the address is wrong.", _ADMINISTRATOR, _CONNECTION),
    "unexpected_status": _Entry(
        "The destination answers with a status nobody documented.", _ADMINISTRATOR, _CONNECTION
    ),
    "not_json": _Entry("A page came instead of JSON: a proxy, or a wrong address.", _ADMINISTRATOR, _CONNECTION),
    "unexpected_answer": _Entry(
        "The destination answers in another shape than documented.", _ADMINISTRATOR, _CONNECTION
    ),
    "private_address": _Entry("The host of the connection has no public address.", _ADMINISTRATOR, _CONNECTION),
    "unusable_settings": _Entry(
        "Address or key of the connection cannot stand in a request.", _ADMINISTRATOR, _CONNECTION
    ),
    "daily_budget": _Entry(
        "Today's calls to the account are used up.", _WAIT, "It goes on by itself after midnight UTC."
    ),
    "all_refused": _Entry("The destination refuses every call, whoever is in it.", _ADMINISTRATOR, _EXPORT),
    "target_taken": _Entry(
        "Another export of the connection writes to the same list or segment.", _ADMINISTRATOR, _EXPORT
    ),
    "not_ready": _Entry(
        "A look at the account or the export found what must be mended first.", _ADMINISTRATOR, _EXPORT
    ),
}

_REFUSALS: Final[Mapping[str, _Entry]] = {
    # Of webhooks.
    "malformed_json": _Entry("The body is no JSON.", _ADMINISTRATOR, _SENT_AGAIN),
    "unauthorized": _Entry(
        "The request is not signed for the source, or its secret is another one.", _ADMINISTRATOR, _SENT_AGAIN
    ),
    "unknown_source": _Entry("There is no source of this name.", _ADMINISTRATOR, _SENT_AGAIN),
    "too_many_unknown_sources": _Entry(
        "Too many names of sources that are not known were asked for.", _WAIT, "The platform sends the request again."
    ),
    "too_large": _Entry(
        "The body, or one profile in it, is larger than can be taken.",
        _ADMINISTRATOR,
        "The other profiles of the body are taken.",
    ),
    "wrong_shape": _Entry(
        "The body, or one profile in it, has not the shape of the source's dialect.",
        _ADMINISTRATOR,
        "The other profiles of the body are taken.",
    ),
    "method_not_allowed": _Entry("A webhook is sent by POST.", _ADMINISTRATOR, _SENT_AGAIN),
    "no_source": _Entry(
        "The address names no source: it ends with /webhooks/ and the source's name.", _ADMINISTRATOR, _SENT_AGAIN
    ),
    "source_not_usable": _Entry(
        "The source's secret is not set up correctly; a check says what is wrong.",
        _ADMINISTRATOR,
        "The platform sends the request again.",
    ),
    "unavailable": _Entry(
        "The request could not be taken for a moment.", _WAIT, "The platform sends the request again."
    ),
    "unexpected": _Entry(
        "The request met a defect of ours.", _US, "Nothing of it was taken. The platform sends it again."
    ),
    "no_identity": _Entry(
        "The source's profile_key finds nothing in the profile.",
        _ADMINISTRATOR,
        "The other profiles of the body are taken.",
    ),
    "unknown_key": _Entry("A part of a profile has a key that the dialect does not know.", _ADMINISTRATOR, _LEFT_OUT),
    "unfit_identity": _Entry("An identity is no text that can be one.", _ADMINISTRATOR, _LEFT_OUT),
    "unfit_attribute": _Entry("An attribute cannot be kept.", _ADMINISTRATOR, _LEFT_OUT),
    "unfit_membership": _Entry("A membership cannot be read.", _ADMINISTRATOR, _LEFT_OUT),
    "unfit_time": _Entry("A time is none.", _ADMINISTRATOR, _LEFT_OUT),
    "unfit_snapshot": _Entry(
        "It cannot be read whether the profile is whole, or which page of a segment it is.", _ADMINISTRATOR, _LEFT_OUT
    ),
    # Of webhooks: what is none of the source's business. `MembershipsIgnored` counts all of it.
    "ignored_memberships": _Entry(
        "A membership is of a segment or a namespace that the source does not keep, or an update of attributes alone.",
        _NOBODY,
        _COUNTED,
    ),
    COMPUTED_TRAIT: _Entry("An event tells a computed trait, which is no segment.", _NOBODY, _COUNTED),
    UNKNOWN_EVENT: _Entry("An event is about no audience.", _NOBODY, _COUNTED),
    VERIFICATION: _Entry("The platform checks that it is answered.", _NOBODY, "It is answered as it expects."),
    SUBSCRIPTION: _Entry(
        "The platform announces an audience, or that it ends.", _NOBODY, "It is answered as it expects."
    ),
    OTHER_REQUEST: _Entry(
        "The platform asks for what has nothing to do with segments.", _NOBODY, "It is answered as it expects."
    ),
    # Of events that schedules send.
    "not_an_object": _Entry("The event is no JSON object.", _ADMINISTRATOR, _EVENT),
    "not_for_schedules": _Entry(
        "A schedule only starts runs; this is asked of the admin functions.", _ADMINISTRATOR, _EVENT
    ),
    "unknown_cause": _Entry("The event names another cause than a schedule has.", _ADMINISTRATOR, _EVENT),
    "unknown_exports": _Entry("The event names other exports than the default ones.", _ADMINISTRATOR, _EVENT),
    "starts_nothing": _Entry("The event names no export.", _ADMINISTRATOR, _EVENT),
    "not_text": _Entry("A value is no text.", _ADMINISTRATOR, _EVENT),
    "not_an_export": _Entry("It is not written as connection/export.", _ADMINISTRATOR, _EVENT),
    "unknown_field": _Entry("The event has a field that is not known.", _ADMINISTRATOR, _EVENT),
    # Of operators' questions.
    "no_question": _Entry("The event names no question.", _ADMINISTRATOR, _NOTHING),
    "unknown_question": _Entry("There is no such question.", _ADMINISTRATOR, _NOTHING),
    "unknown_version": _Entry("The protocol has another version.", _ADMINISTRATOR, _NOTHING),
    "wrong_question": _Entry(
        "An argument is missing, not known, or not written as it must be.", _ADMINISTRATOR, _NOTHING
    ),
    "not_here": _Entry("Another of the admin functions answers the question.", _ADMINISTRATOR, _NOTHING),
    "unknown_run": _Entry("There is no such run.", _ADMINISTRATOR, _NOTHING),
    "unknown_forgetting": _Entry("Nobody was forgotten at the time that was asked for.", _ADMINISTRATOR, _NOTHING),
    "unknown_import": _Entry("No import of a segment is stored under this id.", _ADMINISTRATOR, _NOTHING),
    "unknown_profile": _Entry("No profile is stored under what was asked for.", _ADMINISTRATOR, _NOTHING),
    "unknown_code": _Entry("No rejection has this code.", _ADMINISTRATOR, _NOTHING),
    "unknown_segment": _Entry("Nothing was ever received of this segment.", _ADMINISTRATOR, _NOTHING),
    "unknown_trace": _Entry("There is no such trace; traces are kept for an hour.", _ADMINISTRATOR, _NOTHING),
    "unknown_export": _Entry("There is no such export.", _ADMINISTRATOR, _NOTHING),
    "several_profiles": _Entry("It stands for more than one profile.", _ADMINISTRATOR, _NOTHING),
    "unknown_queue": _Entry("The stack has no such queue.", _ADMINISTRATOR, _NOTHING),
}

_WARNINGS: Final[Mapping[str, _Entry]] = {
    UNFIT_EXPRESSION: _Entry(
        "An expression of the mapping cannot be worked out for a profile.",
        _ADMINISTRATOR,
        "The profile goes without this value.",
    ),
    findings.PAUSED: _Entry(
        "The export is paused.", _ADMINISTRATOR, "What comes meanwhile is made up for by a run when it is active."
    ),
    findings.STRAY_NAME: _Entry(
        "A secret or parameter has nearly the name of a setting; nobody reads it.", _ADMINISTRATOR, _SHOWN
    ),
    findings.SCHEDULE: _Entry(
        "A schedule was meant to start an export and will not.",
        _ADMINISTRATOR,
        "The default schedule starts the export.",
    ),
    findings.STRAY_SCHEDULE: _Entry("A schedule starts nothing there is.", _ADMINISTRATOR, _SHOWN),
    "mapping_not_tried": _Entry(
        "The mapping could not be tried on stored profiles.", _WAIT, "The next check tries it."
    ),
    "mapping_yields_nothing": _Entry(
        "An expression found nothing in any profile that was tried.",
        _ADMINISTRATOR,
        "Profiles go without the value, or, without an identity, are rejected.",
    ),
    findings.CLOCK: _Entry("The clock of the functions and that of AWS differ.", _US, _SHOWN),
    findings.BEHIND: _Entry(
        "A queue does not keep up.", _WAIT, "It is worked off; the function's log says what keeps it."
    ),
}

_PROBLEMS: Final[Mapping[str, _Entry]] = {
    # Settings.
    "invalid": _Entry("A field is missing, not known, or not written as it must be.", _ADMINISTRATOR, _IGNORED),
    "invalid_name": _Entry("A source, connection or export cannot be called so.", _ADMINISTRATOR, _IGNORED),
    "missing": _Entry("A field of the connection is missing.", _ADMINISTRATOR, _IGNORED),
    "no_consent": _Entry('The connection does not say "I agree".', _ADMINISTRATOR, "Nothing is sent until it does."),
    "no_identity_key": _Entry(
        "The stack's own secret is missing.", _ADMINISTRATOR, "Nothing is taken and nothing sent until it is back."
    ),
    "import_refused": _Entry(
        "Files of a segment cannot be used, or parts of them are missing.",
        _ADMINISTRATOR,
        "It is shown for a day, or until a later import of the segment is done.",
    ),
    "import_waits": _Entry(
        "An import of a segment would take an unusual share of its members out.",
        _ADMINISTRATOR,
        "Nobody leaves until it is confirmed. A newer file takes its place.",
    ),
    "nobody_identified": _Entry(
        "A source's profile_key finds nobody in what the platform sends.", _ADMINISTRATOR, _SHOWN
    ),
    "not_json": _Entry("A parameter is no JSON.", _ADMINISTRATOR, _IGNORED),
    "not_key_value": _Entry("A secret has no key/value pairs.", _ADMINISTRATOR, _IGNORED),
    "not_text": _Entry("A value of a secret is no text.", _ADMINISTRATOR, _IGNORED),
    "pending_deletion": _Entry("A secret is scheduled for deletion.", _ADMINISTRATOR, "It counts as deleted."),
    "unreadable": _Entry("The stack may not read or decrypt a secret or parameter.", _ADMINISTRATOR, _IGNORED),
    "unknown_destination": _Entry("There is no destination of this name.", _ADMINISTRATOR, _IGNORED),
    "unknown_connection": _Entry("There is no connection of this name.", _ADMINISTRATOR, _IGNORED),
    "unknown_export": _Entry("There is no export of this name.", _ADMINISTRATOR, _row(Failing.GONE)),
    "unknown_source": _Entry(
        "There is no source of this name.", _ADMINISTRATOR, "Nothing new arrives for its segments."
    ),
    # Runs.
    RunState.REFUSED.value: _Entry(
        "A run was refused: a segment of the export was never seen.",
        _ADMINISTRATOR,
        "Nobody was touched. The next run looks again.",
    ),
    RunState.NEEDS_CONFIRMATION.value: _Entry(
        "So many would leave that a person has to say yes.",
        _ADMINISTRATOR,
        "Nobody is removed until then. The next run counts afresh.",
    ),
    RunState.MANY_REJECTED.value: _Entry(
        "A run took nobody, or rejected very many for one reason.",
        _ADMINISTRATOR,
        "It is shown until a later run goes well.",
    ),
    findings.NEVER_SEEN: _Entry(
        "The platform has never sent anybody of a segment.", _ADMINISTRATOR, "No run starts until it does."
    ),
    findings.NO_SCHEDULE: _Entry("No schedule that is enabled will ever start the export.", _ADMINISTRATOR, _SHOWN),
    findings.WELL_NOW: _Entry("What was stopped is well now.", _WAIT, "It goes on with the next probe."),
    # The stack.
    findings.DLQ: _Entry(
        "A dead-letter queue holds messages that were given up.",
        _US,
        "They stay for 14 days, until they are put back or purged.",
    ),
    findings.VERSIONS: _Entry(
        "Functions of the stack run different versions.", _ADMINISTRATOR, "Deploy the stack again."
    ),
    "not_started": _Entry(
        "Exports could not be started because of a defect; the log says where.", _US, _row(Failing.UNEXPECTED)
    ),
    DEFECT: _Entry("A defect of ours was met: report it.", _US, _row(Failing.UNEXPECTED)),
    "not_announced": _Entry(
        "EventBridge or the bucket does not take what is announced.", _ADMINISTRATOR, "It waits for 14 days."
    ),
    # What passes by itself.
    "event_refused": _Entry("EventBridge did not take some events.", _WAIT, "They are sent again every minute."),
    "rate_limited": _Entry("The destination asks us to slow down.", _WAIT, _AGAIN),
    "unavailable": _Entry("The destination has a problem of its own.", _WAIT, _AGAIN),
    "timeout": _Entry("No answer came in time.", _WAIT, _AGAIN),
    "network": _Entry("The connection to the destination broke.", _WAIT, _AGAIN),
    "read_refused": _Entry("The destination refuses to show something.", _ADMINISTRATOR, _AGAIN),
    "answer_too_large": _Entry("The destination's answer was larger than is read.", _WAIT, _AGAIN),
    "unexpected_answer": _Entry("An answer did not fit what was asked.", _WAIT, _AGAIN),
    "pace": _Entry("The account is asked no more often than it allows.", _WAIT, _row(Failing.BUSY)),
    "contention": _Entry("Others wrote the same at the same time.", _WAIT, _row(Failing.CONFLICT)),
    "assignment": _Entry("Others wrote the same assignment.", _WAIT, _row(Failing.CONFLICT)),
    "busy_profile": _Entry("Others wrote the same profile.", _WAIT, _row(Failing.CONFLICT)),
    "cursor": _Entry("Another message moved the run on.", _WAIT, _row(Failing.CONFLICT)),
    "run": _Entry("A run is under way.", _WAIT, _row(Failing.CONFLICT)),
    "tags": _Entry("Others changed the tags of an export.", _WAIT, _row(Failing.CONFLICT)),
    "settings": _Entry("Settings are older than those somebody acted on.", _WAIT, _row(Failing.STALE_SETTINGS)),
    "stale_settings": _Entry(
        "Settings cannot be read yet in the version that somebody acted on.", _WAIT, _row(Failing.STALE_SETTINGS)
    ),
    "out_of_time": _Entry("The function's time was nearly over.", _WAIT, _row(Failing.CONFLICT)),
    "settings_unavailable": _Entry("Secrets Manager or Parameter Store did not answer.", _WAIT, _row(Failing.BUSY)),
    "names_unavailable": _Entry("The names of secrets and parameters could not be listed.", _WAIT, _row(Failing.BUSY)),
    "schedules_unavailable": _Entry("EventBridge Scheduler did not answer.", _WAIT, _row(Failing.BUSY)),
    "file_not_read": _Entry("S3 did not answer, or stopped sending a file.", _WAIT, "It is read again in a minute."),
    "queue_refused": _Entry("SQS did not take messages.", _WAIT, _row(Failing.BUSY)),
    "queue_unavailable": _Entry("SQS did not answer.", _WAIT, _row(Failing.BUSY)),
    "database_unavailable": _Entry("DynamoDB did not answer.", _WAIT, _row(Failing.BUSY)),
    "busy": _Entry("DynamoDB kept refusing a transaction for conflicts.", _WAIT, _row(Failing.BUSY)),
    "throttled": _Entry("DynamoDB takes no more for the moment.", _WAIT, _row(Failing.BUSY)),
}

_OF_THE_MAPPING: Final = {one.code for one in (NO_EMAIL, MALFORMED_EMAIL, NO_IDENTITY, MALFORMED_IDENTITY)}
"""Rejections of destinations that our own mapping finds."""

_OURS: Final = (
    (CodeKind.REJECTION, _REJECTIONS),
    (CodeKind.STOP, _STOPS),
    (CodeKind.REFUSAL, _REFUSALS),
    (CodeKind.WARNING, _WARNINGS),
    (CodeKind.PROBLEM, _PROBLEMS),
)


@cache
def all_codes() -> tuple[Code, ...]:
    """Return every code, by kind, ours before those of destinations."""
    return tuple(_codes())


def _codes() -> Iterator[Code]:
    for kind, entries in _OURS:
        for code, entry in sorted(entries.items()):
            yield _code(code, kind, entry)
        for name in sorted(registry.PACKAGES):
            destination = registry.load(name)
            own = {CodeKind.REJECTION: destination.reasons, CodeKind.STOP: destination.stops}
            given: Mapping[str, str] = own.get(kind, {})
            for code, means in sorted(given.items()):
                then = _EXPORT if kind is CodeKind.STOP else _DATA if code in _OF_THE_MAPPING else _REFUSED
                entry = _Entry(means, _ADMINISTRATOR, then)
                if code == UNCONFIRMED:
                    entry = _Entry(means, *_REJECTIONS[UNCONFIRMED][1:])
                yield _code(code, kind, entry, name)


def _code(code: str, kind: CodeKind, entry: _Entry, destination: str | None = None) -> Code:
    return Code(
        code=code, kind=kind, destination=destination, means=entry.means, who_must_act=entry.actor, then=entry.then
    )


def meaning(code: str, kind: CodeKind, destination: str | None = None) -> Code | None:
    """Return what a code means, in the words of a destination where it has some; None for an unknown one."""
    known = {one.destination: one for one in all_codes() if one.code == code and one.kind is kind}
    return known.get(destination) or known.get(None)


def require_rejection(code: str, *, field: str) -> None:
    """Refuse, with QuestionProblem, what is no code of a rejection; it names the nearest one."""
    known = sorted({one.code for one in all_codes() if one.kind is CodeKind.REJECTION})
    if code in known:
        return
    near = next(iter(get_close_matches(code[:64], known, n=1)), None)
    what = "there is no rejection with this code" + ("" if near is None else f"; the nearest is {near}")
    raise QuestionProblem("unknown_code", what, field=field, faults=[Fault(field, what, near)])


def rejection_means(code: str, destination: Destination) -> str | None:
    """Return what a rejection by a destination means, in its words where it has some; None for an unknown code."""
    ours = _REJECTIONS.get(code)
    return destination.reasons.get(code, None if ours is None else ours.means)


def list_codes(question: ListCodes) -> Codes:  # noqa: ARG001 - it has no arguments
    """Answer `codes`."""
    return Codes(codes=list(all_codes()))
