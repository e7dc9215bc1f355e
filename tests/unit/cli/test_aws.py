"""The real door, on AWS in the test process; what that does not know answers from a list."""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError, ProfileNotFound
from moto import mock_aws

import relay_cli.aws
from relay_cli.aws import Aws
from relay_cli.door import Schedule
from relay_cli.failures import AwsRefused, BeingDeleted, Failure
from relay_cli.stacks import Stack

OUTPUTS = {
    "Prefix": "acme",
    "BucketName": "acme-1-eu",
    "WebhookUrl": "https://api.example.com/v1/webhooks",
    "ExportFunctionArn": "arn:aws:lambda:eu-central-1:123456789012:function:acme-export",
    "SchedulerRoleArn": "arn:aws:iam::123456789012:role/acme-scheduler",
    "ExportDLQUrl": "https://sqs.eu-central-1.amazonaws.com/123456789012/acme-export-dlq",
}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr(relay_cli.aws, "_WAIT_SECONDS", 0)
    with mock_aws():
        yield Aws(Stack("audience", prefix="acme", region="eu-central-1", outputs=OUTPUTS), sleep=lambda _: None)


def client(service: Any) -> Any:
    return boto3.client(service, region_name="eu-central-1")


def test_secrets_are_written_read_listed_and_removed(aws: Aws) -> None:
    aws.put_secret("sources", "crm", {"auth": "bearer", "secret": "ä"}, new=True)
    aws.put_secret("sources", "shop", {"auth": "bearer"}, new=True)
    aws.put_secret("connections", "news", {"api_key": "k"}, new=True)
    aws.put_secret("sources", "crm", {"auth": "bearer", "secret": "ö"}, new=False)

    assert aws.secret("sources", "crm") == {"auth": "bearer", "secret": "ö"}
    assert aws.secret_names("sources") == ["crm", "shop"]
    with pytest.raises(Failure, match="AWS refused secretsmanager:CreateSecret"):
        aws.put_secret("sources", "crm", {}, new=True)
    aws.delete_secret("sources", "shop")
    assert aws.secret_names("sources") == ["crm"]
    assert aws.secret("sources", "nobody") is None


def test_a_secret_that_was_removed_says_until_when_it_can_be_brought_back(aws: Aws) -> None:
    aws.put_secret("connections", "news", {"api_key": "k"}, new=True)
    aws.put_secret("connections", "other", {"api_key": "k"}, new=True)
    aws.delete_secret("connections", "news")
    day = client("secretsmanager").describe_secret(SecretId="acme/connections/news")["DeletedDate"]

    with pytest.raises(BeingDeleted) as raised:
        aws.secret("connections", "news")
    assert raised.value.what == f"The secret acme/connections/news is being deleted until {day:%Y-%m-%d}."
    assert "aws secretsmanager restore-secret --secret-id acme/connections/news" in raised.value.why
    assert raised.value.helps == "relay connections restore news"

    aws.restore_secret("connections", "news")
    assert aws.secret("connections", "news") == {"api_key": "k"}
    with pytest.raises(Failure, match="There is no secret acme/connections/gone"):
        aws.restore_secret("connections", "gone")


def test_a_name_is_not_free_until_what_had_it_is_gone() -> None:
    taken = "You can't create this secret because a secret with this name is already scheduled for deletion."
    aws, _ = scripted(
        create_secret=raising(refusal("InvalidRequestException", taken)), describe_secret=lambda _: {"Name": "x"}
    )
    with pytest.raises(BeingDeleted, match="is being deleted"):
        aws.put_secret("sources", "crm", {}, new=True)


@pytest.mark.parametrize("text", ["not json", "[]"])
def test_a_secret_that_is_no_key_value_text_says_so(aws: Aws, text: str) -> None:
    client("secretsmanager").create_secret(Name="acme/sources/odd", SecretString=text)

    with pytest.raises(Failure, match="is not key/value text"):
        aws.secret("sources", "odd")


def test_exports_are_written_read_listed_and_removed(aws: Aws) -> None:
    for number in range(12):
        aws.put_export(f"news/e{number:02}", "{}", new=True)
    aws.put_export("news/e00", '{"state": "paused"}', new=False)

    assert len(aws.export_keys()) == 12
    assert aws.export("news/e00") == '{"state": "paused"}'
    with pytest.raises(Failure, match="AWS refused ssm:PutParameter"):
        aws.put_export("news/e00", "{}", new=True)
    aws.delete_export("news/e00")
    assert aws.export("news/e00") is None


