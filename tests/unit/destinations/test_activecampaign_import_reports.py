"""What became of an import: its own report, and looking contacts up."""

from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.activecampaign.client import REST
from relay.destinations.activecampaign.errors import IMPORT_BOUND
from relay.destinations.activecampaign.imports import ASKED_ANYWAY
from relay.destinations.contract import ImportReport, Reply, Step
from relay.domain.problems import Busy, Conflict, ConnectionProblem, Transient
from tests.contract.activecampaign_replies import (
    FIELD,
    FORBIDDEN,
    FOUND,
    ME,
    NEVER_ON,
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
    fields,
    held,
    import_info,
    opened,
    room,
    step,
    tags,
)
from tests.fakes.scripted_caller import LOGIN_PAGE, DictNotes, asked_of, reply, unused_of

TWO = [step(), step("b@example.com")]
LOOK_UP = "GET contacts"
BUSY = timedelta(minutes=1)
"""How long others wait for a call while nobody is looked up."""
DAY = IMPORT_BOUND.total_seconds()


def report(
    *answers: Any,
    steps: list[Step] = TWO,
    contacts: int | None = None,
    backlog: timedelta = timedelta(),
    kinds: dict[str, str] | None = None,
    age: float = 10,
    **options: Any,
) -> tuple[ImportReport, list[str]]:
    """Look at an import once; return the report and the calls it took."""
    first = (NONE_OUTSTANDING,) if contacts is not None and age < ASKED_ANYWAY.total_seconds() else ()
    needs_kinds = "exit_field" in options or kinds is not None
    types = (fields(**(kinds or {"f3": "text"})),) if needs_kinds else ()
    mapping = {f"fields.{name[1:]}": "x" for name in kinds or {}}
    the_account = account(*types, *first, *answers, backlog=backlog)
    seen = DESTINATION.import_report(the_account, export(mapping, **options), opened(contacts=contacts, age=age), steps)
    assert unused_of(the_account) == []
    assert all(call.quota.name == REST.name for call in asked_of(the_account))
    return seen, asked(the_account)[len(first) + len(types) :]


# Its own report.


@pytest.mark.parametrize("status", ["waiting", "claimed", "active", False, "something new"])
def test_not_finished(status: Any) -> None:
    assert report(import_info(status), contacts=2) == (ImportReport(finished=False), ["GET import/info"])


def is_done(seen: ImportReport) -> bool:
    """Whether everybody was taken."""
    return (seen.finished, seen.refused, seen.open, seen.again) == (True, {}, frozenset(), frozenset())


def test_completed_with_as_many_queued_as_sent() -> None:
    seen, calls = report(import_info(), contacts=2)
    assert (is_done(seen), calls) == (True, ["GET import/info"])


def test_failed_addresses_in_any_case() -> None:
    seen, calls = report(import_info(failure=["B@Example.com "]), contacts=2, backlog=BUSY)
    assert (seen.finished, codes(seen.refused), calls) == (True, {1: "import_refused"}, ["GET import/info"])


# Whether it accounts for everybody who was sent.


@pytest.mark.parametrize(
    ("contacts", "done", "failure"),
    [
        (2, (), ()),
        (2, ("1",), ()),
        (1, ("1",), ("b@example.com",)),
        (None, ("1",), ("b@example.com",)),
        (None, ("1", "2"), ()),
        (1, ("1", "2"), ()),
        (0, (), ("a@example.com", "b@example.com")),
    ],
    ids=["all queued", "created only", "named", "no count", "both done", "done all the same", "all left out"],
)
def test_nothing_is_looked_up_when_queued_done_and_named_account_for_all(
    contacts: int | None, done: tuple[str, ...], failure: tuple[str, ...]
) -> None:
    seen, calls = report(import_info(success=done, failure=failure), contacts=contacts, backlog=BUSY)
    assert calls == ["GET import/info"]
    assert seen.open == frozenset()
    assert codes(seen.refused) == {"ab".index(name[0]): "import_refused" for name in failure}


@pytest.mark.parametrize("failure", [(), ("a@example.com",)])
def test_who_was_left_out_without_a_name_is_looked_up(failure: tuple[str, ...]) -> None:
    three = [*TWO, step("c@example.com")]
    seen, calls = report(
        import_info(success=(), failure=failure),
        *([FOUND, UNSUBSCRIBED] if failure else [FOUND, SUBSCRIBED]),
        contacts(("18", "b@example.com")),
        SUBSCRIBED,
        NOBODY,
        room(),
        steps=three,
        contacts=2 if not failure else 1,
    )
    assert codes(seen.refused) == {2: "excluded"} | ({0: "unsubscribed"} if failure else {})
    assert len(calls) == 1 + 6


