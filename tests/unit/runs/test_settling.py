"""Outstanding profiles move to their columns, each by itself."""

from collections.abc import Sequence

import pytest

from relay.domain.assignment import Pair
from relay.domain.identity import UNKNOWN, Authority, Record, Unwanted, Wanted
from relay.domain.runs import RunState
from relay.stores import assignments, defects, identities
from relay.stores.database import Item, Key, Table
from tests.fakes.bench import CONNECTION, MINUTE, Bench, person
from tests.fakes.memory_database import MemoryDatabase


class Tripping(MemoryDatabase):
    """Trips over the assignment of one profile, once it is told to."""

    victim = ""

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        if any(key.table is Table.ASSIGNMENTS and key.sk == self.victim for key in keys):
            raise RuntimeError("a defect")
        return super().get(keys)


def test_an_import_is_settled_though_one_of_its_profiles_meets_a_defect() -> None:
    """Each has two addresses, so that all it is assigned is read to say where it stands."""
    bench = Bench(imports=True, call_size=10)
    bench.database.__class__ = Tripping
    assert isinstance(bench.database, Tripping)
    for number in (2, 4, 6):
        bench.store(number, email=[f"{number}@x.example", f"{number}@y.example"])
    run = bench.start()
    for _ in range(3):
        for message in bench.queue.take():
            bench.consume(message)
    bench.database.victim = person(4)
    bench.tool.land()
    for message in bench.checks.take():
        assert bench.check(message) == []
    counts = bench.counts(run)
    assert (counts["selected"], counts["delivered"], counts["rejected"]) == (3, 2, 1)
    assert counts["rejected:defect"] == 1
    assert bench.run(run).state is RunState.FINISHED
    assert [one.profile for one in defects.of_export(bench.database, f"{CONNECTION}/main", 10)] == [person(4)]


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("authority", [Authority(1, 1, "former"), Authority(1, 0, "main")], ids=["theirs", "ours once"])
def test_a_run_does_not_wait_for_what_is_left_at_a_target_that_another_export_has_or_had(
    authority: Authority, leaves: bool
) -> None:
    """The profile has two addresses, so that all it is assigned is read."""
    bench = Bench(imports=True)
    bench.store(2, email=["2@x.example", "2@y.example"])
    bench.store(4, email="4@x.example")
    if leaves:
        bench.full_run()
        bench.leave(2)
    bench.clock.time += MINUTE
    run = bench.start()
    while messages := bench.queue.take():
        for message in messages:
            bench.consume(message)
    assert bench.counts(run)["leaving_outstanding" if leaves else "outstanding"] > 0
    was = Unwanted(leaving=person(2)) if leaves else Wanted((person(2),))
    before = Record(authority, was, acknowledged=UNKNOWN)
    stored = assignments.load(bench.database, bench.export.key, [person(2)])[person(2)]
    pairs = stored.assignment.pairs | {Pair("list/other", "2@z.example")}
    bench.database.write(
        [
            identities.save(bench.key("2@z.example", "list/other"), before, 0, bench.clock.now()),
            assignments.save(bench.export.key, person(2), stored.assignment._replace(pairs=pairs), stored.version),
        ]
    )
    bench.tool.land()
    for message in bench.checks.take():
        assert bench.check(message) == []
    bench.tick(after=6 * MINUTE)
    assert bench.run(run).state is RunState.FINISHED
    assert "outstanding" not in bench.counts(run)