def test_objects_are_written_whole_and_taken_back(aws: Aws) -> None:
    client("s3").create_bucket(Bucket="acme-1-eu", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    aws.put_object("segments/crm/vip/manifest", b"{}")
    aws.put_object("segments/crm/vip/a.csv", io.BytesIO(b"crm\n1\n"))
    listed = client("s3").list_objects_v2(Bucket="acme-1-eu")["Contents"]
    assert [(one["Key"], one["Size"]) for one in listed] == [
        ("segments/crm/vip/a.csv", 6),
        ("segments/crm/vip/manifest", 2),
    ]
    for _ in range(2):
        aws.delete_object("segments/crm/vip/a.csv")
    assert len(client("s3").list_objects_v2(Bucket="acme-1-eu")["Contents"]) == 1


def test_schedules_are_made_changed_and_removed(aws: Aws) -> None:
    client("scheduler").create_schedule_group(Name="acme")
    assert aws.schedule("news/vip") is None
    aws.put_schedule("news/vip", "rate(6 hours)", "UTC")
    aws.put_schedule("news/vip", "cron(0 4 * * ? *)", "Europe/Berlin")
    aws.put_schedule("news/trial", "rate(1 day)", "UTC")

    assert aws.schedule("news/vip") == Schedule("news.vip", "cron(0 4 * * ? *)", "Europe/Berlin", enabled=True)
    assert aws.schedule_names() == ["news.trial", "news.vip"]
    made = client("scheduler").get_schedule(Name="news.vip", GroupName="acme")
    assert (json.loads(made["Target"]["Input"]), made["Target"]["Arn"]) == (
        {"export": "news/vip"},
        OUTPUTS["ExportFunctionArn"],
    )
    aws.delete_schedule("news/vip")
    assert aws.schedule_names() == ["news.trial"]


def test_a_new_schedule_is_tried_again_as_the_default_one_is(aws: Aws) -> None:
    client("scheduler").create_schedule_group(Name="acme")
    aws.put_schedule("news/vip", "rate(6 hours)", "UTC")

    target = client("scheduler").get_schedule(Name="news.vip", GroupName="acme")["Target"]
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 3600}
    assert target["DeadLetterConfig"] == {"Arn": "arn:aws:sqs:eu-central-1:123456789012:acme-export-dlq"}


def test_when_a_schedule_is_changed_what_was_set_in_the_console_stays(aws: Aws) -> None:
    client("scheduler").create_schedule_group(Name="acme")
    set_by_hand: Any = {
        "Description": "by Kim",
        "State": "DISABLED",
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
        "Target": {
            "Arn": OUTPUTS["ExportFunctionArn"],
            "RoleArn": OUTPUTS["SchedulerRoleArn"],
            "Input": '{"export": "news/vip"}',
            "RetryPolicy": {"MaximumRetryAttempts": 7, "MaximumEventAgeInSeconds": 120},
            "DeadLetterConfig": {"Arn": "arn:aws:sqs:eu-central-1:123456789012:mine"},
        },
    }
    client("scheduler").create_schedule(
        Name="news.vip", GroupName="acme", ScheduleExpression="rate(1 day)", **set_by_hand
    )

    aws.put_schedule("news/vip", "cron(0 4 * * ? *)", "Europe/Berlin")

    made = client("scheduler").get_schedule(Name="news.vip", GroupName="acme")
    assert (made["ScheduleExpression"], made["ScheduleExpressionTimezone"]) == ("cron(0 4 * * ? *)", "Europe/Berlin")
    assert {name: made[name] for name in set_by_hand} == set_by_hand


def test_the_days_of_a_schedule_stay_as_long_as_they_are_to_come() -> None:
    past, future = datetime(2020, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC)
    found = {"State": "ENABLED", "Target": {}, "StartDate": past, "EndDate": future}
    aws, made = scripted(get_schedule=lambda _: found, update_schedule=lambda _: {})

    aws.put_schedule("news/vip", "rate(1 day)", "UTC")

    _, sent = made.asked[-1]
    assert ("StartDate" in sent, sent["EndDate"]) == (False, future)


def queue(name: str, bodies: Sequence[str], *, fifo: bool = False) -> str:
    attributes = {"FifoQueue": "true"} if fifo else {}
    url: str = client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    for number, body in enumerate(bodies):
        more = {"MessageGroupId": f"g{number}", "MessageDeduplicationId": f"d{number}"} if fifo else {}
        client("sqs").send_message(QueueUrl=url, MessageBody=body, **more)
    return url


