"""What commands work with: the stack's answers, AWS, a screen and a person. All of it is given."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any

from cyclopts import Parameter

from relay_cli.door import Door
from relay_cli.failures import Failure, UsageFailure
from relay_cli.files import LocalFile
from relay_cli.screen import Person, Screen

Answer = dict[str, Any]
PROTOCOL = 1
"""The version of the questions and answers that this command line speaks."""


class Function(StrEnum):
    """The functions of the stack that answer."""

    VIEW = "view"
    OPERATE = "admin"
    FORGET = "forget"


ANSWERED_BY: Mapping[str, Function] = {
    **dict.fromkeys(
        ("describe", "status", "check", "check_file", "validate", "codes", "plan", "runs", "show", "rejected",
         "explain", "segments", "segment", "import", "imports", "follow", "take", "trace", "attempts"),
        Function.VIEW,
    ),
    **dict.fromkeys(
        ("probe", "run", "run_all", "confirm", "cancel", "confirm_import", "cancel_import", "test"), Function.OPERATE
    ),
    "forget": Function.FORGET,
}  # fmt: skip


@dataclass
class Relay:
    """One command's world."""

    open_door: Callable[[], Door]
    screen: Screen
    person: Person
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    edit: Callable[[str], str]
    """Lets somebody edit a text, and returns it."""
    read: Callable[[str], bytes]
    """Returns what a file holds; `-` is standard input."""
    write: Callable[[str, str], None]
    """Writes a text to a file, whole or not at all."""
    files: Callable[[Sequence[str]], Sequence[LocalFile]]
    """Returns files by their names, of a folder those in it."""
    _door: Door | None = None

    @property
    def door(self) -> Door:
        """AWS, opened when it is first needed."""
        if self._door is None:
            self._door = self.open_door()
        return self._door

    def ask(self, question: str, *, values: bool = False, **arguments: Any) -> Answer:
        """Return the stack's answer. `values` asks for people's values, too, which only operators are shown.

        Arguments that are None are left out. Raises Failure with the stack's own words when it refuses.
        """
        function = Function.OPERATE if values else ANSWERED_BY[question]
        given = {name: value for name, value in arguments.items() if value is not None}
        asked = {"ask": question, "version": PROTOCOL, **given, **({"show_values": True} if values else {})}
        answered = self.door.invoke(function, asked)
        if not isinstance(answered, dict) or answered.get("version") != PROTOCOL:
            raise Failure(
                "The stack speaks another version than this command line.",
                f"It was asked in version {PROTOCOL}.",
                "pipx install the version of the stack",
            )
        if "error" in answered:
            raise refused(answered["error"])
        answer: Answer = answered["answer"]
        return answer

    def ask_list(self, question: str, key: str, **arguments: Any) -> list[Answer]:
        """Return an answer that is a list, or holds one as `key`."""
        answered: Any = self.ask(question, **arguments)
        found: list[Answer] = answered if isinstance(answered, list) else answered[key]
        return found

    def pages(self, question: str, **arguments: Any) -> Iterator[Answer]:
        """Yield the pages of an answer."""
        after = None
        while True:
            page = self.ask(question, **arguments, after=after)
            yield page
            after = page.get("next")
            if after is None:
                return

    def wait(self, seconds: float, look: Callable[[], Any], *, every: float = 1.0) -> Any:
        """Return what `look` returns once it is not None; None when that takes longer than `seconds`."""
        began = self.now()
        while (found := look()) is None:
            if (self.now() - began).total_seconds() >= seconds:
                return None
            self.sleep(every)
        return found


def refused(error: Mapping[str, Any]) -> Failure:
    """Return a refusal of the stack as a failure."""
    if error["code"] == "unknown_question":
        why = "Its version is older than this command line's."
        return Failure("The stack does not know this question.", why, "relay status, which shows its version")
    errors = [dict(one) for one in error.get("errors") or ()]
    field = f"{error['field']}: " if error.get("field") and not errors else ""
    what = str(error["what"])
    # The text of a problem often begins with its field already.
    why = what if not field or what.startswith(field) else f"{field}{what}"
    return Failure(
        f"The stack refuses this ({error['code']}).",
        "" if errors else why,
        str(error.get("next_step") or ""),
        errors=errors,
    )


def unknown(kind: str, name: str, names: Sequence[str], helps: str) -> Failure:
    """Return the failure of a name that there is not, with the names nearest to it."""
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if "." in name and "/" not in name and kind == "export":
        near = [name.replace(".", "/", 1), *near]
    suggestion = f"Did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
    return UsageFailure(f"There is no {kind} {name}.", suggestion, helps)


Injected = Annotated[Relay, Parameter(parse=False)]
"""How a command gets its world: `app.py` hands it over, the command line cannot set it."""
