"""When a rejection is given up: what caused it may have changed, a day has passed, or an operator asks."""

from datetime import timedelta

import pytest

from relay.domain import deliveries
from relay.domain.problems import EventProblem, Rejection, RejectionKind, SettingsProblem
from relay.domain.runs import RunState
from relay.stores import gates
from relay.stores.gates import Gate, scope_of
from tests.fakes.delivery_bench import CONNECTION, Bench

ANN, BOB, CY = "ann@x.example", "bob@x.example", "cy@x.example"
MAIN = f"{CONNECTION}/main"


def rejecting(*emails: str, imports: bool = False, streams: bool = True) -> Bench:
    """Return a bench with Ann, Bob and Cy, of whom these were refused once, and that has come to rest."""
    bench = Bench(imports=imports, streams=streams)
    bench.tool.refuses = frozenset(emails)
    for number, email in ((2, ANN), (4, BOB), (6, CY)):
        bench.store(number, email=email)
    bench.start()
    bench.work_off()
    bench.tool.calls_made.clear()
    bench.clock.advance(3600)
    return bench


def run_again(bench: Bench) -> dict[str, int]:
    run = bench.start()
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    return bench.counts(run)


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_a_run_within_the_day_leaves_it_alone(imports: bool) -> None:
    bench = rejecting(ANN, imports=imports)
    bench.tool.refuses = frozenset()
    assert run_again(bench)["rejected:refused"] == 1
    assert bench.sent == []


@pytest.mark.parametrize("kind", RejectionKind)
@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_what_an_answer_refused_is_never_refused_for_good(imports: bool, kind: RejectionKind) -> None:
    """A 400 may pass like any other: whatever a destination calls it, a run of the next day tries again."""
    bench = Bench(imports=imports)
    bench.tool.refuses, bench.tool.rejection = frozenset({ANN}), Rejection(kind, "refused", "it does not like it")
    bench.store(2, email=ANN)
    bench.start()
    bench.work_off()
    bench.tool.refuses = frozenset()
    bench.clock.advance(25 * 3600)

    assert run_again(bench)["delivered"] == 1
    assert bench.tool.holds() == {ANN: {}}


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_an_edit_of_the_export_gives_it_up(imports: bool) -> None:
    bench = rejecting(ANN, imports=imports)
    bench.tool.refuses = frozenset()
    bench.edit()

    counts = run_again(bench)

    assert (counts["delivered"], "rejected" in counts) == (1, False)
    assert bench.sent == [[ANN]]
    assert ANN in bench.tool.holds()


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_an_edit_of_the_connection_gives_it_up(imports: bool) -> None:
    bench = rejecting(ANN, imports=imports)
    bench.tool.refuses = frozenset()
    bench.settings.secrets[CONNECTION] = "another region"
    assert run_again(bench)["delivered"] == 1
    assert bench.sent == [[ANN]]


def test_a_streamed_look_gives_it_up_after_an_edit_too() -> None:
    bench = rejecting(ANN)
    bench.tool.refuses = frozenset()
    bench.consume(bench.look(2))
    assert bench.sent == []
    bench.edit()
    bench.consume(bench.look(2))
    assert bench.sent == [[ANN]]


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_what_is_refused_again_after_an_edit_is_tried_once(imports: bool) -> None:
    bench = rejecting(ANN, imports=imports)
    bench.edit()
    for _ in range(3):
        assert run_again(bench)["rejected:refused"] == 1
    assert bench.sent == [[ANN]]


def test_an_import_that_ends_after_an_edit_was_refused_under_the_settings_it_was_sent_with() -> None:
    bench = Bench(imports=True)
    bench.tool.refuses = frozenset({ANN})
    bench.store(2, email=ANN)
    bench.consume(bench.look(2))
    bench.settings.secrets[CONNECTION] = "another region"
    bench.work_off()
    bench.tool.refuses = frozenset()

    assert run_again(bench)["delivered"] == 1


def test_no_secret_can_be_read_from_what_a_rejection_remembers() -> None:
    bench = rejecting(ANN)
    for item in bench.database.snapshot().values():
        assert "first secret" not in str(item)


