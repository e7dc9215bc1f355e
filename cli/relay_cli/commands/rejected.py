"""Who was rejected, why, and trying it again."""

from collections.abc import Iterator, Sequence

from relay_cli.commands import runs
from relay_cli.failures import Exit, UsageFailure
from relay_cli.parts import Cell, Line, Tone, at, number
from relay_cli.relay import Answer, Injected, Relay

COLUMNS = ("profile", "code", "kind", "since", "means", "then", "leaving")
_PAGE = 1_000


def rejected(
    export: str,
    /,
    *,
    code: str | None = None,
    csv: bool = False,
    limit: int | None = None,
    retry: bool = False,
    follow: bool = False,
    relay: Injected,
) -> int:
    """List who was rejected by an export: profile id, code, since when, what it means and what happens. All of them.

    Those whom the destination does not let go are listed, too (leaving: yes); a run counts them as kept. Exit code 1
    when somebody is listed.

    Parameters
    ----------
    export
        The export, as connection/export.
    code
        Only those rejected with this code.
    csv
        Print CSV.
    limit
        The most profiles to list.
    retry
        Start a run that tries exactly these again, instead of listing them.
    follow
        With --retry: show how far the run gets.
    """
    if retry:
        if csv or limit is not None:
            raise UsageFailure(
                "--retry tries all of a code again.", "--csv and --limit only list.", f"relay rejected {export}"
            )
        answer = relay.ask("run", export=export, retry=code or "all")
        return runs.started(relay, answer, follow=follow, timeout=runs.DAY)
    pages = _pages(relay, export, code, limit)
    if relay.screen.as_json:
        ended = Exit.WELL
        for page in pages:
            for one in page:
                relay.screen.item(one)
                ended = Exit.WRONG
        return ended
    first = next(pages, [])
    if not first:
        if relay.screen.is_terminal and not csv:
            relay.screen.show(None, [Line(Cell(f"Nobody is rejected by {export}.", Tone.GOOD))])
        else:
            relay.screen.rows(COLUMNS, [], commas=csv)
        relay.screen.note(f"Whom nothing was tried for yet is not listed. Next: relay plan {export}")
        return Exit.WELL
    relay.screen.rows(COLUMNS, (_rows(page) for page in _with(first, pages)), commas=csv)
    return Exit.WRONG


def _pages(relay: Relay, export: str, code: str | None, limit: int | None) -> Iterator[Sequence[Answer]]:
    """Yield those rejected page by page; how many there were is said at the end of a long list."""
    left = limit
    total = 0
    size = _PAGE if limit is None else min(limit, _PAGE)
    for page in relay.pages("rejected", export=export, code=code, limit=size):
        found = page["rejected"] if left is None else page["rejected"][:left]
        total += len(found)
        yield found
        if left is not None:
            left -= len(found)
            if left <= 0:
                break
    if total > _PAGE:
        relay.screen.note(f"{number(total)} profiles")


def _with(first: Sequence[Answer], rest: Iterator[Sequence[Answer]]) -> Iterator[Sequence[Answer]]:
    yield first
    yield from rest


def _rows(page: Sequence[Answer]) -> list[list[str]]:
    return [
        [
            one["profile"],
            one["code"],
            one["kind"],
            at(one.get("since")),
            one.get("means") or "",
            one.get("then") or "",
            "yes" if one["leaving"] else "no",
        ]
        for one in page
    ]
