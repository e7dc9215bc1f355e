"""Opening an export for work: its settings, its account, its breakers, and whether its targets are its own."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import BaseModel, SecretStr

from relay.breaker.accounts import Accounts
from relay.breaker.failures import Paused, Stopped
from relay.breaker.ownership import Ownership
from relay.destinations.contract import Account, Destination
from relay.domain.exports import Connection, Export
from relay.domain.keyed_hash import KeyedHash
from relay.domain.runs import Phase
from relay.reconcile.job import Job, Pass
from relay.settings.settings import Settings
from relay.stores import breakers
from relay.stores.breakers import Breaker
from relay.stores.database import Database
from relay.stores.owners import Owner, to_adopt


@dataclass(frozen=True, slots=True)
class Opened:
    """An export ready for work, the breaker of its connection, and what counts the calls that were made."""

    job: Job
    breaker: Breaker
    calls: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Opener:
    """Makes jobs."""

    database: Database
    settings: Settings
    destinations: Callable[[str], Destination]
    accounts: Accounts
    ownership: Ownership
    keyed: KeyedHash

    def open(self, export_key: str, *, at_least: int, until: datetime, fresh: bool = False) -> Opened:
        """Open an export in a version of its settings not older than `at_least`; no call begins after `until`.

        `fresh` reads the secret past what is kept. Raises SettingsProblem (unknown or invalid), StaleSettings, Paused,
        Stopped, or ExportProblem when a target belongs to another export.
        """
        export = self.settings.export(export_key, at_least=at_least)
        connection = self.settings.connection(export.connection, fresh=fresh)
        if not export.active:
            raise Paused(export)
        of_connection, of_export = breakers.load(self.database, export.connection, export.name)
        for breaker in (of_connection, of_export):
            if breaker.stop is not None:
                raise Stopped(export, breaker)
        account, calls = self.accounts.open(connection)
        job = self._job(export, connection, account, self.ownership.own(export), of_export, until)
        return Opened(job, of_connection, calls)

    def as_if(self, export_key: str, *, until: datetime) -> Job:
        """Return the job of a run that would begin now, whether it may or not; changes nothing, and calls nobody.

        Raises SettingsProblem (unknown or invalid), or ExportProblem when a target belongs to another export.
        """
        export = self.settings.export(export_key)
        connection = self.settings.connection(export.connection)
        breaker = breakers.load_one(self.database, export.connection, export.name)
        account, _ = self.accounts.open(connection)
        owners = self.ownership.as_owned(export)
        job = self._job(export, connection, account, owners, breaker, until)
        former = {
            target: frozenset(f"{export.connection}/{name}" for name in owner.former)
            for target, owner in owners.items()
            if owner.former
        }
        run = Pass("", self.ownership.clock.now(), Phase.DELIVER, "")
        return replace(job, run=run, adopts={**to_adopt(self.database, export.connection, export.name), **former})

    def _job(
        self,
        export: Export,
        connection: Connection,
        account: Account,
        owners: Mapping[str, Owner],
        breaker: Breaker,
        until: datetime,
    ) -> Job:
        return Job(
            export=export,
            destination=self.destinations(export.destination),
            account=account,
            authority=self.ownership.authority(export, owners),
            # What former owners of a target have left behind is taken over by a run first.
            has_passed_guard=breaker.passed == export.version and not any(one.former for one in owners.values()),
            adopts_from=self.ownership.quiet_from(export.connection, owners),
            under=fingerprint(self.keyed, export, connection),
            until=until,
        )


def fingerprint(keyed: KeyedHash, export: Export, connection: Connection) -> str:
    """Return what changes with every edit of an export or its connection: 16 hexadecimal digits.

    It is a keyed hash, since secrets are part of it and it is stored with rejections.
    """
    return keyed("settings", str(export.version), json.dumps(_plain(connection.settings)))[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in sorted(type(value).model_fields)}
    return value.get_secret_value() if isinstance(value, SecretStr) else repr(value)