def learning(*answers: Reply, notes: DictNotes, failure: tuple[str, ...] = ("b@example.com",)) -> ImportReport:
    """Look at an import that updated contacts, of which one was left out and one is named; the same one or another."""
    notes.kept.pop("ac outstanding imports", None)
    the_account = account(NONE_OUTSTANDING, import_info(success=(), failure=failure), *answers, notes=notes)
    seen = DESTINATION.import_report(the_account, export(), opened(contacts=1), TWO)
    assert unused_of(the_account) == []
    return seen


def test_whether_the_account_names_those_it_leaves_out_is_learnt_from_the_first_doubtful_import() -> None:
    notes = DictNotes()
    out = [contacts(("18", "b@example.com")), UNSUBSCRIBED]
    assert codes(learning(*out, FOUND, SUBSCRIBED, notes=notes).refused) == {1: "unsubscribed"}
    # From then on nobody is looked up who is not named.
    assert codes(learning(*out, notes=notes).refused) == {1: "unsubscribed"}


def test_an_account_that_does_not_name_those_it_leaves_out_is_never_believed_to() -> None:
    notes = DictNotes()
    out = [contacts(("18", "b@example.com")), UNSUBSCRIBED]
    for _ in range(2):
        assert codes(learning(*out, NOBODY, room(), notes=notes).refused) == {0: "excluded", 1: "unsubscribed"}


def test_an_import_of_new_contacts_shows_whether_those_left_out_are_named_without_a_look_up() -> None:
    notes = DictNotes()
    named = import_info(success=("1",), failure=("b@example.com",))
    the_account = account(NONE_OUTSTANDING, named, NOBODY, room(), notes=notes)
    DESTINATION.import_report(the_account, export(), opened(contacts=1), TWO)
    assert codes(learning(NOBODY, room(), notes=notes).refused) == {1: "excluded"}


def test_many_in_doubt_are_asked_about_by_the_ids_the_import_tells() -> None:
    people = [step(f"u{number}@example.com") for number in range(6)]
    shown = contacts(*[(str(number), f"U{number}@Example.com") for number in range(5)])
    info = import_info(success=[str(number) for number in range(5)])
    the_account = account(NONE_OUTSTANDING, info, shown, NOBODY, room())
    seen = DESTINATION.import_report(the_account, export(), opened(contacts=5), people)
    assert codes(seen.refused) == {5: "excluded"}
    assert asked_of(the_account)[2].params == {"ids[]": ["0", "1", "2", "3", "4"], "limit": "100"}


@pytest.mark.parametrize("odd", [contacts(("77", "u1@example.com")), reply(400, {}), reply(200, {})])
def test_an_account_that_does_not_know_the_ids_is_asked_contact_by_contact(odd: Reply) -> None:
    people = [step(f"u{number}@example.com") for number in range(5)]
    found = [each for number in range(5) for each in (contacts(("17", f"u{number}@example.com")), SUBSCRIBED)]
    me = [ME] if odd.body == {} and odd.status == 200 else []
    the_account = account(NONE_OUTSTANDING, import_info(success=["1", "2", "3"]), odd, *me, *found)
    seen = DESTINATION.import_report(the_account, export(), opened(contacts=4), people)
    assert (is_done(seen), unused_of(the_account)) == (True, [])


def test_two_imports_of_one_call_are_both_looked_at() -> None:
    the_account = account(NONE_OUTSTANDING, import_info(), import_info("active"))
    assert not DESTINATION.import_report(the_account, export(), opened("b-1,b-2", 2), TWO).finished
    assert [call.params.get("batchId") for call in asked_of(the_account)] == [None, "b-1", "b-2"]


def test_failures_of_all_imports_of_a_call_count() -> None:
    answers = (import_info(failure=["a@example.com"]), import_info(failure=["b@example.com"]))
    the_account = account(NONE_OUTSTANDING, *answers, backlog=BUSY)
    seen = DESTINATION.import_report(the_account, export(), opened("b-1,b-2", 2), TWO)
    assert codes(seen.refused) == {0: "import_refused", 1: "import_refused"}


