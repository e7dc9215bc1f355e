"""What became of an import: its own report, and looking contacts up."""

from datetime import timedelta
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.activecampaign.bounds import IMPORT_BOUND
from relay.destinations.activecampaign.client import REST, ReadRefused
from relay.destinations.activecampaign.imports import ASKED_ANYWAY
from relay.destinations.contract import ImportReport, Reply, Step
from relay.domain.problems import ConnectionProblem, Transient
from tests.contract.activecampaign_replies import (
    FIELD,
    FOUND,
    NOBODY,
    NONE_OUTSTANDING,
    SET_FIELD,
    SUBSCRIBED,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    account,
    asked,
    associations,
    codes,
    contacts,
    entries,
    entry,
    export,
    field_answers,
    held,
    import_info,
    opened,
    step,
    tags,
)
from tests.fakes.scripted_caller import asked_of, reply, unused_of

TWO = [step(), step("b@example.com")]
LOOK_UP = "GET contacts"
DAY = IMPORT_BOUND.total_seconds()


def report(
    *answers: Reply,
    steps: list[Step] = TWO,
    contacts: int | None = None,
    backlog: timedelta = timedelta(minutes=1),
    kinds: dict[str, str] | None = None,
    age: float = 10,
    **options: Any,
) -> tuple[ImportReport, list[str]]:
    """Look at an import once, while nobody asks for reasons; return the report and the calls it took."""
    first = (NONE_OUTSTANDING,) if contacts is not None and age < ASKED_ANYWAY.total_seconds() else ()
    needs_kinds = "exit_field" in options or kinds is not None
    types = field_answers(**(kinds or {"f3": "text"})) if needs_kinds else ()
    mapping = {f"fields.{name[1:]}": "x" for name in kinds or {}}
    the_account = account(*types, *first, *answers, backlog=backlog)
    seen = DESTINATION.import_report(the_account, export(mapping, **options), opened(contacts=contacts, age=age), steps)
    assert unused_of(the_account) == []
    assert all(call.quota == REST for call in asked_of(the_account))
    return seen, asked(the_account)[len(first) + len(types) :]


# Its own report.


@pytest.mark.parametrize("status", ["waiting", "claimed", "active", False, "something new"])
def test_not_finished(status: Any) -> None:
    assert report(import_info(status), contacts=2) == (ImportReport(finished=False), ["GET import/info"])


def test_completed_with_as_many_queued_as_sent() -> None:
    assert report(import_info(), contacts=2) == (ImportReport(finished=True), ["GET import/info"])


def test_failed_addresses_in_any_case() -> None:
    seen, calls = report(import_info(failure=["B@Example.com "]), contacts=2)
    assert (seen.finished, codes(seen.refused), calls) == (True, {1: "import_refused"}, ["GET import/info"])


def test_two_imports_of_one_call_are_both_looked_at() -> None:
    the_account = account(NONE_OUTSTANDING, import_info(), import_info("active"))
    assert not DESTINATION.import_report(the_account, export(), opened("b-1,b-2", 2), TWO).finished
    assert [call.params.get("batchId") for call in asked_of(the_account)] == [None, "b-1", "b-2"]


def test_failures_of_all_imports_of_a_call_count() -> None:
    answers = (import_info(failure=["a@example.com"]), import_info(failure=["b@example.com"]))
    the_account = account(NONE_OUTSTANDING, *answers, backlog=timedelta(minutes=1))
    seen = DESTINATION.import_report(the_account, export(), opened("b-1,b-2", 2), TWO)
    assert codes(seen.refused) == {0: "import_refused", 1: "import_refused"}


@pytest.mark.parametrize("body", [{}, [], {"success": []}])
def test_another_shape(body: Any) -> None:
    with pytest.raises(Transient):
        report(reply(200, body))


# Looking contacts up.


def test_fewer_queued_than_sent_looks_up_who_is_missing() -> None:
    found, off = contacts(("17", "A@example.com")), entries(entry("2", "6"), entry("1"))
    seen, calls = report(import_info(), found, off, NOBODY, contacts=1)
    assert (seen.finished, codes(seen.refused)) == (True, {1: "unconfirmed"})
    assert calls == ["GET import/info", LOOK_UP, "GET contacts/17/contactLists", LOOK_UP]


