"""Sources, connections and exports as administrators wrote them, validated.

    source      secret     {prefix}/sources/{source}                      flat JSON texts
    connection  secret     {prefix}/connections/{connection}              flat JSON texts
    export      parameter  /{prefix}/exports/{connection}/{export}        JSON
    identity    secret     {prefix}/stack/identity-key                    plain text, made with the stack

Everything is read again after `seconds`, what was not there included. What is invalid raises (or is listed as) a
SettingsProblem with its field and the reason, and harms nothing else. No text here repeats a value of a secret.
"""

import json
from collections.abc import Callable

from pydantic import ValidationError

from relay.clock import Clock, SystemClock
from relay.destinations import registry
from relay.destinations.contract import Destination
from relay.domain.exports import Connection, Export
from relay.domain.problems import SettingsProblem, StaleSettings
from relay.settings.doors import (
    MAX_KEPT,
    UNREADABLE,
    Parameter,
    ParametersDoor,
    ParametersReader,
    SecretsDoor,
    SecretsReader,
)
from relay.settings.explaining import explained
from relay.settings.shapes import (
    COMMON_FIELDS,
    CONSENT,
    ExportText,
    Invalid,
    Listing,
    Outline,
    SourceSettings,
    UnknownConnection,
    UnknownExport,
    UnknownSource,
    is_name,
    require_name,
    split_key,
)

__all__ = [
    "DEFAULT_SECONDS",
    "MAX_KEPT",
    "UNREADABLE",
    "Invalid",
    "Listing",
    "Outline",
    "Settings",
    "SourceSettings",
    "UnknownConnection",
    "UnknownExport",
    "UnknownSource",
]

DEFAULT_SECONDS = 30.0
"""How long settings are kept: edits in the console are seen well within a minute."""


class Settings:
    """Reads and validates settings, keeping each for `seconds`.

    All methods raise SettingsProblem (the administrator must act, the text says how) or Busy (AWS did not answer).
    """

    def __init__(
        self,
        prefix: str,
        *,
        secrets: SecretsReader | None = None,
        ssm: ParametersReader | None = None,
        seconds: float = DEFAULT_SECONDS,
        clock: Clock | None = None,
        destinations: Callable[[str], Destination] = registry.load,
    ) -> None:
        self._prefix = prefix.strip("/")
        self._destinations = destinations
        clock = SystemClock() if clock is None else clock
        self._secrets = SecretsDoor(secrets, seconds, clock)
        self._parameters = ParametersDoor(f"/{self._prefix}/exports/", ssm, seconds, clock)
        self._identity_key: str | None = None

    def source(self, name: str) -> SourceSettings:
        """Return a source; UnknownSource when there is none."""
        unknown = UnknownSource("unknown_source", "there is no source of this name", field="source")
        if not is_name(name):
            raise unknown
        texts = self._secrets.fields(f"{self._prefix}/sources/{name}", unknown)
        filled = {key: value.strip() for key, value in texts.items() if value.strip()}
        try:
            return SourceSettings.model_validate({**filled, "name": name})
        except ValidationError as error:
            raise explained(error, SourceSettings, hidden=texts.values()) from None

    def connection(self, name: str, *, fresh: bool = False) -> Connection:
        """Return a connection; UnknownConnection when there is none. `fresh` reads past what is kept (after a 401)."""
        unknown = UnknownConnection("unknown_connection", "there is no connection of this name", field="connection")
        require_name(name, "connection")
        texts = self._secrets.fields(f"{self._prefix}/connections/{name}", unknown, fresh=fresh)
        common = {key: texts.get(key, "").strip() for key in COMMON_FIELDS}
        for required in ("destination", "display_name"):
            if not common[required]:
                raise SettingsProblem("missing", "is missing", field=required)
        if common["privacy_consent"] != CONSENT:
            raise SettingsProblem("no_consent", f'must be "{CONSENT}" before anything is sent', field="privacy_consent")
        destination = self._destinations(common["destination"])
        own = {key: value for key, value in texts.items() if key not in COMMON_FIELDS}
        try:
            validated = destination.connection_model.model_validate(own)
        except ValidationError as error:
            raise explained(error, destination.connection_model, hidden=own.values()) from None
        return Connection(name, common["destination"], common["display_name"], validated)

    def export(self, key: str, *, at_least: int = 0) -> Export:
        """Return the export `connection/export` in version `at_least` or newer.

        Raises StaleSettings when only an older version can be read yet, UnknownExport when there is none (any more).
        """
        connection, name = split_key(key)
        parameter = self._parameters.one(key, at_least=at_least)
        if parameter.version < at_least:
            raise StaleSettings("stale_settings", f"export {key} is not readable in version {at_least} yet")
        return self._export(connection, name, parameter)

    def exports(self) -> Listing:
        """Return all exports; what is invalid about one export or connection is told and harms no other."""
        valid: dict[str, Export] = {}
        problems: dict[str, SettingsProblem] = {}
        for key, parameter in self._parameters.all().items():
            subject = f"export {key}"
            try:
                connection, name = split_key(key)
                subject = f"connection {connection}"
                self.connection(connection)
                subject = f"export {key}"
                valid[key] = self._export(connection, name, _readable(parameter))
            except SettingsProblem as problem:
                problems[subject] = problem
        return Listing(valid, [Invalid(subject, problem) for subject, problem in problems.items()])

    def export_outlines(self) -> dict[str, Outline]:
        """Return what SSM alone tells of the exports that can be read, by key; `exports` tells what is wrong."""
        outlines = {}
        for key, parameter in self._parameters.all().items():
            try:
                connection, name = split_key(key)
                parameter = _readable(parameter)
                text = _read_export(parameter)
            except SettingsProblem:
                continue
            outlines[key] = Outline(
                connection, name, text.state == "active", text.stream, tuple(text.segments), parameter.version
            )
        return outlines

    def identity_key(self) -> str:
        """Return the stack's key for profile ids and identity hashes; made once, so kept for good."""
        if self._identity_key is None:
            unknown = SettingsProblem("no_identity_key", "the stack's secret is missing", field="stack/identity-key")
            key = self._secrets.text(f"{self._prefix}/stack/identity-key", unknown)
            if not key:
                raise unknown
            self._identity_key = key
        return self._identity_key

    def _export(self, connection: str, name: str, parameter: Parameter) -> Export:
        text = _read_export(parameter)
        destination = self._destinations(self.connection(connection).destination)
        for target, reason in destination.mapping_problems(text.mapping):
            raise SettingsProblem("mapping", reason, field=f"mapping.{target.removeprefix('mapping.')}")
        try:
            options = destination.options_model.model_validate(text.options)
        except ValidationError as error:
            raise explained(error, destination.options_model, inside="options") from None
        return Export(
            connection=connection,
            name=name,
            destination=destination.name,
            active=text.state == "active",
            stream=destination.streams if text.stream is None else text.stream,
            segments=tuple(text.segments),
            mapping=text.mapping,
            options=options,
            version=parameter.version,
        )


def _readable(parameter: Parameter | SettingsProblem) -> Parameter:
    if isinstance(parameter, SettingsProblem):
        raise parameter.with_traceback(None)
    return parameter


def _read_export(parameter: Parameter) -> ExportText:
    try:
        value = json.loads(parameter.text)
    except ValueError as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise SettingsProblem("not_json", f"must be JSON{place}", field="export") from None
    try:
        return ExportText.model_validate(value)
    except ValidationError as error:
        raise explained(error, ExportText) from None
