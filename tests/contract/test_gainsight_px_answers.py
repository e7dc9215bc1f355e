"""What Gainsight PX may answer to each of our calls, and what comes of it: a table, played through the real HTTP door.

Its statuses: https://px-apidocs.gainsight.com. Where that documents nothing, an answer means what it says. `ANYWHERE`
has what any call can be answered, `CALLS` what means something else at one call. A call is answered so each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from relay.domain.problems import ConnectionProblem, ExportProblem, Problem, Transient
from tests.contract.gainsight_px_subject import GainsightPxAttributesSubject, GainsightPxSubject
from tests.contract.subject import Outcome, Subject
from tests.examples import example

REST = {"Retry-After": "30"}


@dataclass(frozen=True, slots=True)
class Raises:
    """The problem of the whole call; `taken` is None where nobody can know whether it was taken."""

    kind: type[Problem]
    code: str
    taken: bool | None = False
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The rejection of the one row."""

    code: str


DONE = "done"
Result = Raises | Refused | str

ANSWERS: Mapping[str, Mapping[str, Any]] = {
    **{str(status): {"status": status, "body": {}} for status in (400, 401, 402, 403, 404, 413, 418, 422, 500, 502)},
    "429": {"status": 429, "headers": REST},
    "429 without a rest": {"status": 429},
    "503 with a rest": {"status": 503, "headers": REST},
    "a redirect": {"status": 302, "headers": {"Location": "/login"}},
    "a page": {"html": True},
    "no answer": {"drop": "after"},
    "another object": {"status": 200, "body": {"ok": True}},
    "an array": {"status": 200, "body": []},
}

WHO_KNOWS = ("500", "502", "503 with a rest", "a page", "no answer")
"""After these a call that writes may have been taken."""

ANYWHERE: Mapping[str, Raises] = {
    "402": Raises(ConnectionProblem, "unpaid"),
    "418": Raises(ConnectionProblem, "unexpected_status"),
    "429": Raises(Transient, "rate_limited", retry_after=timedelta(seconds=30)),
    "429 without a rest": Raises(Transient, "rate_limited"),
    "500": Raises(Transient, "unavailable"),
    "502": Raises(Transient, "unavailable"),
    "503 with a rest": Raises(Transient, "unavailable", retry_after=timedelta(seconds=30)),
    "a redirect": Raises(ConnectionProblem, "redirected"),
    "a page": Raises(ConnectionProblem, "not_json"),
    "no answer": Raises(Transient, "network"),
}

