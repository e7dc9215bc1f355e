"""Starts runs when a schedule fires or an operator asks; shows, confirms and cancels them."""

import os
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from relay.delivery.operating import Operator
from relay.schedules import own_schedules
from relay.wiring import Stack


@cache
def _operator() -> Operator:
    stack = Stack()
    own = partial(own_schedules, os.environ["RELAY_SCHEDULE_GROUP"])
    return Operator(stack.database, stack.settings, stack.starter, stack.opener, own, stack.observe)


def handler(event: Mapping[str, Any], context: Any, *, operator: Operator | None = None) -> dict[str, Any]:
    """Do what the event asks (see `Operator.handle`)."""
    return (operator or _operator()).handle(event)
