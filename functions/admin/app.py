"""Answers operators: starts, shows, confirms and cancels runs, checks and probes connections."""

from functools import cache
from typing import Any

from relay.wiring import Stack
from relay.workers.operators.operator import Operator


@cache
def _operator() -> Operator:
    return Stack().operator()


def handler(event: Any, context: Any, *, operator: Operator | None = None) -> dict[str, Any]:
    """Do what the event asks (see `Operator.handle`); an event that is refused fails the invocation."""
    return (operator or _operator()).handle(event)
