"""The only doors to Secrets Manager and SSM; what comes through is kept for a while, and what was not there too."""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from relay import aws
from relay.aws.clients import ParametersReader, SecretsReader
from relay.clock import Clock
from relay.domain.problems import Busy, SettingsProblem
from relay.settings.faults import BYTE_ORDER_MARK, trimmed
from relay.settings.names import UnknownExport

DEFAULT_SECONDS = 30.0
"""How long settings are kept: edits in the console are seen well within a minute."""
MAX_KEPT = 1_000
"""The most settings of a kind kept in memory, and the most names of what is not there or cannot be used."""

UNREADABLE = "unreadable"
"""The code of a parameter or secret that this function may not read or decrypt."""


class SecretsDoor:
    """Reads secrets. Methods raise `unknown` when there is no such secret, another SettingsProblem or Busy."""

    def __init__(self, client: SecretsReader | None, seconds: float, clock: Clock) -> None:
        self._client = client
        self._kept = _Kept[Mapping[str, str]](seconds, clock)

    def fields(
        self,
        secret_id: str,
        unknown: SettingsProblem,
        *,
        fresh: bool = False,
        admit: Callable[[], None] | None = None,
    ) -> Mapping[str, str]:
        """Return a secret of key/value texts.

        `fresh` reads past what is kept. `admit` is called before a secret is looked up that was not found before, and
        may raise to prevent that.
        """

        def read() -> Mapping[str, str]:
            if admit is not None and not self._kept.has_found(secret_id):
                admit()
            return _flat(self.text(secret_id, unknown))

        return self._kept.get(secret_id, read, usable=(lambda _: False) if fresh else None)

    def text(self, secret_id: str, unknown: SettingsProblem) -> str:
        """Return a secret's text as it is now."""
        if self._client is None:
            self._client = aws.secrets_manager()
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


def readable(parameter: Parameter | SettingsProblem) -> Parameter:
    """Return a parameter of a listing; raises the SettingsProblem that kept it from being read."""
    if isinstance(parameter, SettingsProblem):
        raise parameter.with_traceback(None)
    return parameter


class ParametersDoor:
    """Reads the parameters of exports, by their keys `connection/export`."""

    def __init__(self, prefix: str, client: ParametersReader | None, seconds: float, clock: Clock) -> None:
        self._path = f"/{prefix.strip('/')}/exports/"
        self._client = client
        self._kept = _Kept[Parameter](seconds, clock)
        self._listings = _Kept[Mapping[str, Parameter | SettingsProblem]](seconds, clock)

    def one(self, key: str, *, at_least: int = 0, fresh: bool = False) -> Parameter:
        """Return a parameter, read afresh where asked, and when what is kept is older than version `at_least`.

        Raises UnknownExport when there is none, another SettingsProblem or Busy.
        """
        return self._kept.get(
            key,
            lambda: self._read(key),
            usable=(lambda parameter: not fresh and parameter.version >= at_least) if at_least or fresh else None,
        )

    def all(self, *, fresh: bool = False) -> Mapping[str, Parameter | SettingsProblem]:
        """Return all parameters by key, or why one cannot be read (see `readable`); raises Busy.

        `fresh` reads past what is kept.
        """
        return self._listings.get(self._path, self._read_all, usable=(lambda _: False) if fresh else None)

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
            for given in page["Parameters"]:
                key = given["Name"].removeprefix(self._path)
                try:
                    found[key] = self._read(key) if given["Type"] == "SecureString" else _parameter_of(given)
                except UnknownExport:
                    continue  # It was deleted between the two calls.
                except SettingsProblem as problem:
                    found[key] = problem
            if not page.get("NextToken"):
                return found
            token = {"NextToken": page["NextToken"]}

    def _ssm(self) -> ParametersReader:
        if self._client is None:
            self._client = aws.ssm()
        return self._client


Value = TypeVar("Value")


class _Kept(Generic[Value]):
    """Remembers what was read, and what could not be used, for a while.

    Both are bounded, and the oldest goes. They are kept apart: what cannot be used, such as a name that somebody made
    up, never pushes out what can.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._lifetime = timedelta(seconds=seconds)
        self._clock = clock
        self._values: OrderedDict[str, tuple[datetime, Value]] = OrderedDict()
        self._problems: OrderedDict[str, tuple[datetime, SettingsProblem]] = OrderedDict()

    def has_found(self, key: str) -> bool:
        """Return whether the last that was read of a key was a value, however long ago."""
        return key in self._values

    def get(self, key: str, read: Callable[[], Value], *, usable: Callable[[Value], bool] | None = None) -> Value:
        """Return what is kept and young, else what `read` returns; raises what `read` raises.

        With `usable`, only a kept value that it holds good is returned, and a kept problem never.
        """
        now = self._clock.now()
        value = self._values.get(key)
        if value is not None and self._is_young(value[0], now) and (usable is None or usable(value[1])):
            return value[1]
        problem = self._problems.get(key)
        if problem is not None and self._is_young(problem[0], now) and usable is None:
            raise problem[1].with_traceback(None)
        try:
            read_now = read()
        except SettingsProblem as problem_now:
            self._values.pop(key, None)
            _keep(self._problems, key, (now, problem_now))
            raise
        self._problems.pop(key, None)
        _keep(self._values, key, (now, read_now))
        return read_now

    def _is_young(self, at: datetime, now: datetime) -> bool:
        return now - at < self._lifetime


Entry = TypeVar("Entry")


def _keep(entries: OrderedDict[str, Entry], key: str, entry: Entry) -> None:
    entries[key] = entry
    entries.move_to_end(key)
    while len(entries) > MAX_KEPT:
        entries.popitem(last=False)


def _flat(text: str) -> Mapping[str, str]:
    try:
        value = json.loads(trimmed(text))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise SettingsProblem("not_key_value", "must be key/value pairs (a JSON object)", field="secret")
    for field, one in value.items():
        if not isinstance(one, str):
            raise SettingsProblem("not_text", "must be a text", field=field)
    # A byte order mark is no part of what anybody wrote.
    return {key.strip(BYTE_ORDER_MARK): one.strip(BYTE_ORDER_MARK) for key, one in value.items()}


def _parameter_of(given: Mapping[str, Any]) -> Parameter:
    return Parameter(given["Value"], int(given["LastModifiedDate"].timestamp() * 1000))


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


_PASSING = ("KMSThrottlingException", "KMSInternalException")
"""What KMS says of itself, and not of a key."""


def _is_locked(code: str) -> bool:
    """Return whether a refusal is about one secret or parameter and its key, and passes only when somebody acts.

    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html,
    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html; both hand on what KMS says.
    """
    return code in ("AccessDeniedException", "DecryptionFailure", "InvalidKeyId") or (
        code.startswith("KMS") and code not in _PASSING
    )


def _no_answer(service: str, code: str) -> Busy:
    return Busy("settings_unavailable", f"{service}: {code}")


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "unknown")
