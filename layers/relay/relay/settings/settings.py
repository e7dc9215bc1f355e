"""All settings: sources, and connections and exports validated by their destinations' own models."""

from collections.abc import Callable, Mapping

from relay.aws.clients import ParametersReader, SecretsReader
from relay.clock import Clock, SystemClock
from relay.destinations import registry
from relay.destinations.contract import Destination
from relay.domain.exports import Connection, Export
from relay.domain.problems import SettingsProblem, StaleSettings
from relay.settings.doors import DEFAULT_SECONDS, Parameter, ParametersDoor, readable
from relay.settings.entries import connection_of, export_of
from relay.settings.exports import ExportOutlines, Outline
from relay.settings.names import UnknownConnection, require_name, split_key
from relay.settings.shapes import Invalid, Listing
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
        return connection_of(name, texts, self._destinations)

    def export(self, key: str, *, at_least: int = 0, fresh: bool = False) -> Export:
        """Return the export `connection/export` in version `at_least` or newer; `fresh` reads past what is kept.

        Raises StaleSettings when only an older version can be read yet, UnknownExport when there is none (any more).
        """
        connection, name = split_key(key)
        parameter = self._parameters.one(key, at_least=at_least, fresh=fresh)
        if parameter.version < at_least:
            raise StaleSettings("stale_settings", f"export {key} is not readable in version {at_least} yet")
        return self._export(connection, name, parameter)

    def exports(self, *, fresh: bool = False) -> Listing:
        """Return all exports; what is invalid about one export or connection is shown and harms no other.

        `fresh` reads past what is kept of exports.
        """
        valid: dict[str, Export] = {}
        problems: dict[str, SettingsProblem] = {}
        for key, parameter in self._parameters.all(fresh=fresh).items():
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
        destination = self._destinations(self.connection(connection).destination)
        return export_of(connection, name, parameter.text, parameter.version, destination)
