"""The tables on the AWS emulator: it keeps the contract as our fake of the wire does, by our client and by boto3's."""

import itertools
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.processes import Processes
from relay import aws
from relay.stores.database import ABSENT, SORTED_TABLES, Database, Delete, Key, Put, Table, Update, Write
from relay.stores.dynamodb import DynamoDatabase, connect
from tests.fakes.memory_database import MemoryDatabase
from tests.unit.stores.database_contract import DatabaseContract

pytestmark = pytest.mark.exhaustive

ROOT = Path(__file__).parents[3]
ROOT_KEY = "test"
"""The emulator takes it for its account's root."""
KEYS = {"AWS_ACCESS_KEY_ID": ROOT_KEY, "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-west-1"}

RIGHTS = frozenset(
    {
        "PartiQLInsert",
        "PartiQLUpdate",
        "PartiQLDelete",
        "BatchWriteItem",
        "PutItem",
        "UpdateItem",
        "DeleteItem",
        "BatchGetItem",
        "Query",
    }
)

_number = itertools.count()


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return where the emulator answers."""
    folder = tmp_path_factory.mktemp("emulator")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SERVICES": "dynamodb,iam,sts",
        "AUTH": "true",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }
    processes = Processes(folder)
    processes.start(
        "emulator", [ROOT / ".tools/emulator/bin/python", "-P", ROOT / "local/emulator.py"], environment, folder
    )
    try:
        processes.wait("emulator", "the emulator's answer", 60, lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        processes.stop_all()


def _listens(port: int) -> bool | None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return None
    return True


@pytest.fixture(scope="module")
def boto3s(emulator: str) -> Any:
    """Return boto3's client; making one takes half a second."""
    return boto3.client(
        "dynamodb",
        endpoint_url=emulator,
        region_name="eu-west-1",
        aws_access_key_id=ROOT_KEY,
        aws_secret_access_key="test",
    )


def tables(boto3s: Any) -> dict[Table, str]:
    """Make tables of their own; return their names."""
    number, names = next(_number), {}
    for table in Table:
        names[table] = f"t{number}-{table.value}"
        attributes = ["pk", "sk"] if table in SORTED_TABLES else ["pk"]
        boto3s.create_table(
            TableName=names[table],
            KeySchema=[{"AttributeName": a, "KeyType": k} for a, k in zip(attributes, ["HASH", "RANGE"], strict=False)],
            AttributeDefinitions=[{"AttributeName": a, "AttributeType": "S"} for a in attributes],
            BillingMode="PAY_PER_REQUEST",
        )
    return names


def by_our_client(url: str, names: Mapping[Table, str], **more: str) -> Database:
    prefix = names[Table.PROFILES].removesuffix("-profiles")
    return connect(
        {**KEYS, "RELAY_PREFIX": prefix, "AWS_LAMBDA_FUNCTION_NAME": "relay", "AWS_ENDPOINT_URL": url, **more}
    )


class TestByOurClient(DatabaseContract):
    @pytest.fixture
    def database(self, emulator: str, boto3s: Any) -> Database:
        return by_our_client(emulator, tables(boto3s))


class TestByBoto3(DatabaseContract):
    @pytest.fixture
    def database(self, boto3s: Any) -> Database:
        return DynamoDatabase(aws._Boto3Wire(boto3s), tables(boto3s))


def test_what_one_client_wrote_the_other_reads(emulator: str, boto3s: Any) -> None:
    """Binary values have one form, whoever wrote them."""
    names = tables(boto3s)
    ours = by_our_client(emulator, names)
    ours.write([Put(Key(Table.PROFILES, "p"), {"bytes": b"\x00\xff", "n": 7, "yes": True, "text": "ü"})])
    found = boto3s.get_item(TableName=names[Table.PROFILES], Key={"pk": {"S": "p"}})["Item"]
    assert found == {
        "pk": {"S": "p"},
        "bytes": {"B": b"\x00\xff"},
        "n": {"N": "7"},
        "yes": {"BOOL": True},
        "text": {"S": "ü"},
    }
    boto3s.put_item(TableName=names[Table.PROFILES], Item={**found, "pk": {"S": "q"}})
    assert ours.get([Key(Table.PROFILES, "q")]) == [{"pk": "q", "bytes": b"\x00\xff", "n": 7, "yes": True, "text": "ü"}]


