"""Claims: one winner, one flight, nobody forgotten, no time going backwards."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.claims import (
    UNSURE,
    Claim,
    Decision,
    Do,
    Fate,
    Flight,
    RunTag,
    Waiter,
    Wish,
    decide,
    from_json,
    land,
    to_json,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOUND = timedelta(minutes=5)
OUT = "out"


def joins(profile: str, digest: str = "v1", at: datetime = NOON, run: RunTag | None = None) -> Wish:
    return Wish(profile, True, digest, at, run=run)


def leaves(profile: str, at: datetime = NOON, *, goodbye: bool = True) -> Wish:
    return Wish(profile, False, OUT, at, goodbye)


def ask(
    claim: Claim,
    wish: Wish,
    *,
    flight: str = "f1",
    fate: Fate = Fate.UNKNOWN,
    now: datetime = NOON,
    cleared: datetime | None = None,
) -> Decision:
    return decide(claim, wish, flight_id=flight, fate=fate, now=now, bound=BOUND, cleared=cleared)


def told(claim: Claim, wish: Wish) -> Claim:
    """Return the claim after a wish was sent and taken."""
    decision = ask(claim, wish)
    assert decision.do is Do.SEND
    return land(decision.claim, taken=True)


# The examples of the design.


def test_the_first_claimant_is_sent() -> None:
    decision = ask(Claim(), joins("main/p1"))
    assert decision.do is Do.SEND
    assert decision.claim.flight is not None
    assert (decision.claim.flight.claimant, decision.claim.flight.until) == ("main/p1", NOON + BOUND)
    assert land(decision.claim, taken=True).sent == "v1"


def test_of_two_profiles_with_one_email_the_smaller_wins_and_the_other_is_a_duplicate() -> None:
    claim = told(Claim(), joins("main/p1"))
    decision = ask(claim, joins("main/p2", "v2"))
    assert decision.do is Do.DUPLICATE
    assert decision.claim.claimants == {"main/p1", "main/p2"}
    assert decision.claim.sent == "v1"


def test_a_change_of_winner_wakes_both() -> None:
    """Given p2 in flight, When p1 comes, Then it waits; and when the flight ends both are to be looked at again."""
    claim = ask(Claim(), joins("main/p2", "v2")).claim
    waiting = ask(claim, joins("main/p1"))
    assert waiting.do is Do.WAIT
    landed = land(waiting.claim, taken=True)
    assert {waiter.claimant for waiter in landed.look_again} == {"main/p1", "main/p2"}
    assert landed.to_wake


def test_a_winner_that_comes_later_wakes_the_one_it_supersedes() -> None:
    decision = ask(told(Claim(), joins("main/p2", "v2")), joins("main/p1"))
    assert decision.do is Do.SEND
    assert Waiter("main/p2") in decision.claim.look_again


def test_the_identity_leaves_only_with_its_last_claimant() -> None:
    claim = ask(told(Claim(), joins("main/p1")), joins("main/p2", "v2")).claim

    first = ask(claim, leaves("main/p1"))
    assert first.do is Do.RELEASED
    assert first.claim.claimants == {"main/p2"}
    assert first.claim.look_again == {Waiter("main/p2")}

    last = ask(replace(first.claim, claimants=frozenset({"main/p2"})), leaves("main/p2"))
    assert last.do is Do.SEND
    assert last.claim.flight is not None
    assert not last.claim.flight.joins
    assert last.claim.claimants == {"main/p2"}
    assert land(last.claim, taken=True).claimants == frozenset()


def test_when_a_duplicate_leaves_nobody_is_woken() -> None:
    claim = ask(told(Claim(), joins("main/p1")), joins("main/p2", "v2")).claim
    decision = ask(claim, leaves("main/p2"))
    assert (decision.do, decision.claim.look_again) == (Do.RELEASED, frozenset())


def test_where_leaving_is_not_told_the_last_claimant_just_goes() -> None:
    decision = ask(told(Claim(), joins("main/p1")), leaves("main/p1", goodbye=False))
    assert (decision.do, decision.claim.claimants, decision.claim.sent) == (Do.RELEASED, frozenset(), None)


def test_one_who_joins_while_the_identity_is_leaving_is_woken_when_it_has_left() -> None:
    claim = ask(told(Claim(), joins("main/p1")), leaves("main/p1")).claim
    decision = ask(claim, joins("main/p2"))
    assert decision.do is Do.WAIT
    landed = land(decision.claim, taken=True)
    assert landed.claimants == {"main/p2"}
    assert Waiter("main/p2") in landed.look_again
    assert ask(landed, joins("main/p2")).do is Do.SEND


def test_the_same_again_is_settled() -> None:
    assert ask(told(Claim(), joins("main/p1")), joins("main/p1")).do is Do.SETTLED


# Lost answers, failed calls, imports.


def test_a_lost_answer_lets_only_the_identical_payload_through_until_its_bound() -> None:
    lost = ask(Claim(), joins("main/p1")).claim

    again = ask(lost, joins("main/p1"), flight="f2", now=NOON + timedelta(minutes=1))
    assert again.do is Do.SEND
    assert again.claim.flight is not None
    assert again.claim.flight.at == NOON

    other = ask(lost, joins("main/p1", "v2"), now=NOON + timedelta(minutes=1))
    assert (other.do, other.due) == (Do.WAIT, NOON + BOUND)
    assert ask(lost, joins("main/p1", "v2"), now=NOON + BOUND).do is Do.SEND


def test_the_echo_of_a_lost_answer_holds_other_payloads_back_even_after_the_repetition_was_answered() -> None:
    lost = ask(Claim(), joins("main/p1")).claim
    again = ask(lost, joins("main/p1"), flight="f2", now=NOON + timedelta(minutes=1)).claim
    landed = land(again, taken=True)
    assert landed.sent == "v1"

    held = ask(landed, joins("main/p1", "v2"), now=NOON + timedelta(minutes=2))
    assert (held.do, held.due) == (Do.LATER, NOON + BOUND)
    assert ask(landed, leaves("main/p1"), now=NOON + timedelta(minutes=2)).do is Do.LATER
    assert ask(landed, joins("main/p1"), now=NOON + timedelta(minutes=2)).do is Do.SETTLED
    assert ask(landed, joins("main/p1", "v2"), now=NOON + BOUND).do is Do.SEND


def test_what_ended_without_a_sign_holds_other_payloads_back_until_its_bound() -> None:
    landed = land(ask(Claim(), joins("main/p1")).claim, taken=True, lasts=True)
    assert ask(landed, joins("main/p1")).do is Do.SETTLED
    other = ask(landed, joins("main/p1", "v2"), now=NOON + timedelta(minutes=1))
    assert (other.do, other.due) == (Do.LATER, NOON + BOUND)
    assert ask(landed, joins("main/p1", "v2"), now=NOON + timedelta(minutes=1), cleared=NOON).do is Do.SEND
    assert ask(landed, joins("main/p1", "v2"), now=NOON + BOUND).do is Do.SEND


def test_after_a_lost_answer_it_is_open_what_the_destination_holds() -> None:
    lost = ask(told(Claim(), joins("main/p1")), joins("main/p1", "v2")).claim
    assert land(lost, taken=None).sent == UNSURE
    back = ask(lost, joins("main/p1", "v1"), now=NOON + BOUND)
    assert back.do is Do.SEND


def test_a_call_that_never_took_off_lets_another_payload_go_at_once() -> None:
    failed = ask(told(Claim(), joins("main/p1")), joins("main/p1", "v2")).claim
    assert ask(failed, joins("main/p1", "v3"), fate=Fate.FAILED).do is Do.SEND
    assert ask(failed, joins("main/p1", "v1"), fate=Fate.FAILED).do is Do.SETTLED


def test_a_repetition_that_failed_does_not_undo_the_time_of_the_call_that_was_lost() -> None:
    """Given p2's call was lost and its repetition refused, When p1 comes with an older time, Then it is told later."""
    lost = ask(Claim(), joins("main/p2")).claim
    again = ask(lost, joins("main/p2"), flight="f2", now=NOON + timedelta(minutes=1)).claim
    earlier = joins("main/p1", "v2", NOON - timedelta(hours=1))
    decision = ask(again, earlier, flight="f3", fate=Fate.FAILED, now=NOON + BOUND)
    assert decision.do is Do.SEND
    assert decision.claim.flight is not None
    assert decision.claim.flight.at > NOON


