"""Our own client of AWS on a socket, side by side with boto3: the same requests, retries and errors."""

import json
import ssl
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from select import POLLIN, poll
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.retries import standard
from hypothesis import given
from hypothesis import strategies as st

from local.fake_aws import Answer, Asked, AwsServer, by_tls, certificate, serving, serving_as
from relay import aws
from relay.aws.clients import Wire
from relay.aws.signature import signed
from relay.version import USER_AGENT

LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "relay-ingest",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "a-session",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
}
APIS = (aws.SQS, aws.SECRETS, aws.SSM, aws.DYNAMODB)
URL = "https://sqs.eu-west-1.amazonaws.com/1/changes"


def patience(server: AwsServer) -> float:
    """Return how many seconds a client waits for an answer: long, unless the server is going to be silent."""
    return 1.0 if server.may_be_silent else 60.0


def environment(server: AwsServer, **more: str) -> dict[str, str]:
    return {**LAMBDA, "AWS_ENDPOINT_URL": server.url, **more}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "LONGEST_PAUSE_SECONDS", 0.0)


def ours(server: AwsServer) -> Any:
    return aws._Secrets(aws._Service(replace(aws.SECRETS, read_seconds=patience(server)), environment(server)))


def boto3s(server: AwsServer) -> Any:
    return boto3.client(
        "secretsmanager",
        endpoint_url=server.url,
        region_name="eu-west-1",
        aws_access_key_id=LAMBDA["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=LAMBDA["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=LAMBDA["AWS_SESSION_TOKEN"],
        config=Config(
            connect_timeout=60, read_timeout=patience(server), retries={"mode": "standard", "total_max_attempts": 2}
        ),
    )


@pytest.fixture(params=[ours, boto3s])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[AwsServer], Any]:
    """What is said of our client is said of boto3 too."""
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0.0)
    made: Callable[[AwsServer], Any] = request.param
    return made


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


class TestAnswers:
    def test_a_request_and_its_answer(self, client: Callable[[AwsServer], Any]) -> None:
        with serving(Answer(body={"SecretString": "schlüssel"})) as server:
            answer = client(server).get_secret_value(SecretId="relay/sources/größe")

        assert answer["SecretString"] == "schlüssel"
        (asked,) = server.asked
        assert asked.json == {"SecretId": "relay/sources/größe"}
        assert (asked.method, asked.path) == ("POST", "/")
        assert asked.headers["x-amz-target"] == "secretsmanager.GetSecretValue"
        assert asked.headers["content-type"] == "application/x-amz-json-1.1"
        assert asked.headers["x-amz-security-token"] == "a-session"
        assert asked.headers["host"] == server.url.removeprefix("http://")

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (Answer(400, {"__type": "ResourceNotFoundException", "Message": "none"}), "ResourceNotFoundException"),
            (Answer(400, {"__type": "com.amazonaws.x#InvalidRequestException"}), "InvalidRequestException"),
            (Answer(403, {"__type": "AccessDeniedException", "message": "no"}), "AccessDeniedException"),
            (Answer(413, b"<html>too large</html>"), "413"),
            (Answer(403, b""), "403"),
        ],
    )
    def test_a_refusal_is_sent_at_once_with_its_code(
        self, client: Callable[[AwsServer], Any], answer: Answer, code: str
    ) -> None:
        with serving(answer) as server, pytest.raises(ClientError) as caught:
            client(server).get_secret_value(SecretId="x")
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == answer.status
        assert len(server.asked) == 1

    @pytest.mark.parametrize(
        "trouble",
        [
            Answer(500, {"__type": "InternalServiceError"}),
            Answer(502, b"<html>"),
            Answer(503, b""),
            Answer(400, {"__type": "ThrottlingException", "message": "slower"}),
            Answer(400, {"__type": "RequestLimitExceeded"}),
            Answer(hang_up=True),
            Answer(silent=True),
        ],
    )
    def test_what_passes_is_tried_a_second_time(self, client: Callable[[AwsServer], Any], trouble: Answer) -> None:
        with serving(trouble, Answer(body={"SecretString": "x"})) as server:
            assert client(server).get_secret_value(SecretId="x")["SecretString"] == "x"
        assert len(server.asked) == 2

    @pytest.mark.parametrize(
        ("trouble", "error"),
        [
            (Answer(500, {"__type": "InternalServiceError"}), ClientError),
            (Answer(400, {"__type": "ThrottlingException"}), ClientError),
            (Answer(hang_up=True), ConnectionClosedError),
            (Answer(silent=True), ReadTimeoutError),
        ],
    )
    def test_twice_is_told(self, client: Callable[[AwsServer], Any], trouble: Answer, error: type[Exception]) -> None:
        with serving(trouble) as server, pytest.raises(error):
            client(server).get_secret_value(SecretId="x")
        assert len(server.asked) == 2

    def test_before_the_second_try_a_part_of_a_second_passes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(aws, "LONGEST_PAUSE_SECONDS", 1.0)
        pauses: list[float] = []
        for _ in range(20):
            with serving(Answer(503)) as server, pytest.raises(ClientError):
                aws._Service(aws.SQS, environment(server), sleep=pauses.append).call("SendMessageBatch", {})
        assert len(pauses) == 20
        assert 0 <= min(pauses) < max(pauses) <= 1

    def test_nobody_listens(self, client: Callable[[AwsServer], Any]) -> None:
        with serving() as server:
            pass
        with pytest.raises(EndpointConnectionError):
            client(server).get_secret_value(SecretId="x")

    @pytest.mark.parametrize("body", [b"<html>", b"[]", b'"x"'])
    def test_an_answer_of_another_shape_is_no_answer(self, body: bytes) -> None:
        with serving(Answer(body=body)) as server, pytest.raises(BotoCoreError):
            ours(server).get_secret_value(SecretId="x")


