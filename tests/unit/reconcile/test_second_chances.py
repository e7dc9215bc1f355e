"""When a rejection is given up: what caused it may have changed, a day has passed, or an operator asks."""

from datetime import timedelta
from typing import Any

import pytest

from relay.domain.ledger import Column
from relay.domain.problems import UNCONFIRMED, Busy, Rejection, RejectionKind
from relay.domain.runs import RETRY_ALL, Run, RunState
from relay.reconcile.verdict import DELIVERED, Verdict
from tests.fakes.bench import CONNECTION, Bench

ANN, BOB, CY = "ann@x.example", "bob@x.example", "cy@x.example"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
REFUSED = Verdict(Column.REJECTED, "unknown_user")

both = pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])


def rejecting(*emails: str, imports: bool = False, streams: bool = True) -> Bench:
    """Return a bench with Ann, Bob and Cy, of whom these were refused once by a run, and that has come to rest."""
    bench = Bench(imports=imports, streams=streams)
    bench.tool.refuses = set(emails)
    for number, email in ((2, ANN), (4, BOB), (6, CY)):
        bench.store(number, email=email)
    bench.full_run()
    bench.tool.calls_made.clear()
    bench.clock.time += HOUR
    return bench


def run_again(bench: Bench) -> dict[str, int]:
    run = bench.full_run()
    assert run.state is RunState.FINISHED
    return bench.counts(run)


def test_a_refused_row_leaves_the_others_delivered() -> None:
    bench = Bench()
    bench.tool.refuses = {BOB}
    for number, email in ((2, ANN), (4, BOB), (6, CY)):
        bench.store(number, email=email)
    assert bench.reconcile(2, 4, 6) == {2: DELIVERED, 4: REFUSED, 6: DELIVERED}
    assert bench.tool.holds() == {ANN: {}, CY: {}}


def test_looks_do_not_try_again_until_the_values_change() -> None:
    bench = rejecting(ANN)
    bench.clock.time += 100 * HOUR
    assert [bench.reconcile(2), bench.reconcile(2)] == [{2: REFUSED}] * 2
    assert bench.sent == []

    bench.tool.refuses = set()
    bench.store(2, name="B")
    assert bench.reconcile(2) == {2: DELIVERED}
    assert bench.record(ANN).refused is None


def test_other_values_that_are_refused_too_are_tried_once() -> None:
    bench = rejecting(ANN)
    bench.store(2, name="B")
    for _ in range(2):
        assert bench.reconcile(2) == {2: REFUSED}
    assert bench.sent == [[ANN]]
    bench.store(2, name=None)
    assert bench.reconcile(2) == {2: REFUSED}
    assert bench.sent == [[ANN], [ANN]]


@both
def test_a_run_within_the_day_leaves_it_alone(imports: bool) -> None:
    bench = rejecting(ANN, imports=imports)
    bench.tool.refuses = set()
    bench.clock.time += 17 * HOUR
    assert run_again(bench) == {"assigned": 3, "selected": 3, "unchanged": 2, "rejected": 1, "rejected:unknown_user": 1}
    assert bench.sent == []


@both
@pytest.mark.parametrize("kind", RejectionKind)
def test_a_run_of_the_next_day_tries_again_whatever_it_was_called(imports: bool, kind: RejectionKind) -> None:
    """A 400 may pass like any other."""
    bench = Bench(imports=imports)
    bench.tool.refuses, bench.tool.rejection = {ANN}, Rejection(kind, "malformed", "it does not like it")
    bench.store(2, email=ANN)
    bench.store(4, email=BOB)
    bench.full_run()
    bench.tool.refuses = set()
    bench.clock.time += 25 * HOUR
    assert run_again(bench)["delivered"] == 1
    assert bench.tool.holds() == {ANN: {}, BOB: {}}


def test_a_nightly_run_that_comes_some_minutes_earlier_than_the_last_still_gives_a_second_chance() -> None:
    """Given refusals of a run at two o'clock, told by an import a while later, Then every night tries again."""
    bench = Bench(imports=True, streams=False)
    bench.tool.refuses = {ANN}
    bench.store(2, email=ANN)
    bench.store(4, email=BOB)
    for night in range(4):
        bench.start()
        bench.clock.time += (40 - 5 * night) * MINUTE
        bench.work_off()
        assert [call for call in bench.sent if ANN in call][1:] == [[ANN]] * night
        bench.clock.time += 24 * HOUR - 40 * MINUTE


def test_each_run_tries_once_however_often_its_pages_come() -> None:
    bench = rejecting(ANN, CY)
    bench.clock.time += 25 * HOUR
    bench.start()
    pages = []
    while messages := bench.queue.take():
        pages += messages
        for message in messages:
            assert bench.consume(message) == []
    for message in pages:
        assert bench.consume(message, receives=2) == []
    bench.work_off()
    assert sorted(identity for call in bench.sent for identity in call) == [ANN, CY]


@both
def test_what_is_unconfirmed_is_sent_again_by_the_next_run_whenever_that_is(imports: bool) -> None:
    bench = Bench(imports=imports)
    bench.tool.refuses = {ANN}
    bench.tool.rejection = Rejection(RejectionKind.DESTINATION, UNCONFIRMED, "who knows", is_certain=False)
    bench.store(2, email=ANN)
    bench.store(4, email=BOB)
    bench.full_run()
    bench.tool.calls_made.clear()
    bench.reconcile(2)
    assert bench.sent == []
    bench.tool.refuses = set()
    assert run_again(bench)["delivered"] == 1
    assert bench.tool.holds() == {ANN: {}, BOB: {}}


