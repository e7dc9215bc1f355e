"""What an item costs on its way to DynamoDB and back: our own client against boto3's, in CPU time of this process.

DynamoDB is a stub of the wire in a process of its own, which answers each call as a real one would. Both clients do
the same work in turn, so that their ratio is good on any machine.
"""

import json
import multiprocessing
import socketserver
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import boto3
from botocore.config import Config

from local.benchmarks.report import Figure, Goal, Report
from relay.names import table_name
from relay.stores.database import ABSENT, Database, Item, Key, Put, Table, Update
from relay.stores.dynamodb import DynamoDatabase, connect

ROUNDS = 15
SECONDS_A_ROUND = 0.08

DOC = json.dumps([[1, 1777541400000, "main"], [["a" * 32], "d" * 32, [1777541400000, 3, 1]], None, "d" * 32] * 2)
"""As long as an identity record."""

_REGION = "eu-west-1"
_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE"}
_TOKEN = "t" * 900
_PREFIX = "relay"
_TABLES = {table: table_name(_PREFIX, table) for table in Table}
_HOW = (
    "CPU time of this process, on this machine and by its Python, for whole calls of the database: requests are "
    "made, signed, sent, and their answers read. DynamoDB is a stub in another process. TLS, which costs both clients "
    "the same, is not in it."
)
_AGAINST = "boto3 is its general client as it comes. The ratio is boto3's time by ours, in one run."


def benchmark() -> Report:
    """Measure both clients in turn, and report."""
    with _stub() as url:
        ours, boto3s = _ours(url), _boto3s(url)
        found = {name: _compare(work, ours, boto3s) for name, (_, _, work) in WORKS.items()}
    figures = []
    for name, (text, items, _) in WORKS.items():
        mine, other = (seconds / items * 1e6 for seconds in found[name])
        figures += [
            Figure(f"{name}_us", f"{text}: us an item", mine, digits=1),
            Figure(f"{name}_boto3_us", f"{text}: us an item, by boto3", other, digits=1),
            Figure(f"{name}_ratio", f"{text}: times less than boto3", other / mine, Goal(">=", 2), digits=1),
        ]
    return Report("database", {"rounds": ROUNDS}, figures, (_HOW, _AGAINST))


def _keys(count: int) -> list[Key]:
    return [Key(Table.IDENTITIES, f"{number:032x}") for number in range(count)]


def _item(version: int) -> Item:
    return {"doc": DOC, "version": version, "expires_at": 9_999_999_999}


def _read(database: Database) -> object:
    return database.get(_keys(100))


def _update(database: Database) -> object:
    return database.write([Update(key, _item(2), expect={"version": 1}) for key in _keys(25)])


def _put(database: Database) -> object:
    return database.write([Put(key, _item(1)) for key in _keys(25)])


def _one(database: Database) -> object:
    return database.write([Put(key, _item(1), {"pk": ABSENT}) for key in _keys(1)])


def _transact(database: Database) -> object:
    return database.transact([Update(key, _item(2), expect={"version": 1}) for key in _keys(25)])


WORKS: Mapping[str, tuple[str, int, Callable[[Database], object]]] = {
    "read": ("100 read at once", 100, _read),
    "update": ("25 conditional updates, one call", 25, _update),
    "put": ("25 plain puts, one call", 25, _put),
    "transact": ("25 in a transaction", 25, _transact),
    "one": ("a single conditional put", 1, _one),
}
"""What is measured: how it is named, how many items it moves, and how."""


def _compare(work: Callable[[Database], object], *databases: Database) -> tuple[float, ...]:
    """Return the seconds that each database takes: the median of rounds that take turns."""
    repeats = max(1, round(SECONDS_A_ROUND / min(_timed(work, one, 1) for one in databases for _ in range(3))))
    rounds = [[_timed(work, one, repeats) for one in databases] for _ in range(ROUNDS)]
    return tuple(statistics.median(column) for column in zip(*rounds, strict=True))


def _timed(work: Callable[[Database], object], database: Database, repeats: int) -> float:
    began = time.process_time()
    for _ in range(repeats):
        work(database)
    return (time.process_time() - began) / repeats


def _ours(url: str) -> Database:
    return connect(
        {
            "RELAY_PREFIX": _PREFIX,
            **_KEYS,
            "AWS_SESSION_TOKEN": _TOKEN,
            "AWS_REGION": _REGION,
            "AWS_LAMBDA_FUNCTION_NAME": "relay",
            "AWS_ENDPOINT_URL_DYNAMODB": url,
        }
    )


def _boto3s(url: str) -> Database:
    client = boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name=_REGION,
        aws_access_key_id=_KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=_KEYS["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=_TOKEN,
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
    )
    return DynamoDatabase(_Boto3(client), _TABLES)


class _Boto3:
    """boto3's client without anything of ours around it: what is measured holds no binary values."""

    def __init__(self, client: Any) -> None:
        self._methods: Mapping[str, Callable[..., dict[str, Any]]] = {
            "BatchExecuteStatement": client.batch_execute_statement,
            "BatchGetItem": client.batch_get_item,
            "BatchWriteItem": client.batch_write_item,
            "TransactWriteItems": client.transact_write_items,
        }

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._methods[operation](**request)


@contextmanager
def _stub() -> Iterator[str]:
    """Serve the wire from a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_serve, args=(sending,), daemon=True)
    child.start()
    try:
        yield f"http://127.0.0.1:{receiving.recv()}"
    finally:
        child.terminate()
        child.join()


def _serve(sending: Connection) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        sending.send(server.server_address[1])
        server.serve_forever()


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer the calls of one connection."""
        while line := self.rfile.readline():
            headers: dict[bytes, bytes] = {}
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                headers[name.lower()] = value.strip()
            body = self.rfile.read(int(headers[b"content-length"]))
            text = json.dumps(_answer(headers[b"x-amz-target"].decode(), json.loads(body))).encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n"
            self.wfile.write(head % len(text) + text)


def _answer(target: str, request: Mapping[str, Any]) -> dict[str, Any]:
    if target.endswith("BatchExecuteStatement"):
        return {"Responses": [{"TableName": _TABLES[Table.IDENTITIES]} for _ in request["Statements"]]}
    if target.endswith("BatchWriteItem"):
        return {"UnprocessedItems": {}}
    if target.endswith("BatchGetItem"):
        found = {
            table: [
                {**key, "doc": {"S": DOC}, "version": {"N": "1"}, "expires_at": {"N": "9999999999"}}
                for key in asked["Keys"]
            ]
            for table, asked in request["RequestItems"].items()
        }
        return {"Responses": found, "UnprocessedKeys": {}}
    return {}
