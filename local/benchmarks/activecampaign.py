"""ActiveCampaign: a full export into an empty list, the same again unchanged, and again when everybody has changed.

As in a real account, some are on its exclusion list, have unsubscribed by hand or have bounced, and some addresses are
none (`population.Trouble`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path

from local.benchmarks.aws_apart import Aws, Usage, aws_apart
from local.benchmarks.cases import MEASURED, Case
from local.benchmarks.fast_clock import FastClock
from local.benchmarks.population import SOURCE, Population, Trouble, move, store
from local.benchmarks.pricing import PRICED, Bill
from local.benchmarks.progress import Progress, say
from local.benchmarks.relaying import Relay
from local.benchmarks.report import Figure, Goal, Report, Section
from local.benchmarks.sandbox import Counters, sandbox
from local.benchmarks.worker import Used
from local.roles import SandboxControl
from relay.destinations import registry
from relay.domain.exports import Connection, Export

KIND = "activecampaign"
DEFAULT_TIME_SCALE = 2.5
"""The documented limit of 100 imports a minute lets a million contacts through in 41 minutes; this makes it 17."""

IMPORTS_A_MINUTE = 100
CALLS_A_SECOND = 5
"""https://developers.activecampaign.com/reference/bulk-import-contacts and .../rate-limits."""

ACCOUNTS: Mapping[str, Mapping[str, str]] = {
    "open": {},
    "silent": {"excluded_at": "queue", "success_lists": "created"},
}
"""What accounts say of an import: whom it left out, or no more than how many. It is not documented which."""

_PLANTED_AT_ONCE = 5_000
_SUBSCRIBED, _UNSUBSCRIBED = 1, 2
_LIST = "1"
_SEGMENT = f"{SOURCE}/customers"
_IMPORTS = (("POST", "bulk_import"),)
_LOOK_OPERATIONS = ("GET /api/3/import/info", "GET /api/3/import/bulk_import")

CASES: Mapping[str, str] = {
    "first": "a full run into an empty list",
    "again": "the same again: nothing has changed",
    "changed": "again, with another telephone number of everybody",
}

GOALS: Mapping[str, Mapping[str, Goal]] = {
    "first": {
        "cpu_seconds_per_100k": Goal("<=", 28),
        "write_units_per_1000": Goal("<=", 3_200),
        "read_units_per_1000": Goal("<=", 3_200),
        "share_of_limit": Goal(">=", 0.95),
        "list_price_per_million": Goal("<=", 2.6),
    },
    "again": {
        "cpu_seconds_per_100k": Goal("<=", 5),
        "read_units_per_1000": Goal("<=", 2_200),
        "list_price_per_million": Goal("<=", 0.27),
    },
    "changed": {"share_of_limit": Goal(">=", 0.95)},
}

_NOTE = (
    "Minutes and shares are unscaled, as at ActiveCampaign itself. When only the share of the import limit misses its "
    "goal, this machine is too slow for the time scale."
)


@dataclass(frozen=True)
class FullRun:
    """What one run cost, and what became of the profiles."""

    counters: Counters
    used: Used
    usage: Usage
    bill: Bill
    counts: Mapping[str, int]
    minutes: float
    """How long the run took, as it would at ActiveCampaign itself."""


def benchmark(folder: Path, profiles: int, time_scale: float, account: str = "open") -> Report:
    """Measure with so many profiles and one of `ACCOUNTS`."""
    population = Population(profiles, (_SEGMENT,), has_troubles=True)
    settings = {"lists": {_LIST: "Newsletter"}, "fields": {"1": "text"}, **ACCOUNTS[account]}
    with aws_apart({}) as aws, sandbox(KIND, folder, time_scale, **settings) as url:
        say(f"storing {profiles:,} profiles")
        aws.do(store, population)
        _prepare(SandboxControl(url), population)
        runs = _measured(url, aws, population, time_scale)
        held = Counter({int(status): n for status, n in SandboxControl(url).summary()["list_statuses"][_LIST].items()})
    return _report(population, time_scale, runs, held)


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


def _measured(url: str, aws: Aws, population: Population, time_scale: float) -> dict[str, FullRun]:
    """Do the runs of all cases."""
    runs = {}
    with closing(Relay(aws, _connection(), _export(), url, FastClock(time_scale))) as relay:
        for case, text in CASES.items():
            if case == "changed":
                aws.do(move, population)
            runs[case] = _full_run(relay, url, aws, Progress(text, population.count))
    return runs


