"""Imports of whole segments from files: list, show, confirm, cancel."""

from cyclopts import App

from relay_cli.commands import confirming
from relay_cli.commands.common import FLAGS
from relay_cli.failures import Exit
from relay_cli.parts import Cell, Line, Tone
from relay_cli.relay import Answer, Injected, Relay
from relay_cli.views import segment_imports as view

app = App(name="imports", help="Imports of segment files: list, show, confirm, cancel.", default_parameter=FLAGS)


@app.command(name="list")
def list_(segment: str | None = None, /, *, limit: int = 20, relay: Injected) -> None:
    """List the imports with the newest sets: files, and the pages of a webhook. The newest time of a set comes first.

    Parameters
    ----------
    segment
        Only those of this segment, as source/segment.
    limit
        How many at most.
    """
    found = relay.ask("imports", segment=segment, limit=limit)["imports"]
    relay.screen.show_list(found, [view.imports(found, relay.now(), segment=segment)])


@app.command
def show(import_id: str, /, *, relay: Injected) -> Exit:
    """Show an import: how far it is, its counts, and its first broken rows.

    Exit code 3 when it waits for somebody to confirm it, 1 when it was refused.

    Parameters
    ----------
    import_id
        The import, as `relay segments imports list` shows it.
    """
    found = relay.ask("import", id=import_id)
    relay.screen.show(found, view.one(found))
    return view.EXITS.get(found["state"], Exit.WELL)


@app.command
def confirm(import_id: str, /, *, yes: bool = False, relay: Injected) -> None:
    """Let an import that waits for it take everybody out whom the file does not name.

    Parameters
    ----------
    import_id
        The import, as `relay segments imports list` shows it.
    yes
        Do not ask.
    """

    def question(found: Answer) -> str:
        return f"Take {found['counts'].get('leaving', 0):,} members out of {found['segment']}?"

    answer = confirming.confirmed(relay, confirming.IMPORT, import_id, question, yes=yes)
    _said(relay, import_id, answer, f"Import {import_id} is confirmed: it takes out whom the file does not name.")


@app.command
def cancel(import_id: str, /, *, relay: Injected) -> None:
    """End an import where it stands. Whoever has entered stays in.

    Parameters
    ----------
    import_id
        The import, as `relay segments imports list` shows it.
    """
    answer = confirming.cancelled(relay, confirming.IMPORT, import_id)
    _said(relay, import_id, answer, f"Import {import_id} is cancelled.")


def _said(relay: Relay, import_id: str, answer: Answer, said: str) -> None:
    relay.screen.show({"import": import_id, **answer}, [Line(Cell(said, Tone.GOOD))])
