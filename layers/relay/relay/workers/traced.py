"""The attempts of a look that an operator traces: what was sent and answered, and what it came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from relay.clock import Clock
from relay.destinations.contract import Account
from relay.destinations.exchanges import MOST, Recording
from relay.domain import ledger
from relay.domain.ledger import Column
from relay.observability import Observability
from relay.stores import traces
from relay.stores.database import Database

NOBODY: Final = "not a member"
"""How a traced look ends at somebody who is no member and stands for nothing."""


@dataclass(slots=True)
class Traced:
    """One attempt, made by a function of the stack. Without a trace nothing is kept."""

    trace: str | None
    function: str
    recordings: list[Recording] = field(default_factory=list)
    """What was recorded of each try of the attempt."""

    def recorded(self, database: Database, clock: Clock, account: Account) -> Account:
        """Return an account that keeps what is sent and answered."""
        if self.trace is None:
            return account
        trace = traces.load(database, self.trace, clock.now())
        self.recordings.append(Recording(trace is not None and trace.shows_values))
        return self.recordings[-1].of(account)

    def keep(self, database: Database, clock: Clock, observe: Observability, outcome: str) -> None:
        """Keep the attempt for the operator. Raises nothing: what is only looked at must not decide what is done."""
        if self.trace is None:
            return
        exchanges = [one._asdict() for recorded in self.recordings for one in recorded.exchanges]
        left_out = sum(recorded.left_out for recorded in self.recordings)
        self.recordings.clear()
        attempt = traces.Attempt(clock.now(), self.function, outcome, exchanges[:MOST], left_out)
        try:
            traces.add(database, self.trace, attempt)
        except Exception as trouble:  # noqa: BLE001 - see above
            observe.problem("attempt was not kept", trouble)


def came_to(counts: Mapping[str, int]) -> str:
    """Return what an attempt at one profile came to: the column it is counted in, with the code of a rejection."""
    codes = ledger.rejections(counts)
    column = next((column for column in Column if counts.get(column, 0)), None)
    if column is None:
        return NOBODY
    return f"{column.value}: {', '.join(codes)}" if column is Column.REJECTED and codes else column.value
