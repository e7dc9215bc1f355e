"""Tags of single contacts: found or made by name, put on by id, taken off by the id of the association."""

from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.contract import Answer, Reply
from relay.domain.problems import Problem, Transient
from tests.contract.activecampaign_replies import (
    FOUND,
    NOBODY,
    REMOVE_TAG,
    TAG_EXISTS,
    TAG_GONE,
    TAGGED,
    account,
    asked,
    associations,
    export,
    list_set,
    step,
    synced,
    tag_made,
    tags,
)
from tests.fakes.scripted_caller import DictNotes, asked_of, reply, unused_of

FIND, MAKE, PUT_ON = "GET tags", "POST tags", "POST contactTags"
OF_CONTACT, TAKE_OFF = "GET contacts/17/contactTags", "DELETE contactTags/55"
MEMBER = tags(("3", "Member"))


def tagged(*answers: Reply, notes: DictNotes | None = None, names: str = "||Member||") -> tuple[list[str], list[Any]]:
    """Have one join with tags; return the calls for the tags, and what they wrote."""
    the_account = account(NOBODY, synced(), *answers, list_set(1), notes=notes)
    assert DESTINATION.send(the_account, export(), [step(tags=names)]) == Answer()
    assert unused_of(the_account) == []
    calls = asked_of(the_account)[2:-1]
    return asked(the_account)[2:-1], [call.json for call in calls if call.method == "POST"]


def test_a_tag_is_found_by_its_name_and_its_id_is_kept() -> None:
    notes = DictNotes()
    put_on = {"contactTag": {"contact": "17", "tag": "3"}}
    assert tagged(MEMBER, TAGGED, notes=notes) == ([FIND, PUT_ON], [put_on])
    assert tagged(TAGGED, notes=notes) == ([PUT_ON], [put_on])
    assert tagged(TAGGED, notes=notes, names="||MEMBER||") == ([PUT_ON], [put_on])


def test_one_that_is_on_already_is_fine() -> None:
    assert tagged(MEMBER, reply(200, {"contactTag": {"id": "55"}}))[0] == [FIND, PUT_ON]


def test_a_tag_that_does_not_exist_is_made() -> None:
    calls, written = tagged(tags(), tag_made("4"), TAGGED)
    assert calls == [FIND, MAKE, PUT_ON]
    assert written[0] == {"tag": {"tag": "Member", "tagType": "contact", "description": ""}}
    assert written[1]["contactTag"]["tag"] == "4"


def test_other_tags_that_a_search_finds_are_not_taken_for_it() -> None:
    calls, written = tagged(tags(("8", "Members"), ("9", "Ex-Member"), ("3", "MEMBER")), TAGGED)
    assert (calls, written[0]["contactTag"]["tag"]) == ([FIND, PUT_ON], "3")
    assert tagged(tags(("8", "Members")), tag_made("4"), TAGGED)[0] == [FIND, MAKE, PUT_ON]


def test_all_pages_of_a_search_are_read() -> None:
    many = tags(*[(str(number), f"Member {number}") for number in range(100)])
    assert tagged(many, MEMBER, TAGGED)[0] == [FIND, FIND, PUT_ON]


def test_a_tag_somebody_else_makes_meanwhile_is_found() -> None:
    assert tagged(tags(), TAG_EXISTS, MEMBER, TAGGED)[0] == [FIND, MAKE, FIND, PUT_ON]


@pytest.mark.parametrize("gone", [TAG_GONE, reply(422, {})])
def test_a_tag_that_was_deleted_since_its_id_was_kept_is_made_anew(gone: Reply) -> None:
    notes = DictNotes({"ac tag member": "3"})
    calls, written = tagged(gone, tags(), tag_made("4"), TAGGED, notes=notes)
    assert calls == [PUT_ON, FIND, MAKE, PUT_ON]
    assert [call["contactTag"]["tag"] for call in written if "contactTag" in call] == ["3", "4"]
    assert notes.kept == {"ac tag member": "4"}


def test_several_tags_are_put_on_one_by_one() -> None:
    calls, written = tagged(tags(("5", "VIP")), TAGGED, MEMBER, TAGGED, names="||VIP||Member||")
    assert calls == [FIND, PUT_ON] * 2
    assert [call["contactTag"]["tag"] for call in written] == ["5", "3"]


@pytest.mark.parametrize(
    "answers",
    [(tags(), TAG_EXISTS, tags()), (MEMBER, TAG_GONE), (tags(), reply(201, {})), (tags(), reply(201, {"tag": {}}))],
    ids=["neither found nor made", "gone at once", "made without an id", "made without an id too"],
)
def test_a_tag_that_cannot_be_had_is_tried_again_and_leaves_it_half_done(answers: tuple[Reply, ...]) -> None:
    with pytest.raises(Transient) as caught:
        tagged(*answers)
    assert caught.value.taken is None


@pytest.mark.xfail(strict=True, reason="defect: a tag name that is refused for good is tried again for ever")
@pytest.mark.parametrize("status", [400, 422])
def test_a_tag_whose_name_is_refused_is_a_rejection(status: int) -> None:
    missing = reply(status, {"errors": [{"title": "The name is too long."}]})
    the_account = account(NOBODY, synced(), tags(), missing, tags())
    assert 0 in DESTINATION.send(the_account, export(), [step(tags="||" + "x" * 300 + "||")]).refused


# Taking off.


def untagged(*answers: Reply) -> list[str]:
    """Have one leave whose tag is taken off; return the calls after finding the contact."""
    the_account = account(FOUND, *answers)
    assert DESTINATION.send(the_account, export(**REMOVE_TAG), [step(joins=False)]) == Answer()
    assert unused_of(the_account) == []
    return asked(the_account)[1:]


def test_a_tag_is_taken_off_by_the_id_of_the_association() -> None:
    assert untagged(MEMBER, associations(("54", "2"), ("55", "3")), reply(200, {})) == [FIND, OF_CONTACT, TAKE_OFF]


def test_a_tag_that_does_not_exist_is_off() -> None:
    assert untagged(tags(("8", "Members"))) == [FIND]


@pytest.mark.parametrize("without", [associations(), associations(("3", "54")), reply(404, {})])
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


@pytest.mark.xfail(strict=True, reason="defect: a search that is refused counts as 'no such tag', and the tag stays on")
@pytest.mark.parametrize("before", [(), (MEMBER,)], ids=["tag", "tags of the contact"])
def test_a_read_that_is_refused_is_no_missing_tag(before: tuple[Reply, ...]) -> None:
    with pytest.raises(Problem):
        untagged(*before, reply(400, {}))


@pytest.mark.xfail(strict=True, reason="defect: a refusal to take the tag off counts as done")
@pytest.mark.parametrize("status", [400, 422])
def test_a_tag_that_may_not_be_taken_off_is_told(status: int) -> None:
    the_account = account(FOUND, MEMBER, associations(("55", "3")), reply(status, {}))
    try:
        answer = DESTINATION.send(the_account, export(**REMOVE_TAG), [step(joins=False)])
    except Problem:
        return
    assert 0 in answer.refused
