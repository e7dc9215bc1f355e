"""AWS in a process of its own, at the end of a socket: its CPU is nobody's, and it counts what it was asked for.

Of DynamoDB it counts units as DynamoDB charges them (`tests/fakes/dynamo_wire.py`). A write costs by the larger of the
item before and after, in steps of 1 KB, applied or refused, and twice that in a transaction. A read costs by the size
of each item, in steps of 4 KB, and a query by the sum of sizes.
"""

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final

from botocore.exceptions import ClientError

from local.benchmarks.apart import started
from local.fake_aws import Answer, Asked, serving_as
from relay.stores.database import Database, Table
from relay.stores.dynamodb import DynamoDatabase
from tests.fakes.dynamo_wire import DynamoWire

PREFIX: Final = "audience-relay"
TABLES: Final[Mapping[Table, str]] = {table: f"{PREFIX}-{table.value}" for table in Table}
QUEUES: Final = "https://sqs.eu-west-1.amazonaws.com/123456789012"

_READY_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Usage:
    """What was asked for since it was last read: calls by operation, units by table, messages sent by queue."""

    calls: Counter[str] = field(default_factory=Counter)
    read_units: Counter[str] = field(default_factory=Counter)
    write_units: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Aws:
    """The process: where it listens, and what it counted."""

    url: str
    _control: Connection

    def usage(self) -> Usage:
        """Return what it counted, and let it begin again."""
        usage: Usage = self._asked(None)
        return usage

    def do(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Call a function of a module with the database and arguments, over there; it is counted nowhere."""
        return self._asked((function, arguments))

    def _asked(self, what: tuple[Callable[..., Any], tuple[object, ...]] | None) -> Any:
        self._control.send(what)
        found, trouble = self._control.recv()
        if trouble:
            raise RuntimeError(f"the stub of AWS: {trouble}")
        return found

    def environment(self, function: str) -> dict[str, str]:
        """Return the variables of a function of this name that calls it."""
        return {
            "AWS_LAMBDA_FUNCTION_NAME": f"{PREFIX}-{function}",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "AWS_SESSION_TOKEN": "t" * 800,
            "AWS_ENDPOINT_URL": self.url,
            "RELAY_PREFIX": PREFIX,
            "RELAY_CHANGES_QUEUE": f"{QUEUES}/{PREFIX}-changes",
            "POWERTOOLS_SERVICE_NAME": function,
            "POWERTOOLS_METRICS_NAMESPACE": PREFIX,
        }


@contextmanager
def aws_apart(parameters: Mapping[str, str], secrets: Mapping[str, str] | None = None) -> Iterator[Aws]:
    """Serve DynamoDB, SQS, SSM and Secrets Manager, with these texts by name, until the context ends."""
    process, ours = started(_serve, dict(parameters), dict(secrets or {}))
    try:
        if not ours.poll(_READY_SECONDS):
            raise TimeoutError("the stub of AWS does not start")
        yield Aws(ours.recv(), ours)
    finally:
        process.terminate()
        process.join()


class _Stub:
    """Answers requests."""

    def __init__(self, parameters: Mapping[str, str], secrets: Mapping[str, str]) -> None:
        self._parameters = parameters
        self._secrets = secrets
        self._wire = DynamoWire()
        self._calls: Counter[str] = Counter()
        self._messages: Counter[str] = Counter()

    def answer(self, asked: Asked) -> Answer:
        service, _, operation = asked.headers["x-amz-target"].partition(".")
        request = asked.json
        if service.startswith("DynamoDB"):
            return self._dynamodb(operation, request)
        self._calls[operation] += 1
        if operation == "SendMessageBatch":
            entries = request["Entries"]
            self._messages[request["QueueUrl"].rpartition("/")[2]] += len(entries)
            return Answer(body={"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []})
        if operation == "GetParametersByPath":
            found = [
                {"Name": name, "Value": text, "Type": "String", "LastModifiedDate": 1.7e9}
                for name, text in self._parameters.items()
                if name.startswith(request["Path"])
            ]
            return Answer(body={"Parameters": found})
        if operation == "GetSecretValue" and request["SecretId"] in self._secrets:
            return Answer(body={"Name": request["SecretId"], "SecretString": self._secrets[request["SecretId"]]})
        if operation == "ChangeMessageVisibility":
            return Answer()
        return Answer(status=400, body={"__type": "UnknownOperationException"})

    def _dynamodb(self, operation: str, request: Mapping[str, Any]) -> Answer:
        status = 200
        try:
            answer = self._wire.answer(operation, request)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            status, answer = 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", **error.response}
        text = json.dumps(answer, separators=(",", ":")).encode()
        return Answer(status, text, {"x-amz-crc32": str(zlib.crc32(text))})

    def database(self) -> Database:
        """Return the database behind it; what is done there is not counted."""
        return DynamoDatabase(self._wire.beside(), TABLES)

    def usage(self) -> Usage:
        """Return what was counted, and begin again."""
        wire = self._wire
        usage = Usage(
            self._calls + wire.calls, Counter(wire.read_units), Counter(wire.write_units), Counter(self._messages)
        )
        wire.forget_units()
        self._calls.clear()
        self._messages.clear()
        return usage


def _serve(control: Connection, parameters: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    stub = _Stub(parameters, secrets)
    with serving_as(stub.answer, keeps=False) as server:
        control.send(server.url)
        while True:
            try:
                asked = control.recv()
            except EOFError:
                return
            if asked is None:
                control.send((stub.usage(), ""))
                continue
            function, arguments = asked
            try:
                control.send((function(stub.database(), *arguments), ""))
            except Exception as error:  # noqa: BLE001 - whoever asked must not wait for ever
                control.send((None, f"{function.__name__}: {error!r}"))