def _full_run(relay: Relay, url: str, aws: Aws, progress: Progress) -> FullRun:
    control = SandboxControl(url)
    before, began = control.counters(), relay.clock.now()
    aws.usage()
    run = relay.run("benchmark", progress)
    ended = run.ended_at or relay.clock.now()
    counters, used, usage = Counters(before, control.counters()), relay.used(), aws.usage()
    return FullRun(
        counters,
        used,
        usage,
        relay.bill(used, usage, counters.number("calls")),
        dict(relay.counts(run)),
        (ended - began) / timedelta(minutes=1),
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


def _report(population: Population, time_scale: float, runs: Mapping[str, FullRun], held: Mapping[int, int]) -> Report:
    troubles = Counter(trouble for _, trouble in population.troubles())
    taken = population.count - troubles.total()
    figures = [figure for case, run in runs.items() for figure in _figures(case, run, population.count)]
    peak = max(run.used.peak_memory_mb for run in runs.values())
    figures.append(Figure("peak_mb", "most memory of one function, MB", peak, Goal("<", 200)))
    figures += [figure for case, run in runs.items() for figure in _outcome(case, run, taken, troubles)]
    figures += _speed(runs["first"], population.count)
    others = sum(held.values()) - held[_SUBSCRIBED] - held[_UNSUBSCRIBED]
    for name, text, value, expected in (
        ("on_the_list", "contacts on the list at the end", held[_SUBSCRIBED], taken),
        ("unsubscribed", "contacts unsubscribed", held[_UNSUBSCRIBED], troubles[Trouble.UNSUBSCRIBED]),
        ("other_standings", "contacts that stand otherwise", others, 0),
    ):
        figures.append(Figure(name, text, value, Goal("=", expected), section=Section.OUTCOME))
    settings = {"profiles": population.count, "time scale": time_scale}
    return Report("ActiveCampaign", settings, figures, [MEASURED, PRICED, _NOTE], CASES)


def _figures(case: str, run: FullRun, profiles: int) -> Iterator[Figure]:
    return Case(
        amount=profiles,
        cpu=run.used.cpu,
        usage=run.usage,
        bill=run.bill,
        calls=run.counters.number("calls"),
        share_of_limit=run.used.traffic.of(*_IMPORTS).per_second() * 60 / IMPORTS_A_MINUTE,
        goals=GOALS[case],
    ).figures(case, "profiles", "ActiveCampaign")


def _outcome(case: str, run: FullRun, taken: int, troubles: Mapping[Trouble, int]) -> Iterator[Figure]:
    """Yield whether a run did what it should."""
    counts, calls, none = run.counts, run.counters, Goal("=", 0)

    def figure(name: str, text: str, value: float, goal: Goal | None = None, digits: int = 0) -> Figure:
        return Figure(name, text, value, goal, digits, case=case, section=Section.OUTCOME)

    delivered, unchanged = (0, taken) if case == "again" else (taken, 0)
    yield figure("delivered", "profiles delivered", counts.get("delivered", 0), Goal("=", delivered))
    yield figure("unchanged", "profiles unchanged", counts.get("unchanged", 0), Goal("=", unchanged))
    malformed = counts.get("rejected:malformed_email", 0)
    goal = Goal("=", troubles[Trouble.MALFORMED])
    yield figure("malformed", "addresses that are none, never sent", malformed, goal)
    goal = Goal("=", sum(troubles.values()) - troubles[Trouble.MALFORMED])
    yield figure("refused", "profiles refused by the account", counts.get("rejected", 0) - malformed, goal)
    given = sum(counts.get(f"rejected:{code}", 0) for code in ("excluded", "unsubscribed", "bounced"))
    yield figure("refused_with_reason", "of them with a reason of their own", given)
    most = none if case == "again" else Goal("<=", _writes(taken + sum(troubles.values())))
    yield figure("write_calls", "calls that write", calls.number("write_calls"), most)
    yield figure("looks", "looks at imports", calls.operation(*_LOOK_OPERATIONS))
    yield figure("refused_calls", "calls answered 400 or 429", calls.status("400", "429"), none)
    yield figure("limit_violations", "calls over a documented limit", calls.number("limit_violations"), none)
    yield figure("troubles", "warnings and errors in the log", run.used.troubles, none)
    yield figure("run_minutes", "minutes that the run took", run.minutes, digits=1)


def _writes(profiles: int) -> float:
    """Return the most calls that may write so many: 4.1 for each thousand, and one more for each shard's last."""
    return 4.1 * profiles / 1000


def _speed(run: FullRun, profiles: int) -> Iterator[Figure]:
    imports = run.used.traffic.of(*_IMPORTS)
    others = run.used.traffic.of(*run.used.traffic.series.keys() - set(_IMPORTS))
    a_minute = imports.per_second() * 60
    yield Figure(
        "minutes_for_a_million",
        "minutes for 1,000,000 profiles at the pace of the first run",
        imports.calls * (1e6 / profiles) / a_minute if a_minute else 0.0,
        digits=1,
        section=Section.OUTCOME,
    )
    yield Figure(
        "call_limit_used",
        f"share of {CALLS_A_SECOND} calls a second used beside imports, of 1",
        others.per_second() / CALLS_A_SECOND,
        digits=3,
        section=Section.OUTCOME,
    )
    yield Figure(
        "bytes_per_profile",
        "bytes sent per profile",
        run.used.traffic.sent_bytes / profiles,
        digits=1,
        section=Section.OUTCOME,
    )