@pytest.mark.parametrize(
    ("answer", "age"),
    [
        (import_info("failed"), 10),
        (import_info("interrupted"), 10),
        (reply(404, {}), 600),
        (reply(400, {"success": 0}), 600),
        (import_info("waiting"), DAY),
        (import_info("something new"), DAY),
        (reply(404, {}), DAY),
    ],
    ids=["failed", "interrupted", "unknown", "unknown too", "never ending", "odd for a day", "unknown for a day"],
)
def test_an_import_that_came_to_nothing_is_looked_up(answer: Reply, age: float) -> None:
    seen, _ = report(answer, FOUND, UNSUBSCRIBED, contacts(("18", "other@example.com")), age=age)
    assert (seen.finished, codes(seen.refused)) == (True, {0: "unconfirmed", 1: "unconfirmed"})
    assert not any(rejection.is_certain for rejection in seen.refused.values())


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("age", [0, 599])
def test_an_unknown_import_so_young_may_only_not_be_shown_yet(status: int, age: float) -> None:
    assert report(reply(status, {}), age=age) == (ImportReport(finished=False), ["GET import/info"])
    assert not report(reply(status, {}), age=age, contacts=2)[0].finished


@pytest.mark.parametrize("status", ["waiting", "active", "something new"])
def test_an_import_that_has_not_ended_within_a_day_is_looked_up(status: str) -> None:
    assert not report(import_info(status), age=DAY - 1)[0].finished
    seen, calls = report(import_info(status), FOUND, SUBSCRIBED, NOBODY, age=DAY, contacts=2)
    assert (seen.finished, codes(seen.refused)) == (True, {1: "unconfirmed"})
    assert calls == ["GET import/info", LOOK_UP, "GET contacts/17/contactLists", LOOK_UP]


def test_an_import_that_completed_late_is_believed() -> None:
    assert report(import_info(), age=DAY, contacts=2) == (ImportReport(finished=True), ["GET import/info"])


def test_an_unknown_part_of_a_call_keeps_the_others_waiting_while_it_is_young() -> None:
    young = account(import_info(), reply(404, {}))
    assert not DESTINATION.import_report(young, export(), opened("b-1,b-2"), TWO).finished
    old = account(import_info(), reply(404, {}), FOUND, SUBSCRIBED, NOBODY)
    seen = DESTINATION.import_report(old, export(), opened("b-1,b-2", age=600), TWO)
    assert codes(seen.refused) == {1: "unconfirmed"}


def test_a_failure_that_is_none_of_ours_is_not_ignored() -> None:
    seen, _ = report(import_info(failure=["who@example.com"]), NOBODY, NOBODY, contacts=2)
    assert codes(seen.refused) == {0: "unconfirmed", 1: "unconfirmed"}


def test_who_was_refused_by_name_is_not_looked_up() -> None:
    seen, calls = report(import_info("interrupted", failure=["a@example.com"]), NOBODY)
    assert codes(seen.refused) == {0: "import_refused", 1: "unconfirmed"}
    assert calls == ["GET import/info", LOOK_UP]


def test_one_who_leaves_is_as_wanted_when_off_the_list() -> None:
    leaves = [step(f"{name}@example.com", joins=False) for name in "abc"]
    answers = [FOUND, UNSUBSCRIBED, NOBODY, contacts(("19", "c@example.com")), SUBSCRIBED]
    seen, _ = report(import_info("failed"), *answers, steps=leaves, **UNSUBSCRIBE, resubscribe=False)
    assert codes(seen.refused) == {2: "unconfirmed"}


def test_one_who_leaves_by_field_is_as_wanted_when_the_field_says_so() -> None:
    leaves = [step(f"{name}@example.com", joins=False, target=FIELD) for name in "abc"]
    answers = [FOUND, held(fields={"3": "no"}), contacts(("18", "b@example.com")), held(fields={"4": "no"}), NOBODY]
    seen, _ = report(import_info("failed"), *answers, steps=leaves, **SET_FIELD)
    assert codes(seen.refused) == {1: "unconfirmed"}


