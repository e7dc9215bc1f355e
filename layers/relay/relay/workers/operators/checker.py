"""Looking at connections, exports and all they depend on for an operator: what is wrong, and who must do what.

Whatever raises the alarm is a finding here, too (both ask `attention`). Trouble of any kind is a finding, never an
exception. A check writes nothing but the slots of the calls it makes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import Field

from relay.breaker.accounts import Accounts
from relay.breaker.ownership import Ownership
from relay.breaker.prober import Prober
from relay.clock import Clock
from relay.destinations.contract import Destination
from relay.domain import ledger
from relay.domain.exports import Export
from relay.domain.problems import DEFECT, Actor, Busy, Problem, Transient
from relay.domain.runs import RunState
from relay.reconcile.set_aside import code_version
from relay.schedules import Timetable
from relay.settings.inventory import Inventory
from relay.settings.names import UnknownConnection, UnknownSource
from relay.settings.settings import Settings
from relay.settings.shapes import Invalid, Listing
from relay.stores import breakers, defects, receipts, runs
from relay.stores.database import Database
from relay.stores.defects import Defect
from relay.workers.attention import Attention, of_breaker, of_imports, of_runs, of_sources, telling_run
from relay.workers.operators import findings, mapping_samples, never_seen, sentences
from relay.workers.operators.codes import rejection_means
from relay.workers.operators.findings import CheckFinding
from relay.workers.operators.protocol import Answer, Name, Question


class Check(Question):
    """Look for everything that is wrong: with a connection and what it depends on, or with the whole stack."""

    connection: Name | None = None


class Checked(Answer):
    """What is wrong."""

    well: bool = Field(description="Whether there is no error. Warnings do no harm.")
    findings: list[CheckFinding] = Field(description="In the order to mend.")


class Checker:
    """Looks at everything; opens and starts nothing."""

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
        clock: Clock,
        stack: Callable[[], Iterable[CheckFinding]] = tuple,
    ) -> None:
        """`stack` looks at what the stack consists of: functions, queues, clock."""
        self._database = database
        self._settings = settings
        self._destinations = destinations
        self._accounts = accounts
        self._ownership = ownership
        self._prober = prober
        self._schedules = schedules
        self._inventory = inventory
        self._clock = clock
        self._stack = stack

    def check(self, question: Check) -> Checked:
        """Look at a connection, or at everything."""
        found = self._everything() if question.connection is None else self._one(question.connection)
        ordered = findings.in_order(found)
        return Checked(well=all(one.level != "error" for one in ordered), findings=ordered)

    def _one(self, name: str) -> Iterator[CheckFinding]:
        """Look at a connection as it is now, its exports, and what these depend on."""
        if not any(key.startswith(f"{name}/") for key in self._settings.export_keys()):
            self._require(name)
        listing, around = self._settings.exports(fresh=True), self._surroundings()
        exports = [export for export in listing.valid.values() if export.connection == name]
        yield from around.about(name)
        yield from self._connection(name, listing, around, self._tried(exports))
        segments = {f"segment {segment}" for export in exports for segment in export.segments}
        imports = of_imports(self._database, self._clock.now())
        yield from (_of_attention(waiting) for waiting in imports if waiting.subject in segments)

    def _require(self, name: str) -> None:
        """Refuse, with UnknownConnection, a name that there is not; other trouble is a finding later."""
        try:
            self._settings.connection(name, fresh=True)
        except UnknownConnection:
            raise
        except Problem:
            return

    def _everything(self) -> Iterator[CheckFinding]:
        """Look at every connection and source, at names that are nearly those of settings, and at the stack itself."""
        yield from self._stack()
        listing, around = self._settings.exports(fresh=True), self._surroundings()
        yield from around.findings
        exports = list(listing.valid.values())
        connections = sorted({export.connection for export in exports} | set(around.inventory.connections))
        yield from self._sources(sorted(set(around.inventory.sources) - _sources_of(exports)))
        yield from (_of_invalid(one) for one in listing.problems if _connection_of(one.subject) not in connections)
        # All together, because trying takes some seconds.
        tried = self._tried(exports)
        for connection in connections:
            yield from self._connection(connection, listing, around, tried)
        yield from map(_of_attention, of_imports(self._database, self._clock.now()))

    def _tried(self, exports: Sequence[Export]) -> list[CheckFinding]:
        """Try the mappings of exports on stored profiles."""
        found = mapping_samples.look_at(self._database, self._destinations, exports)
        return findings.of_destination("", found, [export.key for export in exports])

    def _connection(
        self, connection: str, listing: Listing, around: "_Surroundings", tried: Iterable[CheckFinding]
    ) -> Iterator[CheckFinding]:
        exports = [export for export in listing.valid.values() if export.connection == connection]
        # What is wrong with the connection itself is read afresh below.
        yield from (_of_invalid(one) for one in listing.problems if one.subject.startswith(f"export {connection}/"))
        stops = list(self._stops(connection, exports))
        yield from stops
        told = {(one.subject, one.code) for one in stops}
        yield from (one for one in self._account(connection, exports) if (one.subject, one.code) not in told)
        for export in exports:
            yield from self._export(export, around.timetable)
        subjects = {f"export {export.key}" for export in exports}
        yield from (found for found in tried if found.subject in subjects)
        yield from self._sources(sorted(_sources_of(exports)))
        yield from self._sources_in_vain(exports)

    def _stops(self, connection: str, exports: Sequence[Export]) -> Iterator[CheckFinding]:
        """Look whether what is stopped still has its reason."""
        for breaker in breakers.load_all(self._database, connection):
            if breaker.stop is None:
                continue
            own = [export for export in exports if breaker.export in (None, export.name)]
            trouble = self._prober.trouble(breaker, own) if own else None
            when = sentences.moment(breaker.stop.probe_at)
            if own and trouble is None:
                message = f"was stopped ({breaker.stop.code}) and is well now: it goes on at {when}, or by a probe now"
                # Nothing is sent until then.
                yield findings.error(breaker.subject, findings.WELL_NOW, message, Actor.WAIT)
            elif trouble is None or isinstance(trouble, Busy):
                for waiting in of_breaker(breaker):
                    yield findings.of_problem(breaker.subject, waiting.problem, _stopped_since(breaker))
            else:
                yield findings.of_problem(breaker.subject, trouble, _stopped_since(breaker))

    def _account(self, connection: str, exports: Sequence[Export]) -> list[CheckFinding]:
        try:
            settled = self._settings.connection(connection, fresh=True)
            account, _ = self._accounts.open(settled)
            found = self._destinations(settled.destination).check(account, exports)
        except Problem as problem:
            if isinstance(problem, Busy) or problem.code == "rate_limited":
                # The account has other work just now; that is nothing wrong.
                message = f"the account was not looked at: {problem}"
                return [findings.warning(f"connection {connection}", problem.code, message, problem.actor)]
            return [findings.of_problem(f"connection {connection}", problem)]
        return findings.of_destination(connection, found, [export.key for export in exports])

    def _export(self, export: Export, timetable: Timetable | None) -> Iterator[CheckFinding]:
        subject = f"export {export.key}"
        for waiting in of_runs(self._database, export):
            cause = self._likely_cause(export) if waiting.problem.code == RunState.MANY_REJECTED else ""
            yield _of_attention(waiting, cause)
        yield from _of_defects(self._database, export)
        for fault in never_seen.look(self._database, export.segments):
            yield findings.error(subject, findings.NEVER_SEEN, fault.what)
        for target, owner in self._ownership.taken(export):
            message = f"{target} belongs to export {owner} of this connection: one of the two must go"
            yield findings.error(subject, "target_taken", message)
        if not export.active:
            message = "is paused: nothing is sent, and what comes meanwhile is made up for by a run when it is active"
            yield findings.warning(subject, findings.PAUSED, message)
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
        means = rejection_means(code, self._destinations(export.destination))
        return "" if means is None else f"{code} means: {means}"

    def _sources(self, names: Sequence[str]) -> Iterator[CheckFinding]:
        for name in names:
            try:
                self._settings.source(name)
            except UnknownSource as problem:
                message = "there is no source of this name: nothing new arrives for its segments"
                yield findings.warning(f"source {name}", problem.code, message)
            except Problem as problem:
                yield findings.of_problem(f"source {name}", problem, "; its webhooks are answered with 503")

    def _sources_in_vain(self, exports: Sequence[Export]) -> Iterator[CheckFinding]:
        """Tell of sources that found nobody in what they were last sent, with the expression and what there was."""
        for waiting in of_sources(self._database, exports):
            name = waiting.subject.removeprefix("source ")
            try:
                expression = f'it is "{self._settings.source(name).profile_key}"'
            except Problem:
                expression = ""
            names = receipts.in_vain(self._database, [name]).get(name, receipts.InVain(0, False)).names
            there = f"the identities it was sent are called {', '.join(names)}" if names else ""
            yield _of_attention(waiting, "; ".join(filter(None, (expression, there))))

    def _surroundings(self) -> "_Surroundings":
        """Read what single connections do not show."""
        found: list[CheckFinding] = []
        timetable, inventory = None, Inventory()
        try:
            timetable = self._schedules()
            found += _stray_schedules(timetable, self._settings.export_keys())
        except Transient as problem:
            found.append(_unread("schedules", problem))
        try:
            inventory = self._inventory()
        except Transient as problem:
            found.append(_unread("names", problem))
        found += [findings.warning("names", findings.STRAY_NAME, nearly) for nearly in inventory.nearly]
        return _Surroundings(timetable, inventory, found)


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """The schedules (None when AWS did not answer), all names, and what is wrong beside single connections."""

    timetable: Timetable | None
    inventory: Inventory
    findings: Sequence[CheckFinding]

    def about(self, connection: str) -> Iterator[CheckFinding]:
        """Yield what could concern a connection: not the schedules of others."""
        for found in self.findings:
            kind, _, name = found.subject.partition(" ")
            if kind != "schedule" or name.partition(".")[0] in (connection, "default"):
                yield found


def _stopped_since(breaker: breakers.Breaker) -> str:
    if breaker.stop is None:
        return ""
    since = "" if breaker.since is None else f" since {sentences.moment(breaker.since)}"
    return f"; stopped{since}, probed again at {sentences.moment(breaker.stop.probe_at)}"


def _unread(subject: str, problem: Problem) -> CheckFinding:
    return findings.warning(subject, problem.code, f"could not be read: {problem}", problem.actor)


def _of_schedules(export: Export, timetable: Timetable) -> Iterator[CheckFinding]:
    """Tell of schedules that were meant to start an export and will not."""
    starts, subject = timetable.will_start(export.key), f"export {export.key}"
    for schedule in timetable.own:
        if schedule.export == export.key and schedule.problem is not None:
            instead = "another schedule starts the export" if starts else "nothing starts the export"
            message = f"its schedule {schedule.name} {schedule.problem}: {instead}"
            yield findings.warning(subject, findings.SCHEDULE, message)
    if not starts:
        message = "no schedule that is enabled will ever start it: give it one, or enable the default schedule"
        tell = findings.warning if export.stream else findings.error
        yield tell(subject, findings.NO_SCHEDULE, message)


def _stray_schedules(timetable: Timetable, exports: Sequence[str]) -> Iterator[CheckFinding]:
    """Tell of schedules that start nothing there is."""
    code = findings.STRAY_SCHEDULE
    for schedule in timetable.own:
        subject = f"schedule {schedule.name}"
        if schedule.export is not None and schedule.export not in exports:
            yield findings.error(subject, code, f"stands for {schedule.export}, and there is no such export")
        elif schedule.export is None and schedule.problem is not None:
            yield findings.warning(subject, code, f"{schedule.problem}: it starts nothing")
    default = timetable.default
    if default is None:
        yield findings.warning("schedule default", code, "the default schedule is gone: deploy the stack again")
    elif default.problem is not None:
        message = f"the default schedule {default.problem}: exports without a schedule of their own are not started"
        yield findings.warning("schedule default", code, message)


def _sources_of(exports: Iterable[Export]) -> set[str]:
    return {segment.split("/", 1)[0] for export in exports for segment in export.segments}


def _of_attention(waiting: Attention, cause: str = "") -> CheckFinding:
    return findings.of_problem(waiting.subject, waiting.problem, f". {cause}" if cause else "")


def _of_invalid(invalid: Invalid) -> CheckFinding:
    return findings.of_problem(invalid.subject, invalid.problem)


def _connection_of(subject: str) -> str:
    """Return the connection of `export {connection}/{export}` or `connection {connection}`."""
    return subject.partition(" ")[2].partition("/")[0]


def _of_defects(database: Database, export: Export) -> Iterator[CheckFinding]:
    """Yield one finding for each place in our code where profiles of an export met a defect."""
    by_place: dict[tuple[str, str], list[Defect]] = {}
    for defect in defects.of_export(database, export.key, defects.MOST_SHOWN):
        by_place.setdefault((defect.error, " < ".join(reversed(defect.places))), []).append(defect)
    for (what, places), found in sorted(by_place.items()):
        newest = max(found, key=lambda defect: defect.at)
        number = f"{len(found)} profile{'' if len(found) == 1 else 's'}"
        code = "this code" if newest.code == code_version() else f"code {newest.code}, not the one that runs now"
        message = (
            f"{number} set aside because of a defect of ours, {what} at {places}, last at "
            f"{sentences.moment(newest.at)} under {code}: report it; every run tries them again"
        )
        yield findings.error(f"export {export.key}", DEFECT, message, Actor.US)
