import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from relay.destinations.contract import Account, Reply, Step
from relay.destinations.gainsight_px import GainsightPx
from relay.destinations.gainsight_px.settings import GainsightPxConnection, GainsightPxOptions
from relay.destinations.gainsight_px.token import Tokens
from relay.domain.exports import Connection, Export
from relay.domain.problems import ConnectionProblem, ExportProblem, Problem, Rejection, Transient
from tests.fakes.scripted_caller import LOGIN_PAGE, DictNotes, account_of, asked_of, reply

AT = datetime(2026, 11, 1, 12, 0, 0, 269332, tzinfo=UTC)
GRANT = {
    "region": "eu",
    "username": "relay@example.com",
    "password": " pa ss ",
    "client_id": "sub-1",
    "client_secret": "s3cret",
    "token_url": "https://login.example.com/oauth/token",
}
BY_KEY = {"region": "us", "api_key": "k3y"}


def connection(**fields: str) -> Connection:
    return Connection("px", "gainsight_px", "PX", GainsightPxConnection.model_validate(fields))


def export(**options: Any) -> Export:
    given_options = GainsightPxOptions.model_validate(options)
    mapping = {"IDENTIFY_ID": "identities.ECID"}
    return Export("px", "all", "gainsight_px", True, True, ("aep/a", "aep/b"), mapping, given_options, 1)


def step(identity: str = "u1", segment: str = "aep/a", *, joins: bool = True, at: datetime = AT) -> Step:
    return Step(f"segment/{segment}", identity, joins, at)


def created(number: int) -> Reply:
    return reply(200, {"id": f"px-{number}", "externalId": "x", "name": "x"})


DONE = reply(200)
TOKEN = reply(200, {"access_token": "t0ken", "token_type": "bearer", "expires_in": 3600})


class TestSettings:
    def test_both_ways_to_log_in(self) -> None:
        assert connection(**BY_KEY, username="", password="", token_url=" ").settings.username is None
        assert connection(**GRANT).settings.password.get_secret_value() == " pa ss "

    @pytest.mark.parametrize("missing", ["username", "password", "client_id", "client_secret", "token_url"])
    def test_half_a_way_names_what_is_missing(self, missing: str) -> None:
        with pytest.raises(ValidationError, match=missing) as caught:
            connection(**{**GRANT, missing: ""})
        assert "s3cret" not in str(caught.value)

    def test_both_ways_at_once(self) -> None:
        with pytest.raises(ValidationError, match="not both"):
            connection(**GRANT, api_key="k3y")

    @pytest.mark.parametrize("region", ["", "ap", "US-1"])
    def test_an_unknown_region_is_an_error_never_a_default(self, region: str) -> None:
        with pytest.raises(ValidationError):
            connection(**{**BY_KEY, "region": region})
        with pytest.raises(ValidationError):
            connection(api_key="k3y")

    @pytest.mark.parametrize(
        "address",
        [
            "http://login.example.com/token",
            "login.example.com",
            "https://u:p@login.example.com/",
            "https://",
            "ftp://x/y",
        ],
    )
    def test_an_unsafe_token_url(self, address: str) -> None:
        with pytest.raises(ValidationError):
            connection(**{**GRANT, "token_url": address})

    @pytest.mark.parametrize(
        "options",
        [
            {"segment_ref": "name"},
            {"max_identities_per_call": 0},
            {"max_identities_per_call": 10_001},
            {"list_id": "7"},
        ],
    )
    def test_options_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            export(**options)


class TestIdentity:
    px = GainsightPx()

    @pytest.mark.parametrize(
        ("value", "expected"),
        [("u1", ["u1"]), (" U1 ", [" U1 "]), (17, ["17"]), (0, ["0"]), (["", None, "b", "a"], ["b"])],
    )
    def test_an_id_is_passed_on_exactly_as_it_is(self, value: Any, expected: list[str]) -> None:
        assert self.px.identity_of(value, export()) == expected

    @pytest.mark.parametrize(
        ("several", "expected"), [("first", ["b"]), ("all", ["b", "a"]), ("reject", "several_identities")]
    )
    def test_several(self, several: str, expected: Any) -> None:
        found = self.px.identity_of(["b", "a", "b"], export(multiple_identities=several))
        assert (found.code if isinstance(found, Rejection) else found) == expected

    def test_one_id_given_twice_is_one(self) -> None:
        assert self.px.identity_of(["a", "a"], export(multiple_identities="reject")) == ["a"]

    @pytest.mark.parametrize("value", [None, "", " ", [], [None]])
    def test_none(self, value: Any) -> None:
        found = self.px.identity_of(value, export())
        assert isinstance(found, Rejection)
        assert found.code == "no_identity"

    @pytest.mark.parametrize("value", [True, 1.5, {"id": "u1"}, ["\ud83d"], [["u1"]]])
    def test_malformed(self, value: Any) -> None:
        found = self.px.identity_of(value, export())
        assert isinstance(found, Rejection)
        assert found.code == "malformed_identity"

    def test_mistake_9_nothing_but_membership_is_ever_sent(self) -> None:
        assert self.px.encode("signUpDate", 17) is None
        assert dict(self.px.mapping_problems({"IDENTIFY_ID": "x", "email": "x"})).keys() == {"email"}
        assert dict(self.px.mapping_problems({})).keys() == {"IDENTIFY_ID"}


