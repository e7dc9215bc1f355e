"""Answers operators' questions. Three functions have this code; RELAY_ADMIN says which questions each answers.

Environment: that of `relay.wiring`, and RELAY_ADMIN (see `relay.workers.operators.protocol.Level`).
"""

from functools import cache
from typing import Any

from relay.wiring import Stack
from relay.wiring_operators import Operators
from relay.workers.operators.operator import Operator


@cache
def _operator() -> Operator:
    return Operators(Stack()).operator()


def handler(event: Any, context: Any, *, operator: Operator | None = None) -> dict[str, Any]:
    """Answer a question (see `Operator.handle`); an error is an answer, too."""
    return (operator or _operator()).handle(event)