def test_a_queued_import_is_awaited_however_long_it_takes() -> None:
    queued = ask(Claim(), joins("main/p1")).claim
    late = NOON + timedelta(hours=5)
    assert ask(queued, joins("main/p1"), fate=Fate.QUEUED, now=late).do is Do.PENDING
    other = ask(queued, joins("main/p1", "v2"), fate=Fate.QUEUED, now=late)
    assert (other.do, other.due) == (Do.WAIT, None)
    assert other.claim.look_again == {Waiter("main/p1")}


def test_a_run_that_did_not_send_an_import_waits_for_its_end_under_its_own_name() -> None:
    queued = ask(Claim(), joins("main/p1")).claim
    run = RunTag("run-1", 0)
    decision = ask(queued, joins("main/p1", run=run), fate=Fate.QUEUED)
    assert decision.do is Do.WAIT
    assert decision.claim.look_again == {Waiter("main/p1", "run-1")}
    tagged = ask(Claim(), joins("main/p1", run=run)).claim
    assert ask(tagged, joins("main/p1", run=run), fate=Fate.QUEUED).do is Do.PENDING


def test_a_call_nobody_answered_is_over_once_what_was_opened_by_then_is_known_to_be() -> None:
    lost = ask(Claim(), joins("main/p1")).claim
    other = joins("main/p1", "v2")
    before, just = NOON - timedelta(microseconds=1), NOON
    assert ask(lost, other, cleared=before).do is Do.WAIT
    sent = ask(lost, other, cleared=just)
    assert sent.do is Do.SEND
    assert sent.claim.flight is not None
    assert (sent.claim.flight.before, sent.claim.flight.echo, sent.claim.flight.at > NOON) == (UNSURE, None, True)


