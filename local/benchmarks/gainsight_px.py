"""Gainsight PX: streaming membership changes, as route asks the consumer for looks at them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from math import ceil
from pathlib import Path

from local.benchmarks.apart import apart
from local.benchmarks.disk_database import DiskDatabase
from local.benchmarks.fast_clock import FastClock
from local.benchmarks.measuring import Effort, Stopwatch, Traffic, metered
from local.benchmarks.memory import peak_memory_mb
from local.benchmarks.population import SOURCE, Population, store, take_out
from local.benchmarks.progress import Progress, say
from local.benchmarks.relaying import Relay
from local.benchmarks.report import STORE_NOTE, Figure, Goal, Report
from local.benchmarks.sandbox import Counters, sandbox
from local.roles import SandboxControl
from relay.destinations import registry
from relay.domain.exports import Connection, Export
from relay.messages import MAX_PROFILES, Look, group
from relay.queues import Message
from relay.stores import breakers

KIND = "gainsight-px"
DEFAULT_TIME_SCALE = 1.0
"""The limit of 200 requests a second is far beyond what full calls need."""

CALLS_A_SECOND = 200
CALLS_A_DAY = 1_000_000
"""https://px-apidocs.gainsight.com."""

FULL_CALL = 1000
_DESTINATION = "gainsight_px"
_SEGMENTS = (f"{SOURCE}/trial", f"{SOURCE}/power")
_UPDATE = "POST /v1/external_segment/update_membership"
_METADATA = "POST /v1/external_segment/metadata"
_TOKEN = "POST /oauth/token"

_NOTE = (
    f"The goal for update calls is one per {FULL_CALL:,} changes where calls can be full: with few profiles it is "
    "higher, because the last call of each shard is part-filled, once for those who come and once for leavers."
)


@dataclass(frozen=True)
class Wave:
    """What it cost to send PX a wave of changes."""

    changes: int
    full_calls: int
    """How many calls it takes when each but the last of a shard is full."""
    counters: Counters
    effort: Effort
    traffic: Traffic
    troubles: int
    peak_memory_mb: float


def benchmark(folder: Path, profiles: int, time_scale: float) -> Report:
    """Measure with so many profiles in two segments; everything is kept in the folder meanwhile."""
    population = Population(profiles, _SEGMENTS)
    path = folder / "store.sqlite"
    say(f"storing {profiles:,} profiles")
    apart(store, path, population)
    with sandbox(KIND, folder, time_scale) as url:
        waves = apart(measure, url, path, population, time_scale)
        segments = SandboxControl(url).summary()["segments"]
    members = [int(segment["member_count"]) for segment in segments]
    return _report(population, time_scale, waves, members)


def measure(url: str, path: Path, population: Population, time_scale: float) -> tuple[Wave, Wave]:
    """Let everybody come and a tenth leave, in this process."""
    clock, disk = FastClock(time_scale), DiskDatabase(path)
    export = _export()
    # As after the run that an export has when it is activated: from then on leavers are taken out as they come.
    breakers.pass_guard(disk, export.connection, export.name, export.version)
    relay = Relay(disk, _connection(url), export, url, clock)
    coming = _wave(relay, url, population, leavers_only=False)
    leavers = (profile_id for profile_id, number in population.shard(0, 1) if population.leaves(number))
    take_out(disk, leavers, clock.now())
    leaving = _wave(relay, url, population, leavers_only=True)
    return coming, leaving


def _wave(relay: Relay, url: str, population: Population, *, leavers_only: bool) -> Wave:
    sizes = [
        sum(not leavers_only or population.leaves(number) for _, number in population.shard(shard, relay.shards))
        for shard in range(relay.shards)
    ]
    control, troubles = SandboxControl(url), relay.log.troubles
    progress = Progress("leaving" if leavers_only else "coming", sum(sizes))
    sent = 0

    def messages() -> Iterator[Message]:
        nonlocal sent
        for profiles, message in _looks(relay, population, leavers_only=leavers_only):
            sent += profiles
            yield message

    before, watch = control.counters(), Stopwatch(relay.disk)
    with metered(relay.clock) as traffic:
        relay.work_off(messages(), lambda: sent, progress)
    return Wave(
        changes=sum(sizes) * len(population.segments),
        full_calls=sum(ceil(size * len(population.segments) / FULL_CALL) for size in sizes),
        counters=Counters(before, control.counters()),
        effort=watch.read(),
        traffic=traffic,
        troubles=relay.log.troubles - troubles,
        peak_memory_mb=peak_memory_mb(),
    )


def _looks(relay: Relay, population: Population, *, leavers_only: bool) -> Iterator[tuple[int, Message]]:
    """Yield the messages for all shards in turn, each with how many profiles it names, as `route` would send them."""

    def of_shard(shard: int) -> Iterator[tuple[int, Message]]:
        export = relay.export
        ids = (
            profile_id
            for profile_id, number in population.shard(shard, relay.shards)
            if not leavers_only or population.leaves(number)
        )
        while part := tuple(islice(ids, MAX_PROFILES)):
            body = Look(export.connection, export.name, export.version, part).to_json()
            yield len(part), Message(body, group(export.connection, shard))

    return (one for one in chain.from_iterable(zip_longest(*map(of_shard, range(relay.shards)))) if one is not None)


