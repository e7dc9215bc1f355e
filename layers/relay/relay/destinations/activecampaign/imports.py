"""What became of an asynchronous import: its own report, and looking up what that leaves open.

https://developers.activecampaign.com/reference/bulk-import-status-info: `success` holds ids of contacts (the docs say
of created ones, others saw updated ones, too), `failure` addresses without reasons. The help page shows excluded
addresses left out of `queued_contacts`, and counts them among the failures; whether `failure` names them is not
documented.
https://help.activecampaign.com/hc/en-us/articles/360017846539-Use-the-Bulk-Contact-Importer-API
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from relay.destinations.activecampaign.client import BULK, REST, Client
from relay.destinations.activecampaign.errors import EXCLUDED, IMPORT_BOUND, IMPORT_REFUSED, UNCONFIRMED
from relay.destinations.activecampaign.look_ups import LookUp
from relay.destinations.activecampaign.mapping import Kinds
from relay.destinations.activecampaign.overview import outstanding
from relay.destinations.activecampaign.settings import AcAccount, ActiveCampaignOptions
from relay.destinations.contract import ImportReport, Notes, OpenImport, Step
from relay.domain.problems import Problem, Rejection

LOOKED_UP_AT_ONCE = 10
"""Contacts looked up in one look: up to five calls each, so that it takes some half a minute."""

EXPLAINED_AT_ONCE = 8
"""Refused contacts whose reason is looked for in one look."""

EXPLAINED_AT_MOST = 64
"""While more are refused, the rest is reported without a reason: it would take thousands of calls to find them."""

TOLERATED_BACKLOG = timedelta(seconds=1)
"""While others wait longer than this for a call, nobody is looked up and nobody asks for reasons."""

WORTH_ASKING_BY_IDS = 3
"""Up to so many in doubt are looked up without asking first whose the ids are that the import shows."""

ASKED_ANYWAY = timedelta(minutes=10)
"""An import so old is asked about whatever the overview says: nobody promises that imports end in their order.

