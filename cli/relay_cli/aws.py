"""The real door: AWS with the caller's own rights, found by the ordinary chain of credentials."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO

from relay_cli import __version__
from relay_cli.door import Posted, QueueMessage, Schedule
from relay_cli.failures import AwsRefused, BeingDeleted, Failure
from relay_cli.refusals import BeingDeletedError, NotThereError, UnknownOperationError, raise_refusal, raise_trouble
from relay_cli.stacks import Stack

_LOCAL_KEY = "test"
"""The emulator takes this key for its account's root."""
_ANSWER_SECONDS = 130
"""A function works two minutes at most."""
_POST_SECONDS = 30
_HIDDEN_SECONDS = 2
"""How long a message of a dead-letter queue is hidden from others after it was looked at."""
_WAIT_SECONDS = 1
"""How long a look into a queue waits for messages to show themselves."""
_MOVED_AT_ONCE = 10
_FIRST_ID = "first_message_id"
"""The stack's attribute of a message that it has written again."""
_KEPT_OF_SCHEDULES = (
    "Description",
    "FlexibleTimeWindow",
    "State",
    "Target",
    "KmsKeyArn",
    "ActionAfterCompletion",
)
_PAST = datetime.min.replace(tzinfo=UTC)
_LOOK_EVERY = 1.0


