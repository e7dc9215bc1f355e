"""What somebody writes down to use the account of a sandbox as it is at the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sample:
    """A connection and an export that work with an account of the default settings.

    `name` is what the connection may be called. `connection` are the fields that the destination asks for. `mapping` is
    over profiles that have the identity `crm` and the attributes `email` and `firstName`. `options` are those of the
    export.
    """

    name: str
    connection: Mapping[str, str]
    mapping: Mapping[str, str]
    options: Mapping[str, object] = field(default_factory=dict)
