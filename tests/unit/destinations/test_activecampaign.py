import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from relay.destinations.activecampaign import DESTINATION, LOOKED_UP_AT_ONCE
from relay.destinations.activecampaign.client import BULK, BULK_SINGLE, REST
from relay.destinations.activecampaign.settings import ActiveCampaignConnection, ActiveCampaignOptions
from relay.destinations.calling import encode_json
from relay.destinations.contract import Level, Reply, Step
from relay.domain.exports import Connection, Export
from relay.domain.problems import ConnectionProblem, Rejection, Transient
from tests.fakes.scripted_caller import LOGIN_PAGE, account_of, asked_of, reply

AT = datetime(2026, 11, 1, tzinfo=UTC)
CONNECTION = Connection(
    "acme",
    "activecampaign",
    "Acme",
    ActiveCampaignConnection.model_validate({"api_host": "acme.api-us1.com", "api_key": "s3cret"}),
)
QUEUED = reply(200, {"Success": 1, "queued_contacts": 2, "batchId": "b-1", "message": "Contact import queued"})
FORM_B = reply(400, {"success": 0, "message": "Rate limit exceeded.", "failureReasons": ["Up to 100 imports ..."]})


def export(mapping: Mapping[str, str] | None = None, **options: Any) -> Export:
    settings = ActiveCampaignOptions.model_validate({"list_id": "7", **options})
    targets = {"email": "attributes.email", **(mapping or {})}
    return Export("acme", "news", "activecampaign", True, False, ("aep/a", "aep/b"), targets, settings, 1)


def step(email: str = "a@example.com", *, joins: bool = True, target: str = "list/7", **values: str) -> Step:
    return Step(target, email, joins, AT, values)


def form_a(*rows: int) -> Reply:
    reasons = [{"contact": row, "failureReason": "Field 'email' incorrect format"} for row in rows]
    return reply(400, {"success": 0, "message": "did not pass validation", "failureReasons": reasons})


class TestSettings:
    @pytest.mark.parametrize(
        "host",
        ["acme.api-us1.com", "https://acme.api-us1.com", "https://ACME.api-us1.com/api/3/", " acme.api-us1.com/ "],
    )
    def test_host_as_people_paste_it(self, host: str) -> None:
        settings = ActiveCampaignConnection.model_validate({"api_host": host, "api_key": " s3cret\n"})
        assert settings.api_host == "acme.api-us1.com"
        assert settings.api_key.get_secret_value() == "s3cret"

    @pytest.mark.parametrize(
        "host",
        [
            "http://acme.api-us1.com",
            "localhost",
            "127.0.0.1",
            "[::1]",
            "acme",
            "a@b.com",
            "acme.com:80",
            "",
            "a b.com",
        ],
    )
    def test_anything_else_is_no_host(self, host: str) -> None:
        with pytest.raises(ValidationError):
            ActiveCampaignConnection.model_validate({"api_host": host, "api_key": "s3cret"})

    @pytest.mark.parametrize("key", ["", " ", "s3cret key", "s3\ncret", "s3crét"])
    def test_a_key_that_cannot_be_one(self, key: str) -> None:
        with pytest.raises(ValidationError) as caught:
            ActiveCampaignConnection.model_validate({"api_host": "acme.api-us1.com", "api_key": key})
        assert "s3" not in str(caught.value)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"list_id": "seven"},
            {"list_id": "0"},
            {"list_id": True},
            {"list_id": "7", "on_exit": "delete"},
            {"list_id": "7", "tags": ["x"]},
            {"list_id": "7", "on_exit": "set_field"},
            {"list_id": "7", "on_exit": "set_field", "exit_field": "1", "value_in": "x", "value_out": "x"},
            {"list_id": "7", "on_exit": "set_field", "exit_field": "1", "value_in": "x", "value_out": " "},
            {"list_id": "7", "exit_field": "1"},
        ],
    )
    def test_options_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            ActiveCampaignOptions.model_validate(options)

    def test_a_list_id_written_as_a_number(self) -> None:
        assert ActiveCampaignOptions.model_validate({"list_id": 7}).list_id == "7"


