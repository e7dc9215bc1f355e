"""The one step everything is made of: compare, claim, send, record."""

import pytest

from relay.delivery.cases import Result, Retry
from relay.domain.claims import RunTag, claimant_of
from relay.domain.deliveries import MAPPING
from relay.domain.problems import UNCONFIRMED, Rejection, RejectionKind, Transient
from relay.domain.runs import Outcome
from relay.stores.database import Table
from tests.fakes.delivery_bench import LAPSED, VIP, Bench, Crash, Lost, person

ANN, BOB = "ann@x.example", "bob@x.example"
RUN = RunTag("run-1", 0)
UNSUBSCRIBED = Rejection(RejectionKind.DESTINATION, "unsubscribed", "the contact unsubscribed")
MANY_STEPS = 60


def writes(bench: Bench) -> list[str]:
    return [step for step in bench.database.steps if step.startswith("write")]


def test_a_new_member_is_told_with_the_mapped_values() -> None:
    bench = Bench()
    bench.store(2, email=" Ann@x.example", name="Ann")

    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}

    assert bench.tool.holds() == {ANN: {"name": "Ann"}}
    assert [told.identity for told in bench.delivery(2).told.values()] == [ANN]
    assert bench.claim(ANN).claimants == {claimant_of("main", person(2))}


def test_an_unchanged_profile_makes_no_call_and_no_write() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="Ann")
    bench.deliver(2)
    before, stored = writes(bench), bench.database.snapshot()

    assert bench.deliver(2) == {2: Result(Outcome.UNCHANGED)}
    assert bench.deliver(2, thorough=True) == {2: Result(Outcome.UNCHANGED)}

    assert len(bench.sent) == 1
    assert writes(bench) == before
    assert bench.database.snapshot() == stored


def test_the_intent_is_written_before_the_call_and_the_record_after_it() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    seen: list[str] = []
    bench.database.before = lambda step: seen.append(step) if step.startswith("write") else None
    bench.tool.step = lambda step: seen.append(step)

    bench.deliver(2)

    intent = record = "write claims+deliveries"
    assert seen == [intent, "before call tool", "after call tool", record]


def test_while_a_call_is_under_way_the_delivery_does_not_say_what_was_told() -> None:
    """Given a call that dies after the destination took it, Then neither claim nor delivery claims to know."""
    bench = Bench()
    bench.store(2, email=ANN)
    bench.tool.script = [Lost()]

    with pytest.raises(Transient):
        bench.deliver(2)

    claim = bench.claim(ANN)
    assert claim.flight is not None
    assert claim.flight.claimant == claimant_of("main", person(2))
    assert [told.digest for told in bench.delivery(2).told.values()] == [None]


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
@pytest.mark.parametrize("crash_at", range(1, MANY_STEPS))
def test_a_crash_at_any_step_then_a_redelivery_gives_one_consistent_state(imports: bool, crash_at: int) -> None:
    """Given one who joins, one who leaves and one whose e-mail changed, When the process dies and the message comes
    back, Then the destination holds what the store wishes, nothing stays in flight, and nothing more is sent."""
    bench = Bench(imports=imports)
    bench.store(2, email=ANN)
    bench.store(4, email=BOB)
    bench.deliver(2, 4)
    bench.work_off()
    bench.store(2, email="new@x.example", name="N")
    bench.leave(4)
    bench.store(6, email="cy@x.example")
    look = bench.look(2, 4, 6)

    bench.crash_at = bench.steps + crash_at
    try:
        assert bench.consume(look) == []
    except Crash:
        bench.crash_at = None
        assert bench.consume(look, receives=2) == []
    bench.crash_at = None
    bench.work_off()

    assert bench.tool.holds() == {"new@x.example": {"name": "N"}, "cy@x.example": {}}
    assert bench.tool.complaints == []
    assert bench.claim(ANN).claimants == bench.claim(BOB).claimants == frozenset()
    for email in (ANN, BOB, "new@x.example", "cy@x.example"):
        assert bench.claim(email).flight is None
        assert not bench.claim(email).look_again
    calls = len(bench.sent)
    bench.deliver(2, 4, 6, thorough=True)
    assert len(bench.sent) == calls


def test_every_step_of_a_delivery_is_among_those_crashed_at() -> None:
    bench = Bench(imports=True)
    for number in (2, 4, 6):
        bench.store(number, email=f"{number}@x.example")
    before = bench.steps
    bench.consume(bench.look(2, 4, 6))
    assert bench.steps - before < MANY_STEPS


