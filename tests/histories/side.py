"""What a history needs to know of a destination: its sandbox, its people, its trouble, and what must be true."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from relay.destinations.contract import Destination
from relay.domain.assignment import Pair
from relay.domain.exports import Connection, Export
from relay.domain.identity import Record, Rest, Unwanted, wanted_content
from sandboxes.limits import Quota
from tests.fakes.virtual_clock import VirtualClock
from tests.histories.people import Person, Wanted
from tests.simulation.settings import Console

SEGMENTS = ("shop/vip", "shop/lapsed")

CONNECTION = "acme"
FIRST, SECOND = "everyone", "others"
"""The two exports of a history; most have the first alone."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store says at the end: whose every target is, who is wanted where, and how identities stand."""

    owners: Mapping[str, Export]
    """By target; targets of deleted exports are left out."""
    wanted: Mapping[Pair, Sequence[Wanted]]
    """The winner first."""
    record: Callable[[Pair], Record]

    def reason(self, pair: Pair) -> str | None:
        """Return the code of a refusal that stands in the way of what is wanted for an identity now."""
        record = self.record(pair)
        refused = record.refused
        if refused is not None and refused.content == wanted_content(record):
            return refused.code
        desired = record.desired
        return "kept" if isinstance(desired, Unwanted) and desired.rest is Rest.KEEP else None


class Side(ABC):
    """One destination with its sandbox, for one history."""

    name: str

    def __init__(self, chance: Random, clock: VirtualClock) -> None:
        self.chance = chance
        self.clock = clock
        self.edits = chance.random() < 0.4
        """Whether somebody edits the exports during this history."""
        self.export: Export = self._export()
        self.app: Flask = self._app()
        self.control: FlaskClient = self.app.test_client()
        self.destination: Destination = self.new_destination()
        self.connection = Connection(
            CONNECTION, self.name, "Acme", self.destination.connection_model.model_validate(self._secret())
        )

    @abstractmethod
    def new_destination(self) -> Destination:
        """Return the real destination as a new process has it, in the history's time."""

    @abstractmethod
    def _app(self) -> Flask:
        """Return the sandbox, in the history's time."""

    @abstractmethod
    def _export(self) -> Export:
        """Return the export this history begins with."""

    @abstractmethod
    def _secret(self) -> dict[str, str]:
        """Return the connection's fields."""

    @abstractmethod
    def person(self, number: int, crowd: int) -> Person:
        """Return person `number` of a crowd as somebody new."""

    @abstractmethod
    def edit(self, person: Person, crowd: int) -> None:
        """Change something of a person."""

    @abstractmethod
    def fault(self) -> dict[str, Any]:
        """Return a rule for the sandbox's fault script."""

    @abstractmethod
    def by_hand(self, people: Sequence[Person]) -> str | None:
        """Somebody does something in the tool itself; return what, in a few words."""

    @abstractmethod
    def differences(self, stored: Stored) -> list[str]:
        """Return what the sandbox holds otherwise than the store wants without a good reason."""

    @abstractmethod
    def _edited(self, export: Export, *, alone: bool) -> Export:
        """Return an export with other options, segments or mapping; `alone` when there is no other."""

    @abstractmethod
    def _shared(self, first: Export, second: Export) -> tuple[Export, Export]:
        """Return two exports that have the targets of this history between them, in a way that is drawn."""

    @abstractmethod
    def _second(self, first: Export) -> Export:
        """Return an export that takes over all that another one has."""

    # Settings.

    def edit_settings(self, console: Console) -> str:
        """An administrator edits the exports; return what was done, in a few words."""
        act = self.chance.choice((self._pause, self._edit_one, self._edit_one, self._hand_over, self._hand_over))
        return act(console)

    def _pause(self, console: Console) -> str:
        export = console.edit(self._flipped(self.chance.choice(list(console.exports.values()))))
        return f"{export.key} is {'active' if export.active else 'paused'}"

    @staticmethod
    def _flipped(export: Export) -> Export:
        return replace(export, active=not export.active)

    def _edit_one(self, console: Console) -> str:
        export = self.chance.choice(list(console.exports.values()))
        if self.chance.random() < 0.3:
            edited = console.edit(replace(export, stream=not export.stream))
        else:
            edited = console.edit(self._edited(export, alone=len(console.exports) == 1))
        return f"{export.key} is edited: {edited}"

    def _hand_over(self, console: Console) -> str:
        """Targets pass from one export to the other."""
        first, second = (console.exports.get(f"{CONNECTION}/{name}") for name in (FIRST, SECOND))
        roll = self.chance.random()
        if first is None or second is None:
            holder = first or second
            assert holder is not None
            other = self._second(holder)
            if roll < 0.5:
                # The console shows the one gone before the other can be saved.
                del console.exports[holder.key]
                console.edit(other)
                return f"{holder.key} is deleted, {other.key} takes its place"
            first, second = (holder, other) if holder.name == FIRST else (other, holder)
        elif roll < 0.3:
            gone, stays = (first, second) if self.chance.random() < 0.5 else (second, first)
            del console.exports[gone.key]
            return f"{gone.key} is deleted, {stays.key} stays"
        for export in self._shared(first, second):
            console.edit(export)
        return f"{list(console.exports.values())} share the targets"

    def seen(self, export: Export) -> None:  # noqa: B027 - not every side has to
        """Take note of an export as it acts from now on."""

    # What must be true.

    def complaints(self) -> list[str]:
        """Return what is wrong at any moment, whatever is under way."""
        return []

    def limits_exceeded(self) -> list[str]:
        """Return the documented limits that were exceeded, which a vendor would have to enforce."""
        quotas: Mapping[str, Quota] = self.app.extensions["sandbox"].quotas
        return [f"more than {quota.limit}: {name}" for name, quota in quotas.items() if quota.report()["violations"]]

    def calm(self) -> None:
        """End all trouble."""
        self.control.delete("/_sandbox/faults")

    def post(self, page: str, body: object) -> None:
        """Use the sandbox's control API."""
        answer = self.control.post(f"/_sandbox/{page}", json=body)
        assert answer.status_code == 200, answer.get_data(as_text=True)

    def counters(self) -> dict[str, Any]:
        """Return what the sandbox counted."""
        counted: dict[str, Any] = self.control.get("/_sandbox/counters").get_json()
        return counted
