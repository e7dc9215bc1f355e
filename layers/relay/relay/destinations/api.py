"""Calls to one API: its address, its key, what its answers mean, and reading what a success holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from relay.destinations.contract import Caller, Params, Quota, Reply
from relay.destinations.error_table import DEFAULT_TABLE, OtherShape, Outcome, Refused, Table, result_of
from relay.destinations.outcomes import nothing_done
from relay.domain.problems import Transient

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
        quota: Quota | None = None,
    ) -> Result:
        """Make a call that only reads: whatever becomes of it, nothing was done.

        Raises ReadRefused where the content is refused. Raises Refused only by a table's own row of outcome REJECTION.
        """
        with nothing_done():
            try:
                return self.send("GET", path, success, params=params, table=table, quota=quota)
            except Refused as refused:
                if refused.row.outcome is Outcome.REJECTION:
                    raise
                raise ReadRefused("read_refused", f"refuses to show it (HTTP {refused.reply.status})") from None

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


def nothing(reply: Reply) -> None:
    """Read a success of which no body is documented: anything but a page will do."""
    if reply.body is None and reply.size > 0:
        raise OtherShape("an answer")
