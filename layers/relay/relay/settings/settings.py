"""All settings: sources, and connections and exports validated by their destinations' own models."""

from collections.abc import Callable, Mapping

from pydantic import ValidationError

from relay.aws import ParametersReader, SecretsReader
from relay.clock import Clock, SystemClock
from relay.destinations import registry
from relay.destinations.contract import Destination
from relay.domain.exports import Connection, Export
from relay.domain.problems import SettingsProblem, StaleSettings
from relay.settings.doors import DEFAULT_SECONDS, Parameter, ParametersDoor, readable
from relay.settings.explaining import explained
from relay.settings.exports import ExportOutlines, Outline, read_export
from relay.settings.faults import MISSING, trimmed
from relay.settings.names import UnknownConnection, require_name, split_key
from relay.settings.shapes import COMMON_FIELDS, CONSENT, Invalid, Listing
from relay.settings.sources import Sources


class Settings(Sources):
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
        clock = SystemClock() if clock is None else clock
        super().__init__(prefix, secrets=secrets, seconds=seconds, clock=clock)
        self._destinations = destinations
        self._parameters = ParametersDoor(prefix, ssm, seconds, clock)
        self._outlines = ExportOutlines(self._parameters)

    def connection(self, name: str, *, fresh: bool = False) -> Connection:
        """Return a connection; UnknownConnection when there is none. `fresh` reads past what is kept (after a 401)."""
        unknown = UnknownConnection("unknown_connection", "there is no connection of this name", field="connection")
        require_name(name, "connection")
        texts = self._secrets.fields(f"{self._prefix}/connections/{name}", unknown, fresh=fresh)
        common = {key: trimmed(texts.get(key, "")) for key in COMMON_FIELDS}
        for required in ("destination", "display_name"):
            if not common[required]:
                raise SettingsProblem("missing", MISSING, field=required)
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
        """Return all exports; what is invalid about one export or connection is shown and harms no other."""
        valid: dict[str, Export] = {}
        problems: dict[str, SettingsProblem] = {}
        for key, parameter in self._parameters.all().items():
            subject = f"export {key}"
            try:
                connection, name = split_key(key)
                subject = f"connection {connection}"
                self.connection(connection)
                subject = f"export {key}"
                valid[key] = self._export(connection, name, readable(parameter))
            except SettingsProblem as problem:
                problems[subject] = problem
        return Listing(valid, [Invalid(subject, problem) for subject, problem in problems.items()])

    def export_keys(self) -> list[str]:
        """Return what stands below the path of exports, valid or not: `connection/export` as a rule."""
        return sorted(self._parameters.all())

    def export_outlines(self) -> Mapping[str, Outline]:
        """Return what SSM alone says of the exports that can be read, by key; `exports` says what is wrong."""
        return self._outlines.export_outlines()

    def _export(self, connection: str, name: str, parameter: Parameter) -> Export:
        text = read_export(parameter)
        destination = self._destinations(self.connection(connection).destination)
        for field, reason in destination.mapping_problems(text.mapping):
            raise SettingsProblem("mapping", reason, field=f"mapping.{field.removeprefix('mapping.')}")
        try:
            options = destination.options_model.model_validate(text.options)
        except ValidationError as error:
            raise explained(error, destination.options_model, inside="options") from None
        return Export(
            connection=connection,
            name=name,
            destination=destination.name,
            active=text.active,
            emptying=text.emptying,
            stream=destination.streams if text.stream is None else text.stream,
            segments=text.segments,
            mapping=text.mapping,
            options=options,
            version=parameter.version,
            only_if=text.only_if,
        )