@pytest.mark.parametrize("answer", [reply(200, {}), reply(200, []), reply(200, {"success": []}), LOGIN_PAGE])
def test_a_state_in_another_shape_is_none_that_is_known(answer: Reply) -> None:
    """As long as the account is well otherwise; it is asked about again, and in the end the contacts are looked up."""
    assert report(answer, ME, age=599) == (ImportReport(finished=False), ["GET import/info", "GET users/me"])
    seen, _ = report(answer, ME, FOUND, SUBSCRIBED, NOBODY, age=600)
    assert (seen.finished, codes(seen.refused)) == (True, {1: "unconfirmed"})


def test_a_page_for_everything_is_a_wrong_key() -> None:
    with pytest.raises(ConnectionProblem, match="not_json"):
        report(LOGIN_PAGE, LOGIN_PAGE)


# Looking contacts up.


def test_fewer_queued_than_sent_looks_up_who_is_missing() -> None:
    found, off = contacts(("17", "A@example.com")), entries(entry("2", "6"), entry("1"))
    seen, calls = report(import_info(), found, off, NOBODY, room(), contacts=1)
    assert (seen.finished, codes(seen.refused)) == (True, {1: "excluded"})
    assert calls == ["GET import/info", LOOK_UP, "GET contacts/17/contactLists", LOOK_UP, "GET settings/account"]


@pytest.mark.parametrize(
    ("limit", "code"), [(room(10, 10), "over_limit"), (reply(404, {}), "import_refused"), (room(10, 9), "excluded")]
)
def test_one_left_out_who_is_not_there_is_excluded_unless_the_account_is_full(limit: Reply, code: str) -> None:
    seen, _ = report(import_info(), FOUND, SUBSCRIBED, NOBODY, limit, contacts=1)
    assert codes(seen.refused) == {1: code}


@pytest.mark.parametrize(
    ("limit", "code"), [(room(10, 10), "over_limit"), (reply(404, {}), "import_refused"), (room(10, 9), "excluded")]
)
def test_one_left_out_who_was_there_before_and_did_not_come_to_the_list_is_too(limit: Reply, code: str) -> None:
    seen, _ = report(import_info(), FOUND, SUBSCRIBED, contacts(("18", "b@example.com")), NEVER_ON, limit, contacts=1)
    assert codes(seen.refused) == {1: code}
    assert not seen.refused[1].is_certain, "its values may have been written"


@pytest.mark.parametrize(
    ("status", "code"), [("2", "unsubscribed"), ("3", "bounced"), ("0", "opt_in_pending"), ("17", "unknown_status")]
)
def test_what_stands_against_one_in_doubt_is_the_reason(status: str, code: str) -> None:
    for info in (import_info(), import_info("failed")):
        seen, _ = report(info, FOUND, entries(entry(status)), contacts(("18", "b@example.com")), SUBSCRIBED, contacts=1)
        assert (codes(seen.refused), set(seen.again)) == ({0: code}, set())


@pytest.mark.parametrize(
    ("answer", "age"),
    [
        (reply(404, {}), 600),
        (reply(400, {"success": 0}), 600),
        (import_info("waiting"), DAY),
        (import_info("something new"), DAY),
        (reply(404, {}), DAY),
    ],
    ids=["unknown", "unknown too", "never ending", "odd for a day", "unknown for a day"],
)
def test_an_import_that_may_still_come_is_looked_up_and_not_sent_again(answer: Reply, age: float) -> None:
    seen, _ = report(answer, FOUND, NEVER_ON, contacts(("18", "other@example.com")), age=age)
    assert (seen.finished, codes(seen.refused)) == (True, {0: "unconfirmed", 1: "unconfirmed"})
    assert not any(rejection.is_certain for rejection in seen.refused.values())


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_who_is_not_as_wanted_after_an_import_that_came_to_nothing_is_sent_again(status: str) -> None:
    three = [*TWO, step("c@example.com")]
    answers = [FOUND, NEVER_ON, contacts(("18", "b@example.com")), SUBSCRIBED, NOBODY]
    seen, _ = report(import_info(status, success=()), *answers, steps=three, contacts=3)
    assert (seen.finished, codes(seen.refused), set(seen.open), set(seen.again)) == (True, {}, set(), {0, 2})


