"""Looking at connections, exports and all they depend on for an operator: what is wrong, and who must do what.

Whatever raises the alarm is a finding here, too (both ask `attention`). Trouble of any kind is a finding, never an
exception.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from relay.breaker.accounts import Accounts
from relay.breaker.ownership import Ownership
from relay.breaker.prober import Prober
from relay.destinations.contract import Destination, Finding, Level
from relay.domain import ledger, moments
from relay.domain.exports import Export
from relay.domain.problems import DEFECT, UNCONFIRMED, Actor, Problem, Transient
from relay.domain.runs import RunState
from relay.reconcile.desired import TOO_MANY_IDENTITIES, UNFIT_EXPRESSION
from relay.reconcile.set_aside import code_version
from relay.schedules import Timetable
from relay.settings.inventory import Inventory
from relay.settings.names import UnknownSource
from relay.settings.settings import Settings
from relay.settings.shapes import Invalid, Listing
from relay.stores import breakers, defects, receipts, runs, segments
from relay.stores.database import Database
from relay.stores.defects import Defect
from relay.workers.attention import Attention, of_breaker, of_runs, of_sources, telling_run
from relay.workers.operators import mapping_samples

EVERYTHING = "*"
"""What a check of all connections, sources and names is asked for by."""

OUR_REASONS: Final[Mapping[str, str]] = {
    TOO_MANY_IDENTITIES.code: TOO_MANY_IDENTITIES.detail,
    UNFIT_EXPRESSION: "the expression of the identity cannot be worked out for the profile: correct the mapping",
    UNCONFIRMED: "the destination never said whether it took the profile; it is tried again by later runs",
    DEFECT: "a defect of ours was met with the profile: report it",
}
"""What the codes of rejections mean that no destination knows."""


class Checker:
    """Looks at connections; opens and starts nothing."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        destinations: Callable[[str], Destination],
        accounts: Accounts,
        ownership: Ownership,
        prober: Prober,
        schedules: Callable[[], Timetable],
        inventory: Callable[[], Inventory],
    ) -> None:
        self._database = database
        self._settings = settings
        self._destinations = destinations
        self._accounts = accounts
        self._ownership = ownership
        self._prober = prober
        self._schedules = schedules
        self._inventory = inventory

    def connection(self, name: str) -> dict[str, Any]:
        """Look at a connection with its secret as it is now, its exports, and what these depend on."""
        around, listing = self._surroundings(), self._settings.exports()
        tried = self._tried(export for export in listing.valid.values() if export.connection == name)
        return self._report(name, listing, around, tried, around.findings)

    def everything(self) -> dict[str, Any]:
        """Look at every connection and source, and at names that are nearly those of settings."""
        listing, around = self._settings.exports(), self._surroundings()
        exports = list(listing.valid.values())
        connections = sorted({export.connection for export in exports} | set(around.inventory.connections))
        unused = sorted(set(around.inventory.sources) - _sources_of(exports))
        findings = [*around.findings, *self._sources(unused)]
        findings += [_of_invalid(invalid) for invalid in listing.problems if _connection_of(invalid) not in connections]
        # All together, because trying takes some seconds.
        tried = self._tried(exports)
        reports = [self._report(connection, listing, around, tried) for connection in connections]
        well = all(report["well"] for report in reports) and _are_well(findings)
        return {"well": well, "connections": reports, "findings": _shown(findings)}

    def stopped(self, connection: str) -> list[dict[str, Any]]:
        """Return what is stopped of a connection: why it is now, since when, and when it is probed next."""
        return [
            {
                "subject": breaker.subject,
                "code": breaker.stop.code,
                "reason": breaker.stop.reason,
                "who_must_act": breaker.stop.actor.value,
                "since": None if breaker.since is None else moments.text(breaker.since),
                "next_probe": moments.text(breaker.stop.probe_at),
            }
            for breaker in breakers.load_all(self._database, connection)
            if breaker.stop is not None
        ]

    def _tried(self, exports: Iterable[Export]) -> Sequence[Finding]:
        """Try the mappings of exports on stored profiles."""
        return mapping_samples.look_at(self._database, self._destinations, list(exports))

    def _report(
        self,
        connection: str,
        listing: Listing,
        around: "_Surroundings",
        tried: Sequence[Finding],
        more: Sequence[Finding] = (),
    ) -> dict[str, Any]:
        exports = [export for export in listing.valid.values() if export.connection == connection]
        # What is wrong with the connection itself is read afresh below.
        invalid = [one for one in listing.problems if one.subject.startswith(f"export {connection}/")]
        findings = [_of_invalid(one) for one in invalid]
        findings += self._stops(connection, exports)
        findings += self._account(connection, exports)
        for export in exports:
            findings += self._export(export, around.timetable)
        findings += [finding for finding in tried if finding.subject in {export.key for export in exports}]
        findings += self._sources(sorted(_sources_of(exports)))
        findings += self._sources_in_vain(exports)
        stopped = self.stopped(connection)
        shown = _shown([*findings, *more])
        return {
            "connection": connection,
            "well": not stopped and _are_well(findings),
            "stopped": stopped,
            "findings": shown,
        }

    def _stops(self, connection: str, exports: Sequence[Export]) -> Iterator[Finding]:
        """Look whether what is stopped still has its reason; another one is kept, as after a probe."""
        for breaker in breakers.load_all(self._database, connection):
            if breaker.stop is None:
                continue
            own = [export for export in exports if breaker.export in (None, export.name)]
            now = self._prober.look(breaker, own) if own else breaker
            yield from map(_of, of_breaker(now))
            if now.stop is None:
                code, when = breaker.stop.code, moments.text(breaker.stop.probe_at)
                message = f'was stopped ({code}) and is well now: it goes on at {when}, or at once by a "probe"'
                yield Finding(breaker.subject, Level.WARNING, message, Actor.WAIT)

    def _account(self, connection: str, exports: Sequence[Export]) -> Sequence[Finding]:
        try:
            settled = self._settings.connection(connection, fresh=True)
            account, _ = self._accounts.open(settled)
            return self._destinations(settled.destination).check(account, exports)
        except Problem as problem:
            return [Finding("connection", Level.ERROR, str(problem), problem.actor)]

    def _export(self, export: Export, timetable: Timetable | None) -> Iterator[Finding]:
        yield from (
            _of(waiting, self._likely_cause(export) if waiting.problem.code == RunState.MANY_REJECTED else "")
            for waiting in of_runs(self._database, export)
        )
        yield from _of_defects(self._database, export)
        unseen = sorted(set(export.segments) - segments.known(self._database, export.segments))
        if unseen:
            message = (
                f"segments never seen: {', '.join(unseen)}: no run starts until the platform has sent somebody of "
                "them; correct the names, or let it send"
            )
            yield _error(export.key, message)
        for target, owner in self._ownership.taken(export):
            yield _error(export.key, f"{target} belongs to export {owner} of this connection: one of the two must go")
        if not export.active:
            message = "is paused: nothing is sent, and what comes meanwhile is made up for by a run when it is active"
            yield Finding(export.key, Level.WARNING, message, Actor.ADMINISTRATOR)
        elif timetable is not None:
            yield from _of_schedules(export, timetable)

    def _likely_cause(self, export: Export) -> str:
        """Return what the most frequent rejection of an export's last run means, nothing where that is not known."""
        run = telling_run(self._database, export.key)
        shards = [] if run is None else runs.shards(self._database, run.id)
        codes = ledger.rejections(ledger.total(shard.counts for shard in shards))
        if not codes:
            return ""
        code = max(codes, key=lambda code: (codes[code], code))
        reasons = {**OUR_REASONS, **self._destinations(export.destination).reasons}
        return f"{code} means: {reasons[code]}" if code in reasons else ""

    def _sources(self, names: Sequence[str]) -> Iterator[Finding]:
        for name in names:
            try:
                self._settings.source(name)
            except UnknownSource:
                message = "there is no source of this name: nothing new arrives for its segments"
                yield Finding(f"source {name}", Level.WARNING, message, Actor.ADMINISTRATOR)
            except Problem as problem:
                message = f"{problem}; its webhooks are answered with 503"
                yield Finding(f"source {name}", Level.ERROR, message, problem.actor)

    def _sources_in_vain(self, exports: Sequence[Export]) -> Iterator[Finding]:
        """Tell of sources that found nobody in what they were last sent, with the expression and what there was."""
        for waiting in of_sources(self._database, exports):
            name = waiting.subject.removeprefix("source ")
            try:
                expression = f'it is "{self._settings.source(name).profile_key}"'
            except Problem:
                expression = ""
            names = receipts.in_vain(self._database, [name]).get(name, receipts.InVain(0, False)).names
            there = f"the identities it was sent are called {', '.join(names)}" if names else ""
            yield _of(waiting, "; ".join(filter(None, (expression, there))))

    def _surroundings(self) -> "_Surroundings":
        """Read what single connections do not show."""
        findings: list[Finding] = []
        timetable, inventory = None, Inventory()
        try:
            timetable = self._schedules()
            findings += _stray_schedules(timetable, self._settings.export_keys())
        except Transient as problem:
            findings.append(Finding("schedules", Level.WARNING, f"could not be read: {problem}", problem.actor))
        try:
            inventory = self._inventory()
        except Transient as problem:
            findings.append(Finding("names", Level.WARNING, f"could not be read: {problem}", problem.actor))
        findings += [Finding("names", Level.WARNING, nearly, Actor.ADMINISTRATOR) for nearly in inventory.nearly]
        return _Surroundings(timetable, inventory, findings)


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """The schedules (None when AWS did not answer), all names, and what is wrong beside single connections."""

    timetable: Timetable | None
    inventory: Inventory
    findings: Sequence[Finding]