def test_an_echo_is_over_once_what_was_opened_by_then_is_known_to_be() -> None:
    later = NOON + timedelta(minutes=1)
    lost = ask(Claim(), joins("main/p1")).claim
    claim = land(ask(lost, joins("main/p1"), now=later).claim, taken=True)
    other = joins("main/p1", "v2")
    waiting = ask(claim, other, now=later, cleared=NOON - timedelta(seconds=1))
    assert (waiting.do, waiting.due) == (Do.LATER, NOON + BOUND)
    assert ask(claim, other, now=later, cleared=NOON).do is Do.SEND


def test_a_queued_import_is_open_whatever_else_is_over() -> None:
    queued = ask(Claim(), joins("main/p1")).claim
    decision = ask(queued, joins("main/p1", "v2"), fate=Fate.QUEUED, cleared=NOON + BOUND)
    assert (decision.do, decision.due) == (Do.WAIT, None)


# Properties: any history of a claim.

PROFILES = ("main/p1", "main/p2", "main/p3")
profile = st.sampled_from(PROFILES)
seconds = st.integers(0, 400)
action = st.one_of(
    st.tuples(st.just("join"), profile, st.sampled_from(["v1", "v2"]), seconds),
    st.tuples(st.just("leave"), profile, st.booleans(), seconds),
    st.tuples(st.just("land"), st.sampled_from([True, False, None]), st.none(), seconds),
    st.tuples(st.just("wake"), st.none(), st.none(), seconds),
    st.tuples(st.just("clear"), st.none(), st.none(), seconds),
    st.tuples(st.just("learn"), st.sampled_from([Fate.FAILED, Fate.QUEUED]), st.none(), seconds),
)


@dataclass
class History:
    """Plays actions on a claim as the engine would, and keeps what went out."""

    claim: Claim = field(default_factory=Claim)
    now: datetime = NOON
    sent: list[Flight] = field(default_factory=list)
    lost: list[Flight] = field(default_factory=list)
    fates: dict[str, Fate] = field(default_factory=dict)
    arrived: list[Flight] = field(default_factory=list)
    cleared: datetime | None = None

    def play(self, actions: Sequence[tuple[str, object, object, int]]) -> None:
        for kind, one, other, pause in actions:
            self.now += timedelta(seconds=pause)
            if kind == "land":
                self.land(one)
            elif kind == "wake":
                self.wake()
            elif kind == "clear":
                self.cleared = self.now - timedelta(seconds=pause / 2)
            elif kind == "learn" and self.claim.flight is not None and isinstance(one, Fate):
                self.fates.setdefault(self.claim.flight.id, one)
            elif kind == "learn":
                continue
            else:
                at = self.now - timedelta(seconds=pause * 7 % 900)
                wish = joins(str(one), str(other), at) if kind == "join" else leaves(str(one), at, goodbye=bool(other))
                self.ask(wish)

    def ask(self, wish: Wish) -> None:
        before = self.claim
        decision = ask(before, wish, flight=f"f{len(self.sent)}", **self.knowledge())
        self.claim = decision.claim
        self.check(before, wish, decision)
        if decision.do is Do.SEND and decision.claim.flight is not None:
            if before.flight is not None and self.fate_of(before) is Fate.UNKNOWN:
                self.lost.append(before.flight)
            self.sent.append(decision.claim.flight)

    def knowledge(self) -> dict[str, Any]:
        return {"fate": self.fate_of(self.claim), "now": self.now, "cleared": self.cleared}

    def is_over(self, flight: Flight) -> bool:
        """Whether a call that nobody answered can have no effect any more."""
        return self.now >= flight.until or (self.cleared is not None and flight.until - BOUND <= self.cleared)

    def fate_of(self, claim: Claim) -> Fate:
        return Fate.UNKNOWN if claim.flight is None else self.fates.get(claim.flight.id, Fate.UNKNOWN)

    def may_arrive(self, claim: Claim) -> bool:
        """Whether the claim's flight can still change something."""
        fate = self.fate_of(claim)
        return claim.flight is not None and (
            fate is Fate.QUEUED or (fate is Fate.UNKNOWN and not self.is_over(claim.flight))
        )

    def check(self, before: Claim, wish: Wish, decision: Decision) -> None:
        claim = decision.claim
        if wish.joins:
            assert wish.claimant in claim.claimants
            assert (decision.do is Do.DUPLICATE) <= (min(claim.claimants) < wish.claimant)
        if decision.do is Do.SEND and wish.joins and before.flight is None:
            assert min(claim.claimants) == wish.claimant, "only the smallest claimant is sent"
        if decision.do is Do.SEND and not wish.joins:
            assert claim.claimants == {wish.claimant} or (before.flight and before.flight.claimant == wish.claimant)
        if decision.do is Do.WAIT:
            assert Waiter(wish.claimant) in claim.look_again, "whoever waits is in look_again"
        if decision.do is Do.LATER:
            assert decision.due is not None
            assert decision.due > self.now
        if self.may_arrive(before) and before.flight is not None and decision.do is Do.SEND:
            assert self.fate_of(before) is Fate.UNKNOWN, "sent past a queued import"
            same = (wish.claimant, wish.joins, wish.digest)
            assert same == (before.flight.claimant, before.flight.joins, before.flight.digest), "two open flights"
        if decision.do is Do.SEND:
            for echo in self.lost:
                assert self.is_over(echo) or echo.digest == wish.digest, "another payload before the bound"

    def land(self, taken: object) -> None:
        if self.claim.flight is None:
            return
        last = self.claim.flight
        before = self.claim
        self.claim = land(self.claim, taken=bool(taken) if taken is not None else None)
        if taken is None:
            self.now = max(self.now, last.until)
        if taken is not False:
            self.arrived.append(last)
        assert before.look_again <= self.claim.look_again
        gone = before.claimants - self.claim.claimants
        assert not gone or (gone == {last.claimant} and not last.joins and taken is True)

    def wake(self) -> None:
        if self.claim.to_wake:
            self.claim = replace(self.claim, look_again=frozenset())


