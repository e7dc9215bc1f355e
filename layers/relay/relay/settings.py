"""The only door to Secrets Manager and SSM: sources, connections and exports as administrators wrote them, validated.

    source      secret     {prefix}/sources/{source}                      flat JSON texts
    connection  secret     {prefix}/connections/{connection}              flat JSON texts
    export      parameter  /{prefix}/exports/{connection}/{export}        JSON
    identity    secret     {prefix}/stack/identity-key                    plain text, made with the stack

Everything is read again after `seconds`, what was not there included. What is invalid raises (or is listed as) a
SettingsProblem with its field and the reason, and harms nothing else. No text here repeats a value of a secret.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from relay.clock import Clock, SystemClock
from relay.destinations import registry
from relay.destinations.contract import Destination
from relay.domain.exports import Connection, Export
from relay.domain.problems import SettingsProblem, StaleSettings, Transient
from relay.sources.adobe_http import DEFAULT_NAMESPACE
from relay.sources.authentication import MODES
from relay.sources.dialects import DIALECTS
from relay.sources.profile_key import compiled

CONSENT = "I agree"
MAX_SEGMENTS = 50
MAX_KEPT = 1_000
"""The most settings kept in memory, so that requests for made-up sources cannot fill it."""
DEFAULT_SECONDS = 30.0
"""How long settings are kept: edits in the console are seen well within a minute."""

_CLIENT = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
"""Tight, because a webhook is answered within its sender's 2 seconds."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SEGMENT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}/[^\x00-\x1f\x7f]{1,256}")
_COMMON_FIELDS = ("destination", "display_name", "privacy_consent", "description")


class SecretsReader(Protocol):
    """What is used of boto3's Secrets Manager client."""

    def get_secret_value(self, *, SecretId: str) -> Mapping[str, Any]:  # noqa: N803
        """https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html."""
        ...


class ParametersReader(Protocol):
    """What is used of boto3's SSM client."""

    def get_parameter(self, *, Name: str, WithDecryption: bool) -> Mapping[str, Any]:  # noqa: N803
        """https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html."""
        ...

    def get_parameters_by_path(
        self,
        *,
        Path: str,  # noqa: N803
        Recursive: bool,  # noqa: N803
        WithDecryption: bool,  # noqa: N803
        NextToken: str = ...,  # noqa: N803
    ) -> Mapping[str, Any]:
        """https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html."""
        ...


class UnknownSource(SettingsProblem):
    """There is no source of this name."""


class UnknownConnection(SettingsProblem):
    """There is no connection of this name (any more)."""


class UnknownExport(SettingsProblem):
    """There is no export of this name (any more)."""


