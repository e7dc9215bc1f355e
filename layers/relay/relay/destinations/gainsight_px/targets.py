"""What an identity can be in or out of at PX, by name: an external segment or a Boolean attribute of users. Pure."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from relay.destinations.contract import Step
from relay.destinations.gainsight_px.options import GainsightPxOptions


class Kind(StrEnum):
    """How a step is sent; the values begin the names of targets."""

    SEGMENT = "segment"
    ATTRIBUTE = "attribute"


def targets_of(options: GainsightPxOptions, segments: Sequence[str]) -> Mapping[str, frozenset[str]]:
    """Return one target per segment, `segment/{source/segment}` or `attribute/{apiName}`.

    Segments without an attribute share the target `attribute/`, which is never sent: nobody is taken to have left
    because of a gap in the options.
    """
    targets: dict[str, frozenset[str]] = {}
    for segment in segments:
        if options.mode == "attributes":
            target = f"{Kind.ATTRIBUTE}/{options.attributes.get(segment, '')}"
        else:
            target = f"{Kind.SEGMENT}/{segment}"
        targets[target] = targets.get(target, frozenset()) | {segment}
    return targets


def kind_of(target: str) -> Kind:
    """Return how a target's steps are sent."""
    return Kind(target.partition("/")[0])


def name_in(target: str) -> str:
    """Return the segment (`source/segment`, also its external id at PX) or the attribute's apiName of a target."""
    return target.partition("/")[2]


def cut(steps: Sequence[Step], limit: int) -> list[list[int]]:
    """Cut steps into calls: lists of indices.

    Steps for segments go together, up to `limit` a call; steps for attributes go by user, all of one user's together.
    Nobody comes twice for one target in a call, since in and out at once has no defined result: the later step gets a
    later call.
    """
    calls: list[list[int]] = []
    filling: dict[tuple[Kind, str], tuple[list[int], set[tuple[str, str]]]] = {}
    for index, step in enumerate(steps):
        kind = kind_of(step.target)
        lane = (kind, step.identity if kind is Kind.ATTRIBUTE else "")
        place = (step.target, step.identity)
        call, held = filling.get(lane, ([], set()))
        is_full = kind is not Kind.ATTRIBUTE and len(call) >= limit
        if not call or is_full or place in held:
            call, held = filling[lane] = ([], set())
            calls.append(call)
        call.append(index)
        held.add(place)
    return calls
