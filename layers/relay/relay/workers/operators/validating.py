"""Whether a source, a connection or an export may be written as it is: the words of the running stack, beforehand."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Final, Literal

from pydantic import Field

from relay.breaker.accounts import Accounts
from relay.breaker.ownership import Ownership
from relay.clock import Clock
from relay.destinations.contract import Destination, Finding, Level
from relay.domain import cron
from relay.domain.exports import Connection, Export
from relay.domain.problems import Fault, Problem, SettingsProblem
from relay.settings.entries import connection_of, export_of
from relay.settings.names import UnknownConnection, require_name, split_key
from relay.settings.settings import Settings
from relay.settings.sources import source_of
from relay.stores.database import Database
from relay.workers.operators import mapping_samples, never_seen
from relay.workers.operators.protocol import Answer, ErrorPart, Question

LONGEST_SCHEDULE_NAME: Final = 64
"""https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html"""

NOBODYS: Final = ":validated"
"""Stands for a connection that is not written yet; no connection can be called so."""


class Validate(Question):
    """Say what is wrong with a source, connection, export or schedule before it is written. Nothing is stored."""

    kind: Literal["source", "connection", "export", "schedule"]
    name: str = Field(description="Its name; `connection/export` of an export and of a schedule.")
    document: dict[str, Any] = Field(
        description="What the secret or parameter shall hold; of a schedule its `expression` and `timezone`."
    )
    looks: bool = Field(
        default=False, description="Also ask the account and the store: lists, segments, values of profiles."
    )


class Validated(Answer):
    """What is wrong. It may be written when there are no errors."""

    errors: list[ErrorPart]
    warnings: list[ErrorPart]


class Validator:
    """Answers `validate`."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        destinations: Callable[[str], Destination],
        accounts: Accounts,
        ownership: Ownership,
        clock: Clock,
        connections: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """`connections` lists the names of connections."""
        self._database = database
        self._settings = settings
        self._destinations = destinations
        self._accounts = accounts
        self._ownership = ownership
        self._clock = clock
        self._connections = connections

    def validate(self, question: Validate) -> Validated:
        """Say all that is wrong at once."""
        look = {
            "source": self._source,
            "connection": self._connection,
            "export": self._export,
            "schedule": self._schedule,
        }[question.kind]
        errors: list[Fault] = []
        warnings: list[Fault] = []
        try:
            for level, fault in look(question):
                (errors if level is Level.ERROR else warnings).append(fault)
        except SettingsProblem as problem:
            # What is no text was told already.
            errors += [fault for fault in problem.faults if fault.field not in {told.field for told in errors}]
        except Problem as problem:
            # The account or AWS did not answer: that is no mistake of what was written.
            warnings.append(Fault("value", f"not looked at: {problem}"))
        return Validated(errors=[_part(fault) for fault in errors], warnings=[_part(fault) for fault in warnings])

    def _source(self, question: Validate) -> Iterator[tuple[Level, Fault]]:
        require_name(question.name, "name")
        yield from _of_texts(question.document)
        source_of(question.name, _texts(question.document))

    def _connection(self, question: Validate) -> Iterator[tuple[Level, Fault]]:
        require_name(question.name, "name")
        yield from _of_texts(question.document)
        connection = connection_of(question.name, _texts(question.document), self._destinations)
        if question.looks:
            # Under a name of its own: what an account answers to these credentials must not slow down the connection
            # that has this name already, nor give it a token.
            yield from _of_findings(self._looked_at(replace(connection, name=NOBODYS)), "value")

    def _export(self, question: Validate) -> Iterator[tuple[Level, Fault]]:
        name, export_name = split_key(question.name)
        try:
            connection = self._settings.connection(name)
        except UnknownConnection:
            near = next(iter(get_close_matches(name, self._connections(), n=1)), None)
            what = f"there is no connection {name}" + ("" if near is None else f"; the nearest is {near}")
            yield Level.ERROR, Fault("connection", what, near)
            return
        destination = self._destinations(connection.destination)
        version = int(self._clock.now().timestamp() * 1000)
        export = export_of(name, export_name, json.dumps(question.document), version, destination)
        if question.looks:
            for fault in never_seen.look(self._database, export.segments):
                yield Level.ERROR, fault
            for target, owner in self._ownership.taken(export):
                shown = target.replace("/", " ", 1)
                what = f"{shown} belongs to export {owner} of this connection: choose another, or remove that export"
                yield Level.ERROR, Fault(_option_of(question.document.get("options"), target), what)
            # Who may ask this may see no values.
            tried = mapping_samples.look_at(self._database, self._destinations, [export], names_only=True)
            yield from _of_findings(tried, "mapping")
            yield from _of_findings(self._looked_at(connection, export), "options")

    def _schedule(self, question: Validate) -> Iterator[tuple[Level, Fault]]:
        texts = _texts(question.document)
        for fault in cron.flaws_of(texts.get("expression", ""), texts.get("timezone", "UTC"), self._clock.now()):
            yield Level.ERROR, fault
        if len(question.name) > LONGEST_SCHEDULE_NAME:
            yield Level.ERROR, Fault("name", f"a schedule's name has at most {LONGEST_SCHEDULE_NAME} letters")

    def _looked_at(self, connection: Connection, *exports: Export) -> list[Finding]:
        account, _ = self._accounts.open(connection)
        return self._destinations(connection.destination).check(account, exports)


def _option_of(options: Any, target: str) -> str:
    """Return the option that says which target is meant, `options` where none says it alone."""
    named = target.partition("/")[2]
    given = options if isinstance(options, dict) else {}
    return next((f"options.{name}" for name, value in given.items() if str(value) == named), "options")


def _of_findings(found: list[Finding], field: str) -> Iterator[tuple[Level, Fault]]:
    for one in found:
        if one.level is not Level.OK:
            yield one.level, Fault(one.field or field, one.message, one.near)


def _of_texts(document: dict[str, Any]) -> Iterator[tuple[Level, Fault]]:
    """Tell of values that are no texts: a secret holds nothing else."""
    for key, value in document.items():
        if not isinstance(value, str):
            yield Level.ERROR, Fault(key, "must be a text")


def _texts(document: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else "x" for key, value in document.items()}


def _part(fault: Fault) -> ErrorPart:
    return ErrorPart(field=fault.field, what=fault.what, near=fault.near)
