"""What a run would do, without sending anything."""

import json
from collections import Counter
from typing import Annotated, Literal

from cyclopts import Parameter

from relay_cli.failures import Exit
from relay_cli.parts import number
from relay_cli.relay import Answer, Injected, Relay
from relay_cli.views import planning as view

SAY_EVERY = 15.0
FORMAT = 1
"""The version of the files that --out writes."""


def plan(
    export: str,
    /,
    *,
    out: str | None = None,
    format_: Annotated[Literal["table", "md"], Parameter(name="--format")] = "table",
    first: int = 20,
    exit_code: bool = False,
    relay: Injected,
) -> int:
    """Show who would join, change, leave or be rejected by a run. Nothing is sent.

    Parameters
    ----------
    export
        The export, as connection/export.
    out
        Write the plan to a file, for relay run EXPORT --plan FILE.
    format_
        md prints Markdown.
    first
        How many profiles of each kind are named.
    exit_code
        Exit with 10 when a run would change something.
    """
    found = _gathered(relay, export, first)
    if out is not None:
        relay.write(out, json.dumps(found, indent=2) + "\n")
        relay.screen.note(f"The plan is in {out}. Next: relay run {export} --plan {out}")
    if format_ == "md" and not relay.screen.as_json:
        relay.screen.text(view.markdown(found))
    else:
        relay.screen.show(found, view.shown(found))
    return Exit.CHANGES if exit_code and view.has_changes(found) else Exit.WELL


def _gathered(relay: Relay, export: str, first: int) -> Answer:
    """Add the pages of a plan up. They are of one version of the settings: another one begins the plan afresh."""
    counts: Counter[str] = Counter()
    named: dict[str, list[object]] = {}
    settings: int | None = None
    obstacles: list[str] = []
    before, passed, cancelled = 0, False, None
    with relay.screen.progress(f"plan of {export}", relay.now, SAY_EVERY) as move:
        for page in relay.pages("plan", export=export, first=first):
            if settings is not None and page["settings"] != settings:
                return _gathered(relay, export, first)
            settings = page["settings"]
            counts.update(page["counts"])
            for kind, ids in page["first"].items():
                kept = named.setdefault(kind, [])
                kept += ids[: first - len(kept)]
            obstacles += [one for one in page["obstacles"] if one not in obstacles]
            before += page["assigned_before"]
            passed, cancelled = page["passed_guard"], page["cancelled"]
            move(None, f"{number(counts['selected'])} profiles, {number(counts['leave'])} would leave")
    return {
        "format": FORMAT,
        "export": export,
        "made_at": relay.now().isoformat(timespec="seconds"),
        "settings": settings,
        "counts": {name: count for name, count in sorted(counts.items()) if count},
        "first": named,
        "assigned_before": before,
        "passed_guard": passed,
        "cancelled": cancelled,
        "obstacles": obstacles,
    }
