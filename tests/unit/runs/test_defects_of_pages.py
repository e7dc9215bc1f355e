"""A defect that one profile meets in a page of a run."""

from collections.abc import Sequence
from typing import Any

from relay.destinations.contract import Account, Step
from relay.domain.exports import Export
from relay.domain.runs import RunState
from relay.stores import defects
from tests.fakes.bench import CONNECTION, Bench, person


def test_the_first_of_a_full_page_is_set_aside_and_those_behind_it_are_not_skipped() -> None:
    """The page has read further than its call has room for."""
    bench = Bench(call_size=1)
    for number in (2, 4, 6):
        bench.store(number, email=f"{number}@x.example")
    send: Any = bench.tool.send

    def tripping(account: Account, export: Export, steps: Sequence[Step]) -> Any:
        if any(step.identity == "2@x.example" for step in steps):
            raise RuntimeError("a defect")
        return send(account, export, steps)

    bench.tool.send = tripping  # type: ignore[method-assign]
    run = bench.full_run()
    assert bench.run(run).state is RunState.FINISHED
    assert sorted(bench.tool.holds()) == ["4@x.example", "6@x.example"]
    assert bench.counts(run)["rejected:defect"] == 1
    assert [one.profile for one in defects.of_export(bench.database, f"{CONNECTION}/main", 10)] == [person(2)]
