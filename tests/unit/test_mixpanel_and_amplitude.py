"""Cohorts of Mixpanel and Amplitude: how their messages are read, and answered as they want it."""

import json
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from relay import problem_details
from relay.domain.changes import from_json
from relay.domain.closed_sets import SetPage
from relay.domain.keyed_hash import KeyedHash
from relay.problem_details import Refusal
from relay.settings.sources import SourceSettings
from relay.sources.dialect import Refused
from relay.sources.dialects import DIALECTS
from relay.sources.intake import Intake, take_in
from tests.examples import example

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVENTS = Path(__file__).parents[2] / "events"
MIXPANEL, AMPLITUDE = DIALECTS["mixpanel"], DIALECTS["amplitude"]


def taken(dialect: str, body: Any, **options: Any) -> Intake:
    source = SourceSettings("app", dialect, "basic", ("u:p",), "identities.*[]", **options)
    return take_in(json.dumps(body).encode(), source=source, identity_hash=KeyedHash("k"), received_at=NOON)


def sample(name: str) -> Any:
    return json.loads((EVENTS / f"webhook-{name}.json").read_text())


def cohort(action: str = "add_members", **parameters: Any) -> dict[str, Any]:
    whole = {"mixpanel_cohort_id": "7", "mixpanel_cohort_name": "Buyers", "members": [{"mixpanel_distinct_id": "u1"}]}
    paged = {"mixpanel_session_id": "s-1", "page_info": {"total_pages": 2, "page_count": 1}}
    return {"action": action, "parameters": {**whole, **(paged if action == "members" else {}), **parameters}}


class TestMixpanel:
    def test_the_sample_is_a_page_of_a_whole_cohort(self) -> None:
        shown = taken("mixpanel", sample("mixpanel"))
        [batch] = [from_json(message) for message in shown.messages]
        assert batch.page == SetPage("app/1478097", "3f1f0b5e-5f43-4f0e-9b7b-0d6b0a2a7c11", 1, 1)
        kim = batch.changes[0]
        assert kim.identities == {"mixpanel_distinct_id": ["user-1001"]}
        assert kim.attributes == {"email": "kim@example.com", "first_name": "Kim", "last_name": "Berg"}
        assert [(one.segment, one.realized, one.at, one.name) for one in kim.memberships] == [
            ("app/1478097", True, NOON, "Repeat buyers")
        ]

    @pytest.mark.parametrize(("action", "inside"), [("add_members", True), ("remove_members", False)])
    def test_a_difference_is_no_page(self, action: str, inside: bool) -> None:
        shown = taken("mixpanel", cohort(action))
        [batch] = [from_json(message) for message in shown.messages]
        assert batch.page is None
        assert [one.realized for one in batch.changes[0].memberships] == [inside]
        answer = MIXPANEL.answer(shown.taken)
        assert (answer.status, json.loads(answer.body)) == (200, {"action": action, "status": "success"})

    def test_a_call_without_members_is_answered_and_an_empty_page_travels(self) -> None:
        assert taken("mixpanel", cohort("remove_members", members=[])).messages == []
        [message] = taken("mixpanel", cohort("members", members=[])).messages
        assert from_json(message).page == SetPage("app/7", "s-1", 1, 2)

    def test_a_page_that_takes_several_messages_says_so_in_each(self) -> None:
        members = [{"mixpanel_distinct_id": str(number), "text": "x" * 1_000} for number in range(900)]
        batches = [from_json(one) for one in taken("mixpanel", cohort("members", members=members)).messages]
        pages = [one.page for one in batches]
        parts = len(batches)
        assert parts > 4
        assert pages == [SetPage("app/7", "s-1", 1, 2, part, parts) for part in range(1, parts + 1)]
        assert sum(len(one.changes) for one in batches) == 900

    def test_a_page_of_a_segment_that_is_not_kept_removes_nobody(self) -> None:
        [message] = taken("mixpanel", cohort("members"), segments=frozenset({"app/8"})).messages
        assert from_json(message).page is None

    def test_a_page_that_cannot_be_placed_is_refused(self) -> None:
        table: list[dict[str, Any]] = [
            {"mixpanel_session_id": 5},
            {"mixpanel_session_id": "\ud800"},
            {"mixpanel_session_id": "x" * 2_000},
            {"page_info": []},
            {"page_info": {"total_pages": "many", "page_count": 1}},
            {"page_info": {"total_pages": 1, "page_count": 2}},
            {"page_info": {"total_pages": 1, "page_count": 0}},
            {"page_info": {"total_pages": True, "page_count": True}},
            {"page_info": {"total_pages": 10**9, "page_count": 1}},
        ]
        for parameters in table:
            with example(parameters), pytest.raises(Refusal) as refused:
                taken("mixpanel", cohort("members", **parameters))
            assert refused.value.code == "wrong_shape"

    def test_what_has_another_shape_is_refused(self) -> None:
        table: list[Any] = [
            [],
            {"action": "members"},
            {"action": ["members"], "parameters": {}},
            {"action": "members", "parameters": []},
            cohort(mixpanel_cohort_id=None),
            cohort(members={}),
            cohort(members=[1]),
        ]
        for body in table:
            with example(body), pytest.raises(Refusal) as refused:
                taken("mixpanel", body)
            assert refused.value.status == 422

    def test_passing_trouble_never_pauses_the_sync_and_lasting_trouble_does(self) -> None:
        table = [
            (problem_details.unavailable("unavailable", "Later."), 503),
            (problem_details.unexpected(), 500),
            (problem_details.too_many_unknown_sources(), 429),
            (problem_details.wrong_shape([]), 400),
            (problem_details.too_large("Too large."), 400),
            (problem_details.malformed_json("No JSON."), 400),
            (problem_details.unauthorized("Basic"), 401),
        ]
        for refusal, status in table:
            with example(refusal.code):
                answer = MIXPANEL.refuse(Refused(refusal, "r-1", b'{"action": "add_members", '))
                body = json.loads(answer.body)
                assert (answer.status, body["error"]["code"]) == (status, status)
                assert (body["action"], body["status"]) == ("add_members", "failure")
                assert answer.headers.items() >= refusal.headers.items()

    def test_a_body_without_a_known_action_is_answered_in_the_same_shape(self) -> None:
        answer = MIXPANEL.refuse(Refused(problem_details.malformed_json("No JSON."), "r-1", b"\xff"))
        assert json.loads(answer.body)["action"] == "members"


