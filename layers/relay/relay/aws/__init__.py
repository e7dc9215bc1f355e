"""A small client for the few calls to DynamoDB, SQS, Secrets Manager and SSM, in a fraction of boto3's time.

It does what a Lambda function needs: credentials and region from the environment, Signature Version 4, kept
connections, boto3's time-outs and standard retries, the endpoint variables, and botocore's exceptions. Threads may
call at the same time. Where the environment asks for more (see `suffices`), boto3 does the same work.
`docs/decisions/0074-aws-without-boto3.md` and `0102-own-dynamodb-client.md` have the figures.
"""

import base64
import json
import os
import random
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from select import POLLIN, poll
from typing import Any
from urllib.parse import SplitResult, urlsplit

import botocore
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnection

from relay.aws.clients import ParametersReader, QueueClient, SecretsReader, Wire
from relay.aws.signature import signed
from relay.version import USER_AGENT

TRIES = 2
"""How often one call is sent, as `total_max_attempts` of boto3."""
LONGEST_PAUSE_SECONDS = 1.0
"""Before the second try: a random part of it, as boto3's standard mode pauses before its first retry.
https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html"""

_TRANSIENT_STATUS = frozenset({500, 502, 503, 504})
_RETRIED_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
_SUFFIXES: Mapping[str, str] = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "eusc-": "amazonaws.eu",
}
"""The domains of the partitions other than `amazonaws.com`, by how their regions begin."""
_encode = json.JSONEncoder(separators=(",", ":")).encode
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})

Environment = Mapping[str, str]


def dynamodb(environment: Environment = os.environ) -> Wire:
    """Return what calls DynamoDB. It sends each call once: what to repeat, and how, is for `relay.stores.dynamodb`."""
    return _Service(DYNAMODB, environment) if suffices(environment) else _Boto3Wire(_boto3(DYNAMODB))


def sqs(environment: Environment = os.environ) -> QueueClient:
    """Return a client of SQS."""
    return _Sqs(_Service(SQS, environment)) if suffices(environment) else _boto3(SQS)


def secrets_manager(environment: Environment = os.environ) -> SecretsReader:
    """Return a client of Secrets Manager."""
    return _Secrets(_Service(SECRETS, environment)) if suffices(environment) else _boto3(SECRETS)


def ssm(environment: Environment = os.environ) -> ParametersReader:
    """Return a client of SSM."""
    return _Parameters(_Service(SSM, environment)) if suffices(environment) else _boto3(SSM)


def by_boto3(service: str, **settings: Any) -> Any:
    """Return boto3's client of a service, with these settings of botocore's Config; it takes long to make."""
    # Imported here, because most functions need none.
    import boto3
    from botocore.config import Config

    return boto3.client(service, config=Config(user_agent_extra=USER_AGENT, **settings))  # type: ignore[call-overload]


def connect(client: object) -> None:
    """Open the connection of a client of ours ahead of its first call (boto3 has no way to); raises BotoCoreError."""
    if isinstance(client, _Client):
        client.service.connect()


