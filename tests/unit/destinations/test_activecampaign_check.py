"""Looking at an account and its exports: findings, and the account problems that come before any."""

from dataclasses import replace
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.api import ReadRefused
from relay.destinations.contract import Finding, Level, Reply
from relay.domain.exports import Export
from relay.domain.problems import Actor, ConnectionProblem, Transient
from tests.contract.activecampaign_replies import (
    FORBIDDEN,
    LIST,
    ME,
    SET_FIELD,
    account,
    asked,
    export,
    fields,
    room,
)
from tests.fakes.scripted_caller import LOGIN_PAGE, DictNotes, asked_of, reply, unused_of

ROOM = room(1000, 10)


def check(*answers: Reply | Exception, **options: Any) -> list[Finding]:
    """Check one export; a mapping goes in as `mapping`."""
    the_account = account(*answers)
    findings = DESTINATION.check(the_account, [export(options.pop("mapping", None), **options)])
    assert unused_of(the_account) == []
    assert asked(the_account)[0] == "GET users/me"
    assert all(call.method == "GET" for call in asked_of(the_account))
    return findings


def test_all_is_well() -> None:
    assert [(found.subject, found.level) for found in check(ME, ROOM, LIST)] == [
        ("connection", Level.OK),
        ("contact limit", Level.OK),
        ("acme/news", Level.OK),
    ]


def test_before_a_run_the_same_is_looked_at() -> None:
    the_account = account(ME, ROOM, LIST)
    assert len(DESTINATION.check_before_run(the_account, export())) == 3
    assert asked(the_account) == ["GET users/me", "GET settings/account", "GET lists/7"]


# Automations.


@pytest.mark.parametrize("exceeds", [True, False])
@pytest.mark.parametrize(
    ("options", "reminds"),
    [({}, True), ({"exclude_automations": True}, False), ({"exclude_automations": False}, False)],
)
def test_before_a_large_first_run_an_undecided_administrator_is_reminded_of_automations(
    options: dict[str, Any], reminds: bool, exceeds: bool
) -> None:
    asked_about: list[tuple[str, int]] = []

    def is_larger(the_export: Export, count: int) -> bool:
        asked_about.append((the_export.name, count))
        return exceeds

    the_account = replace(account(ME, ROOM, LIST), first_run_exceeds=is_larger)
    found = DESTINATION.check(the_account, [export(**options)])
    warned = [one for one in found if one.level is Level.WARNING]
    assert len(warned) == (reminds and exceeds)
    for one in warned:
        assert (one.subject, one.actor) == ("acme/news", Actor.ADMINISTRATOR)
        assert all(word in one.message for word in ("automations", "exclude_automations", "1,000"))
    assert asked_about == ([("news", 1000)] if reminds else [])


# The contact limit.


@pytest.mark.parametrize(
    ("limit", "total", "level", "words"),
    [
        (1000, 990, Level.OK, "10 more of 1000"),
        ("1000", "999", Level.OK, "1 more of 1000"),
        (1000, 1000, Level.WARNING, "limit of 1000"),
        (1000, 1200, Level.WARNING, "limit of 1000"),
    ],
)
def test_how_much_room_the_contact_limit_leaves(limit: Any, total: Any, level: Level, words: str) -> None:
    found = check(ME, room(limit, total), LIST)[1]
    assert (found.subject, found.level) == ("contact limit", level)
    assert words in found.message
    assert found.actor is (Actor.ADMINISTRATOR if level is Level.WARNING else None)


@pytest.mark.parametrize(
    "unseen", [(FORBIDDEN, FORBIDDEN), (reply(404, {}),), (room(0, 5),), (room(None, 5),), (reply(200, []),)]
)
def test_a_limit_that_may_not_be_seen_says_nothing(unseen: tuple[Reply, ...]) -> None:
    assert [found.subject for found in check(ME, *unseen, LIST)] == ["connection", "acme/news"]


# The list.

LISTS = reply(200, {"lists": [{"id": "17", "name": "Newsletter"}, {"id": "8", "name": "VIPs"}], "meta": {"total": "2"}})
NO_LISTS = reply(200, {"lists": [], "meta": {"total": "0"}})


