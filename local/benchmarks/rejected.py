"""How long it takes to list everybody whom an export has rejected: pages, CPU, and what is read of the tables.

The tables are in memory, so the time of DynamoDB is in no figure. A tenth of the profiles has no address, which the
assignment says. Another tenth is refused by the destination, which the record of the identity says.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from local.benchmarks.report import Figure, Goal, Report, Section
from relay.clock import SystemClock
from relay.domain.assignment import Assignment, MappingRejection, Pair
from relay.domain.exports import Export
from relay.domain.identity import OUT, Authority, Basis, Digest, Record, Refused, Wanted
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import RejectionKind
from relay.settings.settings import Settings
from relay.stores import assignments, identities
from relay.stores.database import Database, Item, Key, Table, Write
from relay.workers.operators.rejected import ListRejected, Rejections
from tests.fakes.memory_database import MemoryDatabase

EVERY: Final = 10
"""One profile in so many has no address, and one is refused."""
PAGE: Final = 1_000
"""Rejections of a page, as `relay rejected` asks for them."""

_EXPORT: Final = Export("newsletter", "vip", "activecampaign", True, False, ("shop/vip",), {}, None, 1)
_NOW: Final = datetime(2026, 11, 27, tzinfo=UTC)
_AT_ONCE: Final = 5_000
_HOW: Final = (
    "Tables are in memory: their time, and that of DynamoDB's client, is in no figure. One profile in ten has no "
    f"address, and one is refused by the destination. A page has {PAGE:,} rejections, as relay rejected asks for them."
)


@dataclass
class Tables:
    """Tables that count what is read of them."""

    kept: MemoryDatabase
    records: int = 0
    listings: int = 0

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """Read items."""
        self.records += len(keys)
        return self.kept.get(keys)

    def query(self, table: Table, pk: str, **more: Any) -> list[Item]:
        """Read a listing."""
        self.listings += 1
        return self.kept.query(table, pk, **more)


class _Settings:
    def export(self, key: str) -> Export:  # noqa: ARG002 - there is one
        return _EXPORT


def benchmark(folder: object, profiles: int) -> Report:  # noqa: ARG001 - as other benchmarks have it
    """List everybody whom an export of so many profiles has rejected, and report."""
    tables, keyed = Tables(MemoryDatabase()), KeyedHash("benchmark")
    expected = fill(tables.kept, keyed, profiles)
    rejections = Rejections(
        cast("Database", tables), cast("Settings", _Settings()), keyed, SystemClock(), lambda *_: "a reason"
    )
    found: list[str] = []
    seconds: list[float] = []
    cpu, after, ended = time.process_time(), None, False
    while not ended:
        began = time.perf_counter()
        page = rejections.page(ListRejected(export=_EXPORT.key, after=after, limit=PAGE))
        seconds.append(time.perf_counter() - began)
        found += [one.profile for one in page.rejected]
        after, ended = page.next, page.next is None
    cpu = time.process_time() - cpu
    is_complete = len(found) == len(set(found)) == expected
    figures = [
        Figure("rejected", "rejected", expected),
        Figure(
            "complete",
            "all of them were listed, each once (1: yes)",
            is_complete,
            Goal("=", 1),
            section=Section.OUTCOME,
        ),
        Figure("pages", "pages", len(seconds)),
        Figure("cpu_seconds", "CPU seconds", cpu, digits=1),
        Figure("seconds", "seconds", sum(seconds), digits=1),
        Figure("longest_page", "seconds of the longest page", max(seconds), Goal("<", 15), 2),
        Figure("records_read", "records read by key", tables.records),
        Figure("listings", "pages of listings read", tables.listings),
    ]
    return Report("rejected", {"profiles": profiles}, figures, (_HOW,))


def fill(database: MemoryDatabase, keyed: KeyedHash, profiles: int) -> int:
    """Store what is known of so many profiles after a run; return how many were rejected."""
    writes: list[Write] = []
    rejected = 0
    for number in range(profiles):
        rejected += number % EVERY < 2
        writes += _of_one(keyed, keyed("benchmark", str(number)), number)
        if len(writes) >= _AT_ONCE or number == profiles - 1:
            database.write(writes)
            writes.clear()
    return rejected


def _of_one(keyed: KeyedHash, profile: str, number: int) -> Iterator[Write]:
    if number % EVERY == 0:
        no_address = MappingRejection(RejectionKind.DATA, "no_email", _NOW)
        yield assignments.save(_EXPORT.key, profile, Assignment(rejection=no_address), 0)
        return
    pair, digest, is_refused = Pair("list/7", f"{number}@x.example"), Digest("f" * 32), number % EVERY == 1
    yield assignments.save(_EXPORT.key, profile, Assignment(frozenset([pair]), 1, _NOW), 0)
    record = Record(
        Authority(1, 1, _EXPORT.name),
        Wanted((profile,), digest, Basis(1, 1, 1)),
        acknowledged=OUT if is_refused else digest,
        since=_NOW,
        refused=Refused(digest, "bounced", _NOW, "settings") if is_refused else None,
    )
    yield identities.save(identities.key_of(keyed, _EXPORT.connection, *pair), record, 0, _NOW)
