"""A run's counts as a flow: everybody who was selected, and what became of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from relay_cli.parts import number, share
from relay_cli.views.runs import REJECTED, by_code

_MOST_REASONS = 6
"""Rejections by that many reasons are shown one by one, the rest together."""
_NODE = 14
_GAP = 12
_LEAST = 1.5
"""A stream of few profiles is drawn at least so high, so that it can be seen."""
_TEXTS = 30
"""What the two lines beside a stream need."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One stream of the flow."""

    name: str
    count: int
    style: str


def outcomes(counts: Mapping[str, int]) -> list[Outcome]:
    """Return what became of the selected; rejections by reason."""
    found = [
        Outcome("delivered", counts.get("delivered", 0), "delivered"),
        Outcome("unchanged", counts.get("unchanged", 0), "unchanged"),
    ]
    reasons = list(by_code(counts, REJECTED).items())
    found += [Outcome(f"rejected: {code}", count, "rejected") for code, count in reasons[:_MOST_REASONS]]
    rest = sum(count for _, count in reasons[_MOST_REASONS:])
    found.append(Outcome("rejected: other reasons", rest, "rejected"))
    found.append(Outcome("duplicate", counts.get("duplicate", 0), "duplicate"))
    found.append(Outcome("outstanding", counts.get("outstanding", 0), "outstanding"))
    return [outcome for outcome in found if outcome.count]


def drawn(counts: Mapping[str, int], *, width: int, height: int, label: int, style: str) -> str:
    """Return the flow as SVG. `label` is the room for texts on the right; `style` is a class."""
    selected, found = counts.get("selected", 0), outcomes(counts)
    title = f"{number(selected)} selected: " + ", ".join(f"{number(one.count)} {one.name}" for one in found)
    parts = [
        f'<svg class="{escape(style)}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">',
        *_streams(selected, found, width - label, height),
        "</svg>",
    ]
    return "\n".join(parts)


def _streams(selected: int, found: Sequence[Outcome], right: int, height: int) -> Iterator[str]:
    top, bottom = 34, height - 6
    room = bottom - top - _GAP * (len(found) - 1)
    # Few profiles leave most of the room of their two lines empty: what they do not use is taken from all.
    least = sum(_TEXTS - _GAP for one in found if one.count * room < (_TEXTS - _GAP) * selected)
    heights = [max(_LEAST, max(room - least, 0) * one.count / selected) for one in found]
    from_y, to_y = float(top), float(top)
    yield f'<text class="label" x="0" y="14">selected</text><text class="count" x="0" y="29">{number(selected)}</text>'
    yield _node(0, from_y, sum(heights), "selected")
    for one, high in zip(found, heights, strict=True):
        slot = max(high, _TEXTS - _GAP)
        y = to_y + (slot - high) / 2
        yield _ribbon(_NODE, from_y, right - _NODE, y, high, one)
        yield _node(right - _NODE, y, high, one.style)
        part = f'<tspan class="share">{share(one.count, selected)}</tspan>'
        count = f'<tspan class="count">{number(one.count)}</tspan>'
        yield f'<text x="{right + 8}" y="{to_y + slot / 2 - 3:.1f}">{count} {part}</text>'
        yield f'<text class="label" x="{right + 8}" y="{to_y + slot / 2 + 11:.1f}">{escape(one.name)}</text>'
        from_y += high
        to_y += slot + _GAP


def _node(x: float, y: float, height: float, style: str) -> str:
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{_NODE}" height="{height:.1f}" rx="2"/>'


def _ribbon(x0: float, y0: float, x1: float, y1: float, high: float, outcome: Outcome) -> str:
    middle = (x0 + x1) / 2
    path = (
        f"M{x0:.1f},{y0:.1f} C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {x1:.1f},{y1:.1f} "
        f"V{y1 + high:.1f} C{middle:.1f},{y1 + high:.1f} {middle:.1f},{y0 + high:.1f} {x0:.1f},{y0 + high:.1f} Z"
    )
    said = f"{outcome.name}: {number(outcome.count)}"
    return f'<path class="ribbon {outcome.style}" d="{path}"><title>{escape(said)}</title></path>'