@pytest.mark.parametrize(
    ("answers", "word"),
    [
        ((reply(404, {}), LISTS), "no list 7: correct list_id in the export. There are 8 (VIPs), 17 (Newsletter)"),
        ((reply(404, {}), NO_LISTS), "no list 7: correct list_id in the export. There are none"),
        ((reply(404, {}), FORBIDDEN, FORBIDDEN), "There are none"),
        ((FORBIDDEN, FORBIDDEN), "access to the list"),
    ],
)
def test_a_list_that_is_gone_or_hidden(answers: tuple[Reply, ...], word: str) -> None:
    found = check(ME, ROOM, *answers)[-1]
    assert (found.level, found.actor) == (Level.ERROR, Actor.ADMINISTRATOR)
    assert word in found.message
    assert found.field == "options.list_id"


def test_the_list_with_the_nearest_number_is_named() -> None:
    assert check(ME, ROOM, reply(404, {}), LISTS)[-1].near == "17"


def test_every_export_is_looked_at_and_the_fields_once() -> None:
    exports = [replace(export({"fields.1": "x"}, list_id=number), name=f"e{number}") for number in ("7", "8")]
    the_account = account(ME, ROOM, fields(f1="text"), LIST, reply(404, {}), NO_LISTS)
    findings = DESTINATION.check(the_account, exports)
    assert [(found.subject, found.level) for found in findings[2:]] == [("acme/e7", Level.OK), ("acme/e8", Level.ERROR)]


# Custom fields.


def test_all_pages_of_fields_are_read() -> None:
    pages = [fields(**{f"f{number}": "text" for number in numbers}) for numbers in (range(100), range(100, 150))]
    the_account = account(ME, ROOM, *pages, LIST)
    findings = DESTINATION.check(the_account, [export({"fields.149": "x", "fields.200": "x"})])
    assert [found.level for found in findings[2:]] == [Level.OK, Level.ERROR]
    assert "field 200" in findings[-1].message
    assert [call.params.get("offset") for call in asked_of(the_account)[2:4]] == ["0", "100"]


def test_missing_fields_of_mapping_and_options_are_named_in_order() -> None:
    findings = check(ME, ROOM, fields(f4="text"), LIST, mapping={"fields.12": "x", "fields.4": "y"}, **SET_FIELD)
    assert [found.message[:28] for found in findings[3:]] == [
        "there is no custom field 3: ",
        "there is no custom field 12:",
    ]


def test_fields_that_may_not_be_seen_break_nothing() -> None:
    found = check(ME, ROOM, FORBIDDEN, FORBIDDEN, LIST, mapping={"fields.1": "x"})[-1]
    assert (found.level, found.actor) == (Level.WARNING, Actor.ADMINISTRATOR)


@pytest.mark.parametrize(
    ("kind", "value_in", "value_out", "unfit"),
    [
        ("text", "yes", "no", []),
        ("dropdown", "yes", "no", []),
        ("listbox", "yes", "no", []),
        ("date", "2026-01-01", "2020-01-01", []),
        ("date", "2026-01-01", "never", ["value_out"]),
        ("datetime", "now", "never", ["value_in", "value_out"]),
        ("number", "1", "0", []),
        ("number", "one", "0", ["value_in"]),
        ("radio", "||a||b||", "c", ["value_in"]),
        ("text", "||", "no", ["value_in"]),
        ("something new", "yes", "no", []),
    ],
)
def test_marks_that_do_not_fit_their_field(kind: str, value_in: str, value_out: str, unfit: list[str]) -> None:
    marks = {"on_exit": "set_field", "exit_field": "3", "value_in": value_in, "value_out": value_out}
    findings = check(ME, ROOM, fields(f3=kind), LIST, **marks)[3:]
    assert [found.message.partition(" ")[0] for found in findings] == unfit
    assert all(found.level is Level.ERROR and f"type {kind}" in found.message for found in findings)


def offering(kind: str, *choices: Any) -> Reply:
    """The answer to reading the fields, of which field 3 offers choices."""
    offered = [{"field": "3", "value": choice, "label": choice} for choice in choices]
    others = [{"field": "4", "value": "maybe"}, "odd"]
    page = {"fields": [{"id": "3", "type": kind}], "fieldOptions": [*offered, *others]}
    return reply(200, page)


