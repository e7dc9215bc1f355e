"""A run as one HTML document: inline style and SVG, no script, nothing from elsewhere, no personal data."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from importlib import resources
from typing import Any

from relay_cli import __version__
from relay_cli.parts import Tone, at, number, parse_time, share, span
from relay_cli.report import charts, flow
from relay_cli.views import runs
from relay_cli.views.runs import COLUMNS, LEAVING, REJECTED, WARNING, by_code

_TONES = {Tone.GOOD: "good", Tone.WARN: "warn", Tone.BAD: "bad"}
_MOST_RUNS = 10


def written(run: Mapping[str, Any], now: datetime) -> str:
    """Return the report of a run as `show` answers it. Every text of the answer is escaped."""
    title = f"Run of {run['export']}"
    body = "\n".join(
        [
            *_head(run),
            *_figures(run, now),
            *_flow(run),
            *_progress(run),
            *_calls(run),
            *_reasons(run),
            *_leavers(run),
            *_before(run),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n<main>\n{body}\n"
        f"<footer>Run <code>{escape(str(run['run']))}</code>. Written by relay {escape(__version__)} at "
        f"{escape(at(now.isoformat()))}. It holds no personal data.</footer>\n</main>\n</body>\n</html>\n"
    )


def _style() -> str:
    return resources.files("relay_cli.report").joinpath("style.css").read_text(encoding="utf-8")


def _head(run: Mapping[str, Any]) -> Iterator[str]:
    tone = _TONES.get(runs.state(run["state"]).tone, "plain")
    yield f"<h1>{escape(run['export'])}</h1>"
    yield (
        f'<p><span class="state {tone}">{escape(run["state"])}</span> '
        f'<span class="soft">{escape(str(run["cause"]))}, {escape(at(run.get("started_at")))}</span></p>'
    )
    yield f"<p>{escape(runs.sentence(run).text)}</p>"


def _figures(run: Mapping[str, Any], now: datetime) -> Iterator[str]:
    counts = run["counts"]
    selected = counts.get("selected", 0)
    yield '<dl class="figures">'
    yield f"<div><dt>selected</dt><dd>{number(selected)}</dd></div>"
    for name in COLUMNS:
        count = counts.get(name, 0)
        yield f"<div><dt>{name}</dt><dd>{number(count)} <small>{share(count, selected)}</small></dd></div>"
    yield f"<div><dt>took</dt><dd>{escape(runs.duration(run, now))}</dd></div>"
    yield "</dl>"


def _flow(run: Mapping[str, Any]) -> Iterator[str]:
    counts = run["counts"]
    yield '<section aria-label="flow"><h2>What became of everybody</h2>'
    if counts.get("selected"):
        high = max(220, 46 * len(flow.outcomes(counts)) + 40)
        yield flow.drawn(counts, width=960, height=high, label=250, style="wide")
        yield flow.drawn(counts, width=350, height=high, label=172, style="narrow")
        if not run.get("adds_up", True):
            yield "<p>The columns do not add up to the selected: report it.</p>"
    else:
        yield '<p class="soft">Nobody was selected.</p>'
    yield "</section>"


def _progress(run: Mapping[str, Any]) -> Iterator[str]:
    points = charts.points_of(run.get("progress"))
    if len(points) < 2:
        return
    yield '<section aria-label="progress"><h2>How far it got</h2>'
    yield charts.progress(points, width=960, height=240, style="wide")
    yield charts.progress(points, width=350, height=200, style="narrow")
    seconds = (points[-1][0] - points[0][0]).total_seconds()
    if seconds > 0:
        rate = points[-1][1] / seconds
        looked = f"{number(points[-1][1])} profiles looked at in {span(seconds)}: {rate:,.1f} a second."
        yield f'<p class="soft">{looked}</p>'
    yield "</section>"


def _calls(run: Mapping[str, Any]) -> Iterator[str]:
    calls = run["counts"].get("calls", 0)
    began, ended = parse_time(run.get("started_at")), parse_time(run.get("ended_at"))
    limits = run.get("limits") or ()
    if not calls and not limits:
        return
    yield f'<section aria-label="calls"><h2>Calls to the destination</h2><p>{number(calls)} calls.</p>'
    seconds = None if began is None or ended is None else max((ended - began).total_seconds(), 1.0)
    for limit in limits:
        what = limit["what"]
        if seconds is not None:
            allowed = limit["calls"] * max(seconds / limit["seconds"], 1.0)
            rule = f"{number(limit['calls'])} in {span(limit['seconds'])}"
            yield from _meter(calls, allowed, f"of the limit of {what} ({rule}) over the time that the run took")
        if limit.get("a_day") and limit.get("used_today") is not None:
            used, most = limit["used_today"], limit["a_day"]
            yield from _meter(used, most, f"of the calls of a day of {what} ({number(most)}), used today by all runs")
    yield "</section>"


def _meter(used: float, allowed: float, of_what: str) -> Iterator[str]:
    said = f"{share(used, allowed)} {of_what}"
    yield charts.meter(used / allowed, said)
    yield f'<p class="soft">{escape(said)}.</p>'


def _reasons(run: Mapping[str, Any]) -> Iterator[str]:
    counts, meanings = run["counts"], runs.meaning_of(run)
    for title, lead in (("Rejected, by reason", REJECTED), ("Sent, but with something to know", WARNING)):
        found = by_code(counts, lead)
        if not found:
            continue
        rows = [
            [
                f"<code>{escape(code)}</code>",
                number(count),
                escape(meanings.get(code, ("", ""))[0]) or "-",
                escape(meanings.get(code, ("", ""))[1]) or "-",
            ]
            for code, count in found.items()
        ]
        columns = (("code", ""), ("profiles", "number"), ("what it means", "text"), ("what happens", "text"))
        yield f"<section><h2>{title}</h2>{_table(columns, rows)}"
        if lead == REJECTED:
            command = f"relay rejected {run['export']}"
            yield f'<p class="soft">Who they are, by id: <code>{escape(command)}</code></p>'
        yield "</section>"


def _leavers(run: Mapping[str, Any]) -> Iterator[str]:
    counts = run["counts"]
    leaving = counts.get("leaving", 0)
    if not leaving and not counts.get("changed"):
        return
    means = {
        "removed": "taken out at the destination",
        "kept": "the destination does not let them go, or somebody else may want the identity",
        "leaving_outstanding": "not known yet",
        "returned": "changed since they were counted",
    }
    rows = [
        [name, number(counts.get(name, 0)), share(counts.get(name, 0), leaving), means[name]] for name in LEAVING[1:]
    ]
    columns = (("what", ""), ("profiles", "number"), ("share", "number"), ("means", "text"))
    yield f"<section><h2>Who leaves: {number(leaving)}</h2>{_table(columns, rows)}</section>"


def _before(run: Mapping[str, Any]) -> Iterator[str]:
    before = list(run.get("previous") or ())[: _MOST_RUNS - 1]
    if not before:
        return
    yield '<section aria-label="runs before"><h2>Beside the runs before</h2><ul class="key">'
    for name in COLUMNS:
        square = f'<svg viewBox="0 0 10 10"><rect class="{name}" width="10" height="10" rx="2"/></svg>'
        yield f"<li>{square}{name}</li>"
    yield "</ul>"
    rows = []
    for index, one in enumerate([run, *before]):
        counts = one["counts"]
        when = f"{'<b>this one</b>, ' if index == 0 else ''}{escape(at(one.get('started_at')))}"
        rejected = share(counts.get("rejected", 0), counts.get("selected", 0))
        rows.append(
            [
                when,
                number(counts.get("selected", 0)),
                number(counts.get("delivered", 0)),
                rejected,
                charts.stacked(counts),
            ]
        )
    columns = (("started", ""), ("selected", "number"), ("delivered", "number"), ("rejected", "number"), ("", ""))
    yield f"{_table(columns, rows)}</section>"


def _table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose cells are HTML already; a narrow screen shows each row as a card."""
    head = "".join(f'<th class="{style}">{name}</th>' for name, style in columns)
    lines = []
    for row in rows:
        cells = "".join(
            f'<td class="{style}" data-name="{name}">{value}</td>'
            for (name, style), value in zip(columns, row, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    return f'<table class="cards"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
