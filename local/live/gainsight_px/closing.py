"""A user nobody knows, and taking everybody out again."""

from __future__ import annotations

from urllib.parse import quote

from local.live.gainsight_px.segment_lines import membership_line
from local.live.gainsight_px.smoke import MEMBERSHIP, NAME, SEGMENT, Smoke
from local.live.live_account import last
from local.live.replies import in_words
from local.live.report import Fits, yes_or_no
from relay.domain.problems import Problem

_TRIES = 3


def unknown_user(smoke: Smoke) -> None:
    """Put an id into the segment, and take it out, that no user of PX has."""
    given = []
    fits = True
    for joins in (True, False):
        answer, seen = smoke.send(smoke.unknown_identity, joins=joins)
        reply = last(seen, "POST", MEMBERSHIP).reply
        given.append(f"{'in' if joins else 'out'}: {in_words(reply)}")
        # A refusal of a single id is as good as taking it: it becomes a rejection and disturbs nobody else.
        fits = fits and (200 <= reply.status < 300 or bool(answer.refused))
    smoke.report.line(
        "an id that no user has, put in and taken out",
        "not documented (we expect a success, or a 400 that leads to a rejection)",
        "; ".join(given),
        yes_or_no(fits),
    )
    reply = smoke.ask("GET", f"users/{quote(smoke.unknown_identity, safe='')}")
    smoke.report.line(
        "no user came of it",
        "404 for an unknown user",
        in_words(reply),
        yes_or_no(reply.status == 404),
    )


def limits(smoke: Smoke) -> None:
    """Tell whether we were ever slowed down."""
    slowed = smoke.live.witness.slowed_down
    smoke.report.line("calls refused with 429", "none, at a few calls a second", str(slowed), yes_or_no(not slowed))


def clean_up(smoke: Smoke) -> None:
    """Take the given user out; the segment stays."""
    for _ in range(_TRIES):
        try:
            answer, seen = smoke.send(smoke.identity, joins=False)
        except Problem as problem:
            failure = str(problem)
            continue
        membership_line(smoke, "the given user taken out again", answer, seen)
        if answer.refused:
            smoke.report.keeps(f'perhaps the given user in the segment "{NAME}"')
        break
    else:
        smoke.report.line("the given user taken out again", "200", f"could not be done: {failure}", Fits.NO)
        if smoke.segment_id is not None:
            smoke.report.keeps(f'perhaps the given user in the segment "{NAME}"')
    if smoke.segment_id is not None:
        smoke.report.keeps(f'external segment "{NAME}" (external id {SEGMENT}): no call to delete one is documented')
