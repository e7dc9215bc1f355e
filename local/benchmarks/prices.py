"""What AWS asks, in dollars: the list of 26 November 2026 for us-east-1, on demand, without free tiers and discounts.

And what is not measured here but has to be paid for: how long AWS and a destination take to answer.
"""

from typing import Final

DYNAMODB_WRITE_UNIT: Final = 0.625 / 1e6
DYNAMODB_READ_UNIT: Final = 0.125 / 1e6
"""https://aws.amazon.com/dynamodb/pricing/on-demand/"""

SQS_STANDARD_REQUEST: Final = 0.40 / 1e6
SQS_FIFO_REQUEST: Final = 0.50 / 1e6
SQS_REQUEST_BYTES: Final = 64 * 1024
"""Every 64 KB of a request's payload are one request. https://aws.amazon.com/sqs/pricing/"""

LAMBDA_REQUEST: Final = 0.20 / 1e6
LAMBDA_GB_SECOND: Final = 0.0000133334
"""For arm64, the template's default. https://aws.amazon.com/lambda/pricing/"""

LOGS_GB: Final = 0.50
"""What functions write to CloudWatch Logs, per GB taken in. https://aws.amazon.com/cloudwatch/pricing/"""

LOGS_OF_AN_INVOCATION: Final = 350
"""Bytes of Lambda's own lines START, END and REPORT, about."""

MEMORY_GB: Final = 512 / 1024
"""Of route, the consumers and the import checks, as the template has it."""

FULL_SHARE_GB: Final = 1_769 / 1024
"""A function of this size has one processor. Others have their share of it, so CPU time costs the same at any size.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""

DYNAMODB_SECONDS: Final = 0.005
QUEUE_SECONDS: Final = 0.010
DESTINATION_SECONDS: Final = 0.300
"""How long a function waits for the answer of one call: assumed, not measured."""

API_GATEWAY_REQUEST: Final = 3.50 / 1e6
"""Of a REST API. https://aws.amazon.com/api-gateway/pricing/"""

SECRET_MONTH: Final = 0.40
SECRET_READ: Final = 0.05 / 1e4
"""https://aws.amazon.com/secrets-manager/pricing/"""

KEY_MONTH: Final = 1.00
"""https://aws.amazon.com/kms/pricing/"""

ALARM_MONTH: Final = 0.10
METRIC_MONTH: Final = 0.30
DASHBOARD_MONTH: Final = 3.00
"""https://aws.amazon.com/cloudwatch/pricing/"""

DYNAMODB_GB_MONTH: Final = 0.25 + 0.20
"""Stored, and kept for point-in-time recovery."""

POLLS_MONTH: Final = 5 * 3 * 60 * 24 * 30
"""Requests of an idle queue: Lambda looks into it with five connections, each waiting up to 20 seconds.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"""
