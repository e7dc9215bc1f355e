"""Confirming and cancelling what takes people out: runs, and imports of segment files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from relay_cli.failures import Failure
from relay_cli.relay import Answer, Relay
from relay_cli.views.runs import NEEDS_CONFIRMATION


@dataclass(frozen=True, slots=True)
class Ended:
    """What somebody can confirm and cancel; `named` is how questions call it."""

    word: str
    command: str
    named: str
    show: str
    confirm: str
    cancel: str

    def ask(self, relay: Relay, question: str, name: str) -> Answer:
        """Ask the stack about one."""
        named: dict[str, Any] = {self.named: name}
        return relay.ask(question, **named)


RUN = Ended("run", "relay runs", "run", "show", "confirm", "cancel")
IMPORT = Ended("import", "relay segments imports", "id", "import", "confirm_import", "cancel_import")


def confirmed(relay: Relay, kind: Ended, name: str, question: Callable[[Answer], str], *, yes: bool) -> Answer:
    """Let one take people out that waits for it, once somebody agrees; raises Failure where it does not wait."""
    shown = kind.ask(relay, kind.show, name)
    if shown["state"] != NEEDS_CONFIRMATION:
        raise _left_as_it_is(
            kind,
            name,
            f"It is {shown['state']}: only {_a(kind)} that needs confirmation can be confirmed.",
        )
    relay.person.agrees(question(shown), said_before=yes, helps=f"{kind.command} confirm {name} --yes")
    return _done(relay, kind, name, kind.confirm)


def cancelled(relay: Relay, kind: Ended, name: str) -> Answer:
    """End one where it stands; raises Failure with the reason where that cannot be."""
    return _done(relay, kind, name, kind.cancel)


def _done(relay: Relay, kind: Ended, name: str, question: str) -> Answer:
    answer = kind.ask(relay, question, name)
    if not answer["done"]:
        raise _left_as_it_is(kind, name, str(answer.get("reason") or ""))
    return answer


def _left_as_it_is(kind: Ended, name: str, why: str) -> Failure:
    return Failure(f"{kind.word.capitalize()} {name} was left as it is.", why, f"{kind.command} show {name}")


def _a(kind: Ended) -> str:
    return f"an {kind.word}" if kind.word[0] in "aeiou" else f"a {kind.word}"
