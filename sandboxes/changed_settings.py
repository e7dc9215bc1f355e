"""Reading of settings that are changed while a sandbox runs (`POST /_sandbox/settings`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from sandboxes.answers import InvalidControlError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Config = TypeVar("Config", bound=DataclassInstance)

Reader = Callable[[object], object]


def with_changes(config: Config, changes: Mapping[str, object], readers: Mapping[str, Reader]) -> Config:
    """Return `config` with `changes` applied; raise `InvalidControlError` on an unknown name or a bad value."""
    unknown = sorted(set(changes) - set(readers))
    if unknown:
        raise InvalidControlError(f"cannot change {', '.join(unknown)}; known: {', '.join(sorted(readers))}")
    read: dict[str, Any] = {}
    for name, value in changes.items():
        try:
            read[name] = readers[name](value)
        except (TypeError, ValueError) as error:
            raise InvalidControlError(f"{name}: {error}") from error
    return dataclasses.replace(config, **read)


def text(value: object) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text")
    return value


def flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def number(value: object) -> int:
    """Read a whole number of at least 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("must be a whole number")
    return value


def optional_number(value: object) -> int | None:
    """Read a whole number, or null for no limit."""
    return None if value is None else number(value)


def seconds(value: object) -> float:
    """Read a duration."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise ValueError("must be a number of seconds")
    return float(value)


def one_of(*choices: str) -> Reader:
    """Return a reader that takes one of these texts."""

    def read(value: object) -> object:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return read


def numbered_texts(value: object) -> dict[int, str]:
    """Read an object whose keys are ids in digits, e.g. `{"7": "Newsletter"}`."""
    if not isinstance(value, dict):
        raise ValueError("must be an object of id to text")
    return {int(key): text(entry) for key, entry in value.items()}


def id_set(value: object) -> frozenset[int]:
    """Read a list of ids."""
    if not isinstance(value, list):
        raise ValueError("must be a list of ids")
    return frozenset(number(entry) for entry in value)


def address_set(value: object) -> frozenset[str]:
    """Read a list of e-mail addresses; their case does not matter."""
    if not isinstance(value, list):
        raise ValueError("must be a list of addresses")
    return frozenset(text(entry).lower() for entry in value)
