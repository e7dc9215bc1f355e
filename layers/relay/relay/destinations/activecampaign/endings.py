"""How an import has ended, and whether that accounts for everybody who was sent.

https://developers.activecampaign.com/reference/bulk-import-status-info: `success` holds ids of contacts (the docs say
of created ones, others saw updated ones, too), `failure` addresses without reasons. The help page shows excluded
addresses left out of `queued_contacts`, and counts them among the failures; whether `failure` names them is not
documented.
https://help.activecampaign.com/hc/en-us/articles/360017846539-Use-the-Bulk-Contact-Importer-API
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from relay.destinations.activecampaign.client import Client
from relay.destinations.contract import Notes, OpenImport, Step

_LEFT_OUT_ARE_NAMED = "ac left out are named"
"""The note on what an account does with addresses it leaves out of an import: `yes`, `no`, or none as long as nobody
knows. Each import that tells is believed, so that only the first doubtful ones are looked up."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How all parts of an import have ended. `done` are ids of contacts, `failed` addresses in lower case."""

    is_complete: bool
    is_over: bool
    """Whether nothing more of it will come: it completed, failed, or was interrupted."""
    done: frozenset[str]
    failed: frozenset[str]


class Doubt(StrEnum):
    """What an import leaves open; kept between looks at it."""

    NONE = "none"
    """All that was sent was queued or named as failed: who is not named was taken."""
    LEFT_OUT = "left out"
    """Some were left out, and nobody says who."""
    PERHAPS_NAMED = "perhaps named"
    """Some were left out; it is not known yet whether the account names those among the failed."""
    ANYTHING = "anything"
    """It did not complete, names addresses that were not sent, or does not say how many were queued."""


def ending_of(client: Client, import_id: str, *, is_young: bool, is_over: bool) -> Ending | None:
    """Ask how the parts of an import have ended (ids joined with commas); None while one may still go on.

    A young one may only not be shown yet; one that is over by its age counts as ended without having completed.
    """
    done: set[str] = set()
    failed: set[str] = set()
    statuses: list[str | None] = []
    for part in import_id.split(","):
        state = client.import_state(part)
        status = None if state is None or state.status not in ("completed", "failed", "interrupted") else state.status
        if status is None and (is_young if state is None else not is_over):
            return None
        statuses.append(status)
        if state is not None:
            done |= state.done
            failed |= state.failed
    is_complete = all(status == "completed" for status in statuses)
    return Ending(is_complete, None not in statuses, frozenset(done), frozenset(failed))


def doubt_about(notes: Notes, ending: Ending, queued: OpenImport, steps: Sequence[Step]) -> Doubt:
    """Return what an import leaves open; `steps` are all that was sent, or what an earlier look left."""
    doubt = _first_doubt(notes, ending, queued, steps) if queued.note is None else Doubt(queued.note)
    if doubt is Doubt.PERHAPS_NAMED:
        return {"yes": Doubt.NONE, "no": Doubt.LEFT_OUT}.get(notes.get(_LEFT_OUT_ARE_NAMED) or "", doubt)
    return doubt


def learn(notes: Notes, *, are_named: bool) -> None:
    """Note whether the account names those it leaves out."""
    kept, now = notes.get(_LEFT_OUT_ARE_NAMED), "yes" if are_named else "no"
    if kept != now:
        notes.keep(_LEFT_OUT_ARE_NAMED, now, replaces=kept)


def _first_doubt(notes: Notes, ending: Ending, queued: OpenImport, steps: Sequence[Step]) -> Doubt:
    if not ending.is_complete:
        return Doubt.ANYTHING
    left_out = None if queued.contacts is None else max(len(steps) - queued.contacts, 0)
    if not ending.failed <= {step.identity for step in steps}:
        # Somebody of ours was refused under another spelling.
        return Doubt.LEFT_OUT if left_out else Doubt.ANYTHING
    if len(ending.done) + len(ending.failed) >= len(steps):
        if left_out:
            learn(notes, are_named=True)
        return Doubt.NONE
    if left_out is None:
        return Doubt.ANYTHING
    if len(ending.failed) < left_out:
        learn(notes, are_named=False)
        return Doubt.LEFT_OUT
    return Doubt.PERHAPS_NAMED if left_out else Doubt.NONE
