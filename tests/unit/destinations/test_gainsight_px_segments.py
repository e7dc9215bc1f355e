"""External segments at Gainsight PX: made once, renamed, made again when PX has lost them, and looked at by checks."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.destinations.contract import Account, Level, Reply, Step
from relay.destinations.gainsight_px import GainsightPx
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.destinations.gainsight_px.settings import GainsightPxConnection
from relay.destinations.gainsight_px.stops import MOST_PROBES
from relay.domain.exports import Connection, Export
from relay.domain.problems import ConnectionProblem, ExportProblem, Transient
from tests.fakes.scripted_caller import (
    Asked,
    DictNotes,
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


def told_segment(asked: Asked) -> str:
    return str(asked.json["add"][0]["segmentId"])


class TestMakingKnown:
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


class TestRenaming:
    def test_a_new_name_is_told_once_by_both_ids(self) -> None:
        px = known(shown(), DONE, DONE, name="Loyal buyers")
        for identity in ("u1", "u2"):
            PX.send(px, export(), [step(identity)])
        as_given = {"id": "px-1", "externalId": "aep/a", "name": "Loyal buyers", "description": DESCRIPTION}
        assert [asked.json for asked in asked_of(px) if asked.method == "PUT"] == [as_given]

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

    @pytest.mark.parametrize("gone", [400, 404])
    def test_it_is_made_again_once_and_the_call_repeated(self, gone: int) -> None:
        px = known(refusal(404), refusal(gone), shown("px-2"), DONE)
        answer = PX.send(px, export(), [step()])
        assert answer.refused == {}
        assert told_segment(asked_of(px)[-1]) == "px-2"

    def test_among_others_it_is_found_by_halving_and_nobody_is_blamed(self) -> None:
        px = known(refusal(400), DONE, refusal(400), refusal(404), shown("px-3"), DONE)
        texts = {"id": "px-2", "name": "aep/b", "description": "Kept by Audience Relay from aep/b"}
        px.notes.keep("px external segment us of aep/b", json.dumps(texts))
        steps = [step("u1", "aep/b"), step("u2")]
        assert PX.send(px, export(("aep/a", "aep/b")), steps).refused == {}
        assert told_segment(asked_of(px)[-1]) == "px-3"

    def test_trouble_of_a_moment_with_memberships_is_over(self) -> None:
        assert PX.send(known(refusal(404), shown(), DONE, DONE), export(), [step()]).refused == {}

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

    def test_what_it_has_left_in_segments_does_not_hold_the_connection(self) -> None:
        """Given an export of attributes whose leavers PX refuses, Then a probe lets the connection go on."""
        px = known(reply(401), shown(), SUBSCRIPTION)
        attributes = export(mode="attributes", attributes={"aep/a": "inA"})
        with pytest.raises(ConnectionProblem, match="not_authorised"):
            PX.send(px, attributes, [replace(step(), joins=False)])
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
