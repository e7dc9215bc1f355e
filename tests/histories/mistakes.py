"""Plausible mistakes, each planted while histories are played: some history must notice every one.

`seed` is of a history that noticed it when this was written. Changes of the code move these; `python -m tests.histories
--mistakes` finds others.
"""

from collections.abc import Callable
from typing import Any, NamedTuple
from unittest.mock import patch

from relay.breaker.pace import Pace
from relay.destinations.activecampaign import ActiveCampaign, contacts
from relay.destinations.activecampaign.look_ups import LookUp
from relay.destinations.gainsight_px.segments import Segments
from relay.reconcile.handover import Handover
from relay.stores import owners
from tests.histories.playing import play
from tests.histories.promises import BrokenPromise


class Mistake(NamedTuple):
    """What is done wrong by which function instead of which, and the history that has noticed it."""

    says: str
    owner: Any
    part: str
    instead: Callable[..., Any]
    destination: str
    seed: int


MISTAKES = {
    "ask_nobody": Mistake(
        "whoever is wanted is subscribed, whatever they said by hand",
        contacts,
        "standing_in_the_way",
        lambda *_, **__: None,
        "activecampaign",
        0,
    ),
    "believe": Mistake(
        "what an import left open is taken for done",
        LookUp,
        "_is_as_wanted",
        lambda *_: True,
        "activecampaign",
        69,
    ),
    "give_up": Mistake(
        "every import without an answer is taken for over",
        ActiveCampaign,
        "cleared_before",
        lambda *more: more[-1],
        "activecampaign",
        19,
    ),
    "hurry": Mistake("nobody waits for their turn", Pace, "__call__", lambda *_: None, "activecampaign", 0),
    "adopt_nobody": Mistake(
        "those in a target whom its former owner brought there are left in it",
        owners,
        "to_adopt",
        lambda *_: {},
        "gainsight_px",
        1,
    ),
    "hand_over_nothing": Mistake(
        "profiles that turned out to be somebody else keep what they stand for",
        Handover,
        "hand_over",
        lambda *_: {},
        "gainsight_px",
        3,
    ),
    "make_no_segment_again": Mistake(
        "every segment is taken for there that was there once",
        Segments,
        "make_again_if_lost",
        lambda *_: False,
        "gainsight_px",
        12,
    ),
}


def notice(name: str, seed: int, histories: int) -> tuple[int | None, str]:
    """Return the first history from a seed on that notices a mistake, and which promise it saw broken.

    A part that only trips over the mistake is no proof; what it tripped over is raised.
    """
    mistake = MISTAKES[name]
    with patch.object(mistake.owner, mistake.part, mistake.instead):
        for number in range(seed, seed + histories):
            try:
                play(number, mistake.destination)
            except BrokenPromise as broken:
                return number, str(broken)[:100]
    return None, ""
