"""Where a smoke test gets its connection from, and the administrator's word before it begins.

- `SANDBOX=http://127.0.0.1:PORT`: a sandbox on this machine instead of the real account.
- `CONNECTION=name` and `PREFIX` (default `audience-relay`): the secret `{prefix}/connections/{name}` of a deployed
  stack, read with the AWS credentials of the environment; validated as the stack itself validates it.
- Otherwise one variable per field of such a secret, e.g. `ACTIVECAMPAIGN_API_HOST`, `GAINSIGHT_PX_REGION`.
- `YES=1`: begin without asking.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError
from pydantic import BaseModel, SecretStr, ValidationError

from relay.aws.clients import SecretsReader
from relay.destinations.contract import Destination
from relay.domain.exports import Connection
from relay.domain.problems import Busy, SettingsProblem
from relay.settings.explaining import faults_of
from relay.settings.faults import problem
from relay.settings.settings import Settings

DEFAULT_PREFIX = "audience-relay"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ALSO_HIDDEN = ("username", "client_id")


class CannotRunError(Exception):
    """The smoke test could not begin; the text says why and holds no secret."""


def given(variables: Mapping[str, str], name: str) -> str | None:
    """Return a variable, None when it is missing or blank."""
    return variables.get(name, "").strip() or None


def required(variables: Mapping[str, str], name: str, meaning: str) -> str:
    """Return a variable that there must be."""
    value = given(variables, name)
    if value is None:
        raise CannotRunError(f"{name} is missing: {meaning}")
    return value


def sandbox_of(variables: Mapping[str, str]) -> str | None:
    """Return the address of the sandbox that stands in for the account, None for the real one."""
    address = given(variables, "SANDBOX")
    if address is None:
        return None
    parts = urlsplit(address)
    if parts.scheme != "http" or parts.hostname not in _LOOPBACK:
        raise CannotRunError("SANDBOX must be an address on this machine, such as http://127.0.0.1:8001")
    return address


def connection_of(
    variables: Mapping[str, str], destination: Destination, client: SecretsReader | None = None
) -> Connection:
    """Return the connection, from a deployed stack's secret or from variables. `client` stands in for boto3's."""
    lead = f"{destination.name.upper()}_"
    # As they are, not trimmed: a password may begin or end with a blank.
    from_variables = {
        field: variables[lead + field.upper()]
        for field in destination.connection_model.model_fields
        if given(variables, lead + field.upper()) is not None
    }
    _refuse_command_line(variables, lead)
    name = given(variables, "CONNECTION")
    try:
        if name is None:
            return _from_variables(destination, lead, from_variables)
        if from_variables:
            raise CannotRunError(f"give either CONNECTION or {lead}... variables, not both")
        return _from_stack(destination, name, given(variables, "PREFIX") or DEFAULT_PREFIX, client)
    except (SettingsProblem, Busy) as problem:
        raise CannotRunError(str(problem)) from None
    except BotoCoreError as error:
        raise CannotRunError(
            f"AWS cannot be asked ({type(error).__name__}): check AWS_DEFAULT_REGION and the credentials"
        ) from None


def texts_to_hide(settings: BaseModel) -> list[str]:
    """Return what of a connection must never be shown."""
    values = [(name, getattr(settings, name)) for name in type(settings).model_fields]
    secret = [value.get_secret_value() for _, value in values if isinstance(value, SecretStr)]
    return secret + [value for name, value in values if name in _ALSO_HIDDEN and isinstance(value, str)]


def require_consent(variables: Mapping[str, str], ask: Callable[[str], str], wanted: str) -> None:
    """Have the administrator type `wanted`, unless YES=1."""
    if given(variables, "YES") == "1":
        return
    try:
        typed = ask(f'Type "{wanted}" to begin: ')
    except EOFError:
        raise CannotRunError("nobody answered; set YES=1 to begin without being asked") from None
    if typed.strip() != wanted.strip():
        raise CannotRunError("that is something else; nothing was changed")


def _from_variables(destination: Destination, lead: str, values: Mapping[str, str]) -> Connection:
    if not values:
        fields = ", ".join(lead + field.upper() for field in destination.connection_model.model_fields)
        raise CannotRunError(f"no credentials: set CONNECTION (and PREFIX), or in the environment {fields}")
    try:
        settings = destination.connection_model.model_validate(values)
    except ValidationError as error:
        raise problem(faults_of(error, destination.connection_model), values.values()) from None
    # A name of its own: what a process keeps for a connection must not reach the next run in it.
    return Connection(f"smoke-{secrets.token_hex(4)}", destination.name, "Smoke test", settings)


def _from_stack(destination: Destination, name: str, prefix: str, client: SecretsReader | None) -> Connection:
    connection = Settings(prefix, secrets=client).connection(name)
    if connection.destination != destination.name:
        raise CannotRunError(f"connection {name} is one of {connection.destination}, not of {destination.name}")
    return connection


def _refuse_command_line(variables: Mapping[str, str], lead: str) -> None:
    """Refuse credentials in make's command line, which everybody on the machine can read."""
    if lead in variables.get("MAKEFLAGS", ""):
        raise CannotRunError(f"set {lead}... variables in the environment, not on the command line of make")
