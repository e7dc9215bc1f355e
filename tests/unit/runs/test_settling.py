"""Outstanding profiles move to their columns, each by itself."""

from collections.abc import Sequence

from relay.domain.runs import RunState
from relay.stores import defects
from relay.stores.database import Item, Key, Table
from tests.fakes.bench import CONNECTION, Bench, person
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