class Aws:
    """Every request to AWS goes through `_call`, which turns its refusals into failures that say what helps."""

    def __init__(
        self, stack: Stack, *, client: Callable[[str], Any] | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """`client` makes a client of a service; by default boto3's session does."""
        self._stack = stack
        self._make = self._client_of_session() if client is None else client
        self._sleep = sleep
        self._clients: dict[str, Any] = {}
        self._outputs: Mapping[str, str] | None = stack.outputs or None
        self._time: datetime | None = None

    @property
    def prefix(self) -> str:
        """See `Door.prefix`. Who may not describe the stack can work with it where prefix and stack share a name."""
        if self._stack.prefix is not None:
            return self._stack.prefix
        try:
            return self._output("Prefix")
        except AwsRefused as refused:
            if refused.why.startswith("cloudformation:"):
                return self._stack.name
            raise

    @property
    def webhook_url(self) -> str:
        """See `Door.webhook_url`."""
        return self._stack.webhook_url or self._output("WebhookUrl")

    def invoke(self, function: str, question: Mapping[str, Any]) -> Any:
        """See `Door.invoke`. https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html."""
        name = f"{self.prefix}-{function}"
        try:
            answer = self._call("lambda", "invoke", FunctionName=name, Payload=json.dumps(question).encode())
        except NotThereError:
            raise Failure(
                f"There is no function {name}.",
                f"The stack {self._stack.name} is another version, or lies in another region.",
                "relay status --stack NAME --region REGION",
            ) from None
        payload = answer["Payload"].read()
        if answer.get("FunctionError"):
            raise Failure(
                f"The function {name} failed.",
                "The reason is in its log, without personal data.",
                f"look at /aws/lambda/{name}",
            )
        return json.loads(payload or b"null")

    def aws_time(self) -> datetime | None:
        """See `Door.aws_time`."""
        return self._time

    def secret_names(self, kind: str) -> Sequence[str]:
        """See `Door.secret_names`. Whoever may not list secrets gets AwsRefused."""
        begin = f"{self.prefix}/{kind}/"
        found: list[str] = []
        request: dict[str, Any] = {"MaxResults": 100, "Filters": [{"Key": "name", "Values": [begin]}]}
        while True:
            page = self._call("secretsmanager", "list_secrets", **request)
            found += [one["Name"].removeprefix(begin) for one in page["SecretList"] if one["Name"].startswith(begin)]
            if not page.get("NextToken"):
                return sorted(found)
            request["NextToken"] = page["NextToken"]

    def secret(self, kind: str, name: str) -> Mapping[str, str] | None:
        """See `Door.secret`."""
        try:
            answer = self._call("secretsmanager", "get_secret_value", SecretId=f"{self.prefix}/{kind}/{name}")
        except NotThereError:
            return None
        except BeingDeletedError:
            raise self._being_deleted(kind, name) from None
        try:
            fields = json.loads(answer["SecretString"].strip("\ufeff \n"))
        except (KeyError, ValueError):
            fields = None
        if not isinstance(fields, dict):
            raise Failure(
                f"The secret {self.prefix}/{kind}/{name} is not key/value text.",
                "It was written by hand and is no JSON object.",
                "correct it in the console of Secrets Manager",
            )
        return {str(key): str(value) for key, value in fields.items()}

    def put_secret(self, kind: str, name: str, fields: Mapping[str, str], *, new: bool) -> None:
        """See `Door.put_secret`."""
        text, full = json.dumps(dict(fields), ensure_ascii=False), f"{self.prefix}/{kind}/{name}"
        try:
            if new:
                self._call("secretsmanager", "create_secret", Name=full, SecretString=text)
            else:
                self._call("secretsmanager", "put_secret_value", SecretId=full, SecretString=text)
        except BeingDeletedError:
            raise self._being_deleted(kind, name) from None

    def delete_secret(self, kind: str, name: str) -> None:
        """See `Door.delete_secret`."""
        self._call("secretsmanager", "delete_secret", SecretId=f"{self.prefix}/{kind}/{name}", RecoveryWindowInDays=30)

    def restore_secret(self, kind: str, name: str) -> None:
        """See `Door.restore_secret`."""
        try:
            self._call("secretsmanager", "restore_secret", SecretId=f"{self.prefix}/{kind}/{name}")
        except NotThereError:
            raise Failure(
                f"There is no secret {self.prefix}/{kind}/{name} (any more).", "", f"relay {kind} list"
            ) from None

    def _being_deleted(self, kind: str, name: str) -> BeingDeleted:
        """Return what is said of a secret that waits for its deletion.

        https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html#SecretsManager-DescribeSecret-response-DeletedDate
        """
        full = f"{self.prefix}/{kind}/{name}"
        day = self._call("secretsmanager", "describe_secret", SecretId=full).get("DeletedDate")
        until = "" if day is None else f" until {day:%Y-%m-%d}"
        return BeingDeleted(
            f"The secret {full} is being deleted{until}.",
            f"It can be brought back until then, also by: aws secretsmanager restore-secret --secret-id {full}",
            f"relay {kind} restore {name}",
        )

    def export_keys(self) -> Sequence[str]:
        """See `Door.export_keys`."""
        path = f"/{self.prefix}/exports/"
        found: list[str] = []
        request: dict[str, Any] = {"Path": path, "Recursive": True, "WithDecryption": False}
        while True:
            page = self._call("ssm", "get_parameters_by_path", **request)
            found += [one["Name"].removeprefix(path) for one in page["Parameters"]]
            if not page.get("NextToken"):
                return sorted(found)
            request["NextToken"] = page["NextToken"]

    def export(self, key: str) -> str | None:
        """See `Door.export`."""
        try:
            answer = self._call("ssm", "get_parameter", Name=self._parameter(key), WithDecryption=True)
        except NotThereError:
            return None
        return str(answer["Parameter"]["Value"])

    def export_version(self, key: str) -> int:
        """See `Door.export_version`."""
        answer = self._call("ssm", "get_parameter", Name=self._parameter(key), WithDecryption=True)
        return int(answer["Parameter"]["LastModifiedDate"].timestamp() * 1000)

    def put_export(self, key: str, text: str, *, new: bool) -> None:
        """See `Door.put_export`."""
        self._call("ssm", "put_parameter", Name=self._parameter(key), Value=text, Type="String", Overwrite=not new)

    def delete_export(self, key: str) -> None:
        """See `Door.delete_export`."""
        self._call("ssm", "delete_parameter", Name=self._parameter(key))

    def schedule(self, key: str) -> Schedule | None:
        """See `Door.schedule`."""
        try:
            found = self._call("scheduler", "get_schedule", Name=_schedule_name(key), GroupName=self.prefix)
        except NotThereError:
            return None
        return Schedule(
            found["Name"],
            found["ScheduleExpression"],
            found.get("ScheduleExpressionTimezone") or "UTC",
            found.get("State", "ENABLED") == "ENABLED",
        )

    def schedule_names(self) -> Sequence[str]:
        """See `Door.schedule_names`."""
        found: list[str] = []
        request: dict[str, Any] = {"GroupName": self.prefix}
        while True:
            page = self._call("scheduler", "list_schedules", **request)
            found += [one["Name"] for one in page["Schedules"]]
            if not page.get("NextToken"):
                return sorted(found)
            request["NextToken"] = page["NextToken"]

    def put_schedule(self, key: str, expression: str, timezone: str) -> None:
        """See `Door.put_schedule`."""
        place = {"Name": _schedule_name(key), "GroupName": self.prefix}
        when = {"ScheduleExpression": expression, "ScheduleExpressionTimezone": timezone}
        try:
            found = self._call("scheduler", "get_schedule", **place)
        except NotThereError:
            self._call("scheduler", "create_schedule", **place, **when, **self._new_schedule(key))
            return
        # An update replaces the whole.
        kept = {name: found[name] for name in _KEPT_OF_SCHEDULES if found.get(name) is not None}
        dates = {
            name: found[name] for name in ("StartDate", "EndDate") if (found.get(name) or _PAST) > datetime.now(UTC)
        }
        self._call("scheduler", "update_schedule", **place, **when, **kept, **dates)

    def _new_schedule(self, key: str) -> Mapping[str, Any]:
        """Return what a schedule has besides when it starts: the same as the template's default one."""
        _, partition, _, region, account, *_ = self._output("ExportFunctionArn").split(":")
        dead_letters = self._output("ExportDLQUrl").rpartition("/")[2]
        return {
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED",
            "Target": {
                "Arn": self._output("ExportFunctionArn"),
                "RoleArn": self._output("SchedulerRoleArn"),
                "Input": json.dumps({"export": key}),
                "RetryPolicy": {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 3600},
                "DeadLetterConfig": {"Arn": f"arn:{partition}:sqs:{region}:{account}:{dead_letters}"},
            },
        }

    def delete_schedule(self, key: str) -> None:
        """See `Door.delete_schedule`."""
        self._call("scheduler", "delete_schedule", Name=_schedule_name(key), GroupName=self.prefix)

    def queue_depth(self, queue: str) -> int:
        """See `Door.queue_depth`."""
        answer = self._call(
            "sqs", "get_queue_attributes", QueueUrl=self._queue(queue), AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    def messages(self, queue: str, most: int) -> Sequence[QueueMessage]:
        """See `Door.messages`. They are hidden for two seconds each; a FIFO queue hides their group with them."""
        url, found = self._queue(queue), dict[str, QueueMessage]()
        while len(found) < most:
            # Waiting, SQS asks all of its servers.
            received = self._receive(url, hidden=_HIDDEN_SECONDS, waits=_WAIT_SECONDS)
            fresh = [one for one in received if one["MessageId"] not in found]
            if not fresh:
                break
            found |= {one["MessageId"]: _message(one) for one in fresh}
        return list(found.values())[:most]

    def redrive(self, dead_letters: str, queue: str) -> Iterator[int]:
        """See `Door.redrive`.

        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html. The
        emulator has no such operation: there the messages are moved one by one.
        """
        source = self._queue(dead_letters)
        arn = self._call("sqs", "get_queue_attributes", QueueUrl=source, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        try:
            self._call("sqs", "start_message_move_task", SourceArn=arn)
        except UnknownOperationError:
            yield from self._moved(source, self._queue(queue))
            return
        while True:
            found = self._call("sqs", "list_message_move_tasks", SourceArn=arn, MaxResults=1).get("Results") or ()
            # A task that was started just now may not be listed yet.
            task = next(iter(found), {"Status": "RUNNING"})
            yield int(task.get("ApproximateNumberOfMessagesMoved") or 0)
            if task["Status"] == "FAILED":
                raise Failure(f"{dead_letters} was not put back.", str(task.get("FailureReason")), "relay queues list")
            if task["Status"] != "RUNNING":
                return
            self._sleep(_LOOK_EVERY)

    def purge(self, queue: str) -> None:
        """See `Door.purge`."""
        self._call("sqs", "purge_queue", QueueUrl=self._queue(queue))

    def put_object(self, key: str, body: bytes | BinaryIO) -> None:
        """See `Door.put_object`. https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html."""
        self._call("s3", "put_object", Bucket=self._output("BucketName"), Key=key, Body=body)

    def delete_object(self, key: str) -> None:
        """See `Door.delete_object`."""
        self._call("s3", "delete_object", Bucket=self._output("BucketName"), Key=key)

    def post(self, source: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        """See `Door.post`."""
        sent_at = datetime.now(UTC)
        address = f"{self.webhook_url}/{source}"
        if not address.startswith(("https://", "http://")):
            raise Failure(f"{address} is no web address.")
        request = urllib.request.Request(  # noqa: S310 - looked at above
            address,
            data=body,
            headers={"Content-Type": "application/json", "User-Agent": f"audience-relay-cli/{__version__}", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=_POST_SECONDS) as answer:  # noqa: S310 - looked at above
                return Posted(answer.status, answer.read().decode(errors="replace"), sent_at)
        except urllib.error.HTTPError as refused:
            return Posted(refused.code, refused.read().decode(errors="replace"), sent_at)
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise Failure(f"{address} does not answer.", str(reason), "relay check") from None

    def _moved(self, source: str, target: str) -> Iterator[int]:
        moved = 0
        while received := self._receive(source, hidden=30, bodies=True):
            for one in received:
                group = one.get("Attributes", {}).get("MessageGroupId")
                fifo = {"MessageGroupId": group, "MessageDeduplicationId": one["MessageId"]} if group else {}
                attributes = one.get("MessageAttributes", {})
                self._call(
                    "sqs",
                    "send_message",
                    QueueUrl=target,
                    MessageBody=one["Body"],
                    MessageAttributes=attributes,
                    **fifo,
                )
                self._call("sqs", "delete_message", QueueUrl=source, ReceiptHandle=one["ReceiptHandle"])
                moved += 1
            yield moved
        yield moved

    def _receive(self, url: str, *, hidden: int, bodies: bool = False, waits: int = 0) -> Sequence[Mapping[str, Any]]:
        answer = self._call(
            "sqs",
            "receive_message",
            QueueUrl=url,
            MaxNumberOfMessages=_MOVED_AT_ONCE,
            VisibilityTimeout=hidden,
            WaitTimeSeconds=waits,
            AttributeNames=["All"],
            MessageAttributeNames=["All"] if bodies else [_FIRST_ID],
        )
        found: Sequence[Mapping[str, Any]] = answer.get("Messages", [])
        return found

    def _queue(self, queue: str) -> str:
        try:
            return str(self._call("sqs", "get_queue_url", QueueName=f"{self.prefix}-{queue}")["QueueUrl"])
        except NotThereError:
            raise Failure(f"There is no queue {self.prefix}-{queue}.", "", "relay queues list") from None

    def _parameter(self, key: str) -> str:
        return f"/{self.prefix}/exports/{key}"

    def _output(self, key: str) -> str:
        if self._outputs is None:
            try:
                (described,) = self._call("cloudformation", "describe_stacks", StackName=self._stack.name)["Stacks"]
            except NotThereError:
                raise Failure(
                    f"There is no stack {self._stack.name}.",
                    "It has another name, or lies in another region or account.",
                    "relay status --stack NAME --region REGION",
                ) from None
            self._outputs = {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}
        if key not in self._outputs:
            raise Failure(f"The stack {self._stack.name} is not Audience Relay.", f"It has no output {key}.")
        return self._outputs[key]

    def _call(self, service: str, operation: str, **request: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = getattr(self._client(service), operation)(**request)
        except ClientError as error:
            raise_refusal(service, operation, error)
        except BotoCoreError as error:
            raise_trouble(error)
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        self._time = None if date is None else parsedate_to_datetime(date)
        return answer

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._make(service)
        return self._clients[service]

    def _client_of_session(self) -> Callable[[str], Any]:
        stack = self._stack

        def make(service: str) -> Any:
            import boto3
            from botocore.config import Config

            config = Config(retries={"mode": "standard"}, read_timeout=_ANSWER_SECONDS)
            if stack.endpoint is not None:
                return boto3.client(
                    service,  # type: ignore[call-overload]
                    endpoint_url=stack.endpoint,
                    region_name=stack.region,
                    aws_access_key_id=_LOCAL_KEY,
                    aws_secret_access_key=_LOCAL_KEY,
                    config=config,
                )
            session = boto3.Session(profile_name=stack.profile, region_name=stack.region)
            return session.client(service, config=config)  # type: ignore[call-overload]

        def translated(service: str) -> Any:
            from botocore.exceptions import BotoCoreError

            try:
                return make(service)
            except BotoCoreError as error:
                raise_trouble(error)

        return translated


def _schedule_name(key: str) -> str:
    return key.replace("/", ".", 1)


def _message(received: Mapping[str, Any]) -> QueueMessage:
    attributes = received.get("Attributes", {})
    sent = attributes.get("SentTimestamp")
    return QueueMessage(
        id=received["MessageId"],
        sent_at=None if sent is None else datetime.fromtimestamp(int(sent) / 1000, UTC),
        received=int(attributes.get("ApproximateReceiveCount", 0)),
        first_id=received.get("MessageAttributes", {}).get(_FIRST_ID, {}).get("StringValue"),
    )
