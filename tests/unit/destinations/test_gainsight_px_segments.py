"""External segments at Gainsight PX: made once, renamed, made again when PX has lost them, and looked at by checks."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay.destinations.contract import Account, Level, Reply, Step
from relay.destinations.gainsight_px import GainsightPx
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.destinations.gainsight_px.settings import GainsightPxConnection
from relay.destinations.gainsight_px.stops import MOST_PROBES
from relay.domain.exports import Connection, Export
from relay.domain.problems import Actor, ConnectionProblem, ExportProblem, Transient
from tests.fakes.scripted_caller import (
    LOGIN_PAGE,
    Asked,
    DictNotes,
    ScriptedCaller,
    account_of,
    asked_of,
    reply,
    unused_of,
)

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
DONE = reply(200)
SUBSCRIPTION = reply(200, {"id": "sub-1", "products": []})
METADATA = "https://api.aptrinsic.com/v1/external_segment/metadata"
KEY = "px external segment us of aep/a"
UPDATE = "https://api.aptrinsic.com/v1/external_segment/update_membership"
DESCRIPTION = "Kept by Audience Relay from aep/a"
PX = GainsightPx()


def connection(**changes: str) -> Connection:
    fields = {"region": "us", "api_key": "k3y", **changes}
    return Connection("px", "gainsight_px", "PX", GainsightPxConnection.model_validate(fields))


def export(segments: tuple[str, ...] = ("aep/a",), **options: Any) -> Export:
    given = GainsightPxOptions.model_validate(options)
    return Export("px", "all", "gainsight_px", True, True, segments, {"IDENTIFY_ID": "identities.ECID"}, given, 1)


def step(identity: str = "u1", segment: str = "aep/a") -> Step:
    return Step(f"segment/{segment}", identity, True, AT)


def shown(px_id: str = "px-1", **texts: str) -> Reply:
    return reply(200, {"id": px_id, "externalId": "aep/a", "name": "aep/a", "description": DESCRIPTION, **texts})


def refusal(status: int) -> Reply:
    return reply(status, {"externalapierror": {"status": "BAD_REQUEST", "message": "no {id=u1}"}})


def account(*answers: Reply | Exception, name: str | None = None, notes: DictNotes | None = None) -> Account:
    return replace(account_of(connection(), *answers, notes=notes), segment_name=lambda _: name)


def known(*answers: Reply | Exception, name: str | None = None, **kept: Any) -> Account:
    """Return an account that knows the segment as px-1."""
    made = account(*answers, name=name)
    texts = {"id": "px-1", "name": "aep/a", "description": DESCRIPTION, **kept}
    made.notes.keep(KEY, json.dumps(texts, sort_keys=True))
    return made


def made_calls(of: Account) -> list[tuple[str, str]]:
    return [(asked.method, asked.url.rpartition("/")[2]) for asked in asked_of(of)]


def told_segment(asked: Asked) -> str:
    return str(asked.json["add"][0]["segmentId"])


class TestMakingKnown:
    def test_metadata_is_sent_once_per_segment_not_once_per_call(self) -> None:
        px = account(shown(), DONE, DONE)
        PX.send(px, export(), [step()])
        PX.send(px, export(), [step("u2")])
        assert [asked.url for asked in asked_of(px)] == [METADATA, UPDATE, UPDATE]
        assert told_segment(asked_of(px)[2]) == "px-1"

    @pytest.mark.parametrize(
        ("options", "platform", "name", "description"),
        [
            ({}, None, "aep/a", DESCRIPTION),
            ({}, " ", "aep/a", DESCRIPTION),
            ({}, "Loyal buyers", "Loyal buyers", DESCRIPTION),
            ({"segment_names": {"aep/a": "Loyal"}}, "Loyal buyers", "Loyal", DESCRIPTION),
            ({"segment_descriptions": {"aep/a": "Buys often"}}, None, "aep/a", "Buys often"),
        ],
    )
    def test_its_texts(self, options: dict[str, Any], platform: str | None, name: str, description: str) -> None:
        px = account(shown(name=name, description=description), DONE, name=platform)
        PX.send(px, export(**options), [step()])
        asked = asked_of(px)[0]
        assert (asked.method, asked.params) == ("POST", {"failIfExists": "false"})
        assert asked.json == {"externalId": "aep/a", "name": name, "description": description}

    def test_two_workers_that_both_create_end_up_with_one_id(self) -> None:
        class FirstIsAnother(DictNotes):
            def keep(self, key: str, value: str, *, replaces: str | None = None) -> str:
                self.kept.setdefault(key, value.replace("px-ours", "px-theirs"))
                return super().keep(key, value, replaces=replaces)

        px = account(shown("px-ours"), DONE, notes=FirstIsAnother())
        PX.send(px, export(), [step()])
        assert told_segment(asked_of(px)[-1]) == "px-theirs"

    def test_another_region_has_other_ids(self) -> None:
        px = account(shown(), DONE, shown("px-2"), DONE)
        PX.send(px, export(), [step()])
        PX.send(replace(px, connection=connection(region="us2")), export(), [step()])
        assert told_segment(asked_of(px)[-1]) == "px-2"

    @pytest.mark.parametrize("body", [{}, [], {"id": None}, {"id": ""}])
    def test_an_answer_without_an_id(self, body: Any) -> None:
        with pytest.raises(Transient, match="unexpected_answer"):
            PX.send(account(reply(200, body)), export(), [step()])
        px = account(reply(200, body), DONE)
        PX.send(px, export(segment_ref="external_id"), [step()])
        assert told_segment(asked_of(px)[-1]) == "aep/a"

    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_refused_metadata_stops_the_export(self, status: int) -> None:
        with pytest.raises(ExportProblem, match="segment_names"):
            PX.send(account(refusal(status)), export(), [step()])

    def test_trouble_before_the_membership_call_took_nothing(self) -> None:
        trouble = Transient("timeout", "no answer", retry_after=timedelta(seconds=2))
        with pytest.raises(Transient) as caught:
            PX.send(account(trouble), export(), [step()])
        assert (caught.value.taken, caught.value.retry_after) == (False, timedelta(seconds=2))


class TestRenaming:
    def test_a_new_name_is_told_once_by_both_ids(self) -> None:
        px = known(shown(), DONE, DONE, name="Loyal buyers")
        for identity in ("u1", "u2"):
            PX.send(px, export(), [step(identity)])
        assert made_calls(px) == [
            ("PUT", "metadata"),
            ("POST", "update_membership"),
            ("POST", "update_membership"),
        ]
        as_given = {"id": "px-1", "externalId": "aep/a", "name": "Loyal buyers", "description": DESCRIPTION}
        assert asked_of(px)[0].json == as_given

    def test_a_segment_that_was_there_before_gets_our_name(self) -> None:
        px = account(shown(name="Old"), shown(), DONE, name="New")
        PX.send(px, export(), [step()])
        assert made_calls(px)[:2] == [("POST", "metadata"), ("PUT", "metadata")]
        assert asked_of(px)[1].json["name"] == "New"

    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_a_refused_name_holds_no_membership_back_and_is_told_by_the_check(self, status: int) -> None:
        px = known(refusal(status), DONE, DONE, SUBSCRIPTION, DONE, shown(), DONE, name="New")
        for identity in ("u1", "u2"):
            PX.send(px, export(), [step(identity)])
        assert len(asked_of(px)) == 3
        (warning,) = [finding for finding in PX.check(px, [export()]) if finding.level is Level.WARNING]
        assert "aep/a" in warning.message
        assert warning.actor is Actor.ADMINISTRATOR
        PX.send(replace(px, segment_name=lambda _: "Newer"), export(), [step()])
        assert asked_of(px)[-2].json["name"] == "Newer"

    @pytest.mark.parametrize("trouble", [reply(500), reply(408), Transient("timeout", "no answer in time")])
    def test_trouble_with_a_name_alone_leaves_it_to_the_next_delivery(self, trouble: Reply | Exception) -> None:
        px = known(trouble, DONE, shown(), DONE, name="New")
        for identity in ("u1", "u2"):
            PX.send(px, export(), [step(identity)])
        assert [method for method, _ in made_calls(px)] == ["PUT", "POST", "PUT", "POST"]

    @pytest.mark.parametrize("trouble", [reply(429), reply(503, None, {"retry-after": "9"})])
    def test_who_asks_us_to_wait_is_not_called_on(self, trouble: Reply) -> None:
        px = known(trouble, name="New")
        with pytest.raises(Transient):
            PX.send(px, export(), [step()])
        assert len(asked_of(px)) == 1

    def test_a_page_instead_of_an_answer_is_no_success(self) -> None:
        with pytest.raises(ConnectionProblem, match="not_json"):
            PX.send(known(LOGIN_PAGE, name="New"), export(), [step()])

    def test_of_two_names_sent_at_once_px_shows_the_one_that_is_kept(self) -> None:
        class Overtaken(DictNotes):
            def keep(self, key: str, value: str, *, replaces: str | None = None) -> str:
                if replaces is not None and "Mine" in value:
                    self.kept[key] = value.replace("Mine", "Theirs")
                return super().keep(key, value, replaces=replaces)

        notes = Overtaken({KEY: json.dumps({"id": "px-1", "name": "Old", "description": DESCRIPTION})})
        px = account(shown(name="Mine"), shown(name="Theirs"), DONE, name="Mine", notes=notes)
        PX.send(px, export(), [step()])
        assert [asked.json["name"] for asked in asked_of(px)[:2]] == ["Mine", "Theirs"]

    def test_one_that_is_gone_is_made_again_under_its_new_name(self) -> None:
        px = known(refusal(404), shown("px-2", name="New"), DONE, name="New")
        PX.send(px, export(), [step()])
        assert told_segment(asked_of(px)[-1]) == "px-2"


class TestLosing:
    """A segment somebody deleted in PX by hand."""

    @pytest.mark.parametrize("shows_as", [400, 404])
    @pytest.mark.parametrize("gone", [400, 404])
    def test_it_is_made_again_once_and_the_call_repeated(self, shows_as: int, gone: int) -> None:
        px = known(refusal(shows_as), refusal(gone), shown("px-2"), DONE)
        answer = PX.send(px, export(), [step()])
        assert answer.refused == {}
        assert made_calls(px) == [
            ("POST", "update_membership"),
            ("PUT", "metadata"),
            ("POST", "metadata"),
            ("POST", "update_membership"),
        ]
        assert [told_segment(asked_of(px)[place]) for place in (0, 3)] == ["px-1", "px-2"]

    def test_among_others_it_is_found_by_halving_and_nobody_is_blamed(self) -> None:
        px = known(refusal(400), DONE, refusal(400), refusal(404), shown("px-3"), DONE)
        texts = {"id": "px-2", "name": "aep/b", "description": "Kept by Audience Relay from aep/b"}
        px.notes.keep("px external segment us of aep/b", json.dumps(texts))
        steps = [step("u1", "aep/b"), step("u2")]
        assert PX.send(px, export(("aep/a", "aep/b")), steps).refused == {}
        assert told_segment(asked_of(px)[-1]) == "px-3"

    def test_a_segment_that_is_still_there_is_not_made_again(self) -> None:
        """It is named by the wrong one of its ids, then: PX answers for nobody's memberships."""
        px = known(refusal(404), shown(), refusal(400), refusal(404))
        with pytest.raises(ExportProblem, match=r"segment_unknown.*segment_ref"):
            PX.send(px, export(), [step()])

    def test_trouble_of_a_moment_with_memberships_is_over(self) -> None:
        assert PX.send(known(refusal(404), shown(), DONE, DONE), export(), [step()]).refused == {}

    @pytest.mark.parametrize("shows_as", [400, 404])
    @pytest.mark.parametrize("reference", ["id", "external_id"])
    def test_one_another_worker_made_again_meanwhile(self, shows_as: int, reference: str) -> None:
        """Given that the note changes under way, Then the new reference is used without asking PX."""

        class Overtaken(ScriptedCaller):
            def __call__(self, *arguments: Any, **named: Any) -> Reply:
                if len(self.asked) == 0:
                    texts = {"id": "px-2", "name": "aep/a", "description": DESCRIPTION}
                    px.notes.keep(KEY, json.dumps(texts, sort_keys=True), replaces=px.notes.get(KEY))
                return super().__call__(*arguments, **named)

        px = known()
        px = replace(px, call=Overtaken([refusal(shows_as), DONE]))
        assert PX.send(px, export(segment_ref=reference), [step()]).refused == {}
        assert made_calls(px) == [("POST", "update_membership")] * 2
        assert told_segment(asked_of(px)[-1]) == ("px-2" if reference == "id" else "aep/a")

    def test_one_px_has_after_all_keeps_its_id(self) -> None:
        """The PUT is refused for a reason of its own: making it known again gives the same id, and nothing changes."""
        px = known(refusal(400), refusal(400), shown(), refusal(400))
        (rejection,) = PX.send(px, export(), [step()]).refused.values()
        assert rejection.code == "identity_refused"

    def test_it_is_looked_after_once_a_call(self) -> None:
        px = known(refusal(400), *[refusal(400), shown(), refusal(400)], *[refusal(400)] * 3, DONE)
        assert set(PX.send(px, export(), [step(f"u{number}") for number in range(3)]).refused) == {0, 1}

    def test_the_check_tells_that_it_came_back_empty_until_everybody_is_told_again(self) -> None:
        px = known(refusal(404), refusal(404), shown("px-2"), DONE, *[SUBSCRIPTION, DONE] * 2)
        PX.send(px, export(tell_again=3), [step()])
        (warning,) = [one for one in PX.check(px, [export(tell_again=3)]) if one.level is Level.WARNING]
        assert "tell_again in the export's options to 4" in warning.message
        assert all(one.level is Level.OK for one in PX.check(px, [export(tell_again=4)]))


