"""What is kept of requests and answers says nothing of a person, nor of a credential."""

from __future__ import annotations

import json

from relay.destinations.exchanges import Recording
from tests.contract.subject import Subject

WORD = "Zanzibar"


def recorded(subject: Subject, *, shows_values: bool) -> tuple[Recording, str]:
    """Return what is kept of people who join, change and leave, and of one who is refused."""
    recording = Recording(shows_values)
    plain = subject.account
    subject.account = lambda: recording.of(plain())  # type: ignore[method-assign]
    subject.deliver([subject.step(1, word=WORD), subject.step(2, word=WORD)])
    subject.deliver([subject.step(1, word=None, after=1), subject.step(2, joins=False, after=1)])
    subject.introduce(subject.identity(3))
    subject.refuse(subject.identity(3))
    subject.deliver([subject.step(3, word=WORD)])
    return recording, json.dumps([one._asdict() for one in recording.exchanges], ensure_ascii=False)


def test_masked_exchanges_hold_no_identity_no_value_and_no_secret(subject: Subject) -> None:
    recording, kept = recorded(subject, shows_values=False)
    assert any(one.request is not None for one in recording.exchanges)
    assert {one.status for one in recording.exchanges} - {0}
    for planted in (*(subject.identity(number) for number in (1, 2, 3)), WORD, *subject.secrets):
        assert planted.lower() not in kept.lower(), planted


def test_exchanges_with_values_still_hold_no_secret(subject: Subject) -> None:
    _, kept = recorded(subject, shows_values=True)
    assert subject.identity(1) in kept
    for secret in subject.secrets:
        assert secret not in kept