def _of_schedules(export: Export, timetable: Timetable) -> Iterator[Finding]:
    """Tell of schedules that were meant to start an export and will not."""
    starts = timetable.will_start(export.key)
    for schedule in timetable.own:
        if schedule.export == export.key and schedule.problem is not None:
            instead = "another schedule starts the export" if starts else "nothing starts the export"
            message = f"its schedule {schedule.name} {schedule.problem}: {instead}"
            yield Finding(export.key, Level.WARNING, message, Actor.ADMINISTRATOR)
    if not starts:
        level = Level.WARNING if export.stream else Level.ERROR
        message = "no schedule that is enabled will ever start it: give it one, or enable the default schedule"
        yield Finding(export.key, level, message, Actor.ADMINISTRATOR)


def _stray_schedules(timetable: Timetable, exports: Sequence[str]) -> Iterator[Finding]:
    """Tell of schedules that start nothing there is."""
    for schedule in timetable.own:
        if schedule.export is not None and schedule.export not in exports:
            yield _error(f"schedule {schedule.name}", f"stands for {schedule.export}, and there is no such export")
        elif schedule.export is None and schedule.problem is not None:
            message = f"{schedule.problem}: it starts nothing"
            yield Finding(f"schedule {schedule.name}", Level.WARNING, message, Actor.ADMINISTRATOR)
    default = timetable.default
    if default is None:
        yield Finding("default schedule", Level.WARNING, "is gone: deploy the stack again", Actor.ADMINISTRATOR)
    elif default.problem is not None:
        message = f"{default.problem}: exports without a schedule of their own are not started"
        yield Finding("default schedule", Level.WARNING, message, Actor.ADMINISTRATOR)