class TestFeature:
    def test_while_it_was_never_seen_off_a_run_looks_at_nothing(self) -> None:
        assert PX.check_before_run(account(), export()) == []

    @pytest.mark.parametrize("status", [403, 404])
    def test_once_seen_off_a_run_looks_before_it_sends(self, status: int) -> None:
        """Given a call that met no feature, Then it is the export that stops, and the account alone is well."""
        answers = (reply(status), SUBSCRIPTION)
        px = account(*answers, SUBSCRIPTION, reply(status), DONE)
        with pytest.raises(ExportProblem, match="feature_off"):
            PX.send(px, export(), [step()])
        assert [finding.level for finding in PX.check(px, [])] == [Level.OK]
        (finding,) = PX.check_before_run(px, export())
        assert (finding.subject, finding.level, finding.actor) == ("px/all", Level.ERROR, Actor.ADMINISTRATOR)
        assert "Gainsight support" in finding.message
        assert [one.level for one in PX.check_before_run(px, export())] == [Level.OK]
        assert PX.check_before_run(px, export()) == []

    def test_one_that_went_off_stops_the_export(self) -> None:
        px = known(reply(403), reply(403), SUBSCRIPTION)
        with pytest.raises(ExportProblem, match="feature_off"):
            PX.send(px, export(), [step()])
        px = known(reply(404), reply(404), reply(404), SUBSCRIPTION)
        with pytest.raises(ExportProblem, match="feature_off"):
            PX.send(px, export(), [step()])

    def test_a_key_that_lost_its_permission_stops_the_export(self) -> None:
        px = known(reply(401), reply(401), SUBSCRIPTION)
        with pytest.raises(ExportProblem, match=r"may_not_write.*Write permission"):
            PX.send(px, export(), [step()])

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_when_everything_is_refused_it_is_the_connection(self, status: int) -> None:
        with pytest.raises(ConnectionProblem):
            PX.send(account(reply(status), reply(status)), export(), [step()])
        with pytest.raises(ConnectionProblem):
            PX.send(known(*[reply(status)] * 6), export(), [step()])

    def test_trouble_while_looking_for_the_reason_is_trouble(self) -> None:
        for answers in ((reply(403), reply(503)), (reply(404), shown(), reply(503))):
            with pytest.raises(Transient) as caught:
                PX.send(known(*answers), export(), [step()])
            assert caught.value.taken is False

    def test_a_connection_stays_closed_until_what_stopped_it_is_open(self) -> None:
        px = known(reply(403), shown(), *[SUBSCRIPTION, reply(403)] * 2, *[SUBSCRIPTION, DONE, SUBSCRIPTION])
        with pytest.raises(ConnectionProblem, match="feature_off"):
            PX.send(px, export(), [step()])
        for _ in range(2):
            with pytest.raises(ConnectionProblem):
                PX.check(px, [])
        assert asked_of(px)[-1].json == {"identityType": "IDENTIFY_ID", "add": [], "remove": []}
        assert [one.level for one in PX.check(px, [])] == [Level.OK]
        assert [one.level for one in PX.check(px, [])] == [Level.OK]
        assert unused_of(px) == []

    def test_but_not_for_ever(self) -> None:
        """Its exports may have been changed so that none needs it; a probe does not know them."""
        px = known(reply(403), shown(), *[SUBSCRIPTION, reply(403)] * MOST_PROBES, SUBSCRIPTION)
        with pytest.raises(ConnectionProblem):
            PX.send(px, export(), [step()])
        for _ in range(MOST_PROBES):
            with pytest.raises(ConnectionProblem):
                PX.check(px, [])
        assert [one.level for one in PX.check(px, [])] == [Level.OK]

    def test_an_export_that_tells_attributes_now_is_not_stopped_by_it(self) -> None:
        px = known(reply(403), reply(403), SUBSCRIPTION)
        attributes = export(mode="attributes", attributes={"aep/a": "inA"})
        answer = PX.send(px, attributes, [replace(step(), joins=False), replace(step("u2"), joins=False)])
        assert {rejection.code for rejection in answer.refused.values()} == {"segment_out_of_reach"}
        assert set(answer.refused) == {0, 1}


