import json
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
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.destinations.gainsight_px.settings import GainsightPxConnection
from relay.destinations.gainsight_px.token import Tokens
from relay.domain.exports import Connection, Export
from relay.domain.problems import ConnectionProblem, Rejection
from tests.fakes.scripted_caller import account_of, asked_of, reply

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
    return reply(200, {"id": f"px-{number}"})


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

    def test_a_key_that_fits_no_header_is_not_shown(self) -> None:
        with pytest.raises(ValidationError, match="REST API") as caught:
            connection(region="us", api_key="k3y with blanks")
        assert "k3y" not in str(caught.value)

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
            {"max_identities_per_call": 1.5},
            {"tell_again": -1},
            {"tell_again": True},
            {"mode": "attributes"},
            {"attributes": {"aep/a": "inA"}},
            {"create_users": True},
            {"mode": "attributes", "attributes": {"aep/a": "inA", "aep/b": "inA"}},
            {"mode": "attributes", "attributes": {"aep/a": " "}},
            {"mode": "attributes", "attributes": {"aep/a": "inA"}, "identity_type": "GLOBAL_ID"},
            {"mode": "attributes", "attributes": {"aep/a": "inA"}, "create_users": "yes"},
            {"list_id": "7"},
        ],
    )
    def test_options_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            export(**options)

    def test_whole_numbers_written_as_doubles(self) -> None:
        options = export(max_identities_per_call=1e3, tell_again=2.0).options
        assert (options.max_identities_per_call, options.tell_again) == (1000, 2)


class TestIdentity:
    px = GainsightPx()

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("u1", ["u1"]),
            (" U1 ", [" U1 "]),
            (17, ["17"]),
            (0, ["0"]),
            (1001.0, ["1001"]),
            (["", None, "b", " "], ["b"]),
        ],
    )
    def test_an_id_is_passed_on_exactly_as_it_is(self, value: Any, expected: list[str]) -> None:
        assert self.px.identity_of(value, export()) == expected

    @pytest.mark.parametrize(
        ("several", "expected"), [("first", ["a"]), ("all", ["a", "b"]), ("reject", "several_identities")]
    )
    @pytest.mark.parametrize("value", [["b", "a", "b"], ["a", "b"]])
    def test_several_in_whatever_order(self, several: str, expected: Any, value: list[str]) -> None:
        found = self.px.identity_of(value, export(multiple_identities=several))
        assert (found.code if isinstance(found, Rejection) else found) == expected

    def test_one_id_given_twice_is_one(self) -> None:
        assert self.px.identity_of(["a", "a"], export(multiple_identities="reject")) == ["a"]

    @pytest.mark.parametrize("value", [None, "", " ", [], [None]])
    def test_none(self, value: Any) -> None:
        found = self.px.identity_of(value, export())
        assert isinstance(found, Rejection)
        assert found.code == "no_identity"

    @pytest.mark.parametrize("value", [True, 1.5, 1e300, {"id": "u1"}, ["\ud83d"], [["u1"]]])
    def test_malformed(self, value: Any) -> None:
        found = self.px.identity_of(value, export())
        assert isinstance(found, Rejection)
        assert found.code == "malformed_identity"

    def test_nothing_but_membership_is_ever_sent(self) -> None:
        assert self.px.encode("signUpDate", 17) is None
        assert dict(self.px.mapping_problems({"IDENTIFY_ID": "x", "email": "x"})).keys() == {"email"}
        assert dict(self.px.mapping_problems({})).keys() == {"IDENTIFY_ID"}


class TestMembership:
    px = GainsightPx()

    def body(self, steps: list[Step], **options: Any) -> Any:
        account = account_of(connection(**BY_KEY), created(1), created(2), DONE)
        self.px.send(account, export(**options), steps)
        return asked_of(account)[-1].json

    def test_one_action_per_segment_direction_and_time(self) -> None:
        later = datetime(2026, 11, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
        steps = [step("u1"), step("u2"), step("u3", at=later), step("u4", "aep/b", joins=False), step("u4")]
        assert self.body(steps) == {
            "identityType": "IDENTIFY_ID",
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
        calls = self.px.calls(account_of(connection(**BY_KEY)), export(max_identities_per_call=limit), steps)
        assert [index for call in calls for index in call] == list(range(len(steps)))
        for call in calls:
            places = [(steps[index].target, steps[index].identity) for index in call]
            assert len(places) == len(set(places)) <= limit

    def test_full_calls(self) -> None:
        steps = [step(f"u{number}") for number in range(2500)]
        calls = self.px.calls(account_of(connection(**BY_KEY)), export(), steps)
        assert [len(call) for call in calls] == [1000, 1000, 500]

    def test_a_run_reads_on_until_a_call_is_full(self) -> None:
        assert not self.px.page_is_full(export(max_identities_per_call=5), 3, 1)
        assert self.px.page_is_full(export(max_identities_per_call=5), 3, 2)

    def test_a_later_moment_is_never_written_as_an_earlier_one(self) -> None:
        """Whatever the zone, and with nothing after the point: what is written sorts as the moments do."""
        zone = timezone(timedelta(hours=-7, minutes=-30))
        moments = [AT.replace(microsecond=0), AT, (AT + timedelta(microseconds=1)).astimezone(zone)]
        written = [self.body([step(at=at)])["add"][0]["lastQualificationTime"] for at in moments]
        assert written == [
            "2026-11-01T12:00:00.000000Z",
            "2026-11-01T12:00:00.269332Z",
            "2026-11-01T12:00:00.269333Z",
        ]

    def test_raising_tell_again_makes_everybody_worth_telling(self) -> None:
        again = [dict(self.px.complete(export(tell_again=number), {})) for number in range(3)]
        assert again[0] == {}
        assert len({str(values) for values in again}) == 3


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
        texts = {"name": "aep/a", "description": "Kept by Audience Relay from aep/a"}
        account.notes.keep("px external segment eu sub-1 of aep/a", json.dumps({"id": "px-1", **texts}))
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
        ("expires_in", "good_for"),
        [
            (3600, 3540),
            ("3600", 3540),
            (100, 90),
            (None, 270),
            ("soon", 270),
            (-5, 270),
            (True, 270),
            (10**400, 86_340),
            ("1e999", 86_340),
            (float("nan"), 270),
            (999_999, 86_340),
        ],
    )
    def test_kept_until_shortly_before_it_expires(self, expires_in: Any, good_for: int) -> None:
        account = self.sends(reply(200, {"access_token": "t1", "expires_in": expires_in}), TOKEN)
        given = [self.tokens.token(account)]
        for seconds in (good_for - 1, 1):
            self.clock.now += seconds
            given.append(self.tokens.token(account))
        assert given == ["t1", "t1", "t0ken"]

    def test_a_changed_secret_is_not_served_an_old_token(self) -> None:
        account = self.sends(TOKEN, DONE, TOKEN, DONE)
        self.px.send(account, export(), [step()])
        changed = replace(account, connection=connection(**{**GRANT, "client_secret": "n3w"}))
        self.px.send(changed, export(), [step()])
        form = asked_of(account)[2].form
        assert form is not None
        assert form["client_secret"] == "n3w"

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
