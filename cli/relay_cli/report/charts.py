"""How far a run got over time, how many calls it made of those allowed, and how the runs before went."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from relay_cli.parts import number, parse_time, share, span
from relay_cli.views.runs import COLUMNS

_SIDE, _FOOT, _HEAD = 46, 20, 10
_STEPS = 4


def progress(points: Sequence[tuple[datetime, int]], *, width: int, height: int, style: str) -> str:
    """Return how many profiles were done by when, as SVG."""
    (first, _), (last, _) = points[0], points[-1]
    seconds = max((last - first).total_seconds(), 1)
    most = _round_up(max(done for _, done in points))
    wide, high = width - _SIDE - 8, height - _FOOT - _HEAD

    def place(at: datetime, done: int) -> str:
        x = _SIDE + wide * (at - first).total_seconds() / seconds
        return f"{x:.1f},{_HEAD + high * (1 - done / most):.1f}"

    line = " ".join(place(at, done) for at, done in points)
    floor = _HEAD + high
    said = f"{number(points[-1][1])} profiles done after {span(seconds)}"
    parts = [f'<svg class="{escape(style)}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(said)}">']
    for step in range(_STEPS + 1):
        y = _HEAD + high * step / _STEPS
        parts.append(f'<line class="grid" x1="{_SIDE}" x2="{_SIDE + wide}" y1="{y:.1f}" y2="{y:.1f}"/>')
        done = most * (_STEPS - step) / _STEPS
        parts.append(f'<text class="axis" text-anchor="end" x="{_SIDE - 6}" y="{y + 4:.1f}">{short(done)}</text>')
    parts.append(f'<polygon class="area" points="{_SIDE},{floor:.1f} {line} {_SIDE + wide:.1f},{floor:.1f}"/>')
    parts.append(f'<polyline class="line" points="{line}"/>')
    parts.append(f'<text class="axis" x="{_SIDE}" y="{height - 4}">{first:%H:%M:%S}</text>')
    parts.append(f'<text class="axis" text-anchor="end" x="{_SIDE + wide}" y="{height - 4}">{last:%H:%M:%S} UTC</text>')
    return "\n".join([*parts, "</svg>"])


def meter(part: float, said: str) -> str:
    """Return a bar that is filled by a part (0 to 1)."""
    filled = 100 * min(max(part, 0), 1)
    tone = "rejected" if part >= 0.95 else "delivered"
    return (
        f'<svg class="meter" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label="{escape(said)}">'
        f'<rect class="track" width="100" height="4"/><rect class="{tone}" width="{filled:.2f}" height="4"/></svg>'
    )


def stacked(counts: Mapping[str, int]) -> str:
    """Return a run's columns beside each other, as a bar that is as wide as its place."""
    selected = counts.get("selected", 0)
    said = ", ".join(f"{name} {share(counts.get(name, 0), selected)}" for name in COLUMNS)
    return "".join(
        [
            f'<svg class="stack" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{said}">',
            '<rect class="track" width="100" height="10"/>',
            *_pieces(counts, selected),
            "</svg>",
        ]
    )


def _pieces(counts: Mapping[str, int], selected: int) -> Iterator[str]:
    x = 0.0
    for name in COLUMNS:
        wide = 100 * counts.get(name, 0) / selected if selected else 0
        if wide:
            yield f'<rect class="{name}" x="{x:.3f}" width="{wide:.3f}" height="10"/>'
        x += wide


def points_of(series: Any) -> list[tuple[datetime, int]]:
    """Return the points of a series of `[time, number]`, in order; what is none is left out."""
    found = [(parse_time(str(at)), int(done)) for at, done in series or ()]
    return sorted((at, done) for at, done in found if at is not None)


def short(value: float) -> str:
    """Return a number for an axis: 12k, 1.5M."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _round_up(value: int) -> float:
    """Return the next round number, so that an axis has round steps."""
    if value <= _STEPS:
        return float(_STEPS)
    size = 10.0 ** math.floor(math.log10(value))
    return next(step * size for step in (1, 2, 4, 6, 8, 10) if step * size >= value)