class TestConnections:
    def test_one_serves_all_calls(self) -> None:
        with serving(Answer(body={"SecretString": "x"})) as server:
            client = ours(server)
            for _ in range(3):
                client.get_secret_value(SecretId="x")
        assert server.connections == 1

    def test_it_can_be_opened_ahead(self) -> None:
        with serving(Answer(body={"SecretString": "x"})) as server:
            client = ours(server)
            client.service.connect()
            client.service.connect()
            client.get_secret_value(SecretId="x")
        assert server.connections == 1

    def test_one_that_was_closed_while_idle_is_replaced_and_costs_no_try(self) -> None:
        good = Answer(body={"SecretString": "x"}, then_close=True)
        with serving(good, good, Answer(503), good) as server:
            client = ours(server)
            for _ in range(3):
                assert client.get_secret_value(SecretId="x")["SecretString"] == "x"
                assert server.ended.wait(60)
                server.ended.clear()
        assert server.connections == len(server.asked) - 1 == 3

    def test_one_that_breaks_on_the_second_request_is_replaced_and_costs_no_try(self) -> None:
        good = Answer(body={"SecretString": "x"})
        with serving(good, Answer(hang_up=True), Answer(503), good) as server:
            client = ours(server)
            client.get_secret_value(SecretId="x")
            assert client.get_secret_value(SecretId="x")["SecretString"] == "x"
        assert [asked.connection for asked in server.asked] == [1, 1, 2, 2]

    def test_a_time_out_leaves_no_late_answer_for_the_next_call(self, client: Callable[[AwsServer], Any]) -> None:
        with serving(Answer(silent=True), Answer(silent=True), Answer(body={"SecretString": "new"})) as server:
            one = client(server)
            with pytest.raises(ReadTimeoutError):
                one.get_secret_value(SecretId="old")
            assert one.get_secret_value(SecretId="new")["SecretString"] == "new"


