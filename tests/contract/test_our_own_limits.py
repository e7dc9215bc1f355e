"""Our own limits (`Busy`) say nothing of a destination: wherever one is met, the call ends as Busy and as nothing else.

Busy never counts towards stopping a connection; what it is turned into on the way would.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from relay.delivery.time_limits import out_of_time
from relay.destinations.gainsight_px.blame import MOST_HELD
from relay.domain.problems import Busy, Conflict, ConnectionProblem, Problem
from tests.contract.conftest import SUBJECTS, name_of
from tests.contract.gainsight_px_subject import GainsightPxSubject
from tests.contract.subject import Subject, busy

ALWAYS: int | None = None


def _nothing(_: Subject) -> None:
    """Nothing comes before."""


def _members(subject: Subject) -> None:
    subject.deliver([subject.step(number) for number in range(4)])


def _left(subject: Subject) -> None:
    _members(subject)
    subject.deliver([subject.step(1, joins=False, after=10)])


def _one_is_refused(subject: Subject) -> None:
    marker = json.dumps(subject.identity(1), ensure_ascii=False)
    subject.fault({"status": 400, "body": {}}, path=subject.delivery_path, contains=marker, times=ALWAYS)


def _one_is_left_out(subject: Subject) -> None:
    if subject.leaves_out:
        subject.leave_out(subject.identity(1))


def _send(subject: Subject, *, joins: bool) -> object:
    steps = [subject.step(number, joins=joins, after=0 if joins else 10) for number in range(4)]
    answer = subject.destination.send(subject.account(), subject.export, steps)
    return answer.refused


@dataclass(frozen=True)
class Conversation:
    """What is done, after what."""

    does: Callable[[Subject], object]
    after: Callable[[Subject], None] = _nothing


CONVERSATIONS: Mapping[str, Conversation] = {
    "several join": Conversation(lambda subject: subject.deliver([subject.step(number) for number in range(4)])),
    "one joins": Conversation(lambda subject: subject.deliver([subject.step(1)])),
    "several join in one call": Conversation(lambda subject: _send(subject, joins=True)),
    "several leave in one call": Conversation(lambda subject: _send(subject, joins=False), _members),
    "one is refused": Conversation(
        lambda subject: subject.deliver([subject.step(number) for number in range(4)]), _one_is_refused
    ),
    "one is left out": Conversation(
        lambda subject: subject.deliver([subject.step(number) for number in range(4)]), _one_is_left_out
    ),
    "one leaves": Conversation(lambda subject: subject.deliver([subject.step(1, joins=False, after=10)]), _members),
    "several leave": Conversation(
        lambda subject: subject.deliver([subject.step(number, joins=False, after=10) for number in range(4)]), _members
    ),
    "one comes back": Conversation(lambda subject: subject.deliver([subject.step(1, after=20)]), _left),
    "a check": Conversation(lambda subject: subject.destination.check(subject.account(), [subject.export])),
    "a probe": Conversation(lambda subject: subject.destination.check(subject.account(), [])),
    "before a run": Conversation(
        lambda subject: subject.destination.check_before_run(subject.account(), subject.export)
    ),
}


def _converse(
    kind: type[Subject], conversation: Conversation, at: int | None, limit: Callable[[], Problem] = busy
) -> tuple[int, object]:
    """Have a conversation in which one call or note is too many for our side; return how many there were, and the end.

    The end is the problem it was, or the result.
    """
    subject = kind()
    conversation.after(subject)
    subject.limit.met, subject.limit.at, subject.limit.problem = 0, at, limit
    try:
        end = conversation.does(subject)
    except Problem as problem:
        return subject.limit.met, problem
    return subject.limit.met, end


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("limit", [busy, out_of_time])
@pytest.mark.parametrize("kind", SUBJECTS, ids=name_of)
def test_our_own_limit_is_met_as_such_at_every_call(
    kind: type[Subject], limit: Callable[[], Problem], name: str
) -> None:
    conversation = CONVERSATIONS[name]
    met, good = _converse(kind, conversation, None)
    assert not isinstance(good, Problem)
    for at in range(1, met + 1):
        _, end = _converse(kind, conversation, at, limit)
        # What can be done without the call that had no room may be done: then it is as good as with it.
        assert isinstance(end, Busy | Conflict) or end == good, f"{at} of {met}: {end!r}"


def test_a_new_name_of_a_segment_waits_for_room_as_all_else() -> None:
    def renamed(subject: Subject) -> object:
        subject.export = subject.export_with({"segment_names": {"aep/one": "Loyal"}})
        return _send(subject, joins=True)

    conversation = Conversation(renamed, _members)
    met, good = _converse(GainsightPxSubject, conversation, None)
    for at in range(1, met + 1):
        _, end = _converse(GainsightPxSubject, conversation, at)
        assert isinstance(end, Busy), f"{at} of {met}: {end!r}, not {good!r}"


def test_a_probe_that_has_no_room_is_no_probe_in_vain() -> None:
    """What was refused is held closed for a number of probes: our own limit is none of them."""
    subject = GainsightPxSubject()
    subject.deliver([subject.step(1)])
    subject.fault({"status": 403}, path=subject.delivery_path, times=ALWAYS)
    with pytest.raises(ConnectionProblem):
        subject.deliver([subject.step(2)])
    probes = 0
    for probe in range(3 * MOST_HELD):
        # The first call of a probe and a look at the notes have room, the call that was refused has none.
        subject.limit.met, subject.limit.at = 0, 3 if probe % 3 else None
        with pytest.raises(Problem) as caught:
            subject.destination.check(subject.account(), [])
        probes += not isinstance(caught.value, Busy)
    assert probes == MOST_HELD