@pytest.mark.parametrize(
    ("right", "write"),
    [
        ("PartiQLInsert", Put(Key(Table.IDENTITIES, "new"), {"n": 1}, {"pk": ABSENT})),
        ("PartiQLUpdate", Update(Key(Table.IDENTITIES, "old"), {"m": 1}, expect={"n": 1})),
        ("PartiQLDelete", Delete(Key(Table.IDENTITIES, "old"), {"n": 1})),
        ("BatchWriteItem", Put(Key(Table.IDENTITIES, "new"), {"n": 1})),
        ("UpdateItem", Update(Key(Table.IDENTITIES, "old"), {"m": 1})),
        ("DeleteItem", Delete(Key(Table.IDENTITIES, "old"), {"m": ABSENT})),
        ("UpdateItem", Update(Key(Table.IDENTITIES, "old"), add={"n": 1})),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_each_way_of_writing_takes_its_own_right(emulator: str, boto3s: Any, right: str, write: Write) -> None:
    """So the rights of roles in the template are proven by the stack tests."""
    names = tables(boto3s)
    by_our_client(emulator, names).write([Put(Key(Table.IDENTITIES, "old"), {"n": 1})])
    iam: Any = boto3.client(
        "iam", endpoint_url=emulator, region_name="eu-west-1", aws_access_key_id=ROOT_KEY, aws_secret_access_key="test"
    )

    def user(*rights: str) -> Database:
        name = f"user{next(_number)}"
        iam.create_user(UserName=name)
        table = f"arn:aws:dynamodb:eu-west-1:000000000000:table/{names[Table.IDENTITIES]}"
        actions = [f"dynamodb:{one}" for one in rights]
        statement = {"Effect": "Allow", "Action": actions, "Resource": table}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="some", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return by_our_client(
            emulator, names, AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"]
        )

    with pytest.raises(ClientError) as caught:
        user(*(RIGHTS - {right})).write([write])
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    assert user(right).write([write]) == [True]


_keys = st.sampled_from(
    [Key(Table.PROFILES, "p1"), Key(Table.CONTROL, "c", "a"), Key(Table.CONTROL, "c", "b"), Key(Table.IDENTITIES, "k")]
)
_expect = st.dictionaries(st.sampled_from("nm"), st.sampled_from([0, 1, 2, ABSENT]), max_size=2) | st.just(
    {"pk": ABSENT}
)
_write = st.one_of(
    st.builds(
        Put, _keys, st.dictionaries(st.sampled_from("nm"), st.integers(0, 2)), st.sampled_from([{}, {"pk": ABSENT}])
    ),
    st.builds(Update, _keys, st.just({"n": 1}), st.sampled_from([{}, {"m": 1}]), _expect),
    st.builds(Delete, _keys, _expect),
)
_calls = st.lists(
    st.lists(_write, max_size=12) | st.lists(_write, min_size=1, max_size=4, unique_by=lambda write: write.key),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def real(emulator: str, boto3s: Any) -> Database:
    return by_our_client(emulator, tables(boto3s))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=_calls, all_at_once=st.lists(st.booleans(), min_size=4, max_size=4))
def test_the_emulator_and_the_fake_in_memory_do_the_same(
    real: Database, calls: list[list[Write]], all_at_once: list[bool]
) -> None:
    memory, turn = MemoryDatabase(), next(_number)
    keys: set[Key] = set()
    for writes, at_once in zip(calls, all_at_once, strict=False):
        own = [replace(write, key=write.key._replace(pk=f"{turn}-{write.key.pk}")) for write in writes]
        keys.update(write.key for write in own)
        if at_once and own and len({write.key for write in own}) == len(own):
            assert real.transact(own) == memory.transact(own)
        else:
            assert real.write(own) == memory.write(own)
    everything = sorted(keys, key=str)
    assert real.get(everything) == memory.get(everything)
