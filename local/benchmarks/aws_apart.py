"""AWS in a process of its own, at the end of a socket: its CPU is nobody's, and it counts what it was asked for."""

import json
import multiprocessing
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final

from botocore.exceptions import ClientError

from local.fake_aws import Answer, Asked, serving_as
from tests.fakes.dynamo_wire import DynamoWire

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
        self._control.send("usage")
        usage: Usage = self._control.recv()
        return usage


@contextmanager
def aws_apart(parameters: Mapping[str, str]) -> Iterator[Aws]:
    """Serve DynamoDB, SQS and SSM (with these parameters by name) in a process that ends with the context."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, dict(parameters)), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(_READY_SECONDS):
            raise TimeoutError("the stub of AWS does not start")
        yield Aws(ours.recv(), ours)
    finally:
        process.terminate()
        process.join()


class _Stub:
    """Answers requests."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = parameters
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
        return Answer(status=400, body={"__type": "UnknownOperationException"})

    def _dynamodb(self, operation: str, request: Mapping[str, Any]) -> Answer:
        status = 200
        try:
            answer = self._wire.call(operation, request)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            status, answer = 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", **error.response}
        text = json.dumps(answer, separators=(",", ":")).encode()
        return Answer(status, text, {"x-amz-crc32": str(zlib.crc32(text))})

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


def _serve(control: Connection, parameters: Mapping[str, str]) -> None:
    stub = _Stub(parameters)
    with serving_as(stub.answer) as server:
        control.send(server.url)
        while True:
            try:
                control.recv()
            except EOFError:
                return
            server.asked.clear()
            control.send(stub.usage())