def suffices(environment: Environment) -> bool:
    """Return whether this module does all that the environment asks for.

    It does on Lambda with its usual variables. Elsewhere (profiles, single sign-on, roles to assume, a container's
    credentials) and with a proxy, FIPS or dual-stack endpoints, boto3 has to be taken.
    """
    asked_for = ("AWS_LAMBDA_FUNCTION_NAME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return (
        all(environment.get(name) for name in asked_for)
        and _region(environment) is not None
        and not any(_is_true(environment, name) for name in ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"))
        and not any(name.upper() in _PROXIES and value for name, value in environment.items())
    )


@dataclass(frozen=True, slots=True)
class Api:
    """A service that speaks JSON over POST, and how long it may take to connect and to answer, in seconds."""

    name: str
    """As boto3 and the host names call it."""
    variable: str
    """The end of its endpoint variable."""
    target: str
    json_version: str
    connect_seconds: float
    read_seconds: float
    query_mode: bool = False
    """Whether it is asked for the error codes that it had before it spoke JSON, as boto3 asks."""
    tries: int = TRIES
    """How often one call is sent. Of one that is sent once, no request leaves a second time, whatever becomes of it."""

    def host(self, region: str) -> str:
        """Return its public host in a region."""
        suffix = next((suffix for start, suffix in _SUFFIXES.items() if region.startswith(start)), "amazonaws.com")
        return f"{self.name}.{region}.{suffix}"


SQS = Api("sqs", "SQS", "AmazonSQS", "1.0", connect_seconds=1, read_seconds=5, query_mode=True)
SECRETS = Api("secretsmanager", "SECRETS_MANAGER", "secretsmanager", "1.1", connect_seconds=1, read_seconds=2)
"""Tight, because a webhook is answered within its sender's 2 seconds."""
SSM = Api("ssm", "SSM", "AmazonSSM", "1.1", connect_seconds=1, read_seconds=2)
DYNAMODB = Api("dynamodb", "DYNAMODB", "DynamoDB_20120810", "1.0", connect_seconds=2, read_seconds=5, tries=1)

MAX_IDLE = 8
"""Connections to one service that are kept open while nobody uses them."""


def endpoint(api: Api, environment: Environment) -> str:
    """Return the URL to call: the service's own variable, that of all services, or the region's public one.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
    """
    if not _is_true(environment, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        for name in (f"AWS_ENDPOINT_URL_{api.variable}", "AWS_ENDPOINT_URL"):
            if environment.get(name):
                return environment[name]
    return f"https://{api.host(_region(environment) or '')}"


@dataclass(frozen=True, slots=True)
class _Client:
    service: "_Service"


class _Sqs(_Client):
    def send_message_batch(self, **request: Any) -> Mapping[str, Any]:
        return self.service.call("SendMessageBatch", request)

    def receive_message(self, **request: Any) -> Mapping[str, Any]:
        return self.service.call("ReceiveMessage", request)

    def delete_message(self, **request: Any) -> Any:
        return self.service.call("DeleteMessage", request)

    def change_message_visibility(self, **request: Any) -> Any:
        return self.service.call("ChangeMessageVisibility", request)

    def change_message_visibility_batch(self, **request: Any) -> Any:
        return self.service.call("ChangeMessageVisibilityBatch", request)

    def get_queue_attributes(self, **request: Any) -> Mapping[str, Any]:
        return self.service.call("GetQueueAttributes", request)


class _Secrets(_Client):
    def get_secret_value(self, **request: Any) -> Mapping[str, Any]:
        return self.service.call("GetSecretValue", request)


class _Parameters(_Client):
    def get_parameter(self, **request: Any) -> Mapping[str, Any]:
        answer = self.service.call("GetParameter", request)
        return {**answer, "Parameter": _dated(answer["Parameter"])}

    def get_parameters_by_path(self, **request: Any) -> Mapping[str, Any]:
        answer = self.service.call("GetParametersByPath", request)
        return {**answer, "Parameters": [_dated(parameter) for parameter in answer["Parameters"]]}


class _Boto3Wire:
    """DynamoDB by boto3, in the form of the wire."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        method = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).lstrip("_")
        answer: dict[str, Any] = _with_texts(getattr(self._client, method)(**_with_bytes(request)))
        return answer


class _Service:
    """One service, over connections that are kept open. Each serves one call at a time."""

    def __init__(self, api: Api, environment: Environment, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._api = api
        self._environment = environment
        self._region = _region(environment) or ""
        self._url = urlsplit(endpoint(api, environment))
        self._path = f"{self._url.path.rstrip('/')}/"
        self._host = _host(self._url)
        self._endpoint = self._url.geturl()
        self._sleep = sleep
        self._idle: list[HTTPConnection] = []
        self._lock = threading.Lock()

    def connect(self) -> None:
        """Open a connection ahead of the first call; raises what `call` raises when there is no way."""
        if not self._idle:
            self._keep(self._connected())

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer. Raises ClientError when the service refuses, another BotoCoreError when none comes."""
        body = _encode(request).encode()
        for attempt in range(1, self._api.tries + 1):
            try:
                status, header_code, text = self._exchange(operation, body)
                if status < 300:
                    return _answer(text)
                refusal = _refusal(operation, status, header_code, text)
                error: Exception = refusal
                passes = status in _TRANSIENT_STATUS or refusal.response["Error"]["Code"] in _RETRIED_CODES
            except (NoConnection, HTTPClientError) as trouble:
                error, passes = trouble, True
            if not passes or attempt == self._api.tries:
                raise error
            self._sleep(random.random() * LONGEST_PAUSE_SECONDS)  # noqa: S311 - spreads the retries of many
        raise AssertionError

    def _exchange(self, operation: str, body: bytes) -> tuple[int, str, bytes]:
        """Send once; return status, the error code of the header, and the body."""
        kept = self._kept()
        connection = self._connected() if kept is None else kept
        try:
            connection.request("POST", self._path, body, self._headers(operation, body))
            response = connection.getresponse()
            text = response.read()
        except TimeoutError as error:
            connection.close()
            raise ReadTimeoutError(endpoint_url=self._endpoint, error=error) from None
        except (OSError, HTTPException) as error:
            connection.close()
            if kept is not None and isinstance(error, ConnectionError) and self._api.tries > 1:
                # The other end had closed it while it lay idle, which is no failed try.
                return self._exchange(operation, body)
            raise ConnectionClosedError(endpoint_url=self._endpoint, error=error) from None
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._keep(connection)
        _check_sum(response.headers.get("x-amz-crc32"), text)
        return response.status, response.headers.get("x-amzn-query-error", ""), text

    def _kept(self) -> HTTPConnection | None:
        """Return a connection that is open and used by nobody, the one used last: the others may end of idleness."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if not _is_dropped(connection):
                return connection
            connection.close()

    def _keep(self, connection: HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _connected(self) -> HTTPConnection:
        seconds = self._api.connect_seconds
        host, port = self._url.hostname or "", self._url.port
        connection = (
            HTTPSConnection(host, port, timeout=seconds, context=_trust(self._environment.get("AWS_CA_BUNDLE")))
            if self._url.scheme == "https"
            else HTTPConnection(host, port, timeout=seconds)
        )
        try:
            connection.connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=self._endpoint, error=error) from None
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=self._endpoint, error=error) from None
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=self._endpoint, error=error) from None
        connection.sock.settimeout(self._api.read_seconds)
        return connection

    def _headers(self, operation: str, body: bytes) -> dict[str, str]:
        # Read at each call, because whoever changes the credentials changes the environment.
        key_id, secret = (self._environment[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
        headers = {
            "content-type": f"application/x-amz-json-{self._api.json_version}",
            "host": self._host,
            "x-amz-date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
            "x-amz-target": f"{self._api.target}.{operation}",
        }
        if self._api.query_mode:
            headers["x-amzn-query-mode"] = "true"
        if token := self._environment.get("AWS_SESSION_TOKEN"):
            headers["x-amz-security-token"] = token
        scope = (key_id, self._region, self._api.name)
        headers["authorization"] = signed(headers, body, path=self._path, scope=scope, secret=secret)
        headers["user-agent"] = f"{USER_AGENT} Botocore/{botocore.__version__}"
        return headers


def _boto3(api: Api) -> Any:
    return by_boto3(
        api.name,
        connect_timeout=api.connect_seconds,
        read_timeout=api.read_seconds,
        retries={"mode": "standard", "total_max_attempts": api.tries},
    )


def _region(environment: Environment) -> str | None:
    return environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION") or None


def _is_true(environment: Environment, name: str) -> bool:
    return environment.get(name, "").lower() == "true"


def _host(url: SplitResult) -> str:
    name = url.hostname or ""
    name = f"[{name}]" if ":" in name else name
    return name if url.port in (None, {"https": 443, "http": 80}.get(url.scheme)) else f"{name}:{url.port}"


@cache
def _trust(bundle: str | None) -> ssl.SSLContext:
    # One for all services, because reading the certificates takes longer than a call. They are boto3's own.
    return ssl.create_default_context(cafile=bundle or Path(botocore.__file__).with_name("cacert.pem"))


@cache
def _is_dropped(connection: HTTPConnection) -> bool:
    # Nobody asked anything, so whatever can be read now is the end of the connection.
    readable = poll()
    readable.register(connection.sock, POLLIN)
    return bool(readable.poll(0))


def _check_sum(sum_sent: str | None, text: bytes) -> None:
    """Take an answer that was damaged on its way for none. DynamoDB alone says a sum.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html
    """
    if sum_sent is not None and sum_sent != str(zlib.crc32(text)):
        raise HTTPClientError(error="an answer that is not the one that was sent")


def _with_bytes(value: Any) -> Any:
    """Return a request with its binary values as boto3 takes them."""
    if isinstance(value, Mapping):
        if isinstance(value.get("B"), str):
            return {"B": base64.b64decode(value["B"])}
        return {name: _with_bytes(part) for name, part in value.items()}
    return [_with_bytes(part) for part in value] if isinstance(value, list) else value


def _with_texts(value: Any) -> Any:
    """Return an answer of boto3 with its binary values as the wire has them."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {name: _with_texts(part) for name, part in value.items()}
    return [_with_texts(part) for part in value] if isinstance(value, list) else value


def _answer(text: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text or b"{}")
    except ValueError as error:
        raise HTTPClientError(error=type(error).__name__) from None
    if not isinstance(answer, dict):
        raise HTTPClientError(error="an answer that is no JSON object")
    return answer


def _refusal(operation: str, status: int, header_code: str, text: bytes) -> ClientError:
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    code = header_code.partition(";")[0] or str(body.get("__type") or body.get("code") or status).rpartition("#")[2]
    message = str(body.get("message") or body.get("Message") or "")
    response: dict[str, Any] = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    if isinstance(reasons := body.get("CancellationReasons"), list):
        response["CancellationReasons"] = reasons
    return ClientError(response, operation)  # type: ignore[arg-type]


def _dated(parameter: Mapping[str, Any]) -> dict[str, Any]:
    return {**parameter, "LastModifiedDate": datetime.fromtimestamp(parameter["LastModifiedDate"], UTC)}
