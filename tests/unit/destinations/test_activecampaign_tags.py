"""Tags of single contacts: found or made by name, put on by id, taken off by the id of the association."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.contract import Answer, Reply
from relay.domain.problems import ConnectionProblem, Problem, Transient
from tests.contract.activecampaign_replies import (
    FOUND,
    NEVER_ON,
    NOBODY,
    REMOVE_TAG,
    TAG,
    TAG_EXISTS,
    TAG_GONE,
    TAGGED,
    account,
    asked,
    associations,
    codes,
    export,
    list_set,
    step,
    synced,
    tag_made,
    tags,
)
from tests.fakes.scripted_caller import LOGIN_PAGE, DictNotes, asked_of, reply, unused_of

FIND, MAKE, PUT_ON = "GET tags", "POST tags", "POST contactTags"
WRITE = ["POST contact/sync", "GET contacts/17/contactLists"]
"""Writing one who was not found: how they stand with the list is read once more."""
OF_CONTACT, TAKE_OFF = "GET contacts/17/contactTags", "DELETE contactTags/55"
MEMBER = tags(("3", "Member"))
LONG = "Ü" * 255
NOTE = f"ac tag {sha256(b'member').hexdigest()}"


def tagged(
    prepared: Sequence[Reply], *put_on: Reply, notes: DictNotes | None = None, names: str = "||Member||"
) -> tuple[list[str], list[Any]]:
    """Have one join with tags; return the calls between finding and subscribing, and what was written for tags."""
    the_account = account(NOBODY, *prepared, synced(), NEVER_ON, *put_on, list_set(1), notes=notes)
    assert DESTINATION.send(the_account, export(), [step(tags=names)]) == Answer()
    assert unused_of(the_account) == []
    return asked(the_account)[1:-1], [
        call.json for call in asked_of(the_account)[1:-1] if call.method == "POST" and "contact" not in call.json
    ]


def refused(*answers: Reply, notes: DictNotes | None = None, names: str = "||Member||") -> tuple[str, list[str]]:
    """Have one join with tags who is refused; return the code, and the calls after finding nobody."""
    the_account = account(NOBODY, *answers, notes=notes)
    answer = DESTINATION.send(the_account, export(), [step(tags=names)])
    assert unused_of(the_account) == []
    return answer.refused[0].code, asked(the_account)[1:]


def test_a_tag_is_found_by_its_name_and_its_id_is_kept() -> None:
    notes = DictNotes()
    put_on = {"contactTag": {"contact": "17", "tag": "3"}}
    assert tagged([MEMBER], TAGGED, notes=notes) == ([FIND, *WRITE, PUT_ON], [put_on])
    assert tagged([], TAGGED, notes=notes) == ([*WRITE, PUT_ON], [put_on])
    assert tagged([], TAGGED, notes=notes, names="||MEMBER||") == ([*WRITE, PUT_ON], [put_on])


def test_one_that_is_on_already_is_fine() -> None:
    assert tagged([MEMBER], reply(200, {"contactTag": {"id": "55"}}))[0] == [FIND, *WRITE, PUT_ON]


def test_a_tag_that_does_not_exist_is_made_before_the_contact_is_written() -> None:
    calls, written = tagged([tags(), tag_made("4")], TAGGED)
    assert calls == [FIND, MAKE, *WRITE, PUT_ON]
    assert written[0] == {"tag": {"tag": "Member", "tagType": "contact", "description": ""}}
    assert written[1]["contactTag"]["tag"] == "4"


def test_other_tags_that_a_search_finds_are_not_taken_for_it() -> None:
    calls, written = tagged([tags(("8", "Members"), ("9", "Ex-Member"), ("3", "MEMBER"))], TAGGED)
    assert (calls, written[0]["contactTag"]["tag"]) == ([FIND, *WRITE, PUT_ON], "3")
    assert tagged([tags(("8", "Members")), tag_made("4")], TAGGED)[0] == [FIND, MAKE, *WRITE, PUT_ON]


def test_all_pages_of_a_search_are_read() -> None:
    many = tags(*[(str(number), f"Member {number}") for number in range(100)])
    assert tagged([many, MEMBER], TAGGED)[0] == [FIND, FIND, *WRITE, PUT_ON]


def test_a_search_whose_page_comes_again_ends() -> None:
    many = tags(*[(str(number), f"Member {number}") for number in range(100)])
    assert tagged([many, many, tag_made("4")], TAGGED)[0] == [FIND, FIND, MAKE, *WRITE, PUT_ON]


def test_a_tag_somebody_else_makes_meanwhile_is_found() -> None:
    assert tagged([tags(), TAG_EXISTS, MEMBER], TAGGED)[0] == [FIND, MAKE, FIND, *WRITE, PUT_ON]


@pytest.mark.parametrize("gone", [TAG_GONE, reply(422, {})])
def test_a_tag_that_was_deleted_since_its_id_was_kept_is_made_anew(gone: Reply) -> None:
    notes = DictNotes({NOTE: "3"})
    calls, written = tagged([], gone, tags(), tag_made("4"), TAGGED, notes=notes)
    assert calls == [*WRITE, PUT_ON, FIND, MAKE, PUT_ON]
    assert [call["contactTag"]["tag"] for call in written if "contactTag" in call] == ["3", "4"]
    assert notes.kept[NOTE] == "4"


def test_several_tags_are_all_had_before_the_contact_is_written_and_put_on_one_by_one() -> None:
    calls, written = tagged([tags(("5", "VIP")), tags(), tag_made("3")], TAGGED, TAGGED, names="||VIP||Member||")
    assert calls == [FIND, FIND, MAKE, *WRITE, PUT_ON, PUT_ON]
    assert [call["contactTag"]["tag"] for call in written[1:]] == ["5", "3"]


@pytest.mark.parametrize("made", [reply(201, {}), reply(201, {"tag": {}}), reply(201, {"tag": {"id": None}})])
def test_a_tag_made_without_an_id_is_tried_again_and_nothing_is_written(made: Reply) -> None:
    the_account = account(NOBODY, tags(), made)
    with pytest.raises(Transient, match="unexpected_answer") as caught:
        DESTINATION.send(the_account, export(), [step(tags="||Member||")])
    assert caught.value.taken is None
    assert asked(the_account)[1:] == [FIND, MAKE]


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_tag_whose_name_is_refused_is_a_rejection_with_nothing_written(status: int) -> None:
    missing = reply(status, {"errors": [{"title": "The name will not do."}]})
    assert refused(tags(), missing, tags()) == ("tag_refused", [FIND, MAKE, FIND])


@pytest.mark.parametrize("names", [LONG + "x", f"Member||{LONG}x", f"{LONG}x||Member"])
def test_a_name_that_is_too_long_is_refused_before_anything_is_asked(names: str) -> None:
    the_account = account()
    answer = DESTINATION.send(the_account, export(), [step(tags=f"||{names}||")])
    assert (answer.refused[0].code, asked(the_account)) == ("tag_refused", [])


def test_in_an_import_only_who_has_too_long_a_name_is_refused() -> None:
    queued = reply(200, {"success": 1, "queued_contacts": 1, "batchId": "b-1"})
    the_account = account(queued)
    steps = [step(tags=f"||{LONG}x||"), step("b@example.com", tags="||Member||")]
    answer = DESTINATION.send(the_account, export(), steps)
    assert {index: refusal.code for index, refusal in answer.refused.items()} == {0: "tag_refused"}
    assert asked(the_account) == ["POST import/bulk_import"]


def test_a_name_of_the_greatest_length_is_noted_without_being_shown() -> None:
    notes = DictNotes()
    assert tagged([tags(("3", LONG))], TAGGED, notes=notes, names=f"||{LONG}||")[0] == [FIND, *WRITE, PUT_ON]
    assert "3" in notes.kept.values()
    for note, kept in notes.kept.items():
        assert (LONG[:9].lower() in f"{note} {kept}".lower(), len(note) < 100) == (False, True)


def test_one_refused_tag_of_several_writes_nothing() -> None:
    answers = (MEMBER, tags(), TAG_EXISTS, tags())
    assert refused(*answers, names="||Member||VIP||New||") == ("tag_refused", [FIND, FIND, MAKE, FIND])


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_search_for_a_tag_that_is_refused_writes_nothing(status: int) -> None:
    """A name that cannot be looked up is this contact's trouble alone."""
    assert refused(reply(status, {})) == ("unreadable", [FIND])