def test_parts_of_which_one_came_to_nothing_are_sent_again_and_of_which_one_may_still_come_are_not() -> None:
    for other, again in ((import_info(), {0}), (reply(404, {}), set())):
        the_account = account(
            import_info("failed", success=()), other, NOBODY, contacts(("18", TWO[1].identity)), SUBSCRIBED
        )
        seen = DESTINATION.import_report(the_account, export(), opened("b-1,b-2", age=600), TWO)
        assert (set(seen.again), codes(seen.refused)) == (again, {} if again else {0: "unconfirmed"})


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
    seen, calls = report(import_info(), age=DAY, contacts=2)
    assert (is_done(seen), calls) == (True, ["GET import/info"])


def test_an_unknown_part_of_a_call_keeps_the_others_waiting_while_it_is_young() -> None:
    young = account(import_info(success=()), reply(404, {}))
    assert not DESTINATION.import_report(young, export(), opened("b-1,b-2"), TWO).finished
    old = account(import_info(success=()), reply(404, {}), FOUND, SUBSCRIBED, NOBODY)
    seen = DESTINATION.import_report(old, export(), opened("b-1,b-2", age=600), TWO)
    assert codes(seen.refused) == {1: "unconfirmed"}


def test_a_failure_that_is_none_of_ours_is_not_ignored() -> None:
    for queued_contacts, limit, code in ((2, [], "unconfirmed"), (1, [room()], "excluded")):
        info = import_info(failure=["who@example.com"])
        seen, _ = report(info, NOBODY, *limit, NOBODY, contacts=queued_contacts)
        assert codes(seen.refused) == {0: code, 1: code}


def test_who_was_refused_by_name_is_not_looked_up() -> None:
    seen, calls = report(import_info("interrupted", failure=["a@example.com"]), FOUND, SUBSCRIBED, NOBODY)
    assert (codes(seen.refused), set(seen.again)) == ({0: "import_refused"}, {1})
    assert calls == ["GET import/info", LOOK_UP, "GET contacts/17/contactLists", LOOK_UP]


def test_one_who_leaves_is_as_wanted_when_off_the_list() -> None:
    leaves = [step(f"{name}@example.com", joins=False) for name in "abc"]
    answers = [FOUND, UNSUBSCRIBED, NOBODY, contacts(("19", "c@example.com")), SUBSCRIBED, reply(200, {"list": {}})]
    seen, _ = report(import_info("failed"), *answers, steps=leaves, **UNSUBSCRIBE, resubscribe=False)
    assert (codes(seen.refused), set(seen.again)) == ({}, {2})


def test_one_who_leaves_by_field_is_as_wanted_when_the_field_says_so() -> None:
    leaves = [step(f"{name}@example.com", joins=False, target=FIELD) for name in "abc"]
    answers = [FOUND, held(fields={"3": "no"}), contacts(("18", "b@example.com")), held(fields={"4": "no"}), NOBODY]
    seen, _ = report(import_info("failed"), *answers, steps=leaves, **SET_FIELD)
    assert (codes(seen.refused), set(seen.again)) == ({}, {1})


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
    assert seen.again == (set() if as_wanted else {0})


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
    assert (codes(seen.refused), set(seen.again)) == ({}, set() if as_wanted else {0})


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
    seen, _ = report(import_info("failed"), FOUND, SUBSCRIBED, on_contact, found, steps=[step(tags="||Member||")])
    assert (codes(seen.refused), set(seen.again)) == ({}, set() if as_wanted else {0})


def test_a_tag_whose_id_is_kept_need_not_be_searched_for() -> None:
    notes = DictNotes({f"ac tag {sha256(b'member').hexdigest()}": "3"})
    for on_contact, searched, again in ((("55", "3"), (), set()), (("55", "4"), (tags(("3", "Member")),), {0})):
        answers = (import_info("failed"), FOUND, SUBSCRIBED, associations(on_contact), *searched)
        the_account = account(*answers, notes=notes)
        seen = DESTINATION.import_report(the_account, export(), opened(), [step(tags="||Member||")])
        assert (set(seen.again), unused_of(the_account)) == (again, [])


# Trouble with one contact.

BEFORE = pytest.mark.parametrize(
    "before",
    [
        (),
        (FOUND,),
        (FOUND, SUBSCRIBED),
        (FOUND, SUBSCRIBED, held({"firstName": "A"})),
        (FOUND, SUBSCRIBED, held({"firstName": "A"}), associations(("54", "2"))),
    ],
    ids=["contact", "entry", "values", "tags of the contact", "tag"],
)
TAGGED_ONE = step(first_name="A", tags="||Member||")