class TestMembership:
    px = GainsightPx()

    def body(self, steps: list[Step], **options: Any) -> Any:
        account = account_of(connection(**BY_KEY), created(1), created(2), DONE)
        self.px.send(account, export(**options), steps)
        return asked_of(account)[-1].json

    def test_both_arrays_are_always_present(self) -> None:
        body = self.body([step(), step("u2", "aep/b")])
        assert body["remove"] == []
        assert body["identityType"] == "IDENTIFY_ID"

    def test_one_action_per_segment_direction_and_time(self) -> None:
        later = datetime(2026, 11, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
        steps = [step("u1"), step("u2"), step("u3", at=later), step("u4", "aep/b", joins=False), step("u4")]
        assert self.body(steps, identity_type="GLOBAL_ID") == {
            "identityType": "GLOBAL_ID",
            "add": [
                {"segmentId": "px-1", "lastQualificationTime": "2026-11-01T12:00:00.000000Z", "identities": ["u3"]},
                {
                    "segmentId": "px-1",
                    "lastQualificationTime": "2026-11-01T12:00:00.269332Z",
                    "identities": ["u1", "u2", "u4"],
                },
            ],
            "remove": [
                {"segmentId": "px-2", "lastQualificationTime": "2026-11-01T12:00:00.269332Z", "identities": ["u4"]}
            ],
        }

    def test_our_own_id_where_the_option_says_so(self) -> None:
        body = self.body([step(), step("u2", "aep/b")], segment_ref="external_id")
        assert [action["segmentId"] for action in body["add"]] == ["aep/a", "aep/b"]

    @given(
        st.lists(st.tuples(st.sampled_from(["u1", "u2", "u3"]), st.sampled_from(["aep/a", "aep/b"]), st.booleans())),
        st.integers(1, 5),
    )
    def test_never_one_identity_twice_for_one_segment_in_a_call(
        self, drawn: list[tuple[str, str, bool]], limit: int
    ) -> None:
        steps = [step(identity, segment, joins=joins) for identity, segment, joins in drawn]
        calls = self.px.calls(export(max_identities_per_call=limit), steps)
        assert [index for call in calls for index in call] == list(range(len(steps)))
        for call in calls:
            places = [(steps[index].target, steps[index].identity) for index in call]
            assert len(places) == len(set(places)) <= limit

    def test_full_calls(self) -> None:
        steps = [step(f"u{number}") for number in range(2500)]
        assert [len(call) for call in self.px.calls(export(), steps)] == [1000, 1000, 500]

    def test_a_page_of_html_is_no_success(self) -> None:
        with pytest.raises(ConnectionProblem, match="not_json"):
            self.px.send(account_of(connection(**BY_KEY), created(1), LOGIN_PAGE), export(), [step()])

    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_a_refused_identity_is_found_by_halving(self, status: int) -> None:
        refusal = reply(status, {"externalapierror": {"status": "BAD_REQUEST", "message": "bad {id=u2}"}})
        account = account_of(connection(**BY_KEY), created(1), refusal, DONE, refusal, refusal, DONE)
        answer = self.px.send(account, export(), [step("u0"), step("u1"), step("u2"), step("u3")])
        assert {index: rejection.code for index, rejection in answer.refused.items()} == {2: "identity_refused"}

    @pytest.mark.parametrize("status", [403, 404])
    def test_the_feature_is_off_or_the_region_wrong(self, status: int) -> None:
        error = reply(status, {"externalapierror": {"status": "NOT_FOUND", "message": "User {id=u1}"}})
        with pytest.raises(ConnectionProblem) as caught:
            self.px.send(account_of(connection(**BY_KEY), created(1), error), export(), [step()])
        assert "region" in str(caught.value)
        assert "NOT_FOUND" in str(caught.value)
        assert "u1" not in str(caught.value)

    def test_a_status_word_that_is_none_is_not_repeated(self) -> None:
        error = reply(403, {"externalapierror": {"status": "relay@example.com"}})
        with pytest.raises(ConnectionProblem) as caught:
            self.px.send(account_of(connection(**BY_KEY), created(1), error), export(), [step()])
        assert "example.com" not in str(caught.value)


class TestSegments:
    px = GainsightPx()

    def test_mistake_1_metadata_is_sent_once_per_segment_not_once_per_call(self) -> None:
        account = account_of(connection(**BY_KEY), created(1), DONE, DONE)
        self.px.send(account, export(), [step()])
        self.px.send(account, export(), [step("u2")])
        urls = [asked.url for asked in asked_of(account)]
        assert urls == [
            "https://api.aptrinsic.com/v1/external_segment/metadata",
            "https://api.aptrinsic.com/v1/external_segment/update_membership",
            "https://api.aptrinsic.com/v1/external_segment/update_membership",
        ]

    def test_names_from_the_options(self) -> None:
        account = account_of(connection(**BY_KEY), created(1), DONE)
        self.px.send(account, export(segment_names={"aep/a": "Loyal"}), [step()])
        asked = asked_of(account)[0]
        assert asked.params == {"failIfExists": "false"}
        assert asked.json == {
            "externalId": "aep/a",
            "name": "Loyal",
            "description": "Kept by Audience Relay from aep/a",
        }

    def test_mistake_2_two_workers_that_both_create_end_up_with_one_id(self) -> None:
        account = account_of(connection(**BY_KEY), created(2), DONE)

        class FirstIsAnother(DictNotes):
            def keep(self, key: str, value: str, *, replaces: str | None = None) -> str:
                self.kept.setdefault(key, "px-theirs")
                return super().keep(key, value, replaces=replaces)

        self.px.send(replace(account, notes=FirstIsAnother()), export(), [step()])
        assert asked_of(account)[-1].json["add"][0]["segmentId"] == "px-theirs"

    def test_another_subscription_has_other_ids(self) -> None:
        account = account_of(connection(**BY_KEY), created(1), DONE, created(2), DONE)
        self.px.send(account, export(), [step()])
        self.px.send(replace(account, connection=connection(**{**BY_KEY, "region": "us2"})), export(), [step()])
        assert asked_of(account)[-1].json["add"][0]["segmentId"] == "px-2"

    @pytest.mark.parametrize("body", [{}, [], {"id": None}, {"id": ""}])
    def test_a_segment_without_an_id(self, body: Any) -> None:
        with pytest.raises(Transient, match="unexpected_answer"):
            self.px.send(account_of(connection(**BY_KEY), reply(200, body)), export(), [step()])

    def test_refused_metadata_stops_the_export(self) -> None:
        with pytest.raises(ExportProblem):
            self.px.send(account_of(connection(**BY_KEY), reply(400, {})), export(), [step()])

    def test_trouble_before_the_membership_call_took_nothing(self) -> None:
        trouble = Transient("timeout", "no answer", retry_after=timedelta(seconds=2))
        with pytest.raises(Transient) as caught:
            self.px.send(account_of(connection(**BY_KEY), trouble), export(), [step()])
        assert caught.value.taken is False
        assert caught.value.retry_after == timedelta(seconds=2)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestTokens:
    def setup_method(self) -> None:
        self.clock = Clock()
        self.tokens = Tokens(self.clock)
        self.px = GainsightPx(self.tokens)

    def sends(self, *answers: Reply | Exception) -> Account:
        account = account_of(connection(**GRANT), *answers)
        account.notes.keep("px segment eu sub-1 aep/a", "px-1")
        return account

    def test_the_password_grant(self) -> None:
        account = self.sends(TOKEN, DONE)
        self.px.send(account, export(), [step()])
        asked = asked_of(account)
        assert (asked[0].method, asked[0].url, asked[0].json) == ("POST", GRANT["token_url"], None)
        assert asked[0].form == {
            "grant_type": "password",
            "username": "relay@example.com",
            "password": " pa ss ",
            "client_id": "sub-1",
            "client_secret": "s3cret",
        }
        assert asked[1].headers == {"Authorization": "Bearer t0ken"}
        assert asked[1].url == "https://api-eu.aptrinsic.com/v1/external_segment/update_membership"

    @pytest.mark.parametrize(
        ("expires_in", "good_for"), [(3600, 3540), ("3600", 3540), (100, 90), (None, 270), ("soon", 270), (-5, 270)]
    )
    def test_kept_until_shortly_before_it_expires(self, expires_in: Any, good_for: int) -> None:
        token = reply(200, {"access_token": "t1", "expires_in": expires_in})
        account = self.sends(token, DONE, DONE, TOKEN, DONE)
        self.px.send(account, export(), [step()])
        self.clock.now += good_for - 1
        self.px.send(account, export(), [step()])
        self.clock.now += 1
        self.px.send(account, export(), [step()])
        assert [asked.headers.get("Authorization") for asked in asked_of(account)] == [
            None,
            "Bearer t1",
            "Bearer t1",
            None,
            "Bearer t0ken",
        ]

    def test_refreshed_once_on_401_and_the_call_replayed_once(self) -> None:
        fresh = reply(200, {"access_token": "t2", "expires_in": 3600})
        account = self.sends(TOKEN, reply(401), fresh, DONE, DONE)
        self.px.send(account, export(), [step()])
        self.px.send(account, export(), [step()])
        assert [asked.headers.get("Authorization") for asked in asked_of(account)][3:] == ["Bearer t2", "Bearer t2"]

    def test_a_second_401_stops_the_connection(self) -> None:
        account = self.sends(TOKEN, reply(401), TOKEN, reply(401))
        with pytest.raises(ConnectionProblem, match="not_authorised"):
            self.px.send(account, export(), [step()])
        assert asked_of(account)[-1].headers == {"Authorization": "Bearer t0ken"}

    def test_a_changed_secret_is_not_served_an_old_token(self) -> None:
        account = self.sends(TOKEN, DONE, TOKEN, DONE)
        self.px.send(account, export(), [step()])
        changed = replace(account, connection=connection(**{**GRANT, "client_secret": "n3w"}))
        self.px.send(changed, export(), [step()])
        form = asked_of(account)[2].form
        assert form is not None
        assert form["client_secret"] == "n3w"

    @pytest.mark.parametrize(
        ("answer", "expected", "words"),
        [
            (reply(400, {"error": "invalid_grant"}), ConnectionProblem, ("password", "Saml Only")),
            (reply(401, {"error": "invalid_client"}), ConnectionProblem, ("subscription ID", "OAuth secret")),
            (reply(400, {"error": "relay@example.com"}), ConnectionProblem, ("token_refused",)),
            (reply(403), ConnectionProblem, ("token_refused",)),
            (reply(404), ConnectionProblem, ("token_url",)),
            (reply(302), ConnectionProblem, ("redirect",)),
            (LOGIN_PAGE, ConnectionProblem, ("token_url",)),
            (reply(200, {}), ConnectionProblem, ("token_url",)),
            (reply(200, {"access_token": "a\nb"}), ConnectionProblem, ("token_url",)),
            (reply(429, None, {"retry-after": "9"}), Transient, ("rate_limited",)),
            (reply(503), Transient, ("unavailable",)),
        ],
    )
    def test_token_errors(self, answer: Reply, expected: type[Problem], words: tuple[str, ...]) -> None:
        with pytest.raises(expected) as caught:
            self.px.send(self.sends(answer), export(), [step()])
        assert all(word in str(caught.value) for word in words)
        assert "example.com" not in str(caught.value)
        if isinstance(caught.value, Transient):
            assert caught.value.taken is False

    def test_plain_http_only_where_a_sandbox_is_set(self) -> None:
        local = connection(**{**GRANT, "token_url": "http://127.0.0.1:5/oauth/token"})
        account = account_of(local, TOKEN)
        with pytest.raises(ConnectionProblem, match="https"):
            self.tokens.token(account)
        assert self.tokens.token(replace(account, base_url="http://127.0.0.1:5")) == "t0ken"

    def test_fetched_once_under_concurrency(self) -> None:
        account = self.sends(TOKEN)
        slow = account.call
        everyone_waits = threading.Barrier(4)

        def call(*arguments: Any, **named: Any) -> Reply:
            threading.Event().wait(0.02)
            return slow(*arguments, **named)

        found: list[str] = []

        def fetch() -> None:
            everyone_waits.wait()
            found.append(self.tokens.token(replace(account, call=call)))

        _run_together([fetch] * 4)
        assert found == ["t0ken"] * 4
        assert len(asked_of(account)) == 1


def _run_together(jobs: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class TestCheck:
    px = GainsightPx()

    def test_all_is_well_even_when_an_empty_update_is_refused(self) -> None:
        for probed in (DONE, reply(400, {})):
            account = account_of(connection(**BY_KEY), reply(200, {"id": "sub-1"}), probed)
            assert len(self.px.check(account, [export()])) == 2
            assert asked_of(account)[1].json == {"identityType": "IDENTIFY_ID", "add": [], "remove": []}
            assert asked_of(account)[0].headers == {"X-APTRINSIC-API-KEY": "k3y"}

    @pytest.mark.parametrize("answers", [(reply(401),), (reply(403),), (LOGIN_PAGE,), (reply(200, {}), reply(403))])
    def test_an_account_that_refuses_us(self, answers: tuple[Reply, ...]) -> None:
        with pytest.raises(ConnectionProblem):
            self.px.check(account_of(connection(**BY_KEY), *answers), [])
