"""What an identity can be in or out of at PX, by name: `segment/{source/segment}` or `attribute/{apiName}`. Pure."""

from collections.abc import Mapping

from relay.destinations.contract import Step


def kind_of(target: str) -> str:
    """Return `segment` or `attribute`."""
    return target.partition("/")[0]


def name_in(target: str) -> str:
    """Return the segment (`source/segment`, also its external id at PX) or the attribute's apiName of a target."""
    return target.partition("/")[2]


def cut(steps: Mapping[int, Step], limit: int | None = None) -> list[list[int]]:
    """Cut steps, by index, into calls of at most `limit`.

    Nobody comes twice for one target in a call, since in and out at once has no defined result: the later step gets a
    later call.
    """
    calls: list[list[int]] = []
    held: set[tuple[str, str]] = set()
    for index, step in steps.items():
        place = (step.target, step.identity)
        if not calls or len(calls[-1]) == limit or place in held:
            calls.append([])
            held = set()
        calls[-1].append(index)
        held.add(place)
    return calls