def test_steps_are_cut_into_calls_of_the_destinations_size() -> None:
    bench = Bench(call_size=2)
    for number in range(5):
        bench.store(number, email=f"{number}@x.example")

    bench.deliver(*range(5))

    assert [len(call) for call in bench.sent] == [2, 2, 1]
    assert len(bench.tool.holds()) == 5


def test_a_profile_that_moves_from_one_segment_to_another_leaves_one_and_joins_the_other() -> None:
    bench = Bench(segments=(VIP, LAPSED))
    bench.store(2, email=ANN)
    bench.deliver(2)
    bench.store(2, inside=(LAPSED,), outside=(VIP,))

    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}

    assert list(bench.tool.held) == [(f"segment/{LAPSED}", ANN)]


def test_an_identity_that_changed_is_taken_back_from_what_was_told() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    bench.deliver(2)
    bench.store(2, email=BOB)

    bench.deliver(2)

    assert bench.tool.holds() == {BOB: {}}
    assert sorted(bench.sent[1]) == [f"-{ANN}", BOB]


def test_a_segment_taken_out_of_the_export_is_taken_back() -> None:
    bench = Bench(segments=(VIP, LAPSED))
    bench.store(2, inside=(VIP, LAPSED), email=ANN)
    bench.deliver(2)
    bench.edit(segments=(VIP,))

    bench.deliver(2)

    assert list(bench.tool.held) == [(f"segment/{VIP}", ANN)]


def test_another_list_is_joined_and_the_old_one_left() -> None:
    bench = Bench(imports=True)
    bench.store(2, email=ANN)
    bench.deliver(2)
    bench.work_off()
    bench.edit(options="8")

    bench.deliver(2)
    bench.work_off()

    assert list(bench.tool.held) == [("list/8", ANN)]


def test_where_leaving_is_not_told_the_contact_stays_and_is_forgotten() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    bench.deliver(2)
    bench.tool.keeps = True
    bench.leave(2)

    assert bench.deliver(2) == {2: Result(Outcome.UNCHANGED)}

    assert bench.tool.holds() == {ANN: {}}
    assert len(bench.sent) == 1
    assert bench.claim(ANN).claimants == frozenset()


def test_nothing_is_left_of_one_who_left_and_is_looked_at_once_more() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    bench.deliver(2)
    bench.leave(2)
    bench.deliver(2)

    assert bench.deliver(2) == {2: Result(Outcome.ABSENT)}
    assert list(bench.database.items(Table.DELIVERIES)) == []


# Duplicates: two profiles with one identity.


def test_of_two_profiles_with_one_email_the_smaller_is_told_and_the_other_is_a_duplicate() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="first")
    bench.store(4, email=ANN, name="second")

    assert bench.deliver(2, 4) == {2: Result(Outcome.DELIVERED), 4: Result(Outcome.DUPLICATE)}

    assert bench.tool.holds() == {ANN: {"name": "first"}}
    assert bench.claim(ANN).claimants == {claimant_of("main", person(n)) for n in (2, 4)}


def test_the_identity_leaves_only_with_its_last_claimant_and_the_heir_is_woken() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="first")
    bench.store(4, email=ANN, name="second")
    bench.deliver(2, 4)

    bench.leave(2)
    bench.deliver(2)
    assert [task.profiles for task in bench.queue.tasks] == [(person(4),)]
    bench.work_off()
    assert bench.tool.holds() == {ANN: {"name": "second"}}

    bench.leave(4)
    bench.deliver(4)
    assert bench.tool.holds() == {}
    assert bench.claim(ANN).claimants == frozenset()


def test_a_smaller_profile_that_comes_later_takes_over() -> None:
    bench = Bench()
    bench.store(4, email=ANN, name="second")
    bench.deliver(4)
    bench.store(2, email=ANN, name="first")

    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}
    bench.work_off()

    assert bench.tool.holds() == {ANN: {"name": "first"}}
    assert bench.deliver(4) == {4: Result(Outcome.DUPLICATE)}


# Refusals.


def test_a_refused_row_leaves_the_others_delivered() -> None:
    bench = Bench()
    bench.tool.refuses = frozenset({BOB})
    bench.store(2, email=ANN)
    bench.store(4, email=BOB)

    assert bench.deliver(2, 4) == {2: Result(Outcome.DELIVERED), 4: Result(Outcome.REJECTED, "refused")}
    assert bench.tool.holds() == {ANN: {}}


