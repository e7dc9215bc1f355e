"""How a mistake is planted: a part of the library is replaced while schedules are played."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from unittest.mock import patch

from tests.simulation.world import World

Patches = Iterable[Any]


class Mistake(NamedTuple):
    """What is done wrong, in which world it shows, and which schedule has noticed it."""

    says: str
    patches: Callable[[], Patches]
    world: type[World] = World
    seed: int | None = None


def instead(owner: Any, name: str, mistaken: Callable[..., Any]) -> Any:
    """Replace a function by one that gets the right one before its arguments."""
    right = getattr(owner, name)

    def wrong(*args: Any, **named: Any) -> Any:
        return mistaken(right, *args, **named)

    return patch.object(owner, name, wrong)


def now(name: str, owner: Any, mistaken: Callable[..., Any]) -> Callable[[], Patches]:
    """Return what replaces one function (see `instead`)."""
    return lambda: [instead(owner, name, mistaken)]