So long an unknown id may also be one that ActiveCampaign does not show yet.
"""

_LEFT_OUT_ARE_NAMED = "ac left out are named"
"""The note on what an account does with addresses it leaves out of an import: `yes`, `no`, or none as long as nobody
knows. Each import that shows it is believed, so that only the first doubtful ones are looked up."""

Ask = Callable[[Step], Rejection | None]
"""Finds out why a step was not done; None when it was."""


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


@dataclass(frozen=True, slots=True)
class _Ending:
    """How all parts of an import have ended. `done` are ids of contacts, `failed` addresses in lower case."""

    is_complete: bool
    is_over: bool
    """Whether nothing more of it will come: it completed, failed, or was interrupted."""
    done: frozenset[str]
    failed: frozenset[str]


def report(
    account: AcAccount, options: ActiveCampaignOptions, kinds: Kinds, queued: OpenImport, steps: Sequence[Step]
) -> ImportReport:
    """Look at an import once.

    Nothing is looked up when it accounts for all that was sent. Else those it does not name are, some at a time and
    only while nobody else waits for calls. Whoever is then not found as wanted is to be sent again where the import has
    failed or was interrupted.
    """
    everybody = range(len(steps))
    is_busy = account.backlog(REST) > TOLERATED_BACKLOG
    if is_busy and queued.note is not None:
        return ImportReport(finished=True, open=frozenset(everybody), note=queued.note)
    client = Client(account)
    age = queued.asked_at - queued.queued_at
    is_young = age < ASKED_ANYWAY
    if queued.contacts is not None and is_young and _is_surely_waiting(client, account.notes, queued, age):
        return ImportReport(finished=False)
    ending = _ending_of(client, queued.import_id, is_young=is_young, is_over=age >= IMPORT_BOUND)
    if ending is None:
        return ImportReport(finished=False)
    doubt = _doubt_about(account.notes, ending, queued, steps)
    named = [index for index in everybody if steps[index].identity in ending.failed]
    doubtful = [index for index in everybody if doubt is not Doubt.NONE and steps[index].identity not in ending.failed]
    refused: dict[int, Rejection] = {}
    left: list[int] = []
    if is_busy or len(named) > EXPLAINED_AT_MOST:
        refused |= dict.fromkeys(named, IMPORT_REFUSED)
        named = []
    if is_busy:
        left, doubtful = doubtful, []
    look_up = LookUp(account, options, kinds)
    found: set[str] = set()
    if len(doubtful) > WORTH_ASKING_BY_IDS:
        found = look_up.addresses(ending.done, queued.is_time_left)
        doubtful = [index for index in doubtful if steps[index].identity not in found]
    absent = EXCLUDED if doubt in (Doubt.LEFT_OUT, Doubt.PERHAPS_NAMED) else UNCONFIRMED
    asks: list[tuple[int, Ask]] = [(index, look_up.reason) for index in named[:EXPLAINED_AT_ONCE]]
    asks += [(index, lambda step: look_up.doubt(step, absent)) for index in doubtful[:LOOKED_UP_AT_ONCE]]
    left += [*named[EXPLAINED_AT_ONCE:], *doubtful[LOOKED_UP_AT_ONCE:]]
    left += _ask(asks, steps, refused, queued.is_time_left, may_fail=not found)
    if doubt is Doubt.PERHAPS_NAMED and refused.keys() & set(doubtful):
        _learn(account.notes, are_named=False)
    elif doubt is Doubt.PERHAPS_NAMED and not left:
        _learn(account.notes, are_named=True)
    came_to_nothing = ending.is_over and not ending.is_complete
    again = {index for index in doubtful if came_to_nothing and refused.get(index) is UNCONFIRMED}
    return ImportReport(
        finished=True,
        refused={index: why for index, why in refused.items() if index not in again},
        open=frozenset(left),
        again=frozenset(again),
        note=doubt.value,
        may_come=not ending.is_over,
    )


def confirm(account: AcAccount, options: ActiveCampaignOptions, kinds: Kinds, steps: Sequence[Step]) -> dict[int, bool]:
    """Return whether contacts are now as steps ask, for as many as can be looked up at once while nobody waits."""
    if account.backlog(REST) > TOLERATED_BACKLOG:
        return {}
    look_up = LookUp(account, options, kinds)
    missing: dict[int, Rejection] = {}
    asks: list[tuple[int, Ask]] = [
        (index, lambda step: None if look_up.is_as_wanted(step) else UNCONFIRMED)
        for index in range(len(steps[:LOOKED_UP_AT_ONCE]))
    ]
    left = set(_ask(asks, steps, missing, lambda: True, may_fail=True))
    return {index: index not in missing for index, _ in asks if index not in left}


def _ask(
    asks: Sequence[tuple[int, Ask]],
    steps: Sequence[Step],
    refused: dict[int, Rejection],
    is_time_left: Callable[[], bool],
    *,
    may_fail: bool,
) -> list[int]:
    """Ask about steps and put down why they were not done; return those that were not asked about.

    Trouble ends the asking: what was found out before counts. It is raised when there was nothing before (`may_fail`).
    """
    for number, (index, ask) in enumerate(asks):
        rest = [other for other, _ in asks[number:]]
        if not is_time_left():
            return rest
        try:
            why = ask(steps[index])
        except Problem:
            if number == 0 and may_fail:
                raise
            return rest
        if why is not None:
            refused[index] = why
    return []


def _is_surely_waiting(client: Client, notes: Notes, queued: OpenImport, age: timedelta) -> bool:
    """Whether more imports are open than can have been queued after this one: then its own turn has hardly come.

    One call, kept as a note for a while, thus saves a call for every import that waits in ActiveCampaign's queue.
    """
    later_ones = BULK.calls * (age / BULK.per) + 1
    open_ones = outstanding(client, notes, queued.asked_at)
    return open_ones is not None and open_ones > later_ones


def _ending_of(client: Client, import_id: str, *, is_young: bool, is_over: bool) -> _Ending | None:
    """Ask how the parts of an import have ended (ids joined with commas); None while one may still go on.

    A young one may only not be shown yet; one that is over by its age counts as ended without having completed.
    """
    done: set[str] = set()
    failed: set[str] = set()
    statuses: list[str | None] = []
    for piece in import_id.split(","):
        state = client.import_state(piece)
        status = None if state is None or state.status not in ("completed", "failed", "interrupted") else state.status
        if status is None and (is_young if state is None else not is_over):
            return None
        statuses.append(status)
        if state is not None:
            done |= state.done
            failed |= state.failed
    is_complete = all(status == "completed" for status in statuses)
    return _Ending(is_complete, None not in statuses, frozenset(done), frozenset(failed))


def _doubt_about(notes: Notes, ending: _Ending, queued: OpenImport, steps: Sequence[Step]) -> Doubt:
    """Return what an import leaves open; `steps` are all that was sent, or what an earlier look left."""
    doubt = _first_doubt(notes, ending, queued, steps) if queued.note is None else Doubt(queued.note)
    if doubt is Doubt.PERHAPS_NAMED:
        return {"yes": Doubt.NONE, "no": Doubt.LEFT_OUT}.get(notes.get(_LEFT_OUT_ARE_NAMED) or "", doubt)
    return doubt


def _first_doubt(notes: Notes, ending: _Ending, queued: OpenImport, steps: Sequence[Step]) -> Doubt:
    if not ending.is_complete:
        return Doubt.ANYTHING
    left_out = None if queued.contacts is None else max(len(steps) - queued.contacts, 0)
    if not ending.failed <= {step.identity for step in steps}:
        # Somebody of ours was refused under another spelling.
        return Doubt.LEFT_OUT if left_out else Doubt.ANYTHING
    if len(ending.done) + len(ending.failed) >= len(steps):
        if left_out:
            _learn(notes, are_named=True)
        return Doubt.NONE
    if left_out is None:
        return Doubt.ANYTHING
    if len(ending.failed) < left_out:
        _learn(notes, are_named=False)
        return Doubt.LEFT_OUT
    return Doubt.PERHAPS_NAMED if left_out else Doubt.NONE


def _learn(notes: Notes, *, are_named: bool) -> None:
    """Note whether the account names those it leaves out."""
    kept, now = notes.get(_LEFT_OUT_ARE_NAMED), "yes" if are_named else "no"
    if kept != now:
        notes.keep(_LEFT_OUT_ARE_NAMED, now, replaces=kept)