def test_what_was_refused_is_not_tried_again_by_looks_until_its_payload_changes() -> None:
    bench = Bench()
    bench.tool.refuses = frozenset({ANN})
    bench.store(2, email=ANN, name="A")
    bench.deliver(2)

    bench.clock.advance(100 * 3600)
    again = [bench.deliver(2), bench.deliver(2, thorough=True)]
    assert again == [{2: Result(Outcome.REJECTED, "refused")}] * 2
    assert len(bench.sent) == 1

    bench.tool.refuses = frozenset()
    bench.store(2, name="B")
    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}
    assert bench.delivery(2).refusals == {}


def test_what_the_destination_refused_is_tried_again_by_a_run_a_day_later_and_by_nothing_else() -> None:
    bench = Bench()
    bench.tool.refuses, bench.tool.rejection = frozenset({ANN}), UNSUBSCRIBED
    bench.store(2, email=ANN)
    bench.deliver(2)

    bench.clock.advance(19 * 3600)
    assert bench.deliver(2, run=RUN) == {2: Result(Outcome.REJECTED, "unsubscribed")}
    bench.clock.advance(2 * 3600)
    assert bench.deliver(2) == {2: Result(Outcome.REJECTED, "unsubscribed")}
    assert len(bench.sent) == 1

    assert bench.deliver(2, run=RUN) == {2: Result(Outcome.REJECTED, "unsubscribed")}
    assert len(bench.sent) == 2
    bench.deliver(2, run=RunTag("run-2", 0))
    assert len(bench.sent) == 2


def test_a_nightly_run_that_comes_some_minutes_earlier_than_the_last_still_gives_a_second_chance() -> None:
    """Given refusals of a run at two o'clock, told by an import a while later, Then every night tries again."""
    bench = Bench(imports=True, streams=False)
    bench.tool.refuses, bench.tool.rejection = frozenset({ANN}), UNSUBSCRIBED
    bench.store(2, email=ANN)
    for night in range(4):
        bench.start()
        bench.clock.advance(40 * 60 - 5 * 60 * night)
        bench.work_off()
        assert len(bench.sent) == night + 1
        bench.clock.advance(24 * 3600 - 40 * 60)


def test_what_is_unconfirmed_is_sent_again_by_the_next_run_whenever_that_is() -> None:
    bench = Bench()
    bench.tool.refuses = frozenset({ANN})
    bench.tool.rejection = Rejection(RejectionKind.DESTINATION, UNCONFIRMED, "who knows", is_certain=False)
    bench.store(2, email=ANN)
    bench.deliver(2)
    assert bench.deliver(2) == {2: Result(Outcome.REJECTED, UNCONFIRMED)}
    assert len(bench.sent) == 1
    bench.tool.refuses = frozenset()
    bench.clock.advance(60)
    assert bench.deliver(2, run=RUN) == {2: Result(Outcome.DELIVERED)}
    assert bench.tool.holds() == {ANN: {}}


def test_what_is_unconfirmed_is_sent_once_by_one_run() -> None:
    """Given a page of a run that is worked on twice, Then what is still unconfirmed is left to the next run."""
    bench = Bench()
    bench.tool.refuses = frozenset({ANN})
    bench.tool.rejection = Rejection(RejectionKind.DESTINATION, UNCONFIRMED, "who knows", is_certain=False)
    bench.store(2, email=ANN)
    bench.deliver(2)
    bench.clock.advance(60)
    job = bench.job(run=RUN, retry=Retry(bench.clock.now()))
    for _ in range(2):
        bench.clock.advance(1)
        assert bench.engine.deliver(job, [person(2)]) == {person(2): Result(Outcome.REJECTED, UNCONFIRMED)}
    assert len(bench.sent) == 2


@pytest.mark.parametrize(("email", "code"), [(None, "no_email"), ("nonsense", "malformed_email")])
def test_a_profile_without_a_usable_identity_is_rejected_with_the_reason_and_costs_no_call(
    email: str | None, code: str
) -> None:
    bench = Bench()
    bench.store(2, email=email)

    assert bench.deliver(2) == {2: Result(Outcome.REJECTED, code)}

    assert bench.sent == []
    assert bench.delivery(2).refusals[MAPPING].rejection.code == code
    stored = bench.database.snapshot()
    bench.deliver(2)
    assert bench.database.snapshot() == stored


def test_one_who_loses_the_email_is_taken_back_and_rejected() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    bench.deliver(2)
    bench.store(2, email=None)

    assert bench.deliver(2) == {2: Result(Outcome.REJECTED, "no_email")}
    assert bench.tool.holds() == {}
    bench.store(2, email=BOB)
    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}
    assert bench.delivery(2).refusals == {}
