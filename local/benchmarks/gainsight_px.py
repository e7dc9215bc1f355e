"""Gainsight PX: streaming membership changes, as route asks the consumer for looks at them.

Everybody comes, is looked at again though nothing has changed, and leaves; with two segments a profile, and with one.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

from local.benchmarks.aws_apart import Aws, Usage, aws_apart
from local.benchmarks.cases import MEASURED, Case
from local.benchmarks.fast_clock import FastClock
from local.benchmarks.population import SOURCE, Population, leave, store
from local.benchmarks.pricing import PRICED, Bill
from local.benchmarks.progress import Progress, say
from local.benchmarks.relaying import Relay
from local.benchmarks.report import Figure, Goal, Report, Section
from local.benchmarks.sandbox import Counters, sandbox
from local.benchmarks.worker import Used
from local.roles import SandboxControl
from relay.destinations import registry
from relay.domain.exports import Connection, Export
from relay.messages import MAX_PROFILES, Look, group
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

CASES: Mapping[str, str] = {
    "first": "everybody comes to two segments",
    "again": "looked at again: nothing has changed",
    "changed": "everybody leaves both",
    "first_of_one": "everybody comes to one segment",
    "again_of_one": "looked at again: nothing has changed",
    "changed_of_one": "everybody leaves it",
}
"""Changes are memberships: two a profile, or one."""

GOALS: Mapping[str, Mapping[str, Goal]] = {
    "first": {
        "cpu_seconds_per_100k": Goal("<=", 20),
        "write_units_per_1000": Goal("<=", 2_700),
        "list_price_per_million": Goal("<=", 2.3),
    },
    "first_of_one": {"write_units_per_1000": Goal("<=", 3_200)},
}

_NOTE = (
    f"A call takes {FULL_CALL:,} changes. With few profiles there are more calls, because the last call of each shard "
    "is part-filled. What route does for a change is in `bench-route`."
)


@dataclass(frozen=True)
class Wave:
    """What it cost to bring PX a wave of looks."""

    changes: int
    full_calls: int
    """How many calls it takes when each but the last of a shard is full."""
    counters: Counters
    used: Used
    usage: Usage
    bill: Bill
    members: list[int]
    """Of each segment at the end."""


def benchmark(folder: Path, profiles: int, time_scale: float) -> Report:
    """Measure with so many profiles, each in two segments, and then each in one."""
    waves: dict[str, Wave] = {}
    for count in (2, 1):
        population = Population(profiles, _SEGMENTS[:count])
        with aws_apart({}) as aws, sandbox(_DESTINATION, folder, time_scale) as url:
            say(f"storing {profiles:,} profiles")
            aws.do(store, population)
            waves |= _measured(url, aws, population, time_scale)
    figures = [figure for case, wave in waves.items() for figure in _figures(case, wave)]
    peak = max(wave.used.peak_memory_mb for wave in waves.values())
    figures.append(Figure("peak_mb", "most memory of one function, MB", peak, Goal("<", 200)))
    figures += [figure for case, wave in waves.items() for figure in _outcome(case, wave, profiles)]
    settings = {"profiles": profiles, "time scale": time_scale}
    return Report("Gainsight PX", settings, figures, [MEASURED, PRICED, _NOTE], CASES)


def _measured(url: str, aws: Aws, population: Population, time_scale: float) -> dict[str, Wave]:
    """Send the waves of all cases with so many segments."""
    export = _export(population.segments)
    # As after the run that an export has when it is activated: from then on leavers are taken out as they come.
    aws.do(breakers.pass_guard, export.connection, export.name, export.version)
    ending = "" if len(population.segments) == 2 else "_of_one"
    waves = {}
    with closing(Relay(aws, _connection(url), export, url, FastClock(time_scale), checkers=1)) as relay:
        for kind in ("first", "again", "changed"):
            if kind == "changed":
                aws.do(leave, population)
            waves[kind + ending] = _wave(relay, url, aws, population, Progress(CASES[kind + ending], population.count))
    return waves


def _wave(relay: Relay, url: str, aws: Aws, population: Population, progress: Progress) -> Wave:
    control, sent = SandboxControl(url), 0

    def looks(shard: int) -> Iterator[Mapping[str, Any]]:
        """Yield what route would send for a shard."""
        nonlocal sent
        export = relay.export
        ids = (profile_id for profile_id, _ in population.shard(shard, relay.shards))
        while part := tuple(islice(ids, MAX_PROFILES)):
            sent += len(part)
            yield Look(export.connection, export.name, export.version, part).to_json()

    messages = {group(relay.export.connection, shard): looks(shard) for shard in range(relay.shards)}
    before = control.counters()
    aws.usage()
    relay.work_off(messages, lambda: sent, progress)
    counters, used, usage = Counters(before, control.counters()), relay.used(), aws.usage()
    sizes = [sum(1 for _ in population.shard(shard, relay.shards)) for shard in range(relay.shards)]
    return Wave(
        changes=population.count * len(population.segments),
        full_calls=sum(ceil(size * len(population.segments) / FULL_CALL) for size in sizes),
        counters=counters,
        used=used,
        usage=usage,
        bill=relay.bill(used, usage, counters.number("calls")),
        members=[int(segment["member_count"]) for segment in control.summary()["segments"]],
    )


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


def _export(segments: tuple[str, ...]) -> Export:
    return Export(
        connection="product",
        name="segments",
        destination=_DESTINATION,
        active=True,
        stream=True,
        segments=segments,
        mapping={"IDENTIFY_ID": "identities.crm_id"},
        options=registry.load(_DESTINATION).options_model(),
        version=1,
    )


def _figures(case: str, wave: Wave) -> Iterator[Figure]:
    return Case(
        amount=wave.changes,
        cpu=wave.used.cpu,
        usage=wave.usage,
        bill=wave.bill,
        calls=wave.counters.number("calls"),
        share_of_limit=wave.used.traffic.of(("POST", "update_membership")).per_second() / CALLS_A_SECOND,
        goals=GOALS.get(case, {}),
    ).figures(case, "changes", "PX")


def _outcome(case: str, wave: Wave, profiles: int) -> Iterator[Figure]:
    """Yield whether a wave did what it should."""
    counters, none = wave.counters, Goal("=", 0)

    def figure(name: str, text: str, value: float, goal: Goal | None = None) -> Figure:
        return Figure(name, text, value, goal, case=case, section=Section.OUTCOME)

    most = none if case.startswith("again") else Goal("<=", wave.full_calls)
    yield figure("update_calls", "calls that tell of members", counters.operation(_UPDATE), most)
    yield figure("metadata_calls", "calls to make segments known", counters.operation(_METADATA))
    yield figure("token_calls", "calls for a token", counters.operation(_TOKEN))
    yield figure("refused_calls", "calls answered 400 or 429", counters.status("400", "429"), none)
    yield figure("limit_violations", "calls over a documented limit", counters.number("limit_violations"), none)
    yield figure("troubles", "warnings and errors in the log", wave.used.troubles, none)
    goal = Goal("=", 0 if case.startswith("changed") else profiles)
    yield figure("fewest_members", "members of the smallest segment at the end", min(wave.members), goal)
    yield figure("most_members", "members of the largest segment at the end", max(wave.members), goal)
    yield figure("times_backwards", "times that went backwards", counters.number("times_backwards"), none)
    yield figure("bytes", "bytes sent", wave.used.traffic.sent_bytes)
