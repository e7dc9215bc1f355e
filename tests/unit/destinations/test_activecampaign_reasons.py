"""Reasons for rows that an import refused: it names addresses only, so they are looked for elsewhere."""

from datetime import timedelta
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.contract import ImportReport, OpenImport, Reply, Step
from relay.domain.problems import RejectionKind, Transient
from tests.contract.activecampaign_replies import (
    AT,
    FIELD,
    FORBIDDEN,
    FOUND,
    NOBODY,
    NONE_OUTSTANDING,
    SET_FIELD,
    UNSUBSCRIBE,
    account,
    asked,
    codes,
    contacts,
    entries,
    entry,
    export,
    fields,
    held,
    import_info,
    list_set,
    room,
    step,
    steps,
    synced,
)
from tests.fakes.scripted_caller import reply, unused_of

ROOM = "GET settings/account"
BULK_UNSUBSCRIBE: dict[str, Any] = {**UNSUBSCRIBE, "resubscribe": False}


def explained(
    *answers: Reply | Exception, people: list[Step] | None = None, backlog: float = 1, **options: Any
) -> tuple[ImportReport, list[str]]:
    """Look at a completed import that refused all of `people`; return the report and the calls for reasons."""
    failed = [step()] if people is None else people
    before = [*((fields(f3="text"),) if "exit_field" in options else ()), NONE_OUTSTANDING]
    before.append(import_info(failure=[one.identity for one in failed]))
    the_account = account(*before, *answers, backlog=timedelta(seconds=backlog))
    opened = OpenImport("b-1", AT, AT, len(failed))
    report = DESTINATION.import_report(the_account, export(**options), opened, failed)
    assert report.finished
    assert unused_of(the_account) == []
    return report, asked(the_account)[len(before) :]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("2", "unsubscribed"),
        (2, "unsubscribed"),
        ("3", "bounced"),
        ("0", "opt_in_pending"),
        ("1", "import_refused"),
        ("9", "unknown_status"),
        (None, "unknown_status"),
    ],
)
def test_how_a_known_contact_stands_with_the_list_is_the_reason(status: Any, code: str) -> None:
    report, calls = explained(FOUND, entries(entry("1", "6"), entry(status)))
    assert codes(report.refused) == {0: code}
    assert (report.refused[0].kind, report.refused[0].is_certain) == (RejectionKind.DESTINATION, False)
    assert calls == ["GET contacts", "GET contacts/17/contactLists"]


def test_one_who_was_removed_without_objecting_is_subscribed_by_single_calls() -> None:
    """What an import does with such a contact is not documented: if it refuses, nobody has objected all the same."""
    removed = entries(entry("91"))
    report, calls = explained(FOUND, removed, FOUND, removed, synced(), list_set(1))
    assert report.refused == {}
    assert calls[-2:] == ["POST contact/sync", "POST contactLists"]


def test_one_who_was_removed_is_left_to_the_import_where_no_automation_may_start() -> None:
    report, calls = explained(FOUND, entries(entry("91")), exclude_automations=True)
    assert (codes(report.refused), len(calls)) == ({0: "import_refused"}, 2)


@pytest.mark.parametrize(("total", "code"), [(9, "import_refused"), (10, "over_limit")])
@pytest.mark.parametrize(
    "found",
    [entries(), entries(entry("1", "6"))],
    ids=["on no list", "on another"],
)
def test_a_known_contact_whose_standing_says_nothing_is_over_the_limit_at_most(
    found: Reply, total: int, code: str
) -> None:
    report, calls = explained(FOUND, found, room(10, total))
    assert (codes(report.refused), report.refused[0].is_certain) == ({0: code}, False)
    assert calls == ["GET contacts", "GET contacts/17/contactLists", ROOM]


@pytest.mark.parametrize(
    ("limit", "total", "code"),
    [(10, 9, "excluded"), (10, 10, "over_limit"), ("10", "12", "over_limit")],
)
def test_one_that_was_not_made_is_excluded_or_over_the_limit(limit: Any, total: Any, code: str) -> None:
    report, calls = explained(NOBODY, room(limit, total))
    assert (codes(report.refused), calls) == ({0: code}, ["GET contacts", ROOM])
    assert report.refused[0].is_certain


