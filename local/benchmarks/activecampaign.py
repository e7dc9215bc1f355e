"""ActiveCampaign: a full export into an empty list, and the same again over unchanged data.

As in a real account, some are on its exclusion list, have unsubscribed by hand or have bounced, and some addresses are
none (`population.Trouble`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path

from local.benchmarks.apart import apart
from local.benchmarks.disk_database import DiskDatabase
from local.benchmarks.fast_clock import FastClock
from local.benchmarks.measuring import Effort, Stopwatch, Traffic, metered, peak_memory_mb
from local.benchmarks.population import SOURCE, Population, Trouble, store
from local.benchmarks.progress import Progress, say
from local.benchmarks.relaying import Relay
from local.benchmarks.report import STORE_NOTE, Figure, Goal, Report
from local.benchmarks.sandbox import Counters, sandbox
from local.roles import SandboxControl
from relay.destinations import registry
from relay.domain.exports import Connection, Export

KIND = "activecampaign"
DEFAULT_TIME_SCALE = 2.5
"""The documented limit of 100 imports a minute lets a million contacts through in 41 minutes; this makes it 17."""

IMPORTS_A_MINUTE = 100
CALLS_A_SECOND = 5
"""https://developers.activecampaign.com/reference/bulk-import-contacts and .../rate-limits."""

ACCOUNTS: Mapping[str, tuple[str, ...]] = {
    "open": (),
    "silent": ("--excluded-at", "queue", "--success-lists", "created"),
}
"""What accounts tell of an import: whom it left out, or no more than how many. It is not documented which."""

_PLANTED_AT_ONCE = 5_000
_SUBSCRIBED, _UNSUBSCRIBED = 1, 2
_LIST = "1"
_SEGMENT = f"{SOURCE}/customers"
_IMPORTS = (("POST", "bulk_import"),)
_LOOK_OPERATIONS = ("GET /api/3/import/info", "GET /api/3/import/bulk_import")

_NOTE = (
    "Minutes and shares are unscaled, as at ActiveCampaign itself. When only the share of the import limit misses its "
    "goal, this machine is too slow for the time scale."
)


@dataclass(frozen=True)
class FullRun:
    """What one run cost, and what became of the profiles."""

    counters: Counters
    effort: Effort
    traffic: Traffic
    counts: Mapping[str, int]
    minutes: float
    """How long the run took, as it would at ActiveCampaign itself."""
    troubles: int
    peak_memory_mb: float


def benchmark(folder: Path, profiles: int, time_scale: float, account: str = "open") -> Report:
    """Measure with so many profiles and one of `ACCOUNTS`; everything is kept in the folder meanwhile."""
    population = Population(profiles, (_SEGMENT,), has_troubles=True)
    path = folder / "store.sqlite"
    say(f"storing {profiles:,} profiles")
    apart(store, path, population)
    options = ("--lists", f"{_LIST}:Newsletter", "--fields", "1:text", *ACCOUNTS[account])
    with sandbox(KIND, folder, time_scale, *options) as url:
        _prepare(SandboxControl(url), population)
        first, second = apart(measure, url, path, population, time_scale)
        held = Counter({int(status): n for status, n in SandboxControl(url).summary()["list_statuses"][_LIST].items()})
    return _report(population, time_scale, first, second, held)


def _prepare(control: SandboxControl, population: Population) -> None:
    """Give the account what it knows beforehand: contacts, and an exclusion list of addresses that are no contacts."""
    troubles = list(population.troubles())
    control.change(excluded=[population.email(number) for number, trouble in troubles if trouble is Trouble.EXCLUDED])
    known: Mapping[Trouble, Mapping[str, object]] = {
        Trouble.UNSUBSCRIBED: {"lists": {_LIST: _UNSUBSCRIBED}},
        Trouble.BOUNCED: {"bounced": True},
    }
    contacts: Iterator[dict[str, object]] = (
        {"email": population.email(number), **known[trouble]} for number, trouble in troubles if trouble in known
    )
    for part in _parts(contacts):
        control.plant(contacts=part)


