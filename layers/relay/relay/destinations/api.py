"""Calls to one API: its address, its key, what its answers mean, and reading what a success holds."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from relay.destinations.contract import Caller, Params, Quota, Reply
from relay.destinations.error_table import DEFAULT_TABLE, ODD_SUCCESSES, OtherShape, Outcome, Refused, Table, result_of
from relay.destinations.outcomes import nothing_done
from relay.domain.problems import ConnectionProblem, Transient

Result = TypeVar("Result")
Success = Callable[[Reply], Result]
"""Reads what a call is made for out of a success; raises OtherShape when the answer is none (see `part`)."""


class ReadRefused(Transient):
    """The destination refuses to show something: that says nothing about whether it is there."""


@dataclass(frozen=True, slots=True)
class Api:
    """One account's API. `root` is the address before every path, `headers` hold the key.

    Every call says how its success is read. Raises Refused where the content is refused, else as `error_table.refusal`.
    """

    call: Caller
    root: str
    headers: Mapping[str, str]
    quota: Quota
    table: Table = DEFAULT_TABLE

    def read(
        self,
        path: str,
        success: Success[Result],
        *,
        params: Params | None = None,
        table: Table | None = None,
        well: Callable[[], None] | None = None,
    ) -> Result:
        """Make a call that only reads: whatever becomes of it, nothing was done.

        Raises ReadRefused where the content is refused. Raises Refused only by a table's own row of outcome REJECTION.
        `well` is for what is read of one record: it raises when the account as a whole is not answered well. When it
        is, an answer of another shape means that this one cannot be read: ReadRefused, too.
        """
        with nothing_done():
            try:
                return self.send("GET", path, success, params=params, table=table)
            except Refused as refused:
                if refused.row.outcome is Outcome.REJECTION:
                    raise
                raise ReadRefused("read_refused", f"refuses to show it (HTTP {refused.reply.status})") from None
            except (ConnectionProblem, Transient) as problem:
                if well is None or problem.code not in ODD_SUCCESSES:
                    raise
                well()
                raise ReadRefused(problem.code, problem.what) from None

    def pages(
        self,
        path: str,
        key: str,
        read: Callable[[dict[str, Any]], Result],
        *,
        size: int,
        params: Params | None = None,
        table: Table | None = None,
        well: Callable[[], None] | None = None,
    ) -> Iterator[Result]:
        """Yield what `read` makes of each page of records under `key`, to the end: by `limit` and `offset`."""

        def page_of(reply: Reply) -> tuple[list[dict[str, Any]], Result]:
            return records(reply.body, key), read(reply.body)

        offset, before = 0, None
        while True:
            place = {**(params or {}), "limit": str(size), "offset": str(offset)}
            shown, page = self.read(path, page_of, params=place, table=table, well=well)
            # Where `offset` does nothing the same page comes again.
            if shown == before:
                return
            yield page
            if len(shown) < size:
                return
            before = shown
            offset += size

    def send(
        self,
        method: str,
        path: str,
        success: Success[Result],
        *,
        params: Params | None = None,
        json: Any = None,
        table: Table | None = None,
        quota: Quota | None = None,
        effect_within: timedelta | None = None,
    ) -> Result:
        """Make a call that may change something. `effect_within`: of a success in another shape, as in Problem."""
        reply = self.call(
            method,
            f"{self.root}/{path}",
            quota=self.quota if quota is None else quota,
            headers=self.headers,
            params=params,
            json=json,
        )
        return result_of(reply, self.table if table is None else table, success, effect_within=effect_within)


def part(holder: Any, name: str, kind: type[Result]) -> Result:
    """Return what a JSON object holds under a name; OtherShape unless it is of this kind.

    A truth value is no number.
    """
    value = holder.get(name) if isinstance(holder, Mapping) else None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise OtherShape(name)
    return value


def records(holder: Any, name: str, **kinds: type) -> list[dict[str, Any]]:
    """Return the records a JSON object holds under a name, each with these fields of these kinds; OtherShape else.

    A record that cannot be read may be the one that is looked for: none is passed over.
    """
    found: list[dict[str, Any]] = part(holder, name, list)
    for record in found:
        if not isinstance(record, dict):
            raise OtherShape(name)
        for key, kind in kinds.items():
            part(record, key, kind)
    return found


def id_in(record: Mapping[str, Any], key: str = "id") -> str:
    """Return an id of a record, which may come as a text or a number; OtherShape when it is missing.

    A record that is there without its id must not be taken for one that is not there.
    """
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise OtherShape(key)
    return str(value)


def count_of(value: Any) -> int | None:
    """Return a count, which may come as a text or a number; None when it is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def nothing(reply: Reply) -> None:
    """Read a success of which no body is documented: anything but a page will do."""
    if reply.body is None and reply.size > 0:
        raise OtherShape("an answer")


def some_json(reply: Reply) -> Any:
    """Read a success of which it only matters that it is JSON."""
    if reply.body is None:
        raise OtherShape("an answer")
    return reply.body