def _chosen_from(known: Iterable[str]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in known:
            raise PydanticCustomError("choice", "must be one of {known}", {"known": ", ".join(known)})
        return value

    return AfterValidator(check)


def _expression(value: str) -> str:
    try:
        compiled(value)
    except ValueError as error:
        raise PydanticCustomError("expression", "{reason}", {"reason": str(error)}) from None
    return value


def _comma_list(value: Any) -> Any:
    return frozenset(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


def _segments(values: list[str]) -> list[str]:
    for index, value in enumerate(values):
        if _SEGMENT.fullmatch(value) is None:
            raise PydanticCustomError("segment", "entry {n} must be source/segment", {"n": index + 1})
        if value in values[:index]:
            raise PydanticCustomError("segment", "entry {n} is there twice", {"n": index + 1})
    return values


ExpressionText = Annotated[str, AfterValidator(_expression)]


class SourceSettings(BaseModel):
    """A platform that posts webhooks; the fields are those of its secret, `name` comes from the secret's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dialect: Annotated[str, _chosen_from(DIALECTS)]
    auth: Annotated[str, _chosen_from(MODES)]
    secret: SecretStr
    previous_secret: SecretStr | None = None
    """Also taken while the sender is moved to a new secret."""
    profile_key: ExpressionText
    segment_namespaces: Annotated[frozenset[str], BeforeValidator(_comma_list)] = frozenset({DEFAULT_NAMESPACE})
    """Comma list; memberships of other namespaces are ignored (Adobe's dialect)."""
    description: str = ""

    @field_validator("secret", "previous_secret")
    @classmethod
    def _usable(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        mode = MODES.get(info.data.get("auth", ""))
        reason = None if value is None or mode is None else mode.secret_problem(value.get_secret_value())
        if reason is not None:
            raise PydanticCustomError("secret", "{reason}", {"reason": reason})
        return value

    @property
    def secrets(self) -> list[str]:
        """The current secret and, where there is one, the previous."""
        kept = [self.secret] if self.previous_secret is None else [self.secret, self.previous_secret]
        return [secret.get_secret_value() for secret in kept]


class _ExportText(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    state: Literal["active", "paused"]
    stream: bool | None = None
    segments: Annotated[list[str], Field(min_length=1, max_length=MAX_SEGMENTS), AfterValidator(_segments)]
    mapping: dict[str, ExpressionText]
    options: dict[str, Any] = Field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    """What can be known of an export from its parameter alone; `stream` None means the destination's default."""

    connection: str
    name: str
    active: bool
    stream: bool | None
    segments: tuple[str, ...]
    version: int

    @property
    def key(self) -> str:
        """`connection/export`: unique in the stack."""
        return f"{self.connection}/{self.name}"


@dataclass(frozen=True, slots=True)
class Invalid:
    """What cannot be used, and why; `subject` is `export {connection}/{export}` or `connection {connection}`."""

    subject: str
    problem: SettingsProblem


@dataclass(frozen=True, slots=True)
class Listing:
    """All exports: those that can be used by their key, and what is wrong with the others."""

    valid: Mapping[str, Export]
    problems: Sequence[Invalid]


@dataclass(frozen=True, slots=True)
class _Parameter:
    text: str
    version: int


class Settings:
    """Reads and validates settings, keeping each for `seconds`.

    All methods raise SettingsProblem (the administrator must act, the text says how) or Transient (AWS did not answer).
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
        self._secrets_client = secrets
        self._ssm_client = ssm
        self._destinations = destinations
        clock = SystemClock() if clock is None else clock
        self._secrets = _Kept[Mapping[str, str]](seconds, clock)
        self._parameters = _Kept[_Parameter](seconds, clock)
        self._listings = _Kept[Mapping[str, _Parameter]](seconds, clock)
        self._identity_key: str | None = None

    def source(self, name: str) -> SourceSettings:
        """Return a source; UnknownSource when there is none."""
        unknown = UnknownSource("unknown_source", "there is no source of this name", field="source")
        if _NAME.fullmatch(name) is None:
            raise unknown
        texts = self._flat_secret(f"{self._prefix}/sources/{name}", unknown)
        filled = {key: value.strip() for key, value in texts.items() if value.strip()}
        try:
            return SourceSettings.model_validate({**filled, "name": name})
        except ValidationError as error:
            raise _problem(error, SourceSettings, hidden=texts.values()) from None

    def connection(self, name: str, *, fresh: bool = False) -> Connection:
        """Return a connection; UnknownConnection when there is none. `fresh` reads past what is kept (after a 401)."""
        unknown = UnknownConnection("unknown_connection", "there is no connection of this name", field="connection")
        _require_name(name, "connection")
        texts = self._flat_secret(f"{self._prefix}/connections/{name}", unknown, fresh=fresh)
        common = {key: texts.get(key, "").strip() for key in _COMMON_FIELDS}
        for required in ("destination", "display_name"):
            if not common[required]:
                raise SettingsProblem("missing", "is missing", field=required)
        if common["privacy_consent"] != CONSENT:
            raise SettingsProblem("no_consent", f'must be "{CONSENT}" before anything is sent', field="privacy_consent")
        destination = self._destinations(common["destination"])
        own = {key: value for key, value in texts.items() if key not in _COMMON_FIELDS}
        try:
            validated = destination.connection_model.model_validate(own)
        except ValidationError as error:
            raise _problem(error, destination.connection_model, hidden=own.values()) from None
        return Connection(name, common["destination"], common["display_name"], validated)

    def export(self, key: str, *, at_least: int = 0) -> Export:
        """Return the export `connection/export` in version `at_least` or newer.

        Raises StaleSettings when only an older version can be read yet, UnknownExport when there is none (any more).
        """
        connection, name = _split_key(key)
        parameter = self._parameter(key, at_least)
        if parameter.version < at_least:
            raise StaleSettings("stale_settings", f"export {key} is not readable in version {at_least} yet")
        return self._export(connection, name, parameter)

    def exports(self) -> Listing:
        """Return all exports; what is invalid about one export or connection is told and harms no other."""
        valid: dict[str, Export] = {}
        problems: dict[str, SettingsProblem] = {}
        for key, parameter in self._all_parameters().items():
            subject = f"export {key}"
            try:
                connection, name = _split_key(key)
                subject = f"connection {connection}"
                self.connection(connection)
                subject = f"export {key}"
                valid[key] = self._export(connection, name, parameter)
            except SettingsProblem as problem:
                problems[subject] = problem
        return Listing(valid, [Invalid(subject, problem) for subject, problem in problems.items()])

    def export_outlines(self) -> dict[str, Outline]:
        """Return what SSM alone tells of the exports that can be read, by key; `exports` tells what is wrong."""
        outlines = {}
        for key, parameter in self._all_parameters().items():
            try:
                connection, name = _split_key(key)
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
            key = self._secret_text(f"{self._prefix}/stack/identity-key", unknown)
            if not key:
                raise unknown
            self._identity_key = key
        return self._identity_key

    def _export(self, connection: str, name: str, parameter: _Parameter) -> Export:
        text = _read_export(parameter)
        destination = self._destinations(self.connection(connection).destination)
        for target, reason in destination.mapping_problems(text.mapping):
            raise SettingsProblem("mapping", reason, field=f"mapping.{target.removeprefix('mapping.')}")
        try:
            options = destination.options_model.model_validate(text.options)
        except ValidationError as error:
            raise _problem(error, destination.options_model, inside="options") from None
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

    def _flat_secret(self, secret_id: str, unknown: SettingsProblem, *, fresh: bool = False) -> Mapping[str, str]:
        return self._secrets.get(
            secret_id,
            lambda: _flat(self._secret_text(secret_id, unknown)),
            usable=(lambda _: False) if fresh else None,
        )

    def _secret_text(self, secret_id: str, unknown: SettingsProblem) -> str:
        if self._secrets_client is None:
            self._secrets_client = boto3.client("secretsmanager", config=_CLIENT)
        try:
            answer = self._secrets_client.get_secret_value(SecretId=secret_id)
        except ClientError as error:
            raise _secret_problem(error, unknown) from None
        except BotoCoreError as error:
            raise _no_answer("Secrets Manager", type(error).__name__) from None
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise SettingsProblem("not_text", "must be kept as key/value text, not as binary", field="secret")
        return text

    def _parameter(self, key: str, at_least: int) -> _Parameter:
        return self._parameters.get(
            key,
            lambda: self._read_parameter(key),
            usable=(lambda parameter: parameter.version >= at_least) if at_least else None,
        )

    def _read_parameter(self, key: str) -> _Parameter:
        try:
            answer = self._ssm().get_parameter(Name=f"/{self._prefix}/exports/{key}", WithDecryption=True)
        except ClientError as error:
            code = _code(error)
            if code == "ParameterNotFound":
                raise UnknownExport("unknown_export", "there is no export of this name", field="export") from None
            if code == "AccessDeniedException":
                raise SettingsProblem(
                    "unreadable", "this function may not read the parameter", field="export"
                ) from None
            raise _no_answer("SSM", code) from None
        except BotoCoreError as error:
            raise _no_answer("SSM", type(error).__name__) from None
        return _parameter_of(answer["Parameter"])

    def _all_parameters(self) -> Mapping[str, _Parameter]:
        return self._listings.get("exports", self._read_all_parameters)

    def _read_all_parameters(self) -> Mapping[str, _Parameter]:
        path = f"/{self._prefix}/exports/"
        found: dict[str, _Parameter] = {}
        token: dict[str, str] = {}
        while True:
            try:
                page = self._ssm().get_parameters_by_path(Path=path, Recursive=True, WithDecryption=True, **token)
            except ClientError as error:
                raise _no_answer("SSM", _code(error)) from None
            except BotoCoreError as error:
                raise _no_answer("SSM", type(error).__name__) from None
            found.update({told["Name"].removeprefix(path): _parameter_of(told) for told in page["Parameters"]})
            if not page.get("NextToken"):
                return found
            token = {"NextToken": page["NextToken"]}

    def _ssm(self) -> ParametersReader:
        if self._ssm_client is None:
            self._ssm_client = boto3.client("ssm", config=_CLIENT)
        return self._ssm_client


Value = TypeVar("Value")


class _Kept(Generic[Value]):
    """Remembers what was read, and what could not be used, for a while; the oldest goes when it is full."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._lifetime = timedelta(seconds=seconds)
        self._clock = clock
        self._entries: OrderedDict[str, tuple[datetime, Value | SettingsProblem]] = OrderedDict()

    def get(self, key: str, read: Callable[[], Value], *, usable: Callable[[Value], bool] | None = None) -> Value:
        """Return what is kept and young, else what `read` returns; raises what `read` raises.

        With `usable`, only a kept value that it holds good is returned, and a kept problem never.
        """
        now = self._clock.now()
        entry = self._entries.get(key)
        if entry is not None and now - entry[0] < self._lifetime:
            kept = entry[1]
            if isinstance(kept, SettingsProblem):
                if usable is None:
                    raise kept.with_traceback(None)
            elif usable is None or usable(kept):
                return kept
        try:
            value = read()
        except SettingsProblem as problem:
            self._keep(key, now, problem)
            raise
        self._keep(key, now, value)
        return value

    def _keep(self, key: str, now: datetime, outcome: Value | SettingsProblem) -> None:
        self._entries[key] = (now, outcome)
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_KEPT:
            self._entries.popitem(last=False)


def _require_name(name: str, field: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise SettingsProblem(
            "invalid_name", "must be 1 to 63 lower-case letters, digits or hyphens, not a hyphen first", field=field
        )


def _split_key(key: str) -> tuple[str, str]:
    connection, _, name = key.partition("/")
    _require_name(connection, "connection")
    _require_name(name, "export")
    return connection, name


def _flat(text: str) -> Mapping[str, str]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise SettingsProblem("not_key_value", "must be key/value pairs (a JSON object)", field="secret")
    for field, one in value.items():
        if not isinstance(one, str):
            raise SettingsProblem("not_text", "must be a text", field=field)
    return value


def _read_export(parameter: _Parameter) -> _ExportText:
    try:
        value = json.loads(parameter.text)
    except ValueError as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise SettingsProblem("not_json", f"must be JSON{place}", field="export") from None
    try:
        return _ExportText.model_validate(value)
    except ValidationError as error:
        raise _problem(error, _ExportText) from None


def _parameter_of(told: Mapping[str, Any]) -> _Parameter:
    return _Parameter(told["Value"], int(told["LastModifiedDate"].timestamp() * 1000))


def _problem(
    error: ValidationError, model: type[BaseModel], *, inside: str = "", hidden: Iterable[str] = ()
) -> SettingsProblem:
    """Tell every error, the first one's field leading; values of secrets are struck out of what a model says."""
    told = []
    for one in error.errors(include_input=False, include_url=False):
        field = ".".join(map(str, filter(None, (inside, *_place(one))))) or "value"
        reason = _reason(one, model)
        for value in sorted(filter(lambda value: len(value) > 3, hidden), key=len, reverse=True):
            reason = reason.replace(value, "***")
        told.append((field, reason))
    first, *others = told
    also = "".join(f"; {field}: {reason}" for field, reason in others)
    return SettingsProblem("invalid", first[1] + also, field=first[0])


def _place(error: ErrorDetails) -> Sequence[int | str]:
    # An unknown key is not named: in a secret it may be a value pasted into the wrong column.
    return error["loc"][:-1] if error["type"] == "extra_forbidden" else error["loc"]


def _reason(error: ErrorDetails, model: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        return f"has an unknown key; known are {', '.join(field for field in model.model_fields if field != 'name')}"
    return "is missing" if error["type"] == "missing" else error["msg"]


def _secret_problem(error: ClientError, unknown: SettingsProblem) -> SettingsProblem | Transient:
    code = _code(error)
    if code == "ResourceNotFoundException":
        return unknown
    if code == "InvalidRequestException":
        return SettingsProblem(
            "pending_deletion", "is scheduled for deletion: restore it, or delete what still uses it", field="secret"
        )
    if code in ("AccessDeniedException", "DecryptionFailure"):
        return SettingsProblem(
            "unreadable", f"may not be read or decrypted by this function ({code}): correct its policy", field="secret"
        )
    return _no_answer("Secrets Manager", code)


def _no_answer(service: str, code: str) -> Transient:
    return Transient("settings_unavailable", f"{service}: {code}")


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "unknown")