def test_a_rejection_that_was_stored_before_settings_were_remembered_is_read_and_given_up() -> None:
    old = {
        "told": {},
        "refusals": {"key": ["data", "refused", "it does not like it", "digest", "2026-01-01T00:00:00Z"]},
        "settings": 1,
        "sent_in": None,
        "counted_in": None,
    }
    read = deliveries.from_json(old, 1)
    assert read.refusals["key"].settings == ""
    assert deliveries.from_json(deliveries.to_json(read), 1) == read


# An operator asks.


def with_two_codes(*, imports: bool = False) -> Bench:
    """Return a bench where Ann and Bob were refused with one code and Cy with another; all would be taken now."""
    bench = Bench(imports=imports)
    for number, email in ((2, ANN), (4, BOB), (6, CY)):
        code = "bounced" if email == CY else "excluded"
        bench.tool.refuses = frozenset({email})
        bench.tool.rejection = Rejection(RejectionKind.DESTINATION, code, "not now")
        bench.store(number, email=email)
        bench.consume(bench.look(number))
        bench.work_off()
    bench.tool.refuses = frozenset()
    bench.tool.calls_made.clear()
    bench.clock.advance(60)
    return bench


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
@pytest.mark.parametrize(
    ("asked", "tried"), [({"code": "excluded"}, [ANN, BOB]), ({"code": "bounced"}, [CY]), ({}, [ANN, BOB, CY])]
)
def test_exactly_those_with_the_code_are_tried_again_by_a_run(
    imports: bool, asked: dict[str, str], tried: list[str]
) -> None:
    bench = with_two_codes(imports=imports)

    answer = bench.operator().handle({"retry": MAIN, **asked})
    bench.work_off()

    assert (answer["state"], answer["cause"], answer["retry"]) == ("running", "retry", asked.get("code", "all"))
    assert sorted(identity for call in bench.sent for identity in call) == tried
    assert bench.counts(answer["run"])["delivered"] == len(tried)
    assert bench.run(answer["run"]).state is RunState.FINISHED


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_each_is_tried_once_however_often_its_page_is_done(imports: bool) -> None:
    bench = with_two_codes(imports=imports)
    bench.tool.refuses, bench.tool.rejection = frozenset({ANN}), Rejection(RejectionKind.DESTINATION, "excluded", "no")
    bench.operator().handle({"retry": MAIN, "code": "excluded"})
    page = [message for message in bench.queue.messages if message.body["shard"] == 0]
    bench.work_off()
    [cursor] = page
    bench.consume(cursor, receives=2)
    bench.work_off()

    assert sorted(identity for call in bench.sent for identity in call) == [ANN, BOB]


def test_a_retry_that_cannot_start_says_so() -> None:
    bench = with_two_codes()
    operator = bench.operator()
    first = operator.handle({"retry": MAIN})["run"]
    again = operator.handle({"retry": MAIN})
    assert (again["run"], first in again["reason"]) == (None, True)
    bench.work_off()

    gates.close(bench.database, CONNECTION, Gate(scope_of("main")), "gone", "the list is gone", bench.clock.now())
    stopped = operator.handle({"retry": MAIN})
    assert stopped["run"] is None
    assert "ask again" in stopped["reason"]

    with pytest.raises(SettingsProblem) as caught:
        operator.handle({"retry": f"{CONNECTION}/none"})
    assert caught.value.code == "unknown_export"


@pytest.mark.parametrize("code", ["", "ann@x.example", "a" * 100, 7])
def test_what_is_no_code_is_refused(code: object) -> None:
    bench = with_two_codes()
    with pytest.raises(EventProblem) as caught:
        bench.operator().handle({"retry": MAIN, "code": code})
    assert (caught.value.code, caught.value.field) == ("not_a_code", "code")
    assert bench.queue.messages == []


def test_a_rejection_of_the_mapping_needs_no_retry() -> None:
    bench = Bench()
    bench.store(2, email="nonsense")
    bench.store(4, email=BOB)
    assert run_again(bench)["rejected:malformed_email"] == 1
    bench.store(2, email=ANN)
    bench.clock.time += timedelta(minutes=1)
    assert run_again(bench)["delivered"] == 1
    assert bench.delivery(2).refusals == {}