class TestAmplitude:
    def test_the_sample(self) -> None:
        shown = taken("amplitude", sample("amplitude"))
        [batch] = [from_json(message) for message in shown.messages]
        first = batch.changes[0]
        at = datetime(2026, 3, 1, 9, 26, 3, tzinfo=UTC)
        assert first.identities == {"user_id": ["kim@example.com"]}
        assert first.attributes == {"name": "Kim Berg", "country": "SE"}
        assert [(one.segment, one.realized, one.at, one.name) for one in first.memberships] == [
            ("app/7khm89cz", True, at, "Trial users")
        ]
        assert AMPLITUDE.answer(shown.taken).status is HTTPStatus.OK

    def test_the_same_message_keeps_its_id_and_another_has_its_own(self) -> None:
        body = sample("amplitude")
        ids = [
            {change.webhook_id for message in taken("amplitude", one).messages for change in from_json(message).changes}
            for one in (body, body, {**body, "message_id": "other"}, {**body, "message_id": None})
        ]
        assert ids[0] == ids[1] != ids[2]
        assert ids[3] == {None}

    def test_who_leaves_and_users_that_are_odd(self) -> None:
        users = [{"user_id": "a"}, {"user_id": "b", "user_properties": "x"}, 5]
        shown = taken("amplitude", {**sample("amplitude"), "in_cohort": False, "users": users})
        [batch] = [from_json(message) for message in shown.messages]
        assert [m.realized for change in batch.changes for m in change.memberships] == [False, False]
        assert (shown.taken.accepted, len(shown.taken.rejections)) == (2, 1)
        assert shown.taken.left_out_counts == {"unfit_attribute": 1}

    def test_what_has_another_shape_is_refused(self) -> None:
        body = sample("amplitude")
        table: list[Any] = [
            [],
            {**body, "cohort_id": None},
            {**body, "in_cohort": "yes"},
            {**body, "users": {}},
            {**body, "computed_time": "yesterday"},
            {**body, "computed_time": "9" * 40},
            {**body, "computed_time": []},
        ]
        for one in table:
            with example(one), pytest.raises(Refusal) as refused:
                taken("amplitude", one)
            assert refused.value.status == 422


def test_a_body_of_another_platform_is_named() -> None:
    for dialect, body, named in (
        ("mixpanel", sample("amplitude"), "(amplitude)"),
        ("amplitude", sample("mixpanel"), "(mixpanel)"),
        ("relay-json", sample("mixpanel"), "(mixpanel)"),
        ("mixpanel", {"changes": []}, "(relay-json)"),
    ):
        with example(dialect, named), pytest.raises(Refusal, match="wrong_shape") as refused:
            taken(dialect, body)
        assert named in refused.value.detail


def test_what_mixpanel_shows_to_people_is_whole_sentences() -> None:
    with pytest.raises(Refusal) as refused:
        taken("mixpanel", {"action": "x", "parameters": {"mixpanel_cohort_id": "7"}})
    answer = MIXPANEL.refuse(Refused(refused.value, "r-1", b""))
    assert json.loads(answer.body)["error"]["message"] == (
        "The body does not have the shape of this source's dialect; nothing of it was taken."
        " #/action must be one of members, add_members, remove_members. (wrong_shape, request r-1)"
    )