@pytest.mark.parametrize(
    ("kind", "choices", "missing"),
    [
        ("dropdown", ("yes", "no"), []),
        ("dropdown", ("yes", "never"), ["value_out"]),
        ("listbox", ("YES", "no"), ["value_in"]),
        ("radio", (), []),
    ],
)
def test_marks_that_their_field_does_not_offer(kind: str, choices: tuple[str, ...], missing: list[str]) -> None:
    findings = check(ME, ROOM, offering(kind, *choices), LIST, **SET_FIELD)[3:]
    assert [name for found in findings for name in ("value_in", "value_out") if name in found.message] == missing
    assert all((found.level, found.actor) == (Level.WARNING, Actor.ADMINISTRATOR) for found in findings)


@pytest.mark.parametrize("options", [None, "none", {}])
def test_choices_in_another_shape_say_nothing(options: Any) -> None:
    page = {"fields": [{"id": "3", "type": "dropdown"}], "fieldOptions": options}
    assert check(ME, ROOM, reply(200, page), LIST, **SET_FIELD)[3:] == []


def test_types_once_known_are_not_overwritten_when_they_may_not_be_read_any_more() -> None:
    notes = DictNotes({"ac field types": '{"1": "date"}'})
    the_account = account(ME, ROOM, FORBIDDEN, FORBIDDEN, LIST, notes=notes)
    findings = DESTINATION.check(the_account, [export({"fields.1": "x"})])
    assert findings[-1].level is Level.WARNING
    assert notes.kept == {"ac field types": '{"1": "date"}'}


def test_a_check_reads_types_anew_and_keeps_them() -> None:
    notes = DictNotes({"ac field types": '{"1": "date"}'})
    the_account = account(ME, ROOM, fields(f1="text"), LIST, notes=notes)
    DESTINATION.check(the_account, [export({"fields.1": "x"})])
    assert notes.kept == {"ac field types": '{"1": "text"}'}


# The account.


@pytest.mark.parametrize(
    "answers",
    [
        (LOGIN_PAGE,),
        (FORBIDDEN, FORBIDDEN),
        (reply(401, {}), reply(401, {})),
        (reply(402, {}),),
        (reply(404, {}),),
        (reply(200, {"x": 1}),),
        (reply(200, []),),
        (reply(200, {"user": "relay"}),),
    ],
)
def test_an_account_that_refuses_us(answers: tuple[Reply, ...]) -> None:
    with pytest.raises(ConnectionProblem) as caught:
        check(*answers)
    assert "s3cret" not in str(caught.value)


def test_a_key_refused_once_passes() -> None:
    assert len(check(FORBIDDEN, ME, ROOM, LIST)) == 3


@pytest.mark.parametrize("before", [(), (ME, ROOM)], ids=["key", "list"])
def test_trouble_is_told(before: tuple[Reply, ...]) -> None:
    with pytest.raises(Transient):
        check(*before, reply(500))


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize(
    "before",
    [(ME, ROOM), (ME, ROOM, fields(f1="text"))],
    ids=["types", "list"],
)
def test_a_refused_look_up_says_nothing_about_what_is_there(before: tuple[Reply, ...], status: int) -> None:
    with pytest.raises(ReadRefused) as caught:
        check(*before, reply(status, {}), mapping={"fields.1": "x"})
    assert caught.value.taken is False


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_host_that_refuses_to_say_whose_key_it_is_is_not_activecampaign(status: int) -> None:
    with pytest.raises(ConnectionProblem, match="api_host"):
        check(reply(status, {}))


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 408, 413, 418, 422, 429, 500, 503])
def test_a_contact_limit_that_cannot_be_read_is_no_failure(status: int) -> None:
    answers = [reply(status, {})] * (2 if status in (401, 403) else 1)
    assert [finding.subject for finding in check(ME, *answers, LIST)] == ["connection", "acme/news"]


@pytest.mark.parametrize(
    "trouble",
    [LOGIN_PAGE, reply(200), Transient("timeout", "nothing came"), Transient("network", "nobody", taken=False)],
    ids=["a page", "empty", "time-out", "unreachable"],
)
def test_a_contact_limit_that_is_not_answered_is_no_failure(trouble: Reply | Exception) -> None:
    assert [finding.subject for finding in check(ME, trouble, LIST)] == ["connection", "acme/news"]


def test_the_sandbox_stands_in_where_one_is_set() -> None:
    the_account = account(ME, ROOM, LIST, base_url="http://127.0.0.1:5/")
    DESTINATION.check(the_account, [export()])
    assert asked_of(the_account)[2].url == "http://127.0.0.1:5/api/3/lists/7"
