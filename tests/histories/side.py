"""What a history needs to know of a destination: its sandbox, its people, its trouble, and what must be true."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from local.sandboxes.limits import Quota
from relay.destinations.contract import Destination
from relay.domain.exports import Connection, Export
from tests.fakes.virtual_clock import VirtualClock
from tests.histories.people import Person, Wanted

SEGMENTS = ("shop/vip", "shop/lapsed")


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store says at the end."""

    wanted: Mapping[tuple[str, str], Wanted]
    """What the winner wants, by target and identity."""
    refused: Mapping[tuple[str, str], str]
    """The codes of what the destination does not take as it is desired now, by target and identity."""
    rejected: Mapping[str, str]
    """The codes of profiles for which no identity could be made."""


class Side(ABC):
    """One destination with its sandbox, for one history."""

    name: str

    def __init__(self, chance: Random, clock: VirtualClock) -> None:
        self.chance = chance
        self.clock = clock
        self.export: Export = self._export()
        self.app: Flask = self._app()
        self.control: FlaskClient = self.app.test_client()
        self.destination: Destination = self._destination()
        self.connection = Connection(
            "acme", self.name, "Acme", self.destination.connection_model.model_validate(self._secret())
        )

    @abstractmethod
    def _destination(self) -> Destination:
        """Return the real destination, in the history's time."""

    @abstractmethod
    def _app(self) -> Flask:
        """Return the sandbox, in the history's time."""

    @abstractmethod
    def _export(self) -> Export:
        """Return the export of this history."""

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
        """Return what the sandbox holds otherwise than is desired, without a good reason."""

    def complaints(self) -> list[str]:
        """Return what is wrong at any moment, whatever is under way."""
        return []

    def limits_exceeded(self) -> list[str]:
        """Return the documented limits that were exceeded, which a vendor would have to enforce."""
        quotas: Mapping[str, Quota] = self.app.extensions["sandbox"].quotas()
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