@pytest.mark.parametrize(
    ("names", "fields", "as_wanted"),
    [
        ({"firstName": "New"}, {"4": "gold"}, True),
        ({"firstName": "New", "lastName": "Other"}, {"4": "gold", "5": "x"}, True),
        ({"firstName": "Old"}, {"4": "gold"}, False),
        ({"firstName": "New"}, {"4": "silver"}, False),
        ({"firstName": "New"}, {}, False),
    ],
)
def test_one_who_joined_holds_what_was_sent(names: dict[str, str], fields: dict[str, str], as_wanted: bool) -> None:
    sent = [step(first_name="New", fields={"4": "gold"})]
    seen, _ = report(import_info("failed"), FOUND, SUBSCRIBED, held(names, fields), steps=sent, kinds={"f4": "text"})
    assert codes(seen.refused) == ({} if as_wanted else {0: "unconfirmed"})


@pytest.mark.parametrize(
    ("kind", "shown", "as_wanted"),
    [
        ("datetime", "2026-11-22T03:30:00-06:00", True),
        ("datetime", "2026-11-22T09:30:00+00:00", True),
        ("datetime", "2026-11-22T09:30:01+00:00", False),
        ("datetime", "2026-11-22 09:30:00", False),
        ("datetime", "", False),
        ("text", "2026-11-22T03:30:00-06:00", False),
    ],
)
def test_a_time_may_be_shown_with_another_offset(kind: str, shown: str, as_wanted: bool) -> None:
    sent = [step(fields={"4": "2026-11-22T09:30:00+00:00"})]
    seen, _ = report(
        import_info("failed"), FOUND, SUBSCRIBED, held(fields={"4": shown}), steps=sent, kinds={"f4": kind}
    )
    assert (seen.refused == {}) is as_wanted


@pytest.mark.parametrize(
    ("found", "on_contact", "as_wanted"),
    [
        (tags(("3", "Member")), associations(("55", "3")), True),
        (tags(("3", "member")), associations(("54", "2"), ("55", "3")), True),
        (tags(("3", "Member")), associations(("54", "2")), False),
        (tags(("4", "Members")), associations(("54", "4")), False),
    ],
)
def test_one_who_joined_carries_the_tag(found: Reply, on_contact: Reply, as_wanted: bool) -> None:
    seen, _ = report(import_info("failed"), FOUND, SUBSCRIBED, found, on_contact, steps=[step(tags="||Member||")])
    assert (seen.refused == {}) is as_wanted


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize(
    "before",
    [
        (),
        (FOUND,),
        (FOUND, SUBSCRIBED),
        (FOUND, SUBSCRIBED, held({"firstName": "A"})),
        (FOUND, SUBSCRIBED, held({"firstName": "A"}), tags(("3", "Member"))),
    ],
    ids=["contact", "entry", "values", "tag", "tags of the contact"],
)
def test_a_read_that_is_refused_confirms_nothing(before: tuple[Reply, ...], status: int) -> None:
    seen, calls = report(
        import_info("failed"), *before, reply(status, {}), steps=[step(first_name="A", tags="||Member||")]
    )
    assert (seen.finished, codes(seen.refused)) == (True, {0: "unconfirmed"})
    assert len(calls) == 2 + len(before)


@pytest.mark.parametrize("joins", [True, False])
def test_who_may_not_be_looked_up_holds_up_nobody(joins: bool) -> None:
    people = [step(joins=joins), step("b@example.com", joins=False)]
    seen, _ = report(import_info("failed"), reply(400, {}), NOBODY, steps=people, **UNSUBSCRIBE, resubscribe=False)
    assert codes(seen.refused) == {0: "unconfirmed"}


def test_an_import_whose_state_may_not_be_read_is_asked_about_again() -> None:
    with pytest.raises(ReadRefused) as caught:
        report(reply(422, {}))
    assert caught.value.taken is False


def test_a_refused_key_is_no_missing_contact() -> None:
    the_account = account(import_info("failed"), reply(403, {}), reply(403, {}))
    with pytest.raises(ConnectionProblem):
        DESTINATION.import_report(the_account, export(), opened(), TWO)


def test_mistake_10_ids_are_escaped_in_paths() -> None:
    _, calls = report(import_info("failed"), contacts(("1/../7?x", "a@example.com")), SUBSCRIBED, NOBODY)
    assert calls[2] == "GET contacts/1%2F..%2F7%3Fx/contactLists"
