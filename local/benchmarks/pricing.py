"""What work costs at AWS's list prices, by part."""

from collections.abc import Mapping
from dataclasses import dataclass

from local.benchmarks import prices

PRICED = (
    "Prices are AWS's list prices of us-east-1, 26 November 2026 (local/benchmarks/prices.py). Lambda's time is CPU "
    "time at the function's share of a processor, and waiting at its memory: for slots of a destination's limit as "
    "measured, for answers as assumed (5 ms DynamoDB, 10 ms SQS, 300 ms a destination). What costs by the month and "
    "not by the profile is not in it: storage, idle polling, the clock's functions, metrics and alarms."
)


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What was used of AWS, and may be charged for. Times are in seconds."""

    write_units: float
    read_units: float
    fifo_requests: int = 0
    """Of SQS, each of at most 64 KB."""
    standard_requests: int = 0
    invocations: int
    cpu_seconds: float
    waited_seconds: float
    """How long functions ran without using a processor."""
    log_bytes: int

    def parts(self) -> Mapping[str, float]:
        """Return dollars by part."""
        gigabyte_seconds = self.cpu_seconds * prices.FULL_SHARE_GB + self.waited_seconds * prices.MEMORY_GB
        logs = self.log_bytes + self.invocations * prices.LOGS_OF_AN_INVOCATION
        return {
            "dynamodb_writes": self.write_units * prices.DYNAMODB_WRITE_UNIT,
            "dynamodb_reads": self.read_units * prices.DYNAMODB_READ_UNIT,
            "lambda_time": gigabyte_seconds * prices.LAMBDA_GB_SECOND,
            "lambda_requests": self.invocations * prices.LAMBDA_REQUEST,
            "sqs": self.fifo_requests * prices.SQS_FIFO_REQUEST + self.standard_requests * prices.SQS_STANDARD_REQUEST,
            "logs": logs / 1e9 * prices.LOGS_GB,
        }


def requests(size: int) -> int:
    """Return as how many requests SQS counts one call with so many bytes of messages."""
    return max(1, -(-size // prices.SQS_REQUEST_BYTES))
