"""Tags of single contacts, where answers have a shape or an order that no sandbox shows."""

from hashlib import sha256
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.contract import Answer, Reply
from relay.domain.problems import ConnectionProblem, Transient
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
from tests.examples import example
from tests.fakes.scripted_caller import LOGIN_PAGE, DictNotes, reply, unused_of

MEMBER = tags(("3", "Member"))
TAGGING = [step(tags="||Member||")]
NOTE = f"ac tag {sha256(b'member').hexdigest()}"


def test_a_search_whose_page_comes_again_ends() -> None:
    many = tags(*[(str(number), f"Member {number}") for number in range(100)])
    the_account = account(NOBODY, many, many, tag_made("4"), synced(), NEVER_ON, TAGGED, list_set(1))
    assert DESTINATION.send(the_account, export(), TAGGING) == Answer()
    assert unused_of(the_account) == []


def test_a_tag_made_without_an_id_is_tried_again_and_nothing_is_written() -> None:
    bodies: list[Any] = [{}, {"tag": {}}, {"tag": {"id": None}}]
    for body in bodies:
        with example(body), pytest.raises(Transient, match="unexpected_answer") as caught:
            DESTINATION.send(account(NOBODY, tags(), reply(201, body)), export(), TAGGING)
        assert caught.value.taken is False


def test_an_answer_of_another_shape_is_no_tag_put_on() -> None:
    bodies: list[Any] = [{}, [], {"contactTag": None}, {"contactTags": []}]
    for body in bodies:
        with example(body), pytest.raises(Transient, match="unexpected_answer") as caught:
            DESTINATION.send(account(NOBODY, MEMBER, synced(), NEVER_ON, reply(200, body)), export(), TAGGING)
        assert caught.value.taken is None


@pytest.mark.parametrize(
    "then",
    [(tags(), TAG_EXISTS, tags()), (tags(("4", "Member")), TAG_GONE), (reply(400, {}),)],
    ids=["neither found nor made", "gone once more", "not to be looked up"],
)
def test_a_tag_that_is_gone_and_cannot_be_had_again_is_unconfirmed(then: tuple[Reply, ...]) -> None:
    the_account = account(NOBODY, synced(), NEVER_ON, TAG_GONE, *then, notes=DictNotes({NOTE: "3"}))
    assert codes(DESTINATION.send(the_account, export(), TAGGING).refused) == {0: "unconfirmed"}
    assert unused_of(the_account) == []
    assert "POST contactLists" not in asked(the_account)


def test_the_id_of_an_association_is_not_that_of_its_tag() -> None:
    the_account = account(FOUND, MEMBER, associations(("3", "54")))
    assert DESTINATION.send(the_account, export(**REMOVE_TAG), [step(joins=False, target=TAG)]) == Answer()
    the_account = account(FOUND, MEMBER, associations(("54", "2"), ("55", "3")), reply(200, {}))
    assert DESTINATION.send(the_account, export(**REMOVE_TAG), [step(joins=False, target=TAG)]) == Answer()
    assert asked(the_account)[-1] == "DELETE contactTags/55"


def test_taking_off_is_not_answered_with_a_page() -> None:
    the_account = account(FOUND, MEMBER, associations(("55", "3")), LOGIN_PAGE)
    with pytest.raises(ConnectionProblem, match="not_json") as caught:
        DESTINATION.send(the_account, export(**REMOVE_TAG), [step(joins=False, target=TAG)])
    assert caught.value.taken is None
