"""The figures that all benchmarks of work give, by case: CPU, units, calls and the list price, with their parts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from local.benchmarks.aws_apart import Usage
from local.benchmarks.pricing import Bill
from local.benchmarks.report import Figure, Goal, Section

MEASURED = (
    "CPU time is that of this machine, by its own Python: the functions' handlers, from the event to the answer, with "
    "their clients. The CPU clock is read where a client is entered and left. DynamoDB and SQS are a stub of the wire "
    "in a process of its own, the destination is a sandbox in another. Their CPU is in no figure, nor is TLS."
)

_CPU_PARTS = {
    "own": "our own code",
    "database": "our client of DynamoDB",
    "queues": "our client of SQS",
    "destination": "client of the destination",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What was used for so much work. Calls and the share (0 to 1) are those of the service that limits the work."""

    amount: int
    cpu: Mapping[str, float]
    """CPU seconds by part (`_CPU_PARTS`)."""
    usage: Usage
    bill: Bill
    calls: int
    share_of_limit: float | None = None
    goals: Mapping[str, Goal] = field(default_factory=dict)
    """By the names of figures."""

    def figures(self, case: str, of: str, whose: str) -> Iterator[Figure]:
        """Yield all of them. `of` says what is counted (profiles, changes), `whose` to whom the calls go."""
        hundred_thousands, thousands, millions = (self.amount / size for size in (1e5, 1e3, 1e6))
        yield self._figure(
            case, "cpu_seconds_per_100k", f"CPU seconds per 100,000 {of}", sum(self.cpu.values()) / hundred_thousands
        )
        for part, text in _CPU_PARTS.items():
            if part in self.cpu:
                yield self._part(case, f"{part}_cpu_seconds_per_100k", text, self.cpu[part] / hundred_thousands, 1)
        for kind, by_table in (("write", self.usage.write_units), ("read", self.usage.read_units)):
            name = f"{kind}_units_per_1000"
            yield self._figure(case, name, f"{kind} units per 1,000 {of}", sum(by_table.values()) / thousands, 0)
            for table, units in sorted(by_table.items()):
                short = table.rpartition("-")[2]
                yield self._part(case, f"{short}_{name}", f"{kind} units of {short}", units / thousands, 0)
        yield self._figure(case, "calls_per_1000", f"calls to {whose} per 1,000 {of}", self.calls / thousands, 2)
        if self.share_of_limit is not None:
            yield self._figure(case, "share_of_limit", "share of its limit used, of 1", self.share_of_limit, 3)
        price = {part: dollars / millions for part, dollars in self.bill.parts().items()}
        yield self._figure(case, "list_price_per_million", f"list price per million {of}, $", sum(price.values()), 3)
        for part, dollars in price.items():
            yield self._part(case, f"{part}_price_per_million", f"{part.replace('_', ' ')}, $", dollars, 3)

    def _figure(self, case: str, name: str, text: str, value: float, digits: int = 1) -> Figure:
        return Figure(name, text, value, self.goals.get(name), digits, case)

    def _part(self, case: str, name: str, text: str, value: float, digits: int) -> Figure:
        return Figure(name, f"  {text}", value, None, digits, case, Section.PARTS)
