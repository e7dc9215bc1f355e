"""What AWS shows of a deployed stack: its queues, its functions, its metrics, and what time AWS has.

Nothing here is needed for the work; operators ask. What AWS does not say is None, never an error.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from relay import aws, names
from relay.clock import Clock

LOOKS_BACK: Final = timedelta(minutes=5)
"""The span of a rate. CloudWatch shows a minute some two minutes after it is over."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """How full a queue is. SQS counts approximately."""

    name: str
    is_dlq: bool
    messages: int
    in_flight: int
    delayed: int
    oldest: timedelta | None = None
    """How old its oldest message is; None where AWS does not say."""


class Deployed:
    """Looks at a stack; `client` makes clients of boto3 by the service's name."""

    def __init__(
        self,
        prefix: str,
        place: str,
        destinations: Sequence[str],
        clock: Clock,
        client: Callable[[str], Any] = aws.by_boto3,
    ) -> None:
        """`place` is the address of the stack's queues without their names."""
        self._prefix = prefix
        self._place = place
        self._destinations = destinations
        self._clock = clock
        self._client = client
        self._skew: timedelta | None = None

    @cached_property
    def _sqs(self) -> Any:
        return self._client("sqs")

    def working_queues(self) -> list[str]:
        """Return the names of the queues that are worked on: those that have a dead-letter queue."""
        return [name for name in names.queues(self._prefix, self._destinations) if not names.is_dlq(name)]

    def unread(self, found: Iterable[QueueState]) -> list[str]:
        """Return the names of the queues that are not among those found: AWS did not answer for them."""
        seen = {state.name for state in found}
        return [name for name in names.queues(self._prefix, self._destinations) if name not in seen]

    def queues(self) -> list[QueueState]:
        """Return how full the queues are; one that AWS does not answer for is left out."""
        found = [self._queue(name) for name in names.queues(self._prefix, self._destinations)]
        states = [state for state in found if state is not None]
        ages = self._metrics(
            [
                _query("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": state.name}, "Maximum")
                for state in states
            ]
        )
        return [
            QueueState(
                state.name,
                state.is_dlq,
                state.messages,
                state.in_flight,
                state.delayed,
                timedelta(seconds=age) if age is not None and state.messages + state.in_flight > 0 else None,
            )
            for state, age in zip(states, ages, strict=True)
        ]

    def _queue(self, name: str) -> QueueState | None:
        which = [f"ApproximateNumberOfMessages{what}" for what in ("", "NotVisible", "Delayed")]
        try:
            answer = self._sqs.get_queue_attributes(QueueUrl=f"{self._place}/{name}", AttributeNames=which)
        except (ClientError, BotoCoreError):
            return None
        self._note_time(answer)
        counts = [int(answer.get("Attributes", {}).get(attribute, 0)) for attribute in which]
        return QueueState(name, names.is_dlq(name), counts[0], counts[1], counts[2])

    def _note_time(self, answer: Mapping[str, Any]) -> None:
        stated = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        try:
            theirs = parsedate_to_datetime(stated) if stated else None
        except ValueError:
            theirs = None
        if theirs is not None and theirs.tzinfo is not None:
            self._skew = self._clock.now() - theirs

    @property
    def skew(self) -> timedelta | None:
        """How far our clock is ahead of that of AWS, to a second; None before AWS was asked."""
        return self._skew

    def libraries(self) -> dict[str, str]:
        """Return the version of the library that each function has; what AWS does not answer for is left out.

        Other layers that a function has are no matter.
        """
        client, found, begin = self._client("lambda"), {}, f":{names.library(self._prefix)}:"
        for name in names.functions(self._prefix, self._destinations):
            try:
                answer = client.get_function_configuration(FunctionName=name)
            except (ClientError, BotoCoreError):
                continue
            layers = [str(layer["Arn"]) for layer in answer.get("Layers", ())]
            found[name] = ", ".join(layer.rpartition(":")[2] for layer in layers if begin in layer)
        return found

    def rates(self, sources: Sequence[str]) -> dict[str, float | None]:
        """Return how many changes a minute each source sent of late."""
        namespace = names.metrics_namespace(self._prefix)
        queries = [
            _query(namespace, "ChangesAccepted", {"service": "ingest", "source": source}, "Sum") for source in sources
        ]
        minutes = LOOKS_BACK / timedelta(minutes=1)
        sums = self._metrics(queries)
        return {
            source: None if total is None else round(total / minutes, 1)
            for source, total in zip(sources, sums, strict=True)
        }

    def _metrics(self, queries: Sequence[Mapping[str, Any]]) -> list[float | None]:
        """Return one value for each query, over the last minutes that CloudWatch has; None where it has none."""
        if not queries:
            return []
        end = self._clock.now().replace(second=0, microsecond=0) - timedelta(minutes=1)
        try:
            answer = self._client("cloudwatch").get_metric_data(
                MetricDataQueries=[{**query, "Id": f"q{number}"} for number, query in enumerate(queries)],
                StartTime=end - LOOKS_BACK,
                EndTime=end,
            )
        except (ClientError, BotoCoreError):
            return [None] * len(queries)
        values = {str(one["Id"]): one.get("Values", []) for one in answer.get("MetricDataResults", ())}
        found = [values.get(f"q{number}") or [] for number in range(len(queries))]
        return [float(one[0]) if one else None for one in found]


def _query(namespace: str, metric: str, dimensions: Mapping[str, str], statistic: str) -> dict[str, Any]:
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    return {
        "MetricStat": {
            "Metric": {"Namespace": namespace, "MetricName": metric, "Dimensions": named},
            "Period": int(LOOKS_BACK.total_seconds()),
            "Stat": statistic,
        }
    }


def seconds(span: timedelta | None) -> int | None:
    """Return a span in whole seconds."""
    return None if span is None else round(span.total_seconds())
