"""Attribute mode of Gainsight PX: one Boolean attribute of users per segment, nothing else of a user."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.destinations.contract import Account, Answer, Finding, Level, Reply, Step
from relay.destinations.gainsight_px import GainsightPx
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.destinations.gainsight_px.settings import GainsightPxConnection
from relay.destinations.isolating import MAX_REFUSALS
from relay.domain.exports import Connection, Export
from relay.domain.problems import Actor, ConnectionProblem, ExportProblem, Transient
from tests.fakes.scripted_caller import account_of, asked_of, reply

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
CONNECTION = Connection(
    "px", "gainsight_px", "PX", GainsightPxConnection.model_validate({"region": "us", "api_key": "k3y"})
)
ATTRIBUTES = {"aep/a": "inA", "aep/b": "inB"}
KEY = "AP-ONE-2"
DONE = reply(204)
CREATED = reply(201, {"identifyId": "u1"})
UNKNOWN = reply(404, {"externalapierror": {"status": "NOT_FOUND", "message": "User was not found {id=u1}"}})
REFUSED = reply(400, {"externalapierror": {"status": "BAD_REQUEST", "message": "bad {id=u1}"}})

WORDLESS = (reply(404), reply(404, {"message": "no"}), reply(404, None, {"content-type": "text/plain"}, size=90))
NOBODY = [
    reply(200, body) for body in ({"users": [], "totalHits": 0}, {"users": None, "totalHits": 0}, {"totalHits": 0})
]
PAGE_404 = reply(404, None, {"content-type": "text/html"}, size=90)


def export(**options: Any) -> Export:
    given_options = GainsightPxOptions.model_validate({"mode": "attributes", "attributes": ATTRIBUTES, **options})
    mapping = {"IDENTIFY_ID": "identities.ECID"}
    return Export("px", "all", "gainsight_px", True, True, ("aep/a", "aep/b"), mapping, given_options, 1)


def step(identity: str = "u1", name: str = "inA", *, joins: bool = True) -> Step:
    return Step(f"attribute/{name}", identity, joins, AT)


def attribute(name: str, kind: str = "BOOLEAN", state: str = "ENABLED", origin: str = "CUSTOM") -> dict[str, str]:
    return {"id": f"id of {name}", "name": "Shown", "apiName": name, "type": kind, "state": state, "origin": origin}


BOTH = reply(200, [attribute("inA"), attribute("inB"), attribute("plan", "STRING")])


def subscription(*keys: str) -> Reply:
    products = [{"name": "P", "productKeys": [{"channel": "WEB", "productKey": key}]} for key in keys]
    return reply(200, {"id": "sub-1", "name": "S", "products": products})


class Px:
    """One process that has looked at nothing yet, answered by a script."""

    def __init__(self, *answers: Reply | Exception, **options: Any) -> None:
        self.px = GainsightPx()
        self.export = export(**options)
        self.account: Account = account_of(CONNECTION, *answers)

    def send(self, *steps: Step) -> Answer:
        return self.px.send(self.account, self.export, steps)

    def refused(self, *steps: Step) -> dict[int, str]:
        return {index: rejection.code for index, rejection in self.send(*steps).refused.items()}

    def send_one_by_one(self, users: int) -> None:
        for number in range(users):
            self.send(step(f"u{number}"))

    def bodies(self) -> list[Any]:
        return [asked.json for asked in asked_of(self.account) if asked.json is not None]


def ready(*answers: Reply | Exception, **options: Any) -> Px:
    """Return a Px that has looked at attributes and product keys before."""
    px = Px(BOTH, subscription(KEY), DONE, *answers, **options)
    px.send(step("somebody", "inA"), step("somebody", "inB"))
    asked_of(px.account).clear()
    return px


class TestCuttingIntoCalls:
    def test_all_of_a_users_steps_go_together_whatever_the_limit(self) -> None:
        px = Px(max_identities_per_call=1)
        steps = [step("u1"), step("u2"), step("u1", "inB"), step("u1", joins=False), step("u2", "inB")]
        assert px.px.calls(px.account, px.export, steps) == [[0, 2], [3], [1, 4]]

    @given(
        st.lists(st.tuples(st.sampled_from(["u1", "u2"]), st.sampled_from(["inA", "inB"]), st.booleans()), max_size=12)
    )
    def test_a_users_steps_for_one_attribute_keep_their_order(self, drawn: list[tuple[str, str, bool]]) -> None:
        steps = [step(identity, name, joins=joins) for identity, name, joins in drawn]
        px = Px()
        calls = px.px.calls(px.account, px.export, steps)
        assert sorted(index for call in calls for index in call) == list(range(len(steps)))
        last: dict[tuple[str, str], int] = {}
        for call in calls:
            assert len({steps[index].identity for index in call}) == 1
            assert len({steps[index].target for index in call}) == len(call)
            for index in call:
                place = (steps[index].target, steps[index].identity)
                assert last.get(place, -1) < index
                last[place] = index

    def test_an_export_whose_mode_was_changed_tells_both_ways(self) -> None:
        px = Px()
        old = replace(step("u1", joins=False), target="segment/aep/a")
        assert px.px.calls(px.account, px.export, [old, step(), replace(old, identity="u2")]) == [[0, 2], [1]]

    def test_a_run_reads_on_for_half_a_minutes_work(self) -> None:
        assert not Px().px.page_is_full(export(), 50, 49)
        assert Px().px.page_is_full(export(), 50, 50)


class TestTargets:
    def test_one_attribute_per_segment(self) -> None:
        assert Px().px.targets(export()) == {"attribute/inA": {"aep/a"}, "attribute/inB": {"aep/b"}}

    def test_a_segment_without_an_attribute_is_an_error_not_a_leaver(self) -> None:
        px = Px(BOTH, attributes={"aep/a": "inA"})
        targets = px.px.targets(px.export)
        assert frozenset().union(*targets.values()) == {"aep/a", "aep/b"}
        (nowhere,) = [target for target, segments in targets.items() if "aep/b" in segments]
        with pytest.raises(ExportProblem, match="segment_without_attribute"):
            px.send(replace(step(), target=nowhere))
        assert px.bodies() == []


class TestUnknownUsers:
    def test_is_a_rejection_that_runs_try_again(self) -> None:
        answer = ready(UNKNOWN).send(step(), step("u1", "inB", joins=False))
        assert {index: rejection.code for index, rejection in answer.refused.items()} == {0: "unknown_user"}
        assert "u1" not in answer.refused[0].detail

    @pytest.mark.parametrize("answer", WORDLESS)
    @pytest.mark.parametrize("listed", [reply(200, {"users": [{"identifyId": "U1"}]}), *NOBODY, reply(400)])
    def test_a_404_is_about_the_user_whatever_its_body(self, answer: Reply, listed: Reply) -> None:
        px = ready(answer, listed)
        assert px.refused(step()) == {0: "unknown_user"}
        assert asked_of(px.account)[-1].params == {"filter": "identifyId==u1"}
        assert ready(answer, listed, CREATED, create_users=True).refused(step()) == {}

    @pytest.mark.parametrize("answer", WORDLESS)
    def test_but_not_when_px_lists_the_user(self, answer: Reply) -> None:
        listed = reply(200, {"users": [{"identifyId": "U1"}, {"identifyId": "u1"}]})
        assert ready(answer, listed, DONE).refused(step()) == {}
        assert ready(answer, listed, UNKNOWN).refused(step()) == {0: "unknown_user"}
        px = ready(answer, listed, answer, subscription(KEY), answer, subscription(KEY), UNKNOWN)
        with pytest.raises(ConnectionProblem, match="region"):
            px.send(step())
        with pytest.raises(ConnectionProblem):
            px.px.check(px.account, [])
        assert [one.level for one in px.px.check(px.account, [])] == [Level.OK]


class TestRefusals:
    def test_an_export_that_was_proven_is_not_stopped_by_its_refused_users(self) -> None:
        """In this process or another; a new version of its options has to be proven again."""
        px = ready(*[REFUSED] * (4 * MAX_REFUSALS))
        for _ in range(2):
            for number in range(MAX_REFUSALS):
                assert px.refused(step(f"u{number}")) == {0: "identity_refused"}
            px.px = GainsightPx()
        px.export = replace(px.export, version=2)
        with pytest.raises(ExportProblem, match="all_refused"):
            px.send_one_by_one(MAX_REFUSALS)

    def test_one_px_does_not_know_proves_nothing_when_leaving(self) -> None:
        px = Px(BOTH, subscription(KEY), UNKNOWN, *[REFUSED] * MAX_REFUSALS)
        px.send(step("gone", joins=False))
        with pytest.raises(ExportProblem, match="all_refused"):
            px.send_one_by_one(MAX_REFUSALS)

    def test_one_px_does_not_know_ends_a_row_of_refused_ones(self) -> None:
        px = Px(BOTH, subscription(KEY), *[*[REFUSED] * (MAX_REFUSALS - 1), UNKNOWN] * 2)
        px.send_one_by_one(2 * MAX_REFUSALS)

    def test_trouble_after_another_user_was_written_leaves_the_outcome_open(self) -> None:
        with pytest.raises(Transient) as caught:
            ready(DONE, reply(429, None, {"retry-after": "7"})).send(step(), step("u2"))
        assert caught.value.taken is None
        assert caught.value.retry_after is not None
        with pytest.raises(Transient) as caught:
            ready(reply(429)).send(step(), step("u2"))
        assert caught.value.taken is False


MISFITS = [
    (attribute("ina"), "upper and lower case"),
    (attribute("inA", "STRING"), "type Boolean"),
    (attribute("inA", state="DISABLED"), "enable it"),
    (attribute("inA", state="DELETED"), "enable it"),
    (attribute("inA", origin="DEFAULT"), "custom one"),
]


class TestAttributes:
    @pytest.mark.parametrize(("shown", "words"), MISFITS)
    def test_one_of_no_use_is_told_before_anything_is_written(self, shown: dict[str, str], words: str) -> None:
        """By deliveries, by the check and before a run alike."""
        seen = reply(200, [shown, attribute("inB")])
        px = Px(seen, subscription(KEY), UNKNOWN, seen, seen, subscription(KEY))
        for identity in ("u1", "u2"):
            with pytest.raises(ExportProblem, match=words):
                px.send(step(identity))
        assert px.bodies() == []
        for findings in (px.px.check(px.account, [px.export]), px.px.check_before_run(px.account, px.export)):
            (error,) = [finding for finding in findings if finding.level is Level.ERROR]
            assert (error.subject, error.actor) == ("px/all", Actor.ADMINISTRATOR)
            assert words in error.message

    def test_what_was_mended_in_px_counts_after_the_next_look(self) -> None:
        px = Px(reply(200, []), BOTH, subscription(KEY), DONE)
        with pytest.raises(ExportProblem):
            px.send(step())
        assert [finding.level for finding in px.px.check_before_run(px.account, px.export)] == [Level.OK]
        assert px.refused(step()) == {}

    def test_leaving_one_that_is_gone_writes_nothing(self) -> None:
        px = Px(reply(200, []))
        assert px.refused(step(joins=False)) == {}
        assert px.bodies() == []

    def test_leaving_one_that_was_disabled_cannot_be_told(self) -> None:
        px = Px(reply(200, [attribute("inA", state="DISABLED")]))
        assert px.refused(step(joins=False)) == {0: "attribute_out_of_reach"}

    @pytest.mark.parametrize("seen", [[], [attribute("inA", state="DISABLED")]])
    def test_one_that_was_of_no_use_is_looked_at_again_before_a_leaver_is_let_go(self, seen: list[Any]) -> None:
        px = Px(reply(200, seen), subscription(KEY), BOTH, DONE)
        px.px.check_before_run(px.account, px.export)
        assert px.refused(step(joins=False)) == {}
        assert px.bodies()[-1]["customAttributes"] == {"inA": False}


class TestCheck:
    def check(self, *answers: Reply, **options: Any) -> list[Finding]:
        px = Px(*answers, **options)
        return px.px.check(px.account, [px.export])

    @pytest.mark.parametrize("probed", [UNKNOWN, REFUSED, DONE, reply(404)])
    def test_all_is_well(self, probed: Reply) -> None:
        findings = self.check(subscription(KEY), probed, BOTH)
        assert {finding.level for finding in findings} == {Level.OK}

    def test_the_probe_names_no_user(self) -> None:
        px = Px(subscription(KEY), UNKNOWN, BOTH)
        px.px.check(px.account, [px.export])
        assert px.bodies() == [{}]

    def test_an_update_of_nobody_that_is_too_much_for_px_says_nothing(self) -> None:
        findings = self.check(subscription(KEY), reply(500), BOTH)
        assert [finding.level for finding in findings if finding.subject == "users"] == [Level.WARNING]

    def test_product_keys(self) -> None:
        several = subscription(KEY, "AP-TWO-2")
        assert "product_keys" in self.errors(self.check(several, UNKNOWN, BOTH))
        assert "not of this subscription" in self.errors(
            self.check(several, UNKNOWN, BOTH, product_keys=[KEY, "AP-THREE-2"])
        )
        assert self.errors(self.check(several, UNKNOWN, BOTH, product_keys=[KEY])) == ""

    @pytest.mark.parametrize("before_a_run", [False, True])
    def test_a_product_key_that_was_replaced_in_px(self, before_a_run: bool) -> None:
        several, other = subscription("AP-NEW-2", "AP-TWO-2"), subscription("AP-NEW-2")
        seen = [(BOTH, several), (BOTH, other)] if before_a_run else [(several, UNKNOWN, BOTH), (other, UNKNOWN, BOTH)]
        px = ready(*seen[0], several, *seen[1], DONE)

        def look() -> list[Finding]:
            if before_a_run:
                return px.px.check_before_run(px.account, px.export)
            return px.px.check(px.account, [px.export])

        assert "product_keys" in self.errors(look())
        with pytest.raises(ExportProblem, match="product_keys"):
            px.send(step())
        assert self.errors(look()) == ""
        px.send(step())
        assert px.bodies()[-1]["propertyKeys"] == ["AP-NEW-2"]

    def test_an_attribute_of_a_segment_the_export_does_not_have(self) -> None:
        findings = self.check(subscription(KEY), UNKNOWN, BOTH, attributes={**ATTRIBUTES, "aep/x": "plan"})
        (warning,) = [one.message for one in findings if one.level is Level.WARNING]
        assert "attributes names aep/x" in warning

    def test_a_segment_without_an_attribute(self) -> None:
        findings = self.check(subscription(KEY), UNKNOWN, BOTH, attributes={"aep/a": "inA"})
        assert "aep/b has no attribute" in self.errors(findings)

    def errors(self, findings: list[Finding]) -> str:
        return " ".join(finding.message for finding in findings if finding.level is Level.ERROR)
