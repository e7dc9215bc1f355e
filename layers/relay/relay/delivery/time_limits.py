"""The time a function has left: no call begins that might not end in it, not even in the middle of a step."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from relay.destinations.contract import Account, Reply
from relay.domain.problems import Conflict

OUT_OF_TIME = "out_of_time"
"""The code of what was not begun because the function's time is nearly over."""


def out_of_time() -> Conflict:
    """Return the problem of a call that was not begun."""
    return Conflict(OUT_OF_TIME, "the function's time is nearly over; the rest is done in its next one")


def within(account: Account, is_time_left: Callable[[], bool]) -> Account:
    """Return an account whose calls raise `out_of_time` instead of beginning when there is no time left for them."""
    call = account.call

    def timed(method: str, url: str, **more: Any) -> Reply:
        if not is_time_left():
            raise out_of_time()
        return call(method, url, **more)

    return replace(account, call=timed)