@pytest.mark.parametrize(("name", "fifo"), [("checks", False), ("px.fifo", True)])
def test_messages_are_looked_at_and_moved_back(aws: Aws, name: str, fifo: bool) -> None:
    dead = name.replace(".fifo", "") + "-dlq" + (".fifo" if fifo else "")
    queue(f"acme-{name}", [], fifo=fifo)
    queue(f"acme-{dead}", ["one", "two", "three"], fifo=fifo)

    assert aws.queue_depth(dead) == 3
    seen = aws.messages(dead, 100)
    assert len({one.id for one in seen}) == 3
    assert all(one.received == 1 and one.sent_at is not None and one.sent_at.tzinfo is UTC for one in seen)


def test_what_is_purged_is_gone_and_an_unknown_queue_says_so(aws: Aws) -> None:
    queue("acme-changes-dlq", ["one"])
    aws.purge("changes-dlq")

    assert aws.queue_depth("changes-dlq") == 0
    with pytest.raises(Failure, match="There is no queue acme-nothing"):
        aws.queue_depth("nothing")


Answer = Callable[[Mapping[str, Any]], Any]


class Scripted:
    """A client whose operations answer from a list."""

    def __init__(self, **operations: Answer) -> None:
        self._operations = operations
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def __getattr__(self, operation: str) -> Any:
        def ask(**request: Any) -> Any:
            self.asked.append((operation, request))
            return self._operations[operation](request)

        return ask


def raising(error: Exception) -> Answer:
    def answer(_: Mapping[str, Any]) -> Any:
        raise error

    return answer


