"""What AWS asks, in dollars: the list of 26 November 2026 for us-east-1, on demand, without free tiers."""

from typing import Final

DYNAMODB_WRITE_UNIT: Final = 0.625 / 1e6
DYNAMODB_READ_UNIT: Final = 0.125 / 1e6
"""https://aws.amazon.com/dynamodb/pricing/on-demand/"""

SQS_STANDARD_REQUEST: Final = 0.40 / 1e6
SQS_FIFO_REQUEST: Final = 0.50 / 1e6
SQS_REQUEST_BYTES: Final = 64 * 1024
"""Every 64 KB of a request's payload are one request. https://aws.amazon.com/sqs/pricing/"""

LAMBDA_REQUEST: Final = 0.20 / 1e6
LAMBDA_GB_SECOND: Final = 0.0000166667
"""https://aws.amazon.com/lambda/pricing/"""
