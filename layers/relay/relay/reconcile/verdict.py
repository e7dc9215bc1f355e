"""Verdicts: where a profile stands in a run, by its identity records alone. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from relay.domain.identity import NOTHING, Record, Rest, Unwanted, agreed_since, lapse, next_step, wanted_content
from relay.domain.ledger import Column, LeaverColumn


class Verdict(NamedTuple):
    """Where a member stands, and the reason of a rejection."""

    column: Column
    code: str | None = None


DUPLICATE: Final = Verdict(Column.DUPLICATE)
OUTSTANDING: Final = Verdict(Column.OUTSTANDING)
DELIVERED: Final = Verdict(Column.DELIVERED)
UNCHANGED: Final = Verdict(Column.UNCHANGED)


def on_member(records: Iterable[Record], profile: str, began: datetime | None, now: datetime) -> Verdict:
    """Return where a member stands: open before final, trouble before success, and a duplicate only as a whole."""
    return min((_on_record(lapse(record, now), profile, began) for record in records), key=_rank, default=UNCHANGED)


def _on_record(record: Record, profile: str, began: datetime | None) -> Verdict:
    if record.winner != profile:
        return DUPLICATE
    if next_step(record) != NOTHING:
        return OUTSTANDING
    refused = record.refused
    if refused is not None and record.acknowledged != refused.content == wanted_content(record):
        return Verdict(Column.REJECTED, refused.code)
    return DELIVERED if agreed_since(record, began) else UNCHANGED


_ORDER = (Column.OUTSTANDING, Column.REJECTED, Column.DELIVERED, Column.UNCHANGED, Column.DUPLICATE)
_RANKS = {column: rank for rank, column in enumerate(_ORDER)}


def _rank(verdict: Verdict) -> int:
    return _RANKS[verdict.column]


def on_leaver(records: Iterable[Record], profile: str, now: datetime) -> LeaverColumn:
    """Return what became of a leaver: open before kept before removed.

    `records` may be all that the profile is assigned: one that it still claims is not left.
    """
    found = {_on_left(lapse(record, now), profile) for record in records}
    order = (LeaverColumn.OUTSTANDING, LeaverColumn.KEPT)
    return next((column for column in order if column in found), LeaverColumn.REMOVED)


def _on_left(record: Record, profile: str) -> LeaverColumn:
    desired = record.desired
    if not isinstance(desired, Unwanted) or desired.leaving != profile:
        return LeaverColumn.REMOVED
    # Refused by the destination, or held because somebody else may want it: a later run tries again.
    is_kept = desired.rest is Rest.HOLD or next_step(record) == NOTHING
    return LeaverColumn.KEPT if is_kept else LeaverColumn.OUTSTANDING