# After the contact was written nobody may think that nothing was done.


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_tag_that_may_not_be_put_on_is_unconfirmed_and_nobody_is_subscribed(status: int) -> None:
    calls = [FIND, *WRITE, PUT_ON, FIND]
    assert refused(MEMBER, synced(), NEVER_ON, reply(status, {}), MEMBER) == ("unconfirmed", calls)


@pytest.mark.parametrize(
    "then",
    [(tags(), TAG_EXISTS, tags()), (tags(("4", "Member")), TAG_GONE), (reply(400, {}),)],
    ids=["neither found nor made", "gone once more", "not to be looked up"],
)
def test_a_tag_that_is_gone_and_cannot_be_had_again_is_unconfirmed(then: tuple[Reply, ...]) -> None:
    code, calls = refused(synced(), NEVER_ON, TAG_GONE, *then, notes=DictNotes({NOTE: "3"}))
    assert (code, calls[:4]) == ("unconfirmed", [*WRITE, PUT_ON, FIND])
    assert "POST contactLists" not in calls


@pytest.mark.parametrize("body", [{}, [], {"contactTag": None}, {"contactTags": []}])
def test_an_answer_of_another_shape_is_no_tag_put_on(body: Any) -> None:
    the_account = account(NOBODY, MEMBER, synced(), NEVER_ON, reply(200, body))
    with pytest.raises(Transient, match="unexpected_answer") as caught:
        DESTINATION.send(the_account, export(), [step(tags="||Member||")])
    assert caught.value.taken is None