def _connection(url: str) -> Connection:
    settings = registry.load(_DESTINATION).connection_model.model_validate(
        {
            "region": "us",
            "username": "sandbox@example.com",
            "password": "sandbox-password",
            "client_id": "sandbox-subscription",
            "client_secret": "sandbox-client-secret",
            "token_url": f"{url}/oauth/token",
        }
    )
    return Connection("product", _DESTINATION, "Product", settings)


def _export() -> Export:
    return Export(
        connection="product",
        name="segments",
        destination=_DESTINATION,
        active=True,
        stream=True,
        segments=_SEGMENTS,
        mapping={"IDENTIFY_ID": "identities.crm_id"},
        options=registry.load(_DESTINATION).options_model(),
        version=1,
    )


def _report(population: Population, time_scale: float, waves: tuple[Wave, Wave], members: list[int]) -> Report:
    profiles = population.count
    changes = sum(wave.changes for wave in waves)
    updates = sum(wave.counters.operation(_UPDATE) for wave in waves)
    cpu_seconds = sum(wave.effort.cpu_seconds for wave in waves)
    store_seconds = sum(wave.effort.store_cpu_seconds for wave in waves)
    staying = profiles - waves[1].changes // len(population.segments)
    coming = waves[0]
    figures = [
        Figure("changes", "membership changes", changes),
        Figure(
            "calls_per_1000_changes",
            "update calls per 1,000 membership changes",
            1000 * updates / changes,
            # Where the changes of a shard are no multiple of a full call, its last call is smaller.
            Goal("<=", 1000 * sum(wave.full_calls for wave in waves) / changes),
            digits=3,
        ),
        Figure("metadata_calls", "calls to make segments known", _total(waves, _METADATA)),
        Figure("token_calls", "calls for a token", _total(waves, _TOKEN)),
        Figure("refused_calls", "calls answered 400 or 429", _statuses(waves), Goal("=", 0)),
        Figure(
            "limit_violations",
            "calls over a documented limit",
            sum(wave.counters.number("limit_violations") for wave in waves),
            Goal("=", 0),
        ),
        Figure(
            "troubles", "warnings and errors in the relay's log", sum(wave.troubles for wave in waves), Goal("=", 0)
        ),
        Figure(
            "second_limit_used_percent",
            f"used of {CALLS_A_SECOND} calls a second, on average (%)",
            100 * coming.traffic.of(("POST", "update_membership")).per_second() / CALLS_A_SECOND,
            digits=2,
        ),
        Figure(
            "second_limit_most_used_percent",
            f"used of {CALLS_A_SECOND} calls a second, at most (%)",
            100 * waves[1].counters.most_seen("requests_per_second") / CALLS_A_SECOND,
            digits=2,
        ),
        Figure(
            "day_limit_used_percent",
            f"used of {CALLS_A_DAY:,} calls a day (%)",
            100 * sum(wave.counters.number("calls") for wave in waves) / CALLS_A_DAY,
            digits=4,
        ),
        Figure(
            "bytes_per_change",
            "bytes sent per membership change",
            sum(wave.traffic.sent_bytes for wave in waves) / changes,
            digits=1,
        ),
        Figure(
            "cpu_seconds_per_100000_changes",
            "consumer: CPU seconds per 100,000 changes",
            cpu_seconds * 1e5 / changes,
            digits=1,
        ),
        Figure(
            "store_share_of_cpu_percent", "the store's share of it (%)", 100 * store_seconds / cpu_seconds, digits=1
        ),
        Figure("wall_seconds", "seconds it took here", sum(wave.effort.wall_seconds for wave in waves), digits=1),
        Figure("peak_memory_mb", "consumer: peak memory (MB)", coming.peak_memory_mb, Goal("<", 200)),
        Figure("segments", "segments at the end", len(members), Goal("=", len(population.segments))),
        Figure("fewest_members", "members of the smaller segment at the end", min(members), Goal("=", staying)),
        Figure("most_members", "members of the larger segment at the end", max(members), Goal("=", staying)),
        Figure(
            "times_backwards",
            "qualification times that went backwards",
            sum(wave.counters.number("times_backwards") for wave in waves),
            Goal("=", 0),
        ),
    ]
    return Report("Gainsight PX", {"profiles": profiles, "time scale": time_scale}, figures, [STORE_NOTE, _NOTE])


def _total(waves: tuple[Wave, Wave], operation: str) -> int:
    return sum(wave.counters.operation(operation) for wave in waves)


def _statuses(waves: tuple[Wave, Wave]) -> int:
    return sum(wave.counters.status("400", "429") for wave in waves)