def refusal(code: str, text: str = "", status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


def scripted(stack: Stack | None = None, **operations: Answer) -> tuple[Aws, Scripted]:
    made = Scripted(**operations)
    named = Stack("audience", prefix="acme") if stack is None else stack
    return Aws(named, client=lambda _: made, sleep=lambda _: None), made


def described(_: Mapping[str, Any]) -> Any:
    return {"Stacks": [{"Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in OUTPUTS.items()]}]}


def test_a_dead_letter_queue_is_redriven_by_aws_itself() -> None:
    tasks = iter([None, ("RUNNING", 1), ("RUNNING", 2), ("COMPLETED", 3)])

    def task(_: Mapping[str, Any]) -> Any:
        found = next(tasks)
        if found is None:
            return {"Results": []}
        return {"Results": [{"Status": found[0], "ApproximateNumberOfMessagesMoved": found[1]}]}

    aws, made = scripted(
        get_queue_url=lambda request: {"QueueUrl": request["QueueName"]},
        get_queue_attributes=lambda request: {"Attributes": {"QueueArn": f"arn:{request['QueueUrl']}"}},
        start_message_move_task=lambda _: {},
        list_message_move_tasks=task,
    )

    assert list(aws.redrive("changes-dlq", "changes")) == [0, 1, 2, 3]
    assert ("start_message_move_task", {"SourceArn": "arn:acme-changes-dlq"}) in made.asked


def test_a_redrive_that_fails_says_why() -> None:
    aws, _ = scripted(
        get_queue_url=lambda request: {"QueueUrl": request["QueueName"]},
        get_queue_attributes=lambda _: {"Attributes": {"QueueArn": "arn"}},
        start_message_move_task=lambda _: {},
        list_message_move_tasks=lambda _: {"Results": [{"Status": "FAILED", "FailureReason": "AccessDenied"}]},
    )

    with pytest.raises(Failure) as raised:
        list(aws.redrive("changes-dlq", "changes"))
    assert raised.value.why == "AccessDenied"


def test_a_message_that_was_written_again_is_known_by_its_first_id(aws: Aws) -> None:
    url = queue("acme-changes-dlq", ["body"])
    attributes = {"first_message_id": {"DataType": "String", "StringValue": "m-1"}}
    client("sqs").send_message(QueueUrl=url, MessageBody="again", MessageAttributes=attributes)
    assert {one.first_id for one in aws.messages("changes-dlq", 10)} == {None, "m-1"}


def test_where_aws_cannot_redrive_messages_lie_in_the_other_queue_before_they_leave(aws: Aws) -> None:
    """The emulator's case. At every step each message lies somewhere."""
    target = queue("acme-px.fifo", [], fifo=True)
    source = queue("acme-px-dlq.fifo", [f"body {number}" for number in range(12)], fifo=True)
    unknown = Scripted(start_message_move_task=raising(refusal("InvalidAction")))

    class Half:
        """SQS without the operation that moves messages."""

        def __getattr__(self, operation: str) -> Any:
            return getattr(unknown if "move_task" in operation else client("sqs"), operation)

    half = Aws(Stack("audience", prefix="acme"), client=lambda _: Half(), sleep=lambda _: None)

    steps = list(half.redrive("px-dlq.fifo", "px.fifo"))

    assert steps[-1] == 12
    assert half.queue_depth("px-dlq.fifo") == 0
    held: dict[str, str] = {}
    while (
        received := client("sqs")
        .receive_message(QueueUrl=target, MaxNumberOfMessages=10, AttributeNames=["All"])
        .get("Messages")
    ):
        held |= {one["Body"]: one["Attributes"]["MessageGroupId"] for one in received}
    assert held == {f"body {number}": f"g{number}" for number in range(12)}
    assert source != target


def test_a_function_is_asked_and_its_time_is_known() -> None:
    def invoke(request: Mapping[str, Any]) -> Any:
        asked = json.loads(request["Payload"])
        payload = json.dumps({"version": 1, "answer": {"asked": asked, "of": request["FunctionName"]}}).encode()
        headers = {"date": "Fri, 27 Nov 2026 12:00:00 GMT"}
        return {"Payload": io.BytesIO(payload), "ResponseMetadata": {"HTTPHeaders": headers}}

    aws, _ = scripted(invoke=invoke)

    answer = aws.invoke("view", {"ask": "status"})
    assert answer["answer"] == {"asked": {"ask": "status"}, "of": "acme-view"}
    assert aws.aws_time() == datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def test_a_function_that_fails_or_is_not_there_says_so() -> None:
    failing, _ = scripted(invoke=lambda _: {"Payload": io.BytesIO(b"{}"), "FunctionError": "Unhandled"})
    missing, _ = scripted(invoke=raising(refusal("ResourceNotFoundException")))

    with pytest.raises(Failure, match="The function acme-view failed"):
        failing.invoke("view", {})
    with pytest.raises(Failure, match="There is no function acme-forget"):
        missing.invoke("forget", {})


def test_the_prefix_and_the_address_are_outputs_of_the_stack() -> None:
    aws, made = scripted(Stack("audience"), describe_stacks=described)

    assert (aws.prefix, aws.webhook_url) == ("acme", OUTPUTS["WebhookUrl"])
    assert len(made.asked) == 1


def test_who_may_not_describe_the_stack_works_with_its_name() -> None:
    denied = raising(refusal("AccessDenied", "User: x is not authorized", 403))
    aws, _ = scripted(Stack("audience"), describe_stacks=denied)

    assert aws.prefix == "audience"
    with pytest.raises(AwsRefused, match="does not let you"):
        _ = aws.webhook_url


def test_a_stack_that_is_not_there_or_another_product_says_so() -> None:
    missing, _ = scripted(
        Stack("audience"), describe_stacks=raising(refusal("ValidationError", "Stack with id audience does not exist"))
    )
    other, _ = scripted(Stack("audience"), describe_stacks=lambda _: {"Stacks": [{"Outputs": []}]})

    with pytest.raises(Failure, match="There is no stack audience"):
        _ = missing.prefix
    with pytest.raises(Failure, match="is not Audience Relay"):
        _ = other.prefix


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (refusal("AccessDeniedException", "User: x is not authorized"), "AWS does not let you do this"),
        (refusal("Odd", status=403), "AWS does not let you do this"),
        (refusal("ExpiredTokenException"), "AWS does not know you"),
        (NoCredentialsError(), "There are no AWS credentials"),
        (ProfileNotFound(profile="x"), "The AWS profile cannot be used"),
        (NoRegionError(), "No AWS region is named"),
    ],
)
def test_what_aws_refuses_has_an_exit_code_of_its_own(error: Exception, what: str) -> None:
    aws, _ = scripted(get_parameter=raising(error))

    with pytest.raises(AwsRefused, match=what) as raised:
        aws.export("news/vip")
    assert (raised.value.exit, raised.value.helps != "") == (4, True)


@pytest.mark.parametrize(
    "error", [EndpointConnectionError(endpoint_url="https://ssm"), refusal("InternalServerError", "odd", 500)]
)
def test_other_trouble_is_something_wrong(error: Exception) -> None:
    aws, _ = scripted(get_parameter=raising(error))

    with pytest.raises(Failure) as raised:
        aws.export("news/vip")
    assert raised.value.exit == 1


def test_a_region_that_nobody_names_is_found_before_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(AwsRefused, match="No AWS region is named"):
        Aws(Stack("audience", prefix="acme")).export("news/vip")


def test_a_stack_on_this_machine_needs_no_credentials() -> None:
    stack = Stack("local", "acme", "us-east-1", None, "http://127.0.0.1:1", "http://127.0.0.1:1/webhooks", OUTPUTS)

    meta = Aws(stack)._client("ssm").meta
    assert (meta.endpoint_url, meta.region_name) == (stack.endpoint, "us-east-1")
