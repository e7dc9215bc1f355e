"""After an edit, imports and reasons are looked up at the target that was told, and joining at the list of today."""

from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.contract import Reply
from tests.contract.activecampaign_replies import (
    FIELD,
    FOUND,
    REMOVE_TAG,
    SET_FIELD,
    TAG,
    UNSUBSCRIBE,
    account,
    codes,
    entries,
    entry,
    export,
    held,
    import_info,
    opened,
    step,
)
from tests.fakes.scripted_caller import DictNotes, reply, unused_of

BULK_UNSUBSCRIBE: dict[str, Any] = {**UNSUBSCRIBE, "resubscribe": False}


def types(**kinds: str) -> DictNotes:
    """Return notes in which the types of fields are known: fields 3 and 9 are texts unless `kinds` differ."""
    known = {"f3": "text", "f9": "text", **kinds}
    listed = ", ".join(f'"{name[1:]}": "{kind}"' for name, kind in known.items())
    return DictNotes({"ac field types": f"{{{listed}}}"})


def looked_up(target: str, options: dict[str, Any], *answers: Reply, joins: bool = False) -> dict[int, str]:
    """Look at an import that nobody knows any more; return the refusals."""
    the_account = account(reply(404, {}), FOUND, *answers, notes=types())
    people = [step(joins=joins, target=target)]
    report = DESTINATION.import_report(the_account, export(**options), opened(age=600), people)
    assert unused_of(the_account) == []
    return codes(report.refused)


@pytest.mark.parametrize(
    ("six", "seven", "more", "refused"),
    [
        ("2", "1", (), {}),
        ("1", "2", (reply(200, {"list": {"id": "6"}}),), {0: "unconfirmed"}),
        ("1", "2", (reply(404, {}),), {}),
    ],
    ids=["off it", "on it", "on it, but it is gone"],
)
def test_a_leaver_is_looked_up_on_the_former_list(
    six: str, seven: str, more: tuple[Reply, ...], refused: dict[int, str]
) -> None:
    standing = entries(entry(six, "6"), entry(seven, "7"))
    assert looked_up("list/6", BULK_UNSUBSCRIBE, standing, *more) == refused


@pytest.mark.parametrize(("nine", "three", "refused"), [("no", "yes", {}), ("yes", "no", {0: "unconfirmed"})])
def test_a_leaver_is_looked_up_by_the_former_field(nine: str, three: str, refused: dict[int, str]) -> None:
    assert looked_up("field/9", SET_FIELD, held(fields={"9": nine, "3": three})) == refused


@pytest.mark.parametrize("target", ["list/7", "list/6", FIELD, TAG])
def test_one_who_joins_is_looked_up_on_the_list_of_today(target: str) -> None:
    assert looked_up(target, {}, entries(entry("2", "6"), entry("1", "7")), joins=True) == {}
    assert looked_up(target, {}, entries(entry("1", "6")), joins=True) == {0: "unconfirmed"}


@pytest.mark.parametrize("target", ["list/6", FIELD, TAG])
def test_the_reason_for_a_refusal_is_looked_for_on_the_list_of_today(target: str) -> None:
    standing = entries(entry("3", "6"), entry("2", "7"))
    the_account = account(import_info(failure=["a@example.com"]), FOUND, standing)
    report = DESTINATION.import_report(the_account, export(), opened(), [step(target=target)])
    assert codes(report.refused) == {0: "unsubscribed"}


@pytest.mark.parametrize("options", [SET_FIELD, REMOVE_TAG])
def test_an_edited_list_leaves_marked_members_in_their_target(options: dict[str, Any]) -> None:
    edited = export(**options, list_id="8")
    assert DESTINATION.targets(edited) == DESTINATION.targets(export(**options))
    assert DESTINATION.owned(edited) == {*DESTINATION.targets(edited), "list/8"}