class TestCheck:
    def test_all_is_well_even_when_an_empty_update_is_refused(self) -> None:
        for probed in (DONE, refusal(400)):
            px = account(reply(200, {"id": "sub-1"}), probed)
            assert [finding.level for finding in PX.check(px, [export()])] == [Level.OK, Level.OK]
            assert asked_of(px)[1].json == {"identityType": "IDENTIFY_ID", "add": [], "remove": []}
            assert asked_of(px)[0].headers == {"X-APTRINSIC-API-KEY": "k3y"}

    @pytest.mark.parametrize("answer", [reply(401), reply(403), reply(404), LOGIN_PAGE])
    def test_an_account_that_refuses_us(self, answer: Reply) -> None:
        with pytest.raises(ConnectionProblem):
            PX.check(account(answer), [export()])

    @pytest.mark.parametrize(
        ("status", "words"), [(401, ("Write permission",)), (403, ("support", "region")), (404, ("support", "region"))]
    )
    def test_what_keeps_an_export_from_its_segments(self, status: int, words: tuple[str, ...]) -> None:
        px = account(SUBSCRIPTION, refusal(status))
        (finding,) = [one for one in PX.check(px, [export()]) if one.level is Level.ERROR]
        assert all(word in finding.message for word in words)
        assert finding.actor is Actor.ADMINISTRATOR

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_a_log_in_the_subscription_is_not_shown_to(self, status: int) -> None:
        """That it may read it is documented for keys only: the token and the feature are the proof."""
        grant = {"username": "u", "password": "p", "client_id": "c", "client_secret": "s", "token_url": "https://t/t"}
        token = reply(200, {"access_token": "t0ken"})
        again = [token, reply(401)] if status == 401 else []
        fields = GainsightPxConnection.model_validate({"region": "us", **grant})
        by_log_in = Connection("px", "gainsight_px", "PX", fields)
        for exports in ([], [export()]):
            px = account_of(by_log_in, token, reply(status), *again, *[refusal(400)] * 2)
            levels = {finding.subject: finding.level for finding in GainsightPx().check(px, exports)}
            assert levels.pop("connection") is Level.WARNING
            assert set(levels.values()) <= {Level.OK}
            by_attributes = export(mode="attributes", attributes={"aep/a": "inA"})
            px = account_of(by_log_in, token, reply(status), *again, DONE)
            (error,) = [one for one in GainsightPx().check(px, [by_attributes]) if one.level is Level.ERROR]
            assert "log-in" in error.message
            px = account_of(by_log_in, token, reply(status), *again)
            with pytest.raises(ExportProblem, match="may_not_read"):
                GainsightPx().check_before_run(px, by_attributes)
            nothing = account_of(by_log_in, token, reply(status), *again, reply(status), *again)
            with pytest.raises(ConnectionProblem):
                GainsightPx().check(nothing, exports)

    def test_options_of_segments_the_export_does_not_have(self) -> None:
        px = account(SUBSCRIPTION, DONE)
        strange = export(segment_names={"aep/a": "A", "aep/x": "X"}, segment_descriptions={"aep/y": "Y"})
        warnings = [one.message for one in PX.check(px, [strange]) if one.level is Level.WARNING]
        assert ["aep/x" in warnings[0], "aep/y" in warnings[1], len(warnings)] == [True, True, 2]

    def test_trouble_is_no_finding(self) -> None:
        with pytest.raises(Transient):
            PX.check(account(SUBSCRIPTION, reply(503)), [export()])


def test_there_are_no_imports() -> None:
    assert PX.import_report(account(), export(), None, []).finished  # type: ignore[arg-type]
