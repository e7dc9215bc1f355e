"""Who is subscribed again, and who never is, against the sandbox; `plant` is what people do by hand in the account."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from relay.domain.exports import Export
from relay.domain.problems import Transient
from tests.contract.activecampaign_replies import codes
from tests.contract.activecampaign_subject import (
    ActiveCampaignFewSubject,
    ActiveCampaignSubject,
    ActiveCampaignUnsubscribingSubject,
)

ONE_BY_ONE, IN_BULK = "one by one", "in bulk"


class UnsubscribingSubject(ActiveCampaignUnsubscribingSubject):
    """Up to ten go one by one."""

    backlog = ActiveCampaignFewSubject.backlog


@pytest.fixture(params=[ONE_BY_ONE, IN_BULK])
def subject(request: pytest.FixtureRequest) -> ActiveCampaignSubject:
    return UnsubscribingSubject() if request.param == ONE_BY_ONE else ActiveCampaignUnsubscribingSubject()


def plant(subject: ActiveCampaignSubject, number: int, status: int, list_id: str = "7") -> None:
    """Set by hand how somebody stands with a list."""
    subject.time.pass_(60)
    body = {"email": subject.identity(number), "lists": {list_id: status}}
    assert subject.sandbox.post("/_sandbox/contacts", json=body).status_code == 200


def standing(subject: ActiveCampaignSubject, number: int) -> Any:
    (contact,) = (each for each in subject.state()["contacts"] if each["email"] == subject.identity(number))
    return contact["lists"]["7"]


def join(subject: ActiveCampaignSubject, number: int, after: int) -> dict[int, str]:
    """Have somebody join together with somebody else, so that a bulk import is possible."""
    return codes(subject.deliver([subject.step(number, after=after), subject.step(9, after=after)]))


def leave(subject: ActiveCampaignSubject, number: int, after: int) -> None:
    assert subject.deliver([subject.step(number, joins=False, after=after)]) == {}


def writes(subject: ActiveCampaignSubject) -> int:
    return sum(sent.method != "GET" for sent in subject.adapter.requests)


def test_whom_we_unsubscribed_comes_back(subject: ActiveCampaignSubject) -> None:
    for after in (0, 100, 200):
        assert join(subject, 1, after) == {}
        assert standing(subject, 1)["status"] == 1
        leave(subject, 1, after + 50)
        assert (standing(subject, 1)["status"], standing(subject, 1)["by"]) == (2, "api")
    assert join(subject, 1, 300) == {}
    assert (standing(subject, 1)["status"], standing(subject, 1)["sourceid"]) == (1, 4)
    assert subject.counters()["limit_violations"] == 0


def test_who_unsubscribed_by_hand_after_us_does_not(subject: ActiveCampaignSubject) -> None:
    join(subject, 1, 0)
    leave(subject, 1, 10)
    plant(subject, 1, 2)
    # It carries a memo, so it goes alone in any case, and the reason is known.
    assert join(subject, 1, 100) == {0: "unsubscribed"}
    assert (standing(subject, 1)["status"], standing(subject, 1)["by"]) == (2, "hand")


@pytest.mark.parametrize("status", [2, 55])
def test_who_unsubscribed_by_hand_from_another_list_after_us_does_not(
    subject: ActiveCampaignSubject, status: int
) -> None:
    """The contact's other entries count, too: somebody who has had enough does not come back to any list."""
    plant(subject, 1, 1, "8")
    join(subject, 1, 0)
    leave(subject, 1, 10)
    plant(subject, 1, status, "8")
    assert join(subject, 1, 100) == {0: "unsubscribed"}
    assert standing(subject, 1)["status"] == 2


def test_who_unsubscribed_again_from_another_list_after_us_does_not(subject: ActiveCampaignSubject) -> None:
    plant(subject, 1, 2, "8")
    join(subject, 1, 0)
    leave(subject, 1, 10)
    plant(subject, 1, 1, "8")
    plant(subject, 1, 2, "8")
    assert join(subject, 1, 100) == {0: "unsubscribed"}


