"""AWS as it shows a deployed stack: queues that are as full as a test says, functions, metrics, a clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.fakes.secrets import refusal


class FakeAws:
    """Stands in for boto3's clients of SQS, Lambda and CloudWatch, whatever service is asked for."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.full: dict[str, int] = {}
        """Messages by queue; a queue that is not named is empty."""
        self.gone: set[str] = set()
        """Queues and functions that AWS does not answer for."""
        self.libraries: dict[str, int] = {}
        """Versions of the library by function; one that is not named has version 7."""
        self.metrics: dict[tuple[str, str, str], float] = {}
        """Values by metric and last dimension."""
        self.is_silent = False
        """Whether CloudWatch refuses."""
        self.ahead = timedelta()
        """How far its clock is ahead."""

    def __call__(self, service: str) -> FakeAws:
        return self

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: Sequence[str]) -> Mapping[str, Any]:  # noqa: N803
        name = QueueUrl.rpartition("/")[2]
        if name in self.gone:
            raise refusal("AWS.SimpleQueueService.NonExistentQueue")
        counts = dict.fromkeys(AttributeNames, "0") | {"ApproximateNumberOfMessages": str(self.full.get(name, 0))}
        date = format_datetime(self.now + self.ahead, usegmt=True)
        return {"Attributes": counts, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}

    def get_function_configuration(self, *, FunctionName: str) -> Mapping[str, Any]:  # noqa: N803
        if FunctionName in self.gone:
            raise refusal("ResourceNotFoundException")
        version = self.libraries.get(FunctionName, 7)
        own = [f"bench-relay:{version}", *(["bench-parquet:3"] if FunctionName.endswith("importsegment") else [])]
        return {"Layers": [{"Arn": f"arn:aws:lambda:eu-west-1:1:layer:{layer}"} for layer in own]}

    def get_metric_data(
        self,
        *,
        MetricDataQueries: Sequence[Mapping[str, Any]],  # noqa: N803
        StartTime: datetime,  # noqa: N803
        EndTime: datetime,  # noqa: N803
    ) -> Mapping[str, Any]:
        assert StartTime < EndTime <= self.now
        if self.is_silent:
            raise refusal("AccessDenied")
        results = []
        for query in MetricDataQueries:
            metric = query["MetricStat"]["Metric"]
            value = self.metrics.get((metric["Namespace"], metric["MetricName"], metric["Dimensions"][-1]["Value"]))
            results.append({"Id": query["Id"], "Values": [] if value is None else [value]})
        return {"MetricDataResults": results}