NOT_AUTHORISED = Raises(ConnectionProblem, "not_authorised")
TOKEN_REFUSED = Raises(ConnectionProblem, "token_refused")
NO_TOKEN = Raises(ConnectionProblem, "no_token")
SEGMENT_REFUSED = Raises(ExportProblem, "segment_refused")
ODD = Raises(Transient, "unexpected_answer")
ANOTHER_SUBSCRIPTION = Raises(ConnectionProblem, "unexpected_answer")
UNREAD = Raises(Transient, "read_refused")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of ours: its path, and the subject for whom it is made."""

    path: str
    kind: type[Subject]
    only_here: Mapping[str, Result]
    writes: bool = False
    creates: bool = False
    """Whether the user is not known, and shall be made."""


def _each(statuses: str, result: Result) -> dict[str, Result]:
    return dict.fromkeys(statuses.split(), result)


CALLS: Mapping[str, Call] = {
    "the log-in": Call(
        "^/oauth/token",
        GainsightPxSubject,
        {
            **_each("400 401 402 403 413 418 422", TOKEN_REFUSED),
            "404": Raises(ConnectionProblem, "not_found"),
            **dict.fromkeys(("a page", "another object", "an array"), NO_TOKEN),
        },
    ),
    "a segment is made": Call(
        "^/v1/external_segment/metadata",
        GainsightPxSubject,
        {
            **_each("400 413 422", SEGMENT_REFUSED),
            "401": Raises(ExportProblem, "may_not_write"),
            **_each("403 404", Raises(ExportProblem, "feature_off")),
            **dict.fromkeys(("another object", "an array"), ODD),
        },
    ),
    "memberships": Call(
        "^/v1/external_segment/update_membership",
        GainsightPxSubject,
        {
            **_each("400 413 422", Refused("identity_refused")),
            "401": NOT_AUTHORISED,
            **_each("403 404", Raises(ConnectionProblem, "feature_off")),
            **dict.fromkeys(("another object", "an array"), DONE),
        },
        writes=True,
    ),
    "the attributes there are": Call(
        "^/v1/admin/model/user/attributes",
        GainsightPxAttributesSubject,
        {
            **_each("400 413 422", UNREAD),
            **_each("401 403 404", NOT_AUTHORISED),
            "another object": ODD,
            "an array": Raises(ExportProblem, "attribute_unusable"),
        },
    ),
    "the subscription": Call(
        "^/v1/admin/subscription",
        GainsightPxAttributesSubject,
        {
            **_each("400 413 422", UNREAD),
            **_each("401 403 404", NOT_AUTHORISED),
            **dict.fromkeys(("a page", "another object", "an array"), ANOTHER_SUBSCRIPTION),
        },
    ),
    "a user": Call(
        "^/v1/users/update",
        GainsightPxAttributesSubject,
        {
            **_each("400 413 422", Refused("identity_refused")),
            **_each("401 403", NOT_AUTHORISED),
            "404": Raises(ConnectionProblem, "not_found"),
            **dict.fromkeys(("another object", "an array"), DONE),
        },
        writes=True,
    ),
    "a new user": Call(
        "^/v1/users$",
        GainsightPxAttributesSubject,
        {
            **_each("400 413 422", Refused("creation_refused")),
            **_each("401 403", NOT_AUTHORISED),
            "404": Raises(ConnectionProblem, "not_found"),
            **dict.fromkeys(("another object", "an array"), DONE),
        },
        writes=True,
        creates=True,
    ),
}


def expected(call: Call, name: str) -> Result:
    """Return what the table says of an answer to a call."""
    if name in call.only_here:
        return call.only_here[name]
    return replace(ANYWHERE[name], taken=None) if call.writes and name in WHO_KNOWS else ANYWHERE[name]


def result(outcome: Outcome) -> Result:
    """Return an outcome as the table has it; problems by the kind that the engine knows."""
    problem = outcome.problem
    if problem is not None:
        kind = next(kind for kind in (Transient, ConnectionProblem, ExportProblem) if isinstance(problem, kind))
        return Raises(kind, problem.code, problem.taken, getattr(problem, "retry_after", None))
    return DONE if outcome.rejection is None else Refused(outcome.rejection.code)


def play(call: Call, answer: Mapping[str, Any]) -> Outcome:
    """Have one join while the call is always answered so."""
    subject = call.kind()
    step = subject.step(1)
    if call.creates:
        subject.export = subject.export_with({"create_users": True})
        step = replace(step, identity="nobody yet")
    subject.fault(answer, path=call.path, times=None)
    (outcome,) = subject.attempt([step])
    assert any(subject.wire.requests)
    return outcome


@pytest.mark.parametrize("name", CALLS)
def test_what_a_call_can_be_answered(name: str) -> None:
    call = CALLS[name]
    for said, answer in ANSWERS.items():
        with example(name, said):
            assert result(play(call, answer)) == expected(call, said)


def test_the_table_has_a_line_for_every_answer_to_every_call_and_none_that_is_the_same_anyway() -> None:
    for name, call in CALLS.items():
        with example(name):
            assert {*call.only_here, *ANYWHERE} == set(ANSWERS)
            assert [said for said, one in call.only_here.items() if one == ANYWHERE.get(said)] == []