def test_who_unsubscribed_from_another_list_while_we_unsubscribed_them_does_not() -> None:
    subject = UnsubscribingSubject()
    join(subject, 1, 0)
    plant(subject, 1, 1, "8")
    # By hand, after our first look at the entries and before our call.
    real = subject.adapter.send

    def meanwhile(request: Any, **more: Any) -> Any:
        if request.method == "POST" and str(request.path_url).endswith("/contactLists"):
            subject.adapter.send = real  # type: ignore[method-assign]
            plant(subject, 1, 2, "8")
        return real(request, **more)

    subject.adapter.send = meanwhile  # type: ignore[method-assign,assignment]
    leave(subject, 1, 10)
    assert join(subject, 1, 100) == {0: "unsubscribed"}


def test_who_had_left_another_list_by_hand_before_us_comes_back(subject: ActiveCampaignSubject) -> None:
    plant(subject, 1, 2, "8")
    join(subject, 1, 0)
    for status in (1, 3, 91):
        leave(subject, 1, 10)
        # Coming to another list, bouncing there or being removed from it is no objection.
        plant(subject, 1, status, "9")
        assert join(subject, 1, 100) == {}
        assert standing(subject, 1)["status"] == 1


def test_whom_another_export_of_ours_unsubscribed_meanwhile_comes_back_to_both(subject: ActiveCampaignSubject) -> None:
    news, offers = subject.export, subject.export_with({"list_id": "8"})

    def tell(export: Export, number: int, *, joins: bool, after: int) -> dict[int, str]:
        subject.export = export
        people = [subject.step(number, joins=joins, after=after)]
        return codes(subject.deliver([*people, subject.step(9, after=after)] if joins else people))

    for export in (news, offers):
        assert tell(export, 1, joins=True, after=0) == {}
    for export in (news, offers):
        assert tell(export, 1, joins=False, after=10) == {}
        subject.time.pass_(60)
    for export in (offers, news):
        assert tell(export, 1, joins=True, after=20) == {}
    (contact,) = (each for each in subject.state()["contacts"] if each["email"] == subject.identity(1))
    assert {number: each["status"] for number, each in contact["lists"].items()} == {"7": 1, "8": 1}


def test_what_a_release_before_remembered_counts_where_there_is_nothing_else_to_know() -> None:
    """It remembered our own entry only."""
    for elsewhere, comes_back in ((None, True), (2, False)):
        subject = UnsubscribingSubject()
        if elsewhere is not None:
            plant(subject, 1, elsewhere, "8")
        join(subject, 1, 0)
        leave(subject, 1, 10)
        (place,) = subject.memos
        subject.memos[place] = subject.memos[place].partition(":")[0]
        assert (join(subject, 1, 100) == {}) is comes_back


def test_who_unsubscribed_by_hand_before_we_could_does_not(subject: ActiveCampaignSubject) -> None:
    join(subject, 1, 0)
    plant(subject, 1, 2)
    before = writes(subject)
    leave(subject, 1, 100)
    assert writes(subject) == before
    assert join(subject, 1, 200) == {0: "unsubscribed"}
    assert (standing(subject, 1)["status"], standing(subject, 1)["by"]) == (2, "hand")


def test_who_came_back_and_left_by_hand_stays_away(subject: ActiveCampaignSubject) -> None:
    join(subject, 1, 0)
    leave(subject, 1, 10)
    plant(subject, 1, 1)
    assert join(subject, 1, 100) == {}
    plant(subject, 1, 2)
    assert 0 in join(subject, 1, 200)
    assert standing(subject, 1)["by"] == "hand"


@pytest.mark.parametrize(("status", "code"), [(0, "opt_in_pending"), (2, "unsubscribed"), (3, "bounced")])
def test_one_alone_is_neither_revived_nor_written(status: int, code: str) -> None:
    subject = UnsubscribingSubject()
    plant(subject, 1, status)
    assert codes(subject.deliver([subject.step(1)])) == {0: code}
    assert writes(subject) == 0
    assert subject.held_values(subject.identity(1)) == {}
    assert standing(subject, 1)["by"] == "hand"