@settings(deadline=None)
@given(st.lists(action, max_size=25))
def test_any_history_keeps_one_winner_one_flight_and_forgets_nobody(
    actions: list[tuple[str, object, object, int]],
) -> None:
    History().play(actions)


@settings(deadline=None)
@given(st.lists(action, max_size=25))
def test_a_time_sent_never_goes_backwards_and_a_turn_is_later(actions: list[tuple[str, object, object, int]]) -> None:
    history = History()
    history.play(actions)
    for place, flight in enumerate(history.sent):
        reached = [old for old in history.sent[:place] if old in history.lost or old in history.arrived]
        assert all(flight.at >= old.at for old in reached)
        turned = [old for old in reached if (old.digest, old.joins) != (flight.digest, flight.joins)]
        assert all(flight.at > old.at for old in turned)


@settings(deadline=None)
@given(st.lists(action, max_size=25))
def test_a_claim_comes_to_rest_when_everybody_woken_looks_and_every_call_is_taken(
    actions: list[tuple[str, object, object, int]],
) -> None:
    """Convergence of one identity: at rest it holds the smallest claimant's payload, or nothing."""
    history = History()
    history.play(actions)
    history.now += timedelta(hours=1)
    wanted = {name: joins(name, f"of {name}", history.now) for name in sorted(history.claim.claimants)}
    for _ in range(12):
        history.land(True)
        history.wake()
        for wish in wanted.values():
            history.ask(wish)
    history.land(True)
    expected = f"of {min(wanted)}" if wanted else history.claim.sent
    assert (history.claim.flight, history.claim.sent) == (None, expected)
    assert set(history.claim.claimants) == set(wanted)


@settings(deadline=None)
@given(st.lists(action, max_size=25))
def test_a_claim_survives_being_stored(actions: list[tuple[str, object, object, int]]) -> None:
    history = History()
    history.play(actions)
    stored = json.loads(json.dumps(to_json(history.claim)))
    assert from_json(stored, 3) == replace(history.claim, version=3)


def test_a_flight_with_all_it_can_hold_survives_being_stored() -> None:
    flight = Flight(
        "f1", "main/p1", False, OUT, NOON, NOON + BOUND, UNSURE, "v1", NOON + BOUND, (RunTag("r", 1, 2), RunTag("s", 0))
    )
    claim = Claim(
        frozenset({"main/p1"}), flight, frozenset({Waiter("main/p2", "r"), Waiter("main/p3")}), UNSURE, NOON, "v0", NOON
    )
    assert from_json(json.loads(json.dumps(to_json(claim))), 0) == claim