# Taking off.


def untagged(*answers: Reply) -> list[str]:
    """Have one leave whose tag is taken off; return the calls after finding the contact."""
    the_account = account(FOUND, *answers)
    assert DESTINATION.send(the_account, export(**REMOVE_TAG), [step(joins=False, target=TAG)]) == Answer()
    assert unused_of(the_account) == []
    return asked(the_account)[1:]


def test_a_tag_is_taken_off_by_the_id_of_the_association() -> None:
    assert untagged(MEMBER, associations(("54", "2"), ("55", "3")), reply(200, {})) == [FIND, OF_CONTACT, TAKE_OFF]


@pytest.mark.parametrize("status", [200, 202, 204])
def test_taking_off_may_be_answered_with_nothing(status: int) -> None:
    assert untagged(MEMBER, associations(("55", "3")), reply(status)) == [FIND, OF_CONTACT, TAKE_OFF]


def test_taking_off_is_not_answered_with_a_page() -> None:
    with pytest.raises(ConnectionProblem, match="not_json") as caught:
        untagged(MEMBER, associations(("55", "3")), LOGIN_PAGE)
    assert caught.value.taken is None


def test_a_tag_that_does_not_exist_is_off() -> None:
    assert untagged(tags(("8", "Members"))) == [FIND]


@pytest.mark.parametrize("without", [associations(), associations(("3", "54"))])
def test_a_contact_without_the_tag_is_left_alone(without: Reply) -> None:
    assert untagged(MEMBER, without) == [FIND, OF_CONTACT]


def test_an_association_that_is_gone_meanwhile_is_fine() -> None:
    gone = reply(404, {"message": "It is not on"})
    assert untagged(MEMBER, associations(("55", "3")), gone) == [FIND, OF_CONTACT, TAKE_OFF]


def test_a_subscription_is_not_touched() -> None:
    assert "POST contactLists" not in untagged(MEMBER, associations(("55", "3")), reply(200, {}))


@pytest.mark.parametrize(("status", "taken"), [(429, False), (500, None), (402, False)])
def test_trouble_is_told(status: int, taken: bool | None) -> None:
    with pytest.raises(Problem) as caught:
        untagged(MEMBER, associations(("55", "3")), reply(status))
    assert caught.value.taken is taken


@pytest.mark.parametrize(
    ("before", "status"),
    [*[((), status) for status in (400, 413, 422)], *[((MEMBER,), status) for status in (400, 404, 413, 422)]],
)
def test_a_read_that_is_refused_is_no_missing_tag(before: tuple[Reply, ...], status: int) -> None:
    assert not_untagged("unreadable", *before, reply(status, {})) == [FIND, OF_CONTACT][: len(before) + 1]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_tag_that_may_not_be_taken_off_is_told(status: int) -> None:
    assert not_untagged("malformed", MEMBER, associations(("55", "3")), reply(status, {})) == [
        FIND,
        OF_CONTACT,
        TAKE_OFF,
    ]


def not_untagged(code: str, *answers: Reply) -> list[str]:
    """Have one leave whose tag stays on, and is told so; return the calls after finding the contact."""
    the_account = account(FOUND, *answers)
    answer = DESTINATION.send(the_account, export(**REMOVE_TAG), [step(joins=False, target=TAG)])
    assert codes(answer.refused) == {0: code}
    assert unused_of(the_account) == []
    return asked(the_account)[1:]