@pytest.mark.parametrize("in_import", ["subscribes", "refuses"])
def test_who_was_removed_without_objecting_is_subscribed(subject: ActiveCampaignSubject, in_import: str) -> None:
    assert subject.sandbox.post("/_sandbox/settings", json={"removed_in_import": in_import}).status_code == 200
    subject.backlog = min(subject.backlog, timedelta(seconds=1))
    plant(subject, 1, 91)
    assert join(subject, 1, 0) == {}
    assert standing(subject, 1)["status"] == 1


def test_a_standing_nobody_documented_has_a_code_of_its_own() -> None:
    subject = UnsubscribingSubject()
    plant(subject, 1, 17)
    assert join(subject, 1, 0) == {0: "unknown_status"}
    assert (standing(subject, 1)["status"], standing(subject, 1)["by"]) == (17, "hand")


def test_with_resubscribe_off_nobody_comes_back(subject: ActiveCampaignSubject) -> None:
    subject.export = subject.export_with({"resubscribe": False})
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    assert subject.deliver([subject.step(1, joins=False, after=1), subject.step(2, joins=False, after=1)]) == {}
    assert set(subject.deliver([subject.step(1, after=9), subject.step(2, after=9)])) == {0, 1}
    assert subject.members() == set()


def test_a_deleted_contact_is_a_new_one(subject: ActiveCampaignSubject) -> None:
    join(subject, 1, 0)
    leave(subject, 1, 10)
    assert subject.sandbox.delete(f"/_sandbox/contacts/{subject.identity(1)}").status_code == 200
    assert join(subject, 1, 100) == {}
    assert standing(subject, 1)["status"] == 1


@pytest.mark.parametrize(("status", "code"), [(0, "opt_in_pending"), (2, "unsubscribed"), (3, "bounced")])
def test_nobody_is_revived_whom_the_account_does_not_show_at_first(status: int, code: str) -> None:
    subject = UnsubscribingSubject()
    plant(subject, 1, status)
    subject.fault({"status": 200, "body": {"contacts": [], "meta": {"total": "0"}}}, path="^/api/3/contacts$")
    refused = subject.deliver([subject.step(1)])
    assert (codes(refused), refused[0].is_certain) == ({0: code}, False)
    assert (standing(subject, 1)["status"], standing(subject, 1)["by"]) == (status, "hand")


def test_when_the_evidence_cannot_be_read_again_the_writing_calls_entry_serves() -> None:
    subject = UnsubscribingSubject()
    subject.deliver([subject.step(1)])
    # The first look at the list entry passes, the second one fails.
    subject.sandbox.post(
        "/_sandbox/faults",
        json=[
            {"match": {"path": "^/api/3/contacts/1/contactLists"}, "times": 1, "do": {"delay": 0}},
            {"match": {"path": "^/api/3/contacts/1/contactLists"}, "times": 1, "do": {"status": 503}},
        ],
    )
    leave(subject, 1, 10)
    assert [line["status"] for line in subject.lines][-1] == 503
    assert subject.deliver([subject.step(1, after=20)]) == {}
    assert standing(subject, 1)["status"] == 1


def test_leaving_that_got_no_answer_shuts_the_way_back() -> None:
    """Nobody can tell our unanswered call from somebody's hand afterwards: the evidence is missing."""
    subject = UnsubscribingSubject()
    subject.deliver([subject.step(1)])
    subject.fault({"drop": "after"}, path="^/api/3/contactLists")
    with pytest.raises(Transient, match="network"):
        subject.deliver([subject.step(1, joins=False, after=10)])
    leave(subject, 1, 10)
    assert codes(subject.deliver([subject.step(1, after=20)])) == {0: "unsubscribed"}
