"""Cutting steps into calls: the one rule of what may go out together. Pure."""

from collections.abc import Callable, Hashable, Sequence

from relay.destinations.contract import Step


def cut(
    steps: Sequence[Step],
    most: int,
    *,
    lane: Callable[[Step], Hashable] = lambda step: "all",  # noqa: ARG005 - says what it takes
    once: Callable[[Step], Hashable] = lambda step: step.identity,
    size: Callable[[Step], int] = lambda step: 0,  # noqa: ARG005 - says what it takes
    room: int = 0,
) -> list[list[int]]:
    """Return calls of up to `most` steps, as lists of indices.

    Steps go together that have the same lane; one whose lane is None goes alone. Of steps with the same `once` a call
    holds one, and the later step goes out in a later call. Together the sizes of a call's steps are at most `room`,
    unless one alone is larger.
    """
    calls: list[list[int]] = []
    left: list[int] = []
    filling: dict[Hashable, int] = {}
    last: dict[Hashable, int] = {}
    for index, step in enumerate(steps):
        way, place, bytes_ = lane(step), once(step), size(step)
        number = -1 if way is None else filling.get(way, -1)
        if number <= last.get(place, -1) or len(calls[number]) == most or left[number] < bytes_:
            number = len(calls)
            calls.append([])
            left.append(room)
            if way is not None:
                filling[way] = number
        calls[number].append(index)
        left[number] -= bytes_
        last[place] = number
    return calls
