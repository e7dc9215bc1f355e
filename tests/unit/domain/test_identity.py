"""The rules of the identity record: examples that read as documentation, and properties that hold for any history."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.domain.identity import (
    CLOCK_MARGIN,
    LOOK,
    MOST_CLAIMANTS,
    NOBODY,
    NOTHING,
    OUT,
    SEND,
    UNKNOWN,
    Answer,
    Authority,
    Basis,
    Content,
    Digest,
    Do,
    NotTaken,
    Record,
    Rejected,
    Rest,
    Step,
    Taken,
    Unclear,
    Unwanted,
    Wanted,
    answered,
    begin,
    claim,
    confirmed,
    forget,
    hand_over,
    is_released,
    lapse,
    next_step,
    release,
    wanted_content,
)

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BOUND = timedelta(minutes=30)
MAIN = Authority(1, 100, "main")
RED, BLUE = Digest("red"), Digest("blue")
REFUSED = Rejected("excluded", "settings-1")
UNSURE = Rejected("unconfirmed", "settings-1", is_certain=False)
GIVEN_UP = Rejected("unconfirmed", "settings-1", is_certain=False, may_come=True)


def basis(settings: int = 100, profile: int = 1) -> Basis:
    return Basis(settings, profile, 1)


def claimed(record: Record, profile: str = "p2", digest: Digest = RED, *, version: int = 1) -> Record:
    return claim(record, MAIN, profile, digest, basis(profile=version), NOON)


def called(record: Record, call_id: str = "c1", *, now: datetime = NOON, at: datetime = NOON) -> Record:
    return begin(record, call_id, send_by=now + MINUTE, bound=BOUND, at=at)


def delivered(digest: Digest = RED, profile: str = "p2") -> Record:
    return answered(called(claimed(Record(), profile, digest)), "c1", Taken(), NOON)


def deadline(record: Record) -> datetime:
    assert record.open is not None
    return record.open.deadline


def test_a_first_claim_is_sent() -> None:
    assert next_step(claimed(Record())) == SEND


def test_what_is_acknowledged_is_not_sent_again() -> None:
    assert next_step(claimed(delivered())) == NOTHING


def test_the_smallest_claimant_wins_and_the_others_values_are_not_sent() -> None:
    record = claimed(delivered(RED, "p2"), "p5", BLUE)
    assert record.winner == "p2"
    assert next_step(record) == NOTHING


def test_a_smaller_claimant_takes_over_with_its_values() -> None:
    record = claimed(delivered(RED, "p2"), "p1", BLUE)
    assert record.winner == "p1"
    assert wanted_content(record) == BLUE


def test_when_the_winner_leaves_the_next_one_is_looked_at() -> None:
    record = release(claimed(delivered(RED, "p2"), "p5", BLUE), MAIN, "p2", keep=False)
    assert record.winner == "p5"
    assert next_step(record) == LOOK


def test_an_identity_leaves_only_with_its_last_claimant() -> None:
    record = claimed(delivered(RED, "p2"), "p5", BLUE)
    record = release(record, MAIN, "p5", keep=False)
    assert next_step(record) == NOTHING
    record = release(record, MAIN, "p2", keep=False)
    assert next_step(record) == SEND
    assert wanted_content(record) is OUT
    assert record.responsible == "p2"


def test_once_leaving_is_acknowledged_nobody_is_responsible() -> None:
    record = answered(called(release(delivered(), MAIN, "p2", keep=False)), "c1", Taken("evidence"), NOON)
    assert (record.desired, record.acknowledged, record.evidence) == (NOBODY, OUT, "evidence")


def test_an_export_that_keeps_sends_nothing_when_somebody_leaves_and_all_when_they_return() -> None:
    record = release(delivered(), MAIN, "p2", keep=True)
    assert next_step(record) == NOTHING
    assert record.acknowledged == RED
    assert next_step(claimed(record)) == SEND


def test_other_values_wait_until_an_open_call_can_take_no_effect() -> None:
    record = claimed(called(claimed(Record(), digest=RED)), digest=BLUE, version=2)
    step = next_step(record)
    assert (step.do, step.until) == (Do.WAIT, NOON + MINUTE + BOUND + CLOCK_MARGIN)


def test_the_same_values_are_sent_again_while_their_call_is_open() -> None:
    assert next_step(called(claimed(Record()))) == SEND


def test_a_lapsed_call_leaves_open_what_the_destination_holds() -> None:
    record = lapse(called(claimed(Record())), NOON + MINUTE + BOUND + CLOCK_MARGIN)
    assert (record.acknowledged, record.open) == (UNKNOWN, None)


def test_a_lapsed_call_that_repeated_what_was_acknowledged_changes_nothing() -> None:
    kept = release(delivered(), MAIN, "p2", keep=True)
    again = called(claimed(kept), "c2")._replace(acknowledged=RED)
    assert lapse(again, NOON + timedelta(days=1)).acknowledged == RED


def test_only_the_latest_calls_answer_counts() -> None:
    record = called(called(claimed(Record()), "c1"), "c2")
    assert answered(record, "c1", Taken(), NOON) == record


def test_a_call_that_was_not_taken_leaves_its_predecessors_open() -> None:
    first = called(claimed(Record()), "c1")
    assert first.open is not None
    record = answered(called(first, "c2", now=NOON + MINUTE), "c2", NotTaken(), NOON + MINUTE)
    assert record.open is not None
    assert (record.open.id, record.open.deadline) == (None, first.open.deadline)


@pytest.mark.parametrize("answer", [NotTaken(), REFUSED])
def test_what_an_earlier_call_did_is_unknown_when_its_deadline_passes_during_one_that_did_nothing(
    answer: Answer,
) -> None:
    first = called(claimed(delivered(), digest=BLUE, version=2), "c2")
    second = called(first, "c3", now=deadline(first) - MINUTE)
    record = answered(second, "c3", answer, deadline(first))
    assert (record.open, record.acknowledged) == (None, UNKNOWN)
    assert next_step(claimed(record, digest=RED, version=3)) == SEND


def test_a_later_retry_does_not_shorten_what_an_earlier_call_may_still_do() -> None:
    slow = begin(claimed(Record()), "c1", send_by=NOON, bound=timedelta(days=1), at=NOON)
    quick = begin(slow, "c2", send_by=NOON, bound=MINUTE, at=NOON)
    assert slow.open is not None
    assert quick.open is not None
    assert quick.open.deadline == slow.open.deadline


@pytest.mark.parametrize("answer", [NotTaken(), REFUSED])
def test_what_a_lost_call_did_stays_open_when_the_answer_to_its_retry_comes_after_its_deadline(answer: Answer) -> None:
    lost = called(claimed(Record()), "c1")
    just_before = deadline(lost) - MINUTE
    retried = called(lost, "c2", now=just_before)
    record = answered(retried, "c2", answer, deadline(lost) + MINUTE)
    assert (record.open, record.acknowledged) == (None, UNKNOWN)
    assert next_step(release(record, MAIN, "p2", keep=False)) == SEND


def test_what_any_of_three_calls_may_still_do_stays_open_after_the_last_ones_answer() -> None:
    first = called(claimed(Record()), "c1")
    refused = answered(called(first, "c2", now=NOON + MINUTE), "c2", NotTaken(), NOON + MINUTE)
    third = called(refused, "c3", now=NOON + 2 * MINUTE)
    assert deadline(answered(third, "c3", Taken(), NOON + 2 * MINUTE)) == deadline(first)

    second = called(first, "c2", now=NOON + MINUTE)
    third = called(second, "c3", now=NOON + 2 * MINUTE)
    assert deadline(answered(third, "c3", Taken(), NOON + 2 * MINUTE)) == deadline(second)


def test_a_retry_carries_the_time_of_the_first_call() -> None:
    record = called(claimed(Record()), "c1", at=NOON + MINUTE)
    assert called(record, "c2", at=NOON).sent_at == NOON + MINUTE


def test_what_is_refused_rests_until_it_changes_or_has_another_chance() -> None:
    record = answered(called(claimed(Record())), "c1", REFUSED, NOON)
    assert next_step(record) == NOTHING
    assert next_step(record, chance=True) == SEND
    assert next_step(claimed(record, digest=BLUE, version=2)) == SEND


@pytest.mark.parametrize(
    ("answer", "step"), [(NotTaken(), SEND), (Unclear(NOON), SEND), (REFUSED, NOTHING), (None, SEND)]
)
def test_what_is_tried_again_is_an_open_question_until_it_is_answered(answer: Answer | None, step: Step) -> None:
    refused = answered(called(claimed(Record())), "c1", REFUSED, NOON)
    record = called(refused, "c2")
    assert next_step(record if answer is None else answered(record, "c2", answer, NOON)) == step


def test_who_is_perhaps_in_is_taken_out_all_the_same() -> None:
    record = answered(called(claimed(Record())), "c1", UNSURE, NOON)
    assert next_step(release(record, MAIN, "p2", keep=False)) == SEND


def test_the_next_change_is_sent_as_later_whatever_its_own_time_is() -> None:
    record = claimed(delivered(), digest=BLUE, version=2)
    sent = called(record, "c2", at=NOON - MINUTE)
    assert sent.sent_at is not None
    assert sent.sent_at > NOON


def test_an_older_decision_never_replaces_a_newer_one() -> None:
    record = claimed(Record(), digest=BLUE, version=7)
    assert wanted_content(claimed(record, digest=RED, version=6)) == BLUE


def test_ten_thousand_profiles_with_one_address_are_not_all_kept() -> None:
    record = Record()
    for number in range(10_000):
        record = claimed(record, f"p{number:05d}")
    assert isinstance(record.desired, Wanted)
    assert len(record.desired.by) == MOST_CLAIMANTS
    assert record.turned_away_at == NOON


def test_nobody_leaves_while_somebody_who_was_turned_away_may_want_the_identity() -> None:
    record = Record()
    for number in range(MOST_CLAIMANTS + 1):
        record = claimed(record, f"p{number:02d}")
    record = answered(called(record), "c1", Taken(), NOON)
    for number in range(MOST_CLAIMANTS):
        record = release(record, MAIN, f"p{number:02d}", keep=False)
    assert isinstance(record.desired, Unwanted)
    assert record.desired.rest is Rest.HOLD
    assert next_step(record) == NOTHING
    last = f"p{MOST_CLAIMANTS - 1:02d}"
    assert record.responsible == last
    swept = release(record, MAIN, last, keep=False, asked_since=NOON + 2 * MINUTE)
    assert next_step(swept) == SEND
    fresh = release(record, MAIN, last, keep=False, asked_since=NOON)
    assert next_step(fresh) == NOTHING


def crowded(record: Record, now: datetime = NOON) -> Record:
    """Let one more profile come than a record keeps."""
    for number in range(10, 11 + MOST_CLAIMANTS):
        record = claim(record, MAIN, f"p{number}", RED, basis(), now)
    return record


def deserted(record: Record, authority: Authority = MAIN, *, asked_since: datetime | None = None) -> Record:
    """Let all whom a record names leave."""
    while isinstance(record.desired, Wanted):
        record = release(record, authority, record.desired.by[0], keep=False, asked_since=asked_since)
    return record


@pytest.mark.parametrize(("seconds", "rest"), [(0, Rest.HOLD), (62, Rest.HOLD), (66, Rest.OUT)])
def test_only_whoever_was_turned_away_well_before_a_run_began_was_asked_by_it(seconds: int, rest: Rest) -> None:
    """The time may lag behind by a minute, and clocks by some seconds."""
    began = NOON + timedelta(seconds=seconds)
    left = deserted(crowded(delivered()), asked_since=began).desired
    assert isinstance(left, Unwanted)
    assert left.rest is rest


def test_whoever_was_turned_away_under_a_former_owner_holds_nothing_of_the_new_one() -> None:
    new = Authority(2, 100, "new")
    record = claim(crowded(delivered()), new, "p5", BLUE, basis(), NOON)
    assert next_step(release(record, new, "p5", keep=False)) == SEND


def test_an_identity_is_still_held_when_it_turns_out_to_be_out() -> None:
    """Given somebody taken out by a call, and a crowd that came and left before its answer."""
    leaving = called(release(delivered(), MAIN, "p2", keep=False), "c2")
    record = answered(deserted(crowded(leaving)), "c2", Taken(), NOON)
    assert record.acknowledged is OUT
    assert isinstance(record.desired, Unwanted)
    assert (record.desired.rest, record.responsible is None) == (Rest.HOLD, False)


def test_a_survivor_takes_over_in_the_name_of_the_settings_that_found_it_out() -> None:
    newer = MAIN._replace(settings=200)
    assert hand_over(delivered(), newer, "p2", "p5").authority == newer
    assert hand_over(release(delivered(), MAIN, "p2", keep=False), newer, "p2", "p5").authority == newer


def test_a_new_owner_of_the_target_drops_the_former_owners_claimants() -> None:
    other = Authority(2, 50, "other")
    record = claim(delivered(), other, "p9", BLUE, basis(50), NOON)
    assert record.winner == "p9"
    assert next_step(record) == SEND


def test_what_the_new_owner_does_not_claim_leaves_once_it_is_released() -> None:
    record = release(delivered(), Authority(2, 50, "other"), "p9", keep=False)
    assert (wanted_content(record), record.responsible) == (OUT, "p9")


def test_releasing_what_nobody_ever_named_does_nothing() -> None:
    assert release(Record(), MAIN, "p1", keep=False) == Record()


def test_two_profiles_that_turn_out_to_be_one_person_never_leave() -> None:
    record = hand_over(delivered(RED, "p2"), MAIN, "p2", "p1")
    assert record.winner == "p1"
    assert next_step(record) == LOOK
    assert next_step(claimed(record, "p1", RED)) == NOTHING


def test_a_survivor_who_wins_already_is_not_looked_at() -> None:
    record = hand_over(claimed(delivered(RED, "p2"), "p5", BLUE), MAIN, "p5", "p2")
    assert record.desired == delivered(RED, "p2").desired


@pytest.mark.parametrize("answer", [NotTaken(), REFUSED])
def test_who_left_during_a_call_that_did_nothing_is_named_no_more(answer: Answer) -> None:
    record = release(called(claimed(Record())), MAIN, "p2", keep=False)
    assert record.responsible == "p2"
    record = answered(record, "c1", answer, NOON)
    assert (record.desired, next_step(record)) == (NOBODY, NOTHING)


def test_an_export_that_keeps_holds_nothing_for_whoever_was_turned_away() -> None:
    """Nothing is sent anyway, and whoever returns is sent again."""
    record = delivered()._replace(turned_away_at=NOON)
    record = release(record, MAIN, "p2", keep=True)
    assert record.desired == Unwanted(Rest.KEEP)
    assert next_step(claimed(record)) == SEND


@pytest.mark.parametrize("content", [OUT, RED])
def test_an_answer_that_says_nothing_shortens_the_wait_but_never_below_an_earlier_calls(content: Content) -> None:
    record = claimed(Record()) if content is RED else release(delivered(), MAIN, "p2", keep=False)
    first = called(record, "c1")
    second = called(first, "c2", now=NOON + MINUTE)
    assert first.open is not None
    assert second.open is not None
    shown = answered(second, "c2", Unclear(NOON + 2 * MINUTE), NOON)
    assert shown.open is not None
    assert shown.open.deadline == first.open.deadline
    alone = answered(first, "c1", Unclear(NOON + 2 * MINUTE), NOON)
    assert alone.open is not None
    assert alone.open.deadline == NOON + 2 * MINUTE
    assert answered(first, "c1", Unclear(NOON + timedelta(days=1)), NOON) == first


def test_an_import_that_was_given_up_and_may_come_keeps_other_values_waiting_until_its_deadline() -> None:
    record = answered(called(claimed(Record())), "c1", GIVEN_UP, NOON)
    assert next_step(record) == NOTHING
    changed = claimed(record, digest=BLUE, version=2)
    assert next_step(changed).until == NOON + MINUTE + BOUND + CLOCK_MARGIN
    late = NOON + MINUTE + BOUND + CLOCK_MARGIN
    assert answered(called(claimed(Record())), "c1", GIVEN_UP, late).open is None


def test_calls_that_are_known_to_be_over_leave_open_what_they_did() -> None:
    record = answered(called(claimed(Record())), "c1", Unclear(NOON), NOON)
    assert (record.open, record.acknowledged, next_step(record)) == (None, UNKNOWN, SEND)


def test_what_an_earlier_call_may_still_do_is_not_over_with_the_latest_one() -> None:
    """An import that came to nothing tells nothing of the call before it, whose answer was lost."""
    first = called(claimed(Record()), "c1")
    assert first.open is not None
    record = answered(called(first, "c2", now=NOON + MINUTE), "c2", Unclear(NOON + MINUTE), NOON + MINUTE)
    assert record.open is not None
    assert record.open.deadline == first.open.deadline
    changed = claimed(record, digest=BLUE, version=2)
    assert next_step(changed).until == first.open.deadline


def test_whoever_is_leaving_when_it_turns_out_to_be_somebody_else_leaves_that_to_them() -> None:
    record = hand_over(release(delivered(RED, "p2"), MAIN, "p2", keep=False), MAIN, "p2", "p1")
    assert (record.responsible, next_step(record)) == ("p1", SEND)
    assert hand_over(record, MAIN, "p2", "p0") == record


def test_what_a_former_owner_left_behind_is_released_by_whoever_was_assigned_it() -> None:
    later = Authority(2, 50, "other")
    record = delivered(RED, "p2")
    assert not is_released(record, MAIN, "p2")
    assert is_released(record, MAIN, "p5")
    assert not is_released(record, later, "p5")
    assert is_released(Record(), later, "p5")
    assert is_released(release(record, later, "p5", keep=True), later, "p5")


def test_nothing_begins_for_a_record_that_wants_nothing() -> None:
    with pytest.raises(ValueError, match="nothing is to be sent"):
        called(release(delivered(), MAIN, "p2", keep=True))


def test_a_look_that_finds_what_was_unconfirmed_settles_it() -> None:
    record = answered(called(claimed(Record())), "c1", UNSURE, NOON)
    found = confirmed(record, RED, NOON + MINUTE)
    assert (found.acknowledged, found.since, found.refused) == (RED, NOON + MINUTE, None)
    assert next_step(found) == NOTHING
    left = answered(called(release(delivered(), MAIN, "p2", keep=False)), "c1", UNSURE, NOON)
    assert left.responsible == "p2"
    assert confirmed(left, OUT, NOON)[:2] == (MAIN, NOBODY)


def test_a_look_that_comes_too_late_settles_nothing() -> None:
    record = answered(called(claimed(Record())), "c1", UNSURE, NOON)
    for other in (called(record, "c2"), answered(called(record, "c2"), "c2", Taken(), NOON)):
        assert confirmed(other, RED, NOON) == other
    assert confirmed(record, BLUE, NOON) == record


def test_of_a_forgotten_export_somebody_else_is_left_or_nobody() -> None:
    record = claimed(delivered(RED, "p2"), "p5", BLUE)
    assert forget(record, "p9") == record
    rest = forget(record, "p2")
    assert rest is not None
    assert (rest.winner, next_step(rest)) == ("p5", LOOK)
    assert forget(rest, "p5") is None
    assert forget(release(delivered(), MAIN, "p2", keep=False), "p2") is None


# Any history of one record, as workers that hold the latest version would write it.

PROFILES = st.sampled_from([f"p{number}" for number in range(4)])
ANSWERS: st.SearchStrategy[Answer] = st.one_of(
    st.builds(Taken, st.none() | st.text(max_size=2)),
    st.just(NotTaken()),
    st.sampled_from([REFUSED, UNSURE, GIVEN_UP]),
    st.integers(0, 90).map(lambda minutes: Unclear(NOON + minutes * MINUTE)),
)
DIGESTS = st.sampled_from([RED, BLUE, Digest("green")])
CROWD = [f"p{number}" for number in range(10, 11 + MOST_CLAIMANTS)]
"""One more than a record keeps."""
MOVES = st.one_of(
    st.tuples(st.just("claim"), PROFILES, DIGESTS),
    st.tuples(st.just("claim late"), PROFILES, DIGESTS),
    st.tuples(st.just("bring"), PROFILES, DIGESTS),
    st.tuples(st.just("lose"), PROFILES, DIGESTS),
    st.tuples(st.just("refuse"), PROFILES, st.sampled_from([REFUSED, UNSURE, GIVEN_UP])),
    st.tuples(st.just("attempt"), st.booleans(), ANSWERS),
    st.tuples(st.just("release"), PROFILES, st.booleans()),
    st.tuples(st.just("take out"), PROFILES, st.integers(0, 90)),
    st.tuples(st.just("take all out"), st.none(), st.integers(0, 10)),
    st.tuples(st.just("crowd"), st.booleans(), DIGESTS),
    st.tuples(st.just("hand over"), PROFILES, PROFILES),
    st.tuples(st.just("send"), st.sampled_from([MINUTE, BOUND]), st.booleans()),
    st.tuples(st.just("send late"), PROFILES, ANSWERS),
    st.tuples(st.just("send again"), st.sampled_from([MINUTE, BOUND]), st.integers(2, 4)),
    st.tuples(st.just("answer"), st.booleans(), ANSWERS),
    st.tuples(st.just("later"), st.integers(1, 60), st.none()),
    st.tuples(st.just("find"), st.none(), st.none()),
    st.tuples(st.just("another owner"), PROFILES, st.sampled_from([RED, BLUE])),
)


class History:
    """Plays moves on one record and holds what must be true after each."""

    def __init__(self) -> None:
        self.now, self.record, self.calls, self.version = NOON, Record(), 0, 1
        self.authority = MAIN
        self.may_land: dict[str, tuple[object, datetime]] = {}
        """What every call made so far may still bring about, and until when."""
        self.may_hold: set[object] = {OUT}
        """What the destination may hold, but for those calls."""

    def play(self, kind: str, first: object, second: object) -> None:
        for call_id, (content, until) in list(self.may_land.items()):
            # Until the record gives a call up an answer may still say that it did nothing.
            if until + CLOCK_MARGIN <= self.now:
                del self.may_land[call_id]
                self.may_hold.add(content)
        before = self.record
        self.record = lapse(self.record, self.now)
        getattr(self, kind.replace(" ", "_"))(first, second)
        self._check(before)

    def claim(self, profile: str, digest: Digest) -> None:
        self.version += 1
        before = self.record
        self.record = claim(before, self.authority, profile, digest, basis(profile=self.version), self.now)
        if isinstance(before.desired, Unwanted) and before.desired.rest is Rest.KEEP:
            assert self.record.acknowledged is UNKNOWN, "it may have been taken out by hand"

    def claim_late(self, profile: str, digest: Digest) -> None:
        """Let a worker come late that has read the profile before the others did."""
        before = self.record.desired
        late = basis(profile=0)
        self.record = claim(self.record, self.authority, profile, digest, late, self.now)
        if isinstance(before, Wanted) and before.by[0] == profile and before.basis is not None and before.basis > late:
            assert self.record.desired == before

    def bring(self, profile: str, digest: Digest) -> None:
        self.claim(profile, digest)
        self.attempt(False, Taken())

    def refuse(self, profile: str, answer: Rejected) -> None:
        self.claim(profile, BLUE)
        self.attempt(False, answer)

    def lose(self, profile: str, digest: Digest) -> None:
        """Bring a profile, and let the answer be lost."""
        self.claim(profile, digest)
        self.send(BOUND, False)

    def attempt(self, chance: bool, answer: Answer) -> None:
        calls = self.calls
        self.send(BOUND, chance)
        if self.calls > calls:
            self.answer(True, answer)

    def release(self, profile: str, keep: bool) -> None:
        self.record = release(self.record, self.authority, profile, keep=keep)

    def take_out(self, profile: str, minutes: int) -> None:
        """Let a run that began so many minutes ago take a profile out."""
        began = self.now - minutes * MINUTE
        before = self.record
        self.record = release(before, self.authority, profile, keep=False, asked_since=began)
        if before.turned_away_at is not None and before.turned_away_at >= began and self.record != before:
            assert wanted_content(self.record) is not OUT, "somebody who was turned away since may want it"

    def take_all_out(self, _: None, minutes: int) -> None:
        for profile in (*CROWD, "p0", "p1", "p2", "p3"):
            self.take_out(profile, minutes)

    def crowd(self, comes: bool, digest: Digest) -> None:
        for profile in CROWD:
            self.claim(profile, digest) if comes else self.release(profile, keep=False)

    def hand_over(self, alias: str, survivor: str) -> None:
        self.record = hand_over(self.record, self.authority, alias, survivor)

    def another_owner(self, profile: str, digest: Digest) -> None:
        self.authority = Authority(self.authority.epoch + 1, self.authority.settings, "other")
        self.claim(profile, digest)
        assert isinstance(self.record.desired, Wanted)
        assert self.record.desired.by == (profile,)

    def send(self, bound: timedelta, chance: bool) -> None:
        if next_step(self.record, chance=chance) != SEND:
            return
        content = wanted_content(self.record)
        for other, until in self.may_land.values():
            assert other == content or until <= self.now, "a call with other content may still land"
        self.calls += 1
        before, at = self.record, self.now - self.calls % 3 * MINUTE
        self.record = begin(before, f"c{self.calls}", send_by=self.now + MINUTE, bound=bound, at=at)
        assert self.record.sent_at is not None
        if before.sent_at is not None:
            assert self.record.sent_at > before.sent_at or before.open is not None
        self.may_land[f"c{self.calls}"] = (content, self.now + MINUTE + bound)

    def send_late(self, profile: str, answer: Answer) -> None:
        """Let an answer be lost, and that of the retry come when the first call is over."""
        self.claim(profile, BLUE)
        self.send(MINUTE, False)
        calls = self.calls
        self.later(1, None)
        self.send(BOUND, False)
        self.play("later", 5, None)
        if self.calls > calls:
            self.answer(True, answer)

    def send_again(self, bound: timedelta, minutes: int) -> None:
        """Let answers be lost, one after the other."""
        for _ in range(minutes):
            self.send(bound, False)
            self.later(1, None)
            self.record = lapse(self.record, self.now)

    def answer(self, latest: bool, answer: Answer) -> None:
        call_id = f"c{self.calls if latest else self.calls - 1}"
        call = self.record.open
        self.record = answered(self.record, call_id, answer, self.now)
        if call is None or call.id != call_id:
            return
        content, until = call.content, self.may_land.get(call_id, (None, None))[1]
        if until is not None and isinstance(answer, Unclear):
            self.may_land[call_id] = content, min(until, answer.deadline - CLOCK_MARGIN)
        elif until is not None and answer != GIVEN_UP:
            del self.may_land[call_id]
        if isinstance(answer, Taken):
            self.may_hold = {content}
        elif isinstance(answer, Rejected) and not answer.is_certain:
            self.may_hold.add(content)

    def find(self, _: None, __: None) -> None:
        """Look at the destination, which holds what was refused as unconfirmed."""
        refused = self.record.refused
        if refused is None or self.record.open is not None:
            assert confirmed(self.record, RED, self.now) == self.record
        if refused is not None and refused.code == UNSURE.code and self.record.open is None:
            self.record = confirmed(self.record, refused.content, self.now)
            self.may_hold = {refused.content}

    def later(self, minutes: int, _: None) -> None:
        self.now += minutes * MINUTE

    def _check(self, before: Record) -> None:
        record = self.record
        assert before.sent_at is None or (record.sent_at is not None and record.sent_at >= before.sent_at)
        if isinstance(record.desired, Wanted):
            assert record.desired.by == tuple(sorted(set(record.desired.by)))
            assert 0 < len(record.desired.by) <= MOST_CLAIMANTS
            assert (record.desired.digest is None) == (record.desired.basis is None)
        for content, until in self.may_land.values():
            if until > self.now:
                assert record.open is not None
                assert record.open.content == content
                assert record.open.deadline >= until
        if record.acknowledged is not UNKNOWN:
            known = {record.acknowledged} if record.open is None else {record.acknowledged, record.open.content}
            assert self.may_hold <= known, "the destination may hold something else than what is acknowledged"
        step = next_step(record)
        if step.do is Do.WAIT:
            assert step.until is not None
        if step.do in (Do.SEND, Do.LOOK):
            assert record.responsible is not None, "something is to be done and nobody can be looked at"
        if before.evidence != record.evidence:
            assert record.acknowledged is not UNKNOWN
        desired = record.desired
        if isinstance(desired, Unwanted) and desired.leaving is not None:
            assert desired.rest is not Rest.KEEP
            is_refused = record.refused is not None and record.refused.content is OUT
            assert desired.rest is Rest.HOLD or step != NOTHING or is_refused, "somebody leaves and all is done"


@settings(max_examples=400, deadline=None)
@example([("refuse", "p0", UNSURE), ("find", None, None)])
@example([("send late", "p0", NotTaken())])
@example([("lose", "p0", RED), ("later", 31, None), ("answer", True, NotTaken())])
@example([("crowd", True, RED), ("later", 5, None), ("take all out", None, 0), ("attempt", False, Taken())])
@given(st.lists(MOVES, max_size=40))
def test_any_history_keeps_what_a_record_promises(moves: list[tuple[str, object, object]]) -> None:
    history = History()
    for move in moves:
        history.play(*move)


@settings(max_examples=200, deadline=None)
@given(st.lists(MOVES, max_size=30))
def test_after_any_history_a_record_comes_to_rest(moves: list[tuple[str, object, object]]) -> None:
    history = History()
    for move in moves:
        history.play(*move)
    record = history.record
    for number in range(6):
        now = history.now + timedelta(days=number + 1)
        record = lapse(record, now)
        step = next_step(record, chance=True)
        if step == NOTHING:
            break
        if step == LOOK:
            assert record.winner is not None
            record = claim(record, history.authority, record.winner, BLUE, basis(profile=10_000), now)
        elif step == SEND:
            record = answered(called(record, "last", now=now, at=now), "last", Taken(), now)
    assert next_step(record, chance=True) == NOTHING
    content = wanted_content(record)
    assert content is None or record.acknowledged == content


def played(moves: list[tuple[str, object, object]]) -> Record:
    """Return a record after a history."""
    history = History()
    for move in moves:
        history.play(*move)
    return history.record


RECORDS = st.lists(MOVES, max_size=20).map(played)
ANYBODY = PROFILES | st.sampled_from(CROWD)
LATER = Authority(99, 100, "main")


@settings(max_examples=200, deadline=None)
@given(RECORDS, ANYBODY, st.booleans(), st.booleans())
def test_who_has_released_a_record_changes_nothing_by_releasing_it_again(
    record: Record, profile: str, keep: bool, is_new_owner: bool
) -> None:
    authority = LATER if is_new_owner else record.authority
    rest = release(record, authority, profile, keep=keep)
    if is_released(record, authority, profile):
        assert rest == record
    else:
        assert not isinstance(rest.desired, Wanted) or profile not in rest.desired.by
        assert is_released(rest, authority, profile) or rest.responsible == profile


@settings(max_examples=200, deadline=None)
@given(RECORDS, ANYBODY)
def test_forgetting_a_profile_sends_nothing_and_leaves_the_others(record: Record, profile: str) -> None:
    rest = forget(record, profile)
    if not record.names(profile):
        assert rest == record
    elif rest is None:
        assert (
            record.desired == Unwanted(record.desired.rest, profile)
            if isinstance(record.desired, Unwanted)
            else (record.desired.by == (profile,))
        )
    else:
        assert isinstance(record.desired, Wanted)
        assert isinstance(rest.desired, Wanted)
        assert {*rest.desired.by, profile} == {*record.desired.by}
        assert next_step(rest) == LOOK
        assert rest._replace(desired=record.desired) == record


@settings(max_examples=200, deadline=None)
@given(RECORDS)
def test_no_call_begins_for_a_record_that_wants_nothing(record: Record) -> None:
    if wanted_content(record) is None:
        with pytest.raises(ValueError, match="nothing is to be sent"):
            called(record)
    else:
        call = called(record).open
        assert call is not None
        assert call.content == wanted_content(record)
