"""The text that carries a value in a message: compact JSON, with every character in the clear that SQS takes so.

Of those that JSON leaves unescaped it refuses halves of surrogate pairs, U+FFFE and U+FFFF:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
"""

import json
import re
from typing import Any

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_REFUSED = re.compile("[\ud800-\udfff\ufffe\uffff]")


def json_text(value: Any) -> str:
    """Return the JSON text of a value; ValueError for numbers that are not finite."""
    text = _ENCODER.encode(value)
    return text if text.isascii() else _REFUSED.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def json_size(value: Any) -> int:
    """Return how many bytes a value takes in a message."""
    return len(json_text(value).encode())