class TestDynamoDb:
    def wire(self, server: AwsServer, **more: str) -> Wire:
        return aws._Service(replace(aws.DYNAMODB, read_seconds=patience(server)), environment(server, **more))

    def test_a_request_and_its_answer(self) -> None:
        item = {"pk": {"S": "ü"}, "n": {"N": "1"}, "b": {"B": "AP8="}}
        with serving(Answer(body={"Item": item})) as server:
            assert aws.dynamodb(environment(server)).call("GetItem", {"Key": {"pk": {"S": "ü"}}}) == {"Item": item}
        (asked,) = server.asked
        assert asked.json == {"Key": {"pk": {"S": "ü"}}}
        assert asked.headers["x-amz-target"] == "DynamoDB_20120810.GetItem"
        assert asked.headers["content-type"] == "application/x-amz-json-1.0"
        assert asked.headers["user-agent"].startswith(f"{USER_AGENT} ")

    @pytest.mark.parametrize(
        ("trouble", "error"),
        [
            (Answer(500, {"__type": "InternalServerError"}), ClientError),
            (Answer(400, {"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException"}), ClientError),
            (Answer(503), ClientError),
            (Answer(hang_up=True), ConnectionClosedError),
            (Answer(silent=True), ReadTimeoutError),
        ],
    )
    def test_a_call_is_sent_once(self, trouble: Answer, error: type[Exception]) -> None:
        """Only the database knows what a second time would do."""
        with serving(trouble) as server, pytest.raises(error):
            self.wire(server).call("PutItem", {})
        assert len(server.asked) == 1

    def test_a_call_that_breaks_on_a_kept_connection_is_not_sent_again_either(self) -> None:
        with serving(Answer(), Answer(hang_up=True), Answer()) as server:
            wire = self.wire(server)
            wire.call("PutItem", {})
            with pytest.raises(ConnectionClosedError):
                wire.call("PutItem", {})
            wire.call("PutItem", {})
        assert [asked.connection for asked in server.asked] == [1, 1, 2]

    def test_a_connection_that_was_closed_while_idle_is_replaced(self) -> None:
        with serving(Answer(then_close=True)) as server:
            service = aws._Service(aws.DYNAMODB, environment(server))
            for _ in range(3):
                service.call("PutItem", {})
                ended = poll()
                ended.register(service._idle[0].sock, POLLIN)
                assert ended.poll(60_000)
        assert (server.connections, len(server.asked)) == (3, 3)

    def test_a_damaged_answer_is_none(self) -> None:
        text = b'{"Item":{}}'
        good = Answer(body=text, headers={"x-amz-crc32": str(zlib.crc32(text))})
        damaged = Answer(body=text.replace(b"I", b"J"), headers=good.headers)
        with serving(good, damaged, good) as server:
            wire = self.wire(server)
            assert wire.call("GetItem", {}) == {"Item": {}}
            with pytest.raises(BotoCoreError):
                wire.call("GetItem", {})
            assert wire.call("GetItem", {}) == {"Item": {}}
        assert server.connections == 1

    def test_why_a_transaction_was_cancelled_is_told(self) -> None:
        reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}]
        body = {"__type": "x#TransactionCanceledException", "Message": "cancelled", "CancellationReasons": reasons}
        for client in (self.wire, self.boto3s):
            with serving(Answer(400, body)) as server, pytest.raises(ClientError) as caught:
                client(server).call("TransactWriteItems", {"TransactItems": []})
            assert caught.value.response["Error"]["Code"] == "TransactionCanceledException"
            assert caught.value.response["CancellationReasons"] == reasons

    def test_threads_call_at_the_same_time(self) -> None:
        """Given eight threads whose calls are answered only when all have arrived, Then all get their own answer."""
        together = threading.Barrier(8, timeout=50)

        def answer(asked: Asked) -> Answer:
            together.wait()
            return Answer(body={"n": asked.json["n"]})

        with serving_as(answer) as server, ThreadPoolExecutor(8) as threads:
            wire = self.wire(server)
            for _ in range(3):
                found = list(threads.map(lambda n: wire.call("GetItem", {"n": n})["n"], range(8)))
                assert found == list(range(8))
        assert server.connections == 8

    def test_no_more_connections_are_kept_than_are_of_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        many = 4
        monkeypatch.setattr(aws, "MAX_IDLE", 1)
        together = threading.Barrier(many, timeout=50)

        def answer(asked: Asked) -> Answer:
            together.wait()
            return Answer()

        with serving_as(answer) as server, ThreadPoolExecutor(many) as threads:
            wire = self.wire(server)
            for _ in range(2):
                list(threads.map(lambda _: wire.call("GetItem", {}), range(many)))
        assert server.connections == many + 3

    def boto3s(self, server: AwsServer) -> Wire:
        client = boto3.client(
            "dynamodb",
            endpoint_url=server.url,
            region_name="eu-west-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )
        return aws._Boto3Wire(client)

    def test_boto3_says_and_hears_the_same(self) -> None:
        item = {"pk": {"S": "ü"}, "n": {"N": "1"}, "yes": {"BOOL": True}, "b": {"B": "AP8="}, "B": {"S": "text"}}
        put = {"PutRequest": {"Item": item}}
        keys = {"ConsistentRead": True, "Keys": [{"pk": {"S": "ü"}}]}
        conversations: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
            (
                "BatchExecuteStatement",
                {"Statements": [{"Statement": "x", "Parameters": list(item.values())}]},
                {"Responses": [{"TableName": "t"}, {"Error": {"Code": "DuplicateItem", "Message": "there is one"}}]},
            ),
            ("BatchWriteItem", {"RequestItems": {"t": [put]}}, {"UnprocessedItems": {"t": [put]}}),
            (
                "BatchGetItem",
                {"RequestItems": {"t": keys}},
                {"Responses": {"t": [item]}, "UnprocessedKeys": {"t": keys}},
            ),
        ]
        for operation, request, answer in conversations:
            with serving(Answer(body=answer)) as server:
                for client in (self.wire, self.boto3s):
                    found = client(server).call(operation, request)
                    assert {name: found[name] for name in answer} == answer
            assert server.asked[0].json == server.asked[1].json == request
            assert server.asked[0].headers["x-amz-target"] == server.asked[1].headers["x-amz-target"]

    def test_where_the_environment_asks_for_more_boto3_calls_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(Answer(500, {"__type": "InternalServerError"})) as server:
            shown = environment(server, AWS_LAMBDA_FUNCTION_NAME="")
            for name, value in shown.items():
                monkeypatch.setenv(name, value)
            monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
            wire = aws.dynamodb(shown)
            assert isinstance(wire, aws._Boto3Wire)
            with pytest.raises(ClientError):
                wire.call("PutItem", {"TableName": "t", "Item": {}})
            monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        (asked,) = server.asked
        assert USER_AGENT in asked.headers["user-agent"]