def _parts(contacts: Iterable[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    rest = iter(contacts)
    while part := list(islice(rest, _PLANTED_AT_ONCE)):
        yield part


def measure(url: str, path: Path, population: Population, time_scale: float) -> tuple[FullRun, FullRun]:
    """Do both runs in this process."""
    clock = FastClock(time_scale)
    relay = Relay(DiskDatabase(path), _connection(), _export(), url, clock)
    first = _full_run(relay, url, Progress("full run", population.count))
    second = _full_run(relay, url, Progress("the same again", population.count))
    return first, second


def _full_run(relay: Relay, url: str, progress: Progress) -> FullRun:
    control, troubles = SandboxControl(url), relay.log.troubles
    before, watch = control.counters(), Stopwatch(relay.disk)
    began = relay.clock.now()
    with metered(relay.clock) as traffic:
        run = relay.run("benchmark", progress)
    ended = run.ended_at or relay.clock.now()
    return FullRun(
        Counters(before, control.counters()),
        watch.read(),
        traffic,
        dict(relay.counts(run)),
        (ended - began) / timedelta(minutes=1),
        relay.log.troubles - troubles,
        peak_memory_mb(),
    )


def _connection() -> Connection:
    settings = registry.load(KIND).connection_model.model_validate(
        {"api_host": "sandbox.api-us1.com", "api_key": "sandbox-api-key"}
    )
    return Connection("newsletter", KIND, "Newsletter", settings)


def _export() -> Export:
    return Export(
        connection="newsletter",
        name="customers",
        destination=KIND,
        active=True,
        stream=False,
        segments=(_SEGMENT,),
        mapping={
            "email": "identities.email",
            "first_name": "attributes.first_name",
            "last_name": "attributes.last_name",
            "phone": "attributes.phone",
            "fields.1": "attributes.tier",
        },
        options=registry.load(KIND).options_model.model_validate({"list_id": _LIST}),
        version=1,
    )


def _report(
    population: Population, time_scale: float, first: FullRun, second: FullRun, held: Mapping[int, int]
) -> Report:
    profiles, troubles = population.count, Counter(trouble for _, trouble in population.troubles())
    taken = profiles - troubles.total()
    others = sum(held.values()) - held[_SUBSCRIBED] - held[_UNSUBSCRIBED]
    figures = [
        *_calls(profiles, first),
        *_pace(profiles, first),
        *_machine(profiles, first),
        Figure("second_run_write_calls", "second run: write calls", second.counters.number("write_calls"), _none()),
        Figure("second_run_calls", "second run: all calls", second.counters.number("calls")),
        Figure(
            "second_run_cpu_seconds_per_100000",
            "second run: CPU seconds per 100,000 profiles",
            second.effort.cpu_seconds * 1e5 / profiles,
            digits=1,
        ),
        *_outcome(first, taken, troubles),
        Figure("unchanged", "second run: profiles unchanged", second.counts.get("unchanged", 0), Goal("=", taken)),
        Figure("on_the_list", "contacts on the list at the end", held[_SUBSCRIBED], Goal("=", taken)),
        Figure(
            "unsubscribed",
            "contacts unsubscribed at the end",
            held[_UNSUBSCRIBED],
            Goal("=", troubles[Trouble.UNSUBSCRIBED]),
        ),
        Figure("other_standings", "contacts that stand otherwise", others, _none()),
    ]
    return Report("ActiveCampaign", {"profiles": profiles, "time scale": time_scale}, figures, [STORE_NOTE, _NOTE])


def _outcome(run: FullRun, taken: int, troubles: Mapping[Trouble, int]) -> list[Figure]:
    counts = run.counts
    told = sum(counts.get(f"rejected:{code}", 0) for code in ("excluded", "unsubscribed", "bounced"))
    refused = sum(troubles.values()) - troubles[Trouble.MALFORMED]
    return [
        Figure("delivered", "first run: profiles delivered", counts.get("delivered", 0), Goal("=", taken)),
        Figure(
            "malformed",
            "first run: addresses that are none, never sent",
            counts.get("rejected:malformed_email", 0),
            Goal("=", troubles[Trouble.MALFORMED]),
        ),
        Figure(
            "refused",
            "first run: profiles refused by the account",
            counts.get("rejected", 0) - counts.get("rejected:malformed_email", 0),
            Goal("=", refused),
        ),
        Figure("refused_with_reason", "of them with a reason of their own", told),
        Figure("run_minutes", "minutes that the run took", run.minutes, digits=1),
    ]


def _calls(profiles: int, run: FullRun) -> list[Figure]:
    thousands = profiles / 1000
    calls = run.counters
    return [
        Figure(
            "write_calls_per_1000",
            "write calls per 1,000 profiles",
            calls.number("write_calls") / thousands,
            Goal("<=", 4.1),
            digits=2,
        ),
        Figure("calls_per_1000", "all calls per 1,000 profiles", calls.number("calls") / thousands, digits=2),
        Figure(
            "looks_per_1000",
            "looks at imports per 1,000 profiles",
            calls.operation(*_LOOK_OPERATIONS) / thousands,
            digits=2,
        ),
        Figure("refused_calls", "calls answered 400 or 429", calls.status("400", "429"), _none()),
        Figure("limit_violations", "calls over a documented limit", calls.number("limit_violations"), _none()),
        Figure("troubles", "warnings and errors in the relay's log", run.troubles, _none()),
    ]


def _pace(profiles: int, run: FullRun) -> list[Figure]:
    imports = run.traffic.of(*_IMPORTS)
    others = run.traffic.of(*run.traffic.series.keys() - set(_IMPORTS))
    a_minute = imports.per_second() * 60
    return [
        Figure(
            "import_limit_used_percent",
            f"used of {IMPORTS_A_MINUTE} imports a minute while sending (%)",
            100 * a_minute / IMPORTS_A_MINUTE,
            Goal(">=", 95),
            digits=2,
        ),
        Figure(
            "minutes_for_a_million",
            "minutes for 1,000,000 profiles at this pace",
            imports.calls * (1e6 / profiles) / a_minute if a_minute else 0.0,
            digits=1,
        ),
        Figure(
            "call_limit_used_percent",
            f"used of {CALLS_A_SECOND} calls a second, beside imports (%)",
            100 * others.per_second() / CALLS_A_SECOND,
            digits=1,
        ),
        Figure("bytes_per_profile", "bytes sent per profile", run.traffic.sent_bytes / profiles, digits=1),
    ]


def _machine(profiles: int, run: FullRun) -> list[Figure]:
    effort = run.effort
    return [
        Figure(
            "cpu_seconds_per_100000",
            "consumer: CPU seconds per 100,000 profiles",
            effort.cpu_seconds * 1e5 / profiles,
            digits=1,
        ),
        Figure(
            "store_share_of_cpu_percent",
            "the store's share of it (%)",
            100 * effort.store_cpu_seconds / effort.cpu_seconds,
            digits=1,
        ),
        Figure("wall_seconds", "seconds it took here", effort.wall_seconds, digits=1),
        Figure("peak_memory_mb", "consumer: peak memory (MB)", run.peak_memory_mb, Goal("<", 200)),
    ]


def _none() -> Goal:
    return Goal("=", 0)
