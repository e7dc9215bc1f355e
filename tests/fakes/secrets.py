"""Secrets Manager and SSM in memory: what settings are read from."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "not for logs: Ada Lovelace"}}, "Operation")


class FakeSecrets:
    """`secrets[name]` is a text, a mapping (kept as JSON) or an exception to raise."""

    def __init__(self, **secrets: Any) -> None:
        self.secrets: dict[str, Any] = dict(secrets)
        self.reads: list[str] = []

    def __setitem__(self, name: str, value: Any) -> None:
        self.secrets[name] = value

    def get_secret_value(self, *, SecretId: str) -> Mapping[str, Any]:  # noqa: N803
        self.reads.append(SecretId)
        value = self.secrets.get(SecretId, refusal("ResourceNotFoundException"))
        if isinstance(value, Exception):
            raise value
        if isinstance(value, bytes):
            return {"SecretBinary": value}
        return {"SecretString": value if isinstance(value, str) else json.dumps(value)}


class FakeParameters:
    """SSM with pages of `page` parameters; every write is one second after the one before.

    `locked` are SecureStrings by name that may not be decrypted: a listing that shall decrypt one of them fails as a
    whole, as SSM's does. Without decryption a SecureString shows as ciphertext.
    """

    def __init__(self, page: int = 2) -> None:
        self.parameters: dict[str, dict[str, Any]] = {}
        self.reads: list[str] = []
        self.failure: Exception | None = None
        self.locked: dict[str, Exception] = {}
        self._page = page
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def __setitem__(self, name: str, value: Any) -> None:
        self._now += timedelta(seconds=1)
        text = value if isinstance(value, str) else json.dumps(value)
        self.parameters[name] = {"Name": name, "Type": "String", "Value": text, "LastModifiedDate": self._now}

    def secure(self, name: str, value: Any, *, locked: Exception | None = None) -> None:
        """Keep a SecureString; `locked` is what SSM answers when it is to be decrypted."""
        self[name] = value
        self.parameters[name]["Type"] = "SecureString"
        self.locked.pop(name, None)
        if locked is not None:
            self.locked[name] = locked

    def __delitem__(self, name: str) -> None:
        del self.parameters[name]

    def get_parameter(self, *, Name: str, WithDecryption: bool) -> Mapping[str, Any]:  # noqa: N803
        self.reads.append(Name)
        if self.failure is not None:
            raise self.failure
        if Name not in self.parameters:
            raise refusal("ParameterNotFound")
        return {"Parameter": self._shown(Name, decrypted=WithDecryption)}

    def get_parameters_by_path(
        self,
        *,
        Path: str,  # noqa: N803
        Recursive: bool,  # noqa: N803
        WithDecryption: bool,  # noqa: N803
        NextToken: str = "0",  # noqa: N803
    ) -> Mapping[str, Any]:
        self.reads.append(Path)
        if self.failure is not None:
            raise self.failure
        names = sorted(name for name in self.parameters if name.startswith(Path))
        start = int(NextToken)
        shown = [self._shown(name, decrypted=WithDecryption) for name in names[start : start + self._page]]
        page = {"Parameters": shown}
        more = start + self._page < len(names)
        return {**page, "NextToken": str(start + self._page)} if more else page

    def _shown(self, name: str, *, decrypted: bool) -> Mapping[str, Any]:
        parameter = self.parameters[name]
        if parameter["Type"] != "SecureString" or (decrypted and name not in self.locked):
            return parameter
        if decrypted:
            raise self.locked[name]
        return {**parameter, "Value": "AQICAHh-ciphertext"}