@pytest.mark.parametrize(
    "answers",
    [
        (FORBIDDEN, FORBIDDEN),
        (reply(404, {}),),
        (reply(400, {}),),
        (reply(429),),
        (reply(503),),
        (reply(302),),
        (Transient("timeout", "nothing came"),),
        (room(0, 12),),
        (room(None, 12),),
    ],
    ids=["403", "404", "400", "429", "503", "302", "time-out", "no limit", "null"],
)
@pytest.mark.parametrize("before", [(NOBODY,), (FOUND, entries())], ids=["unknown", "known"])
def test_where_the_limit_may_not_be_seen_nothing_is_ruled_out(
    before: tuple[Reply, ...], answers: tuple[Reply | Exception, ...]
) -> None:
    report, _ = explained(*before, *answers)
    assert codes(report.refused) == {0: "import_refused"}


def test_the_limit_is_looked_at_once_for_all() -> None:
    report, calls = explained(NOBODY, room(10, 10), NOBODY, people=steps(2))
    assert codes(report.refused) == {0: "over_limit", 1: "over_limit"}
    assert calls == ["GET contacts", ROOM, "GET contacts"]
    report, calls = explained(NOBODY, reply(503), NOBODY, people=steps(2))
    assert codes(report.refused) == {0: "import_refused", 1: "import_refused"}
    assert calls == ["GET contacts", ROOM, "GET contacts"]


def test_no_reason_is_looked_for_while_others_wait_for_calls() -> None:
    report, calls = explained(backlog=1.01)
    assert (codes(report.refused), calls) == ({0: "import_refused"}, [])


def test_who_was_not_refused_needs_no_reason() -> None:
    the_account = account(NONE_OUTSTANDING, import_info(failure=["b@example.com"]), NOBODY, room())
    people = [step(), step("b@example.com")]
    report = DESTINATION.import_report(the_account, export(), OpenImport("b-1", AT, AT, 2), people)
    assert codes(report.refused) == {1: "excluded"}


def test_trouble_while_looking_for_reasons_is_told_and_all_is_asked_again() -> None:
    the_account = account(NONE_OUTSTANDING, import_info(failure=["a@example.com"]), reply(429))
    with pytest.raises(Transient, match="rate_limited"):
        DESTINATION.import_report(the_account, export(), OpenImport("b-1", AT, AT, 1), [step()])


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("before", [(), (FOUND,)], ids=["contact", "entry"])
def test_who_may_not_be_looked_up_is_refused_without_a_reason(before: tuple[Reply, ...], status: int) -> None:
    report, calls = explained(*before, reply(status, {}))
    assert (codes(report.refused), len(calls)) == ({0: "import_refused"}, len(before) + 1)


def leaver(options: dict[str, Any]) -> Step:
    return step(joins=False, target=FIELD if "exit_field" in options else "list/7")


@pytest.mark.parametrize(
    ("answers", "options"),
    [
        ((FOUND, entries(entry("2"))), BULK_UNSUBSCRIBE),
        ((FOUND, entries()), BULK_UNSUBSCRIBE),
        ((NOBODY,), BULK_UNSUBSCRIBE),
        ((NOBODY,), SET_FIELD),
        ((FOUND, held(fields={"3": "no"})), SET_FIELD),
    ],
    ids=["unsubscribed", "never on it", "unknown", "unknown, by field", "by field"],
)
def test_who_leaves_and_is_out_already_is_not_refused(answers: tuple[Reply, ...], options: dict[str, Any]) -> None:
    report, _ = explained(*answers, people=[leaver(options)], **options)
    assert report.refused == {}


@pytest.mark.parametrize(
    ("answers", "options"),
    [
        ((FOUND, entries(entry("1")), reply(200, {"list": {"id": "7"}})), BULK_UNSUBSCRIBE),
        ((reply(400, {}),), BULK_UNSUBSCRIBE),
        ((FOUND, reply(422, {})), BULK_UNSUBSCRIBE),
        ((FOUND, held(fields={"3": "yes"})), SET_FIELD),
        ((FOUND, reply(413, {})), SET_FIELD),
    ],
    ids=["subscribed", "not to be seen", "standing not to be seen", "by field", "value not to be seen"],
)
def test_who_leaves_and_is_not_out_is_refused(answers: tuple[Reply, ...], options: dict[str, Any]) -> None:
    report, _ = explained(*answers, people=[leaver(options)], **options)
    assert codes(report.refused) == {0: "import_refused"}


def test_a_contact_is_found_by_its_own_address_only() -> None:
    report, _ = explained(contacts(("18", "aa@example.com")), room())
    assert codes(report.refused) == {0: "excluded"}