class TestMapping:
    def test_mapping_problems(self) -> None:
        problems = dict(DESTINATION.mapping_problems({"firstName": "x", "fields.0": "x", "fields.12": "x"}))
        assert set(problems) == {"email", "firstName", "fields.0"}

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (" Anna@Example.COM ", "anna@example.com"),
            (["", None, "b@example.com", "a@example.com"], "b@example.com"),
            ("o'brien+x@mail.example.co", "o'brien+x@mail.example.co"),
            ("anna@exämple.example", "anna@exämple.example"),
        ],
    )
    def test_an_address(self, value: Any, expected: str) -> None:
        assert DESTINATION.identity_of(value, export()) == [expected]

    @pytest.mark.parametrize("value", [None, "", "  ", [], [None, ""]])
    def test_no_address(self, value: Any) -> None:
        rejection = DESTINATION.identity_of(value, export())
        assert isinstance(rejection, Rejection)
        assert rejection.code == "no_email"

    @pytest.mark.parametrize(
        "value",
        [
            "anna",
            "@example.com",
            "anna@example",
            "anna@example.c",
            "anna@example.c1",
            "a@b@example.com",
            "an na@example.com",
            "a..b@example.com",
            "anna@.example.com",
            "anna@example..com",
            'an"na@example.com',
            "anna(x)@example.com",
            "anna;b@example.com",
            "anna\x00@example.com",
            "anna\ud83d@example.com",
            17,
            {"address": "anna@example.com"},
            False,
        ],
    )
    def test_a_malformed_address(self, value: Any) -> None:
        rejection = DESTINATION.identity_of(value, export())
        assert isinstance(rejection, Rejection)
        assert rejection.code == "malformed_email"
        assert str(value) not in rejection.detail

    @pytest.mark.parametrize(
        ("target", "value", "expected"),
        [
            ("first_name", " Anna Maria ", "Anna Maria"),
            ("first_name", ["", "Anna", "Maria"], "Anna"),
            ("phone", "+49 (0) 89 / 1", "+49 (0) 89 / 1"),
            ("fields.1", True, "true"),
            ("fields.1", False, "false"),
            ("fields.1", 0, "0"),
            ("fields.1", 3.0, "3"),
            ("fields.1", 2.5, "2.5"),
            ("fields.1", date(2026, 1, 2), "2026-01-02"),
            ("fields.1", datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
            ("fields.1", ["a", "", None, " b "], "||a||b||"),
            ("fields.1", ["a"], "||a||"),
        ],
    )
    def test_encoding(self, target: str, value: Any, expected: str) -> None:
        assert DESTINATION.encode(target, value) == expected

    @pytest.mark.parametrize("value", [None, "", "  ", [], [None, " "], {}, {"a": 1}, float("nan"), float("inf")])
    def test_mistake_4_a_missing_value_is_nothing_not_null_or_empty(self, value: Any) -> None:
        assert DESTINATION.encode("fields.1", value) is None
        assert DESTINATION.encode("first_name", value) is None

    def test_mistake_3_a_name_is_not_split_on_spaces(self) -> None:
        assert DESTINATION.encode("last_name", "Smith of Wherever") == "Smith of Wherever"


class TestRows:
    def sent(self, steps: list[Step], the_export: Export) -> list[dict[str, Any]]:
        account = account_of(CONNECTION, QUEUED)
        DESTINATION.send(account, the_export, steps)
        contacts: list[dict[str, Any]] = asked_of(account)[0].json["contacts"]
        return contacts

    def test_one_who_joins(self) -> None:
        joins = Step("list/7", "a@example.com", True, AT, {"first_name": "Anna", "fields.12": "gold"})
        assert self.sent([joins], export()) == [
            {
                "email": "a@example.com",
                "first_name": "Anna",
                "subscribe": [{"listid": 7}],
                "fields": [{"id": 12, "value": "gold"}],
            }
        ]

    def test_one_who_is_unsubscribed_leaves_the_list_that_was_told(self) -> None:
        rows = self.sent([step(joins=False, target="list/6")], export(on_exit="unsubscribe"))
        assert rows == [{"email": "a@example.com", "unsubscribe": [{"listid": 6}]}]

    def test_a_field_says_in_and_out(self) -> None:
        marked = export(on_exit="set_field", exit_field="3", value_in="yes", value_out="no")
        rows = self.sent([step(), step("b@example.com", joins=False)], marked)
        assert rows == [
            {"email": "a@example.com", "subscribe": [{"listid": 7}], "fields": [{"id": 3, "value": "yes"}]},
            {"email": "b@example.com", "fields": [{"id": 3, "value": "no"}]},
        ]

    def test_goodbye_and_targets(self) -> None:
        assert not DESTINATION.says_goodbye(export())
        assert DESTINATION.says_goodbye(export(on_exit="unsubscribe"))
        assert DESTINATION.targets(export()) == {"list/7": frozenset({"aep/a", "aep/b"})}


class TestCalls:
    @given(st.lists(st.tuples(st.integers(1, 120), st.sampled_from([0, 30, 800, 5_000, 190_000])), max_size=5))
    @settings(max_examples=30, deadline=None)
    def test_bodies_stay_below_400_000_bytes(self, blocks: list[tuple[int, int]]) -> None:
        lengths = [length for count, length in blocks for _ in range(min(count, 2_000_000 // (length + 1)))]
        steps = [step(f"u{number}@example.com", first_name="ü" * length) for number, length in enumerate(lengths)]
        calls = DESTINATION.calls(export(), steps)
        assert [index for call in calls for index in call] == list(range(len(steps)))
        for call in calls:
            account = account_of(CONNECTION, QUEUED)
            DESTINATION.send(account, export(), [steps[index] for index in call])
            assert len(call) <= 250
            assert len(encode_json(asked_of(account)[0].json)) <= 399_999

    def test_full_calls(self) -> None:
        steps = [step(f"u{number}@example.com") for number in range(1000)]
        assert [len(call) for call in DESTINATION.calls(export(), steps)] == [250] * 4

    def test_one_address_comes_once_in_a_call(self) -> None:
        assert DESTINATION.calls(export(), [step(joins=False, target="list/6"), step()]) == [[0], [1]]

    def test_a_row_too_large_for_any_call_is_refused_without_one(self) -> None:
        account = account_of(CONNECTION)
        answer = DESTINATION.send(account, export(), [step(first_name="x" * 400_000)])
        assert answer.refused[0].code == "too_large"
        assert asked_of(account) == []


class TestSend:
    two = [step(), step("b@example.com")]

    def test_queued_is_not_delivered(self) -> None:
        account = account_of(CONNECTION, QUEUED)
        answer = DESTINATION.send(account, export(), self.two)
        assert (answer.import_id, answer.queued, answer.refused) == ("b-1", 2, {})
        (asked,) = asked_of(account)
        assert (asked.method, asked.url) == ("POST", "https://acme.api-us1.com/api/3/import/bulk_import")
        assert asked.headers["Api-Token"] == "s3cret"
        assert asked.quota == BULK

    def test_one_contact_has_a_quota_of_its_own(self) -> None:
        account = account_of(CONNECTION, QUEUED)
        DESTINATION.send(account, export(), [step()])
        assert asked_of(account)[0].quota == BULK_SINGLE

    def test_named_rows_counted_from_1_are_dropped_and_the_rest_sent_once_more(self) -> None:
        account = account_of(CONNECTION, form_a(1), QUEUED)
        answer = DESTINATION.send(account, export(), self.two)
        assert {index: rejection.code for index, rejection in answer.refused.items()} == {0: "malformed"}
        assert [len(asked.json["contacts"]) for asked in asked_of(account)] == [2, 1]
        assert asked_of(account)[1].json["contacts"][0]["email"] == "b@example.com"

    @pytest.mark.parametrize("row", [0, 3, "x", None, -1])
    def test_an_index_out_of_range_splits(self, row: Any) -> None:
        other = reply(200, {"success": 1, "queued_contacts": "1", "batchId": "b-2"})
        account = account_of(CONNECTION, form_a(row), QUEUED, other)
        answer = DESTINATION.send(account, export(), self.two)
        assert (answer.import_id, answer.queued, answer.refused) == ("b-1,b-2", 3, {})

    def test_every_row_refused_queues_nothing(self) -> None:
        answer = DESTINATION.send(account_of(CONNECTION, form_a(1, 2)), export(), self.two)
        assert set(answer.refused) == {0, 1}
        assert answer.import_id is None

    def test_the_imports_own_rate_limit(self) -> None:
        with pytest.raises(Transient) as caught:
            DESTINATION.send(account_of(CONNECTION, FORM_B), export(), self.two)
        assert caught.value.taken is False
        assert caught.value.retry_after == timedelta(seconds=60)

    def test_rate_limited_after_one_half_was_queued_is_an_unknown_outcome(self) -> None:
        with pytest.raises(Transient) as caught:
            DESTINATION.send(account_of(CONNECTION, form_a(9), QUEUED, FORM_B), export(), self.two)
        assert caught.value.taken is None

    def test_mistake_8_a_wrong_key_answers_200_with_a_page(self) -> None:
        with pytest.raises(ConnectionProblem, match="api_key"):
            DESTINATION.send(account_of(CONNECTION, LOGIN_PAGE), export(), self.two)

    def test_an_empty_200_is_no_success(self) -> None:
        with pytest.raises(ConnectionProblem):
            DESTINATION.send(account_of(CONNECTION, reply(200)), export(), self.two)

    @pytest.mark.parametrize("body", [{}, [], {"success": 1}, {"batchId": None}])
    def test_json_of_another_shape_is_no_success(self, body: Any) -> None:
        with pytest.raises(Transient, match="unexpected_answer"):
            DESTINATION.send(account_of(CONNECTION, reply(200, body)), export(), self.two)


def info(status: Any = "completed", *, failure: Any = ()) -> Reply:
    return reply(200, {"status": status, "success": ["1"], "failure": list(failure)})


def contacts(*found: tuple[str, str]) -> Reply:
    return reply(200, {"contacts": [{"id": number, "email": email} for number, email in found], "meta": {"total": "1"}})


def standings(*found: tuple[str, Any]) -> Reply:
    return reply(200, {"contactLists": [{"list": number, "status": status} for number, status in found]})


class TestImportReport:
    two = [step(), step("b@example.com")]

    def report(self, *answers: Reply, queued: int | None = 2, steps: list[Step] | None = None, **options: Any) -> Any:
        account = account_of(CONNECTION, *answers)
        report = DESTINATION.import_report(account, export(**options), "b-1", queued, steps or self.two)
        assert asked_of(account)[0].params == {"batchId": "b-1"}
        assert all(asked.quota == REST for asked in asked_of(account))
        codes = {index: rejection.code for index, rejection in report.refused.items()}
        return report.finished, codes, [asked.url.partition("/api/3/")[2] for asked in asked_of(account)]

    @pytest.mark.parametrize("status", ["waiting", "claimed", "active", False, "something new"])
    def test_not_finished(self, status: Any) -> None:
        assert self.report(info(status)) == (False, {}, ["import/info"])

    def test_completed_with_as_many_queued_as_sent(self) -> None:
        assert self.report(info()) == (True, {}, ["import/info"])

    def test_failed_addresses_in_any_case(self) -> None:
        finished, codes, asked = self.report(info(failure=["B@Example.com "]))
        assert (finished, codes, asked) == (True, {1: "import_refused"}, ["import/info"])

    def test_fewer_queued_than_sent_looks_up_who_is_missing(self) -> None:
        finished, codes, asked = self.report(
            info(), contacts(("17", "A@example.com")), standings(("6", 2), ("7", "1")), contacts(), queued=1
        )
        assert (finished, codes) == (True, {1: "unconfirmed"})
        assert asked == ["import/info", "contacts", "contacts/17/contactLists", "contacts"]

    @pytest.mark.parametrize(
        "answer", [info("failed"), info("interrupted"), reply(404, {}), reply(400, {"success": 0})]
    )
    def test_an_import_that_came_to_nothing_is_looked_up(self, answer: Reply) -> None:
        finished, codes, _ = self.report(
            answer, contacts(("17", "a@example.com")), standings(("7", 2)), contacts(("18", "other@example.com"))
        )
        assert (finished, codes) == (True, {0: "unconfirmed", 1: "unconfirmed"})

    def test_a_failure_that_is_none_of_ours_is_not_ignored(self) -> None:
        _, codes, _ = self.report(info(failure=["who@example.com"]), contacts(), contacts())
        assert codes == {0: "unconfirmed", 1: "unconfirmed"}

    def test_one_who_leaves_is_as_wanted_when_off_the_list(self) -> None:
        leaves = [step(joins=False), step("b@example.com", joins=False), step("c@example.com", joins=False)]
        answers = [contacts(("17", "a@example.com")), standings(("7", 2)), contacts()]
        answers += [contacts(("19", "c@example.com")), standings(("7", 1))]
        _, codes, _ = self.report(info("failed"), *answers, steps=leaves, on_exit="unsubscribe")
        assert codes == {2: "unconfirmed"}

    def test_one_who_leaves_by_field_is_as_wanted_when_the_field_says_so(self) -> None:
        leaves = [step(joins=False), step("b@example.com", joins=False)]
        answers = [contacts(("17", "a@example.com")), reply(200, {"fieldValues": [{"field": "3", "value": "no"}]})]
        answers += [contacts(("18", "b@example.com")), reply(200, {"fieldValues": [{"field": "4", "value": "no"}]})]
        options: dict[str, Any] = {"on_exit": "set_field", "exit_field": "3", "value_in": "yes", "value_out": "no"}
        _, codes, _ = self.report(info("failed"), *answers, steps=leaves, **options)
        assert codes == {1: "unconfirmed"}

    def test_one_who_has_other_values_than_were_sent_is_not_as_wanted(self) -> None:
        sent = [Step("list/7", "a@example.com", True, AT, {"first_name": "New", "fields.4": "gold"})]
        found = [contacts(("17", "a@example.com")), standings(("7", 1))]
        held = {"contact": {"firstName": "Old"}, "fieldValues": [{"field": "4", "value": "gold"}]}
        _, codes, _ = self.report(info("failed"), *found, reply(200, held), steps=sent, queued=1)
        assert codes == {0: "unconfirmed"}
        same = {"contact": {"firstName": "New"}, "fieldValues": [{"field": "4", "value": "gold"}]}
        _, codes, _ = self.report(info("failed"), *found, reply(200, same), steps=sent, queued=1)
        assert codes == {}

    def test_no_more_than_some_are_looked_up_at_once(self) -> None:
        many = [step(f"{number}@example.com") for number in range(LOOKED_UP_AT_ONCE + 2)]
        account = account_of(CONNECTION, info("failed"), *[contacts()] * LOOKED_UP_AT_ONCE)
        report = DESTINATION.import_report(account, export(), "b-1", len(many), many)
        assert report.open == {LOOKED_UP_AT_ONCE, LOOKED_UP_AT_ONCE + 1}
        assert len(report.refused) == LOOKED_UP_AT_ONCE

    def test_two_imports_of_one_call_are_both_looked_at(self) -> None:
        account = account_of(CONNECTION, info(), info("active"))
        assert not DESTINATION.import_report(account, export(), "b-1,b-2", 2, self.two).finished
        assert [asked.params["batchId"] for asked in asked_of(account)] == ["b-1", "b-2"]

    def test_a_refused_key_is_no_missing_contact(self) -> None:
        with pytest.raises(ConnectionProblem):
            self.report(info("failed"), reply(403, {}))

    def test_mistake_10_ids_are_escaped_in_paths(self) -> None:
        _, _, asked = self.report(
            info("failed"), contacts(("1/../7?x", "a@example.com")), standings(("7", 1)), contacts()
        )
        assert asked[2] == "contacts/1%2F..%2F7%3Fx/contactLists"

    @pytest.mark.parametrize("body", [{}, [], {"success": []}])
    def test_another_shape(self, body: Any) -> None:
        with pytest.raises(Transient):
            self.report(reply(200, body))


ME = reply(200, {"user": {"id": "1"}})
LIST = reply(200, {"list": {"id": "7"}})


def fields(numbers: range) -> Reply:
    return reply(200, {"fields": [{"id": str(number)} for number in numbers], "meta": {"total": "150"}})


class TestCheck:
    def levels(self, *answers: Reply, the_export: Export | None = None) -> list[tuple[str, Level]]:
        account = account_of(CONNECTION, *answers)
        findings = DESTINATION.check(account, [export() if the_export is None else the_export])
        assert asked_of(account)[0].url.endswith("/api/3/users/me")
        return [(finding.subject, finding.level) for finding in findings]

    def test_all_is_well(self) -> None:
        assert self.levels(ME, LIST) == [("connection", Level.OK), ("acme/news", Level.OK)]

    @pytest.mark.parametrize(("status", "word"), [(404, "no list 7"), (403, "access")])
    def test_a_list_that_is_gone_or_hidden(self, status: int, word: str) -> None:
        findings = DESTINATION.check(account_of(CONNECTION, ME, reply(status, {})), [export()])
        assert findings[1].level is Level.ERROR
        assert word in findings[1].message
        assert findings[1].actor is not None

    def test_mistake_6_all_pages_of_fields_are_read(self) -> None:
        wanted = export({"fields.149": "x", "fields.200": "x"})
        pages = (fields(range(1)), fields(range(100)), fields(range(100, 150)))
        account = account_of(CONNECTION, ME, *pages, LIST)
        findings = DESTINATION.check(account, [wanted])
        assert [finding.level for finding in findings] == [Level.OK, Level.OK, Level.ERROR]
        assert "200" in findings[2].message
        assert [asked.params.get("offset") for asked in asked_of(account)[2:4]] == ["0", "100"]

    def test_fields_that_may_not_be_seen_break_nothing(self) -> None:
        levels = self.levels(ME, reply(403, {"message": "Forbidden"}), LIST, the_export=export({"fields.1": "x"}))
        assert levels[-1] == ("acme/news", Level.WARNING)

    @pytest.mark.parametrize(
        "answer", [LOGIN_PAGE, reply(403, {}), reply(401, {}), reply(402, {}), reply(200, {"x": 1})]
    )
    def test_an_account_that_refuses_us(self, answer: Reply) -> None:
        with pytest.raises(ConnectionProblem) as caught:
            self.levels(answer)
        assert "s3cret" not in str(caught.value)

    def test_the_sandbox_stands_in_where_one_is_set(self) -> None:
        account = account_of(CONNECTION, ME, LIST, base_url="http://127.0.0.1:5/")
        DESTINATION.check(account, [export()])
        assert asked_of(account)[1].url == "http://127.0.0.1:5/api/3/lists/7"


def test_nothing_a_step_says_is_interpolated_into_json() -> None:
    account = account_of(CONNECTION, QUEUED)
    DESTINATION.send(account, export(), [step(first_name='"}],"tags":["x')])
    contact = json.loads(encode_json(asked_of(account)[0].json))["contacts"][0]
    assert contact["first_name"] == '"}],"tags":["x'
    assert "tags" not in contact