class TestTls:
    def test_a_bundle_that_the_environment_names_is_trusted(self, trusted: Path) -> None:
        with serving(Answer(body={"SecretString": "x"}), context=by_tls(trusted)) as server:
            client = aws.secrets_manager(environment(server, AWS_CA_BUNDLE=str(trusted)))
            for _ in range(2):
                assert client.get_secret_value(SecretId="x")["SecretString"] == "x"
        assert server.connections == 1

    def test_the_strictness_of_later_pythons_is_borne(self, trusted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        strict = ssl.create_default_context(cafile=trusted)
        strict.verify_flags |= ssl.VERIFY_X509_STRICT
        monkeypatch.setattr(aws, "_trust", lambda _: strict)
        with serving(Answer(body={"SecretString": "x"}), context=by_tls(trusted)) as server:
            assert ours(server).get_secret_value(SecretId="x")["SecretString"] == "x"

    def test_nobody_else_is(self, trusted: Path) -> None:
        with serving(context=by_tls(trusted)) as server, pytest.raises(SSLError):
            ours(server).get_secret_value(SecretId="x")
        assert server.asked == []


class TestServices:
    def test_sqs(self) -> None:
        entries = [{"Id": "0", "MessageBody": '{"a":"\\u00e9"}', "MessageGroupId": "g"}]
        failed = [{"Id": "0", "Code": "InternalError", "SenderFault": False}]
        with serving(Answer(body={"Successful": [], "Failed": failed}), Answer(body=b"")) as server:
            client = aws.sqs(environment(server))
            assert client.send_message_batch(QueueUrl=URL, Entries=entries)["Failed"] == failed
            client.change_message_visibility(QueueUrl=URL, ReceiptHandle="h", VisibilityTimeout=90)
        assert [asked.json for asked in server.asked] == [
            {"QueueUrl": URL, "Entries": entries},
            {"QueueUrl": URL, "ReceiptHandle": "h", "VisibilityTimeout": 90},
        ]
        assert server.asked[0].headers["x-amz-target"] == "AmazonSQS.SendMessageBatch"

    def test_an_error_of_sqs_has_the_code_that_boto3_tells(self) -> None:
        headers = {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"}
        answer = Answer(400, {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "none"}, headers)
        with serving(answer) as server, pytest.raises(ClientError) as caught:
            aws.sqs(environment(server)).send_message_batch(QueueUrl=URL, Entries=[])
        assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
        assert server.asked[0].headers["x-amzn-query-mode"] == "true"

    def test_ssm(self) -> None:
        parameter = {"Name": "/relay/exports/a/b", "Value": "{}", "LastModifiedDate": 1777800000.123}
        page = {"Parameters": [parameter], "NextToken": "2"}
        with serving(Answer(body={"Parameter": parameter}), Answer(body=page)) as server:
            client = aws.ssm(environment(server))
            one = client.get_parameter(Name="/relay/exports/a/b", WithDecryption=True)["Parameter"]
            many = client.get_parameters_by_path(Path="/relay", Recursive=True, WithDecryption=True, NextToken="1")
        assert one["LastModifiedDate"] == datetime(2026, 5, 3, 9, 20, 0, 123000, UTC)
        assert (many["Parameters"], many["NextToken"]) == ([one], "2")
        assert server.asked[1].json["NextToken"] == "1"

    @pytest.mark.parametrize("api", APIS)
    def test_they_are_spoken_to_as_botocore_speaks(self, api: aws.Api) -> None:
        model = botocore.session.Session().get_service_model(api.name)
        assert model.metadata["jsonVersion"] == api.json_version
        assert model.metadata["targetPrefix"] == api.target
        assert model.signing_name == api.name
        assert ("awsQueryCompatible" in model.metadata) == api.query_mode
        assert model.service_id.replace(" ", "_").upper() == api.variable

    def test_what_is_tried_again_is_what_botocore_tries_again(self) -> None:
        throttled: Any = standard.ThrottledRetryableChecker
        transient: Any = standard.TransientRetryableChecker
        codes = {*throttled._THROTTLED_ERROR_CODES, *transient._TRANSIENT_ERROR_CODES}
        assert codes == aws._RETRIED_CODES
        assert set(transient._TRANSIENT_STATUS_CODES) == aws._TRANSIENT_STATUS


class TestSigning:
    @given(
        st.binary(max_size=50),
        st.text("ABCdef/+=09", min_size=1, max_size=40),
        st.sampled_from(["eu-west-1", "cn-north-1", "us-gov-west-1"]),
        st.sampled_from(["/", "/base/"]),
        st.dictionaries(st.sampled_from(["x-amz-security-token", "x-amz-target", "content-type"]), st.text("a=/ +9Z")),
        st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001 - hypothesis wants them so
    )
    def test_a_signature_is_the_one_that_botocore_makes(
        self, body: bytes, secret: str, region: str, path: str, more: dict[str, str], moment: datetime
    ) -> None:
        more = {name: " ".join(value.split()) for name, value in more.items()}
        headers = {"host": "sqs.example.com", "x-amz-date": moment.strftime("%Y%m%dT%H%M%SZ"), **more}
        request = AWSRequest("POST", f"https://sqs.example.com{path}", headers=dict(headers), data=body)
        request.context["timestamp"] = headers["x-amz-date"]
        signer = SigV4Auth(Credentials("key-id", secret), "sqs", region)
        text = signer.string_to_sign(request, signer.canonical_request(request))
        expected = signer.signature(text, request)

        shown = signed(headers, body, path=path, scope=("key-id", region, "sqs"), secret=secret)

        assert shown.endswith(f"Signature={expected}")
        assert f"SignedHeaders={signer.signed_headers(signer.headers_to_sign(request))}," in shown

    def test_credentials_that_were_changed_are_used(self) -> None:
        with serving(Answer(body={"SecretString": "x"})) as server:
            shown = environment(server)
            client = aws.secrets_manager(shown)
            client.get_secret_value(SecretId="x")
            shown.update(AWS_ACCESS_KEY_ID="AKIANEW", AWS_SECRET_ACCESS_KEY="new", AWS_SESSION_TOKEN="another")
            client.get_secret_value(SecretId="x")
        assert "Credential=AKIANEW/" in server.asked[1].headers["authorization"]
        assert server.asked[1].headers["x-amz-security-token"] == "another"


class TestEndpoints:
    @pytest.mark.parametrize("api", APIS)
    def test_of_every_region_is_the_one_that_botocore_knows(self, api: aws.Api) -> None:
        session: Any = botocore.session.Session()
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
        plain = Config(retries={"mode": "standard"})
        shown = {}
        for partition in session.get_available_partitions():
            for region in session.get_available_regions(api.name, partition):
                client = session.create_client(api.name, region, config=plain, **keys)
                shown[region] = client.meta.endpoint_url
        assert {"eu-west-1", "cn-north-1", "us-gov-west-1"} <= shown.keys()
        assert {region: aws.endpoint(api, {"AWS_REGION": region}) for region in shown} == shown

    @pytest.mark.parametrize(
        ("variables", "expected"),
        [
            ({"AWS_ENDPOINT_URL": "http://all:1"}, "http://all:1"),
            ({"AWS_ENDPOINT_URL": "http://all:1", "AWS_ENDPOINT_URL_SQS": "http://sqs:1"}, "http://sqs:1"),
            ({"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://secrets:1"}, "https://sqs.eu-west-1.amazonaws.com"),
            (
                {"AWS_ENDPOINT_URL": "http://all:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
                "https://sqs.eu-west-1.amazonaws.com",
            ),
        ],
    )
    def test_a_variable_of_its_own_goes_first(self, variables: dict[str, str], expected: str) -> None:
        assert aws.endpoint(aws.SQS, {**LAMBDA, **variables}) == expected

    def test_a_path_of_the_endpoint_is_kept(self) -> None:
        with serving(Answer(body={"SecretString": "x"})) as server:
            shown = environment(server, AWS_ENDPOINT_URL_SECRETS_MANAGER=f"{server.url}/base/")
            aws.secrets_manager(shown).get_secret_value(SecretId="x")
        assert server.asked[0].path == "/base/"


class TestMoreThanThisModuleDoes:
    @pytest.mark.parametrize(
        "change",
        [
            {"AWS_LAMBDA_FUNCTION_NAME": ""},
            {"AWS_ACCESS_KEY_ID": ""},
            {"AWS_SECRET_ACCESS_KEY": ""},
            {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""},
            {"AWS_USE_FIPS_ENDPOINT": "true"},
            {"AWS_USE_DUALSTACK_ENDPOINT": "True"},
            {"https_proxy": "http://proxy:3128"},
            {"ALL_PROXY": "http://proxy:3128"},
        ],
    )
    def test_is_left_to_boto3(self, change: dict[str, str]) -> None:
        assert aws.suffices(LAMBDA)
        assert not aws.suffices({**LAMBDA, **change})

    def test_credentials_of_a_container_are_fetched_again_before_they_end(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def credentials(key_id: str, minutes: int) -> Answer:
            end = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
            shown = {"AccessKeyId": key_id, "SecretAccessKey": "s", "Token": "t", "Expiration": end}
            return Answer(body=json.dumps(shown).encode())

        for name in LAMBDA:
            monkeypatch.delenv(name, raising=False)
        with (
            serving(credentials("FIRST", 1), credentials("SECOND", 600)) as container,
            serving(Answer(body={"SecretString": "x"})) as server,
        ):
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{container.url}/credentials")
            monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
            client = aws.secrets_manager()
            for _ in range(2):
                client.get_secret_value(SecretId="x")
            monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        assert "Credential=SECOND/" in server.asked[-1].headers["authorization"]