def _sources_of(exports: Iterable[Export]) -> set[str]:
    return {segment.split("/", 1)[0] for export in exports for segment in export.segments}


def _of(waiting: Attention, cause: str = "") -> Finding:
    message = f"{waiting.problem}. {cause}" if cause else str(waiting.problem)
    return Finding(waiting.subject, Level.ERROR, message, waiting.problem.actor)


def _of_invalid(invalid: Invalid) -> Finding:
    return Finding(invalid.subject, Level.ERROR, str(invalid.problem), invalid.problem.actor)


def _connection_of(invalid: Invalid) -> str:
    """Return the connection of `export {connection}/{export}` or `connection {connection}`."""
    return invalid.subject.partition(" ")[2].partition("/")[0]


def _error(subject: str, message: str) -> Finding:
    return Finding(subject, Level.ERROR, message, Actor.ADMINISTRATOR)


def _are_well(findings: Iterable[Finding]) -> bool:
    return all(finding.level is not Level.ERROR for finding in findings)


def _shown(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "subject": finding.subject,
            "level": finding.level.value,
            "message": finding.message,
            "who_must_act": None if finding.actor is None else finding.actor.value,
        }
        for finding in findings
    ]


def _of_defects(database: Database, export: Export) -> Iterator[Finding]:
    """Yield one finding for each place in our code where profiles of an export met a defect."""
    by_place: dict[tuple[str, str], list[Defect]] = {}
    for defect in defects.of_export(database, export.key, defects.MOST_SHOWN):
        by_place.setdefault((defect.error, " < ".join(reversed(defect.places))), []).append(defect)
    for (error, places), found in sorted(by_place.items()):
        newest = max(found, key=lambda defect: defect.at)
        number = f"{len(found)} profile{'' if len(found) == 1 else 's'}"
        code = "this code" if newest.code == code_version() else f"code {newest.code}, not the one that runs now"
        message = (
            f"{number} set aside because of a defect of ours, {error} at {places}, last at "
            f"{moments.text(newest.at)} under {code}: report it; every run tries them again"
        )
        yield Finding(export.key, Level.ERROR, message, Actor.US)