@BEFORE
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_read_that_is_refused_confirms_nothing(before: tuple[Reply, ...], status: int) -> None:
    seen, calls = report(import_info(success=()), *before, reply(status, {}), steps=[TAGGED_ONE], contacts=0)
    assert (seen.finished, codes(seen.refused)) == (True, {0: "unconfirmed"})
    assert len(calls) == 2 + len(before)


@BEFORE
@pytest.mark.parametrize("odd", [LOGIN_PAGE, reply(200), reply(200, {"ok": True}), reply(200, [])])
def test_a_look_up_in_another_shape_is_unconfirmed_as_long_as_the_account_is_well(
    before: tuple[Reply, ...], odd: Reply
) -> None:
    seen, calls = report(import_info(success=()), *before, odd, ME, steps=[TAGGED_ONE], contacts=0)
    assert (seen.finished, codes(seen.refused)) == (True, {0: "unconfirmed"})
    assert calls[-1] == "GET users/me"
    with pytest.raises(ConnectionProblem):
        report(import_info(success=()), *before, odd, LOGIN_PAGE, steps=[TAGGED_ONE], contacts=0)


TROUBLE = [reply(500, {}), reply(502), reply(404, {}), Transient("timeout", "nothing came"), (FORBIDDEN, FORBIDDEN)]


@pytest.mark.parametrize("trouble", TROUBLE, ids=["500", "502", "404", "time-out", "403"])
def test_trouble_with_one_contact_is_asked_about_once_more_and_then_holds_up_nobody(trouble: Any) -> None:
    answers = trouble if isinstance(trouble, tuple) else (trouble,)
    after = [contacts(("18", "b@example.com")), SUBSCRIBED]
    seen, _ = report(import_info(success=()), *answers, ME, *answers, ME, *after, contacts=1)
    assert (codes(seen.refused), set(seen.open)) == ({0: "unconfirmed"}, set())
    seen, _ = report(import_info(success=()), *answers, ME, FOUND, SUBSCRIBED, *after, contacts=1)
    assert (codes(seen.refused), set(seen.open)) == ({}, set())


@pytest.mark.parametrize("trouble", TROUBLE, ids=["500", "502", "404", "time-out", "403"])
def test_trouble_with_the_account_is_told_when_nothing_was_found_out_before(trouble: Any) -> None:
    answers = trouble if isinstance(trouble, tuple) else (trouble,)
    with pytest.raises((Transient, ConnectionProblem)):
        report(import_info(success=()), *answers, *answers, contacts=1)
    seen, _ = report(import_info(success=()), FOUND, SUBSCRIBED, *answers, *answers, contacts=1)
    assert (codes(seen.refused), set(seen.open)) == ({}, {1})


@pytest.mark.parametrize(
    "limit",
    [
        reply(429),
        reply(429, None, {"retry-after": "9"}),
        reply(503, None, {"retry-after": "9"}),
        Busy("pace", "no slot is free"),
        Conflict("out_of_time", "the time is nearly over"),
    ],
)
def test_whoever_asks_to_slow_down_is_not_asked_for_the_same_again(limit: Any) -> None:
    with pytest.raises((Transient, Conflict)):
        report(import_info(success=()), limit, contacts=1)
    seen, _ = report(import_info(success=()), FOUND, SUBSCRIBED, limit, contacts=1)
    assert (codes(seen.refused), set(seen.open)) == ({}, {1})


@pytest.mark.parametrize("joins", [True, False])
def test_who_may_not_be_looked_up_holds_up_nobody(joins: bool) -> None:
    people = [step(joins=joins), step("b@example.com", joins=False)]
    seen, _ = report(import_info("failed"), reply(400, {}), NOBODY, steps=people, **UNSUBSCRIBE, resubscribe=False)
    assert (codes(seen.refused), set(seen.again)) == ({}, {0})


def test_an_import_whose_state_may_not_be_read_is_asked_about_again() -> None:
    assert not report(reply(422, {}))[0].finished


def test_a_refused_key_is_no_missing_contact() -> None:
    the_account = account(import_info("failed"), *[reply(403, {})] * 4)
    with pytest.raises(ConnectionProblem):
        DESTINATION.import_report(the_account, export(), opened(), TWO)


def test_ids_are_escaped_in_paths() -> None:
    _, calls = report(import_info("failed"), contacts(("1/../7?x", "a@example.com")), SUBSCRIBED, NOBODY)
    assert calls[2] == "GET contacts/1%2F..%2F7%3Fx/contactLists"
