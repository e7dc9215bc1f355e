"""The only doors to Secrets Manager and SSM; what comes through is kept for a while, and what was not there too."""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from relay.clock import Clock
from relay.domain.problems import Busy, SettingsProblem
from relay.settings.shapes import UnknownExport

MAX_KEPT = 1_000
"""The most settings kept in memory, so that requests for made-up sources cannot fill it."""

UNREADABLE = "unreadable"
"""The code of a parameter or secret that this function may not read or decrypt."""

_CLIENT = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
"""Tight, because a webhook is answered within its sender's 2 seconds."""


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


class SecretsDoor:
    """Reads secrets. Methods raise `unknown` when there is no such secret, another SettingsProblem or Busy."""

    def __init__(self, client: SecretsReader | None, seconds: float, clock: Clock) -> None:
        self._client = client
        self._kept = _Kept[Mapping[str, str]](seconds, clock)

    def fields(self, secret_id: str, unknown: SettingsProblem, *, fresh: bool = False) -> Mapping[str, str]:
        """Return a secret of key/value texts; `fresh` reads past what is kept."""
        return self._kept.get(
            secret_id,
            lambda: _flat(self.text(secret_id, unknown)),
            usable=(lambda _: False) if fresh else None,
        )

    def text(self, secret_id: str, unknown: SettingsProblem) -> str:
        """Return a secret's text as it is now."""
        if self._client is None:
            self._client = boto3.client("secretsmanager", config=_CLIENT)
        try:
            answer = self._client.get_secret_value(SecretId=secret_id)
        except ClientError as error:
            raise _secret_problem(error, unknown) from None
        except BotoCoreError as error:
            raise _no_answer("Secrets Manager", type(error).__name__) from None
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise SettingsProblem("not_text", "must be kept as key/value text, not as binary", field="secret")
        return text


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter's text, and the time of its last edit in milliseconds."""

    text: str
    version: int


class ParametersDoor:
    """Reads the parameters below a path (it ends with a slash), by the rest of their names."""

    def __init__(self, path: str, client: ParametersReader | None, seconds: float, clock: Clock) -> None:
        self._path = path
        self._client = client
        self._kept = _Kept[Parameter](seconds, clock)
        self._listings = _Kept[Mapping[str, Parameter | SettingsProblem]](seconds, clock)

    def one(self, key: str, *, at_least: int = 0) -> Parameter:
        """Return a parameter, read afresh when what is kept is older than version `at_least`.

        Raises UnknownExport when there is none, another SettingsProblem or Busy.
        """
        return self._kept.get(
            key,
            lambda: self._read(key),
            usable=(lambda parameter: parameter.version >= at_least) if at_least else None,
        )

    def all(self) -> Mapping[str, Parameter | SettingsProblem]:
        """Return all parameters by key, or why one cannot be read; raises Busy."""
        return self._listings.get(self._path, self._read_all)

    def _read(self, key: str) -> Parameter:
        try:
            answer = self._ssm().get_parameter(Name=f"{self._path}{key}", WithDecryption=True)
        except ClientError as error:
            code = _code(error)
            if code == "ParameterNotFound":
                raise UnknownExport("unknown_export", "there is no export of this name", field="export") from None
            if _is_locked(code):
                raise SettingsProblem(
                    UNREADABLE,
                    f"may not be read or decrypted by this function ({code}): keep it as a String, or let the stack's "
                    "roles use its key",
                    field="export",
                ) from None
            raise _no_answer("SSM", code) from None
        except BotoCoreError as error:
            raise _no_answer("SSM", type(error).__name__) from None
        return _parameter_of(answer["Parameter"])

    def _read_all(self) -> Mapping[str, Parameter | SettingsProblem]:
        """Read what needs no decryption page by page, and each SecureString by itself.

        A page that shall be decrypted fails as a whole when one of its parameters may not be.
        """
        found: dict[str, Parameter | SettingsProblem] = {}
        token: dict[str, str] = {}
        while True:
            try:
                page = self._ssm().get_parameters_by_path(
                    Path=self._path, Recursive=True, WithDecryption=False, **token
                )
            except ClientError as error:
                raise _no_answer("SSM", _code(error)) from None
            except BotoCoreError as error:
                raise _no_answer("SSM", type(error).__name__) from None
            for told in page["Parameters"]:
                key = told["Name"].removeprefix(self._path)
                try:
                    found[key] = self._read(key) if told["Type"] == "SecureString" else _parameter_of(told)
                except UnknownExport:
                    continue  # It was deleted between the two calls.
                except SettingsProblem as problem:
                    found[key] = problem
            if not page.get("NextToken"):
                return found
            token = {"NextToken": page["NextToken"]}

    def _ssm(self) -> ParametersReader:
        if self._client is None:
            self._client = boto3.client("ssm", config=_CLIENT)
        return self._client


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


def _parameter_of(told: Mapping[str, Any]) -> Parameter:
    return Parameter(told["Value"], int(told["LastModifiedDate"].timestamp() * 1000))


def _secret_problem(error: ClientError, unknown: SettingsProblem) -> SettingsProblem | Busy:
    code = _code(error)
    if code == "ResourceNotFoundException":
        return unknown
    if code == "InvalidRequestException":
        return SettingsProblem(
            "pending_deletion", "is scheduled for deletion: restore it, or delete what still uses it", field="secret"
        )
    if _is_locked(code):
        return SettingsProblem(
            UNREADABLE, f"may not be read or decrypted by this function ({code}): correct its policy", field="secret"
        )
    return _no_answer("Secrets Manager", code)


def _is_locked(code: str) -> bool:
    """Return whether a refusal is about one secret or parameter and its key, and passes only when somebody acts.

    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html,
    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html; both hand on what KMS says.
    """
    return code in ("AccessDeniedException", "DecryptionFailure", "InvalidKeyId") or code.startswith("KMS")


def _no_answer(service: str, code: str) -> Busy:
    return Busy("settings_unavailable", f"{service}: {code}")


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "unknown")