@both
def test_an_edit_of_the_export_gives_it_up(imports: bool) -> None:
    bench = rejecting(ANN, imports=imports)
    bench.tool.refuses = set()
    bench.edit()
    assert run_again(bench) == {"assigned": 3, "selected": 3, "delivered": 1, "unchanged": 2}
    assert bench.sent == [[ANN]]


@both
def test_an_edit_of_the_connection_gives_it_up(imports: bool) -> None:
    bench = rejecting(ANN, imports=imports)
    bench.tool.refuses = set()
    bench.settings.secrets[CONNECTION] = "another region"
    assert run_again(bench)["delivered"] == 1
    assert bench.sent == [[ANN]]


def test_a_streamed_look_gives_it_up_after_an_edit_too() -> None:
    bench = rejecting(ANN)
    bench.tool.refuses = set()
    bench.consume(bench.look(2, 4))
    assert bench.sent == []
    bench.edit()
    bench.consume(bench.look(2, 4))
    assert bench.sent == [[ANN]]


@both
def test_what_is_refused_again_after_an_edit_is_tried_once(imports: bool) -> None:
    bench = rejecting(ANN, imports=imports)
    bench.edit()
    for _ in range(3):
        assert run_again(bench)["rejected:unknown_user"] == 1
    assert bench.sent == [[ANN]]


def test_an_import_that_ends_after_an_edit_was_refused_under_the_settings_it_was_sent_with() -> None:
    bench = rejecting(imports=True)
    bench.tool.refuses = {ANN}
    bench.store(2, name="B")
    bench.consume(bench.look(2))
    bench.settings.secrets[CONNECTION] = "another region"
    bench.work_off()
    bench.tool.refuses = set()
    assert run_again(bench)["delivered"] == 1


def test_no_secret_can_be_read_from_what_a_rejection_remembers() -> None:
    bench = rejecting(ANN)
    assert bench.record(ANN).refused is not None
    for item in bench.database.snapshot().values():
        assert "first secret" not in str(item)


# An operator asks.


def with_two_codes(*, imports: bool = False) -> Bench:
    """Return a bench where Ann and Bob were refused with one code and Cy with another; all would be taken now."""
    bench = Bench(imports=imports)
    for number, email in ((2, ANN), (4, BOB), (6, CY)):
        code = "bounced" if email == CY else "excluded"
        bench.tool.refuses = {email}
        bench.tool.rejection = Rejection(RejectionKind.DESTINATION, code, "not now")
        bench.store(number, email=email)
        bench.consume(bench.look(number))
        bench.work_off()
    bench.tool.refuses = set()
    bench.tool.calls_made.clear()
    bench.clock.time += MINUTE
    return bench


def retry(bench: Bench, code: str) -> Run:
    run = bench.stack.starter.start(bench.export, "retry", retry=code)
    assert run is not None
    bench.work_off()
    return bench.run(run)


@both
@pytest.mark.parametrize(
    ("code", "tried"), [("excluded", [ANN, BOB]), ("bounced", [CY]), (RETRY_ALL, [ANN, BOB, CY]), ("other", [])]
)
def test_exactly_those_with_the_code_are_tried_again_by_a_run(imports: bool, code: str, tried: list[str]) -> None:
    bench = with_two_codes(imports=imports)
    run = retry(bench, code)
    assert sorted(identity for call in bench.sent for identity in call) == tried
    assert bench.counts(run).get("delivered", 0) == len(tried)


@both
def test_what_is_refused_again_is_tried_once_by_it(imports: bool) -> None:
    bench = with_two_codes(imports=imports)
    bench.tool.refuses, bench.tool.rejection = {ANN}, Rejection(RejectionKind.DESTINATION, "excluded", "no")
    bench.stack.starter.start(bench.export, "retry", retry="excluded")
    pages: list[Any] = []
    for _ in range(30):
        messages = bench.queue.take()
        pages += messages
        for message in messages:
            assert bench.consume(message) == []
        bench.tool.land()
        for message in bench.checks.take():
            assert bench.check(message) == []
    for message in pages:
        assert bench.consume(message, receives=2) == []
    bench.work_off()
    assert sorted(identity for call in bench.sent for identity in call) == [ANN, BOB]


@pytest.mark.parametrize("code", ["excluded", UNCONFIRMED])
def test_a_page_that_comes_again_before_its_cursor_moved_tries_nobody_once_more(code: str) -> None:
    bench = Bench()
    bench.tool.refuses = {ANN}
    bench.tool.rejection = Rejection(RejectionKind.DESTINATION, code, "no", is_certain=code != UNCONFIRMED)
    bench.store(2, email=ANN)
    bench.store(4, email=BOB)
    bench.full_run()
    bench.tool.calls_made.clear()
    bench.clock.time += MINUTE
    bench.stack.starter.start(bench.export, "retry", retry=code)
    assert bench.consume(*bench.queue.take()) == []
    [page] = [message for message in bench.queue.take() if message.body["shard"] == 0]

    def throttle() -> None:
        raise Busy("throttled", "DynamoDB kept throttling")

    bench.database.interrupt("transact control", throttle)
    assert bench.consume(page) == ["m0"]
    assert bench.consume(page, receives=2) == []
    assert bench.sent == [[ANN]]


def test_a_rejection_of_the_mapping_needs_no_retry() -> None:
    bench = Bench()
    bench.store(2, email="nonsense")
    bench.store(4, email=BOB)
    assert run_again(bench)["rejected:malformed_email"] == 1
    bench.store(2, email=ANN)
    assert run_again(bench)["delivered"] == 1
    assert bench.assignment(2).rejection is None
