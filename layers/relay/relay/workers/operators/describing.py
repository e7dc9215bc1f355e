"""What can be written: the fields of sources, connections and exports, the destinations, and the stack itself."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import Field

from relay.destinations.contract import Destination
from relay.destinations.standard import BaseDestination
from relay.settings import described
from relay.settings.described import Described
from relay.version import VERSION
from relay.workers.operators.codes import Code, all_codes
from relay.workers.operators.protocol import Answer, Question


class Describe(Question):
    """Show what the stack is, which fields its settings have, and what its codes mean."""


class FieldPicture(Answer):
    """One field."""

    name: str
    means: str
    required: bool
    secret: bool = Field(description="Whether its value is a secret: never shown, never an argument.")
    default: Any = None
    choices: list[str] | None = None
    example: Any = None
    type: str = Field(description="Of its values in JSON: string, integer, number, boolean, array or object.")


class DestinationPicture(Answer):
    """What a destination wants."""

    title: str
    connection_fields: list[FieldPicture] = Field(description="Its own, beside those of every connection.")
    export_options: list[FieldPicture]
    mapping_fields: list[FieldPicture]
    identity: str = Field(description="The field of the mapping that a person is known by.")
    stream: bool = Field(description="Whether an export streams unless it says otherwise.")


class StackPicture(Answer):
    """The stack."""

    prefix: str
    version: str
    region: str | None


class Description(Answer):
    """All that can be written."""

    stack: StackPicture
    destinations: dict[str, DestinationPicture]
    source_fields: list[FieldPicture]
    connection_fields: list[FieldPicture] = Field(description="Those of every connection.")
    export_fields: list[FieldPicture]
    codes: list[Code]


class Describing:
    """Answers `describe`."""

    def __init__(
        self, prefix: str, region: str | None, names: Iterable[str], destinations: Callable[[str], Destination]
    ) -> None:
        self._stack = StackPicture(prefix=prefix, version=VERSION, region=region)
        self._names = sorted(names)
        self._destinations = destinations

    def describe(self, question: Describe) -> Description:  # noqa: ARG002 - it has no arguments
        """Describe everything."""
        return Description(
            stack=self._stack,
            destinations={name: _destination(self._destinations(name)) for name in self._names},
            source_fields=_pictures(described.SOURCE),
            connection_fields=_pictures(described.CONNECTION),
            export_fields=_pictures(described.EXPORT),
            codes=list(all_codes()),
        )


def _destination(destination: Destination) -> DestinationPicture:
    fields: Sequence[str] = destination.fields if isinstance(destination, BaseDestination) else ()
    mapping = [Described(destination.identity, "What the destination knows a person by.", True)]
    mapping += [Described(field, "A field of the destination.") for field in fields]
    return DestinationPicture(
        title=destination.title if isinstance(destination, BaseDestination) else destination.name,
        connection_fields=_pictures(described.of_model(destination.connection_model)),
        export_options=_pictures(described.of_model(destination.options_model)),
        mapping_fields=_pictures(mapping),
        identity=destination.identity,
        stream=destination.streams,
    )


def _pictures(fields: Iterable[Described]) -> list[FieldPicture]:
    return [
        FieldPicture(**{**field._asdict(), "choices": None if field.choices is None else list(field.choices)})
        for field in fields
    ]
