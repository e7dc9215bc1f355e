"""Where members and leavers stand in a run, by their identity records alone."""

from datetime import UTC, datetime, timedelta

from relay.domain.identity import (
    OUT,
    UNKNOWN,
    Authority,
    Basis,
    Digest,
    Record,
    Rejected,
    Rest,
    Taken,
    Unwanted,
    answered,
    begin,
    claim,
    release,
)
from relay.domain.ledger import LeaverColumn
from relay.reconcile.verdict import on_leaver

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MAIN = Authority(1, 100, "main")


def delivered(*profiles: str) -> Record:
    record = Record()
    for profile in profiles:
        record = claim(record, MAIN, profile, Digest("red"), Basis(100, 1, 1), NOON)
    return answered(called(record, "c1"), "c1", Taken(), NOON)


def called(record: Record, call: str) -> Record:
    return begin(record, call, send_by=NOON, bound=timedelta(minutes=30), at=NOON)


def leaving(*profiles: str) -> Record:
    return release(delivered(*profiles), MAIN, profiles[0], keep=False)


def test_one_who_leaves_is_outstanding_until_the_destination_has_let_it_go() -> None:
    open_call = called(leaving("p1"), "c2")
    assert on_leaver([open_call], "p1", NOON) is LeaverColumn.OUTSTANDING
    assert on_leaver([answered(open_call, "c2", Taken(), NOON)], "p1", NOON) is LeaverColumn.REMOVED


def test_what_a_leaver_still_claims_elsewhere_is_not_left() -> None:
    """It leaves one address and stays a claimant of another, which another profile wins."""
    gone = answered(called(leaving("p2"), "c2"), "c2", Taken(), NOON)
    assert on_leaver([gone, delivered("p1", "p2")], "p2", NOON) is LeaverColumn.REMOVED


def test_one_whom_the_destination_does_not_let_go_is_kept() -> None:
    refused = answered(called(leaving("p1"), "c2"), "c2", Rejected("locked", "settings-1"), NOON)
    assert on_leaver([refused], "p1", NOON) is LeaverColumn.KEPT


def test_one_whose_identity_somebody_else_may_want_is_kept_so_that_the_run_ends() -> None:
    held = leaving("p1")._replace(desired=Unwanted(Rest.HOLD, "p1"), turned_away_at=NOON)
    assert on_leaver([held], "p1", NOON) is LeaverColumn.KEPT


def test_open_counts_before_kept_and_kept_before_removed() -> None:
    gone = Record(MAIN, acknowledged=OUT)
    lost = leaving("p1")._replace(acknowledged=UNKNOWN)
    refused = answered(called(leaving("p1"), "c2"), "c2", Rejected("locked", "settings-1"), NOON)
    assert on_leaver([gone, refused, lost], "p1", NOON) is LeaverColumn.OUTSTANDING
    assert on_leaver([gone, refused], "p1", NOON) is LeaverColumn.KEPT
