"""Every destination there is, and the model that new ones are made of: the suite goes over them all.

A destination brings `<name>_subject.py`, with its `SUBJECTS`, and `<name>_mistakes.py`, with its `MISTAKES`, to this
folder. Nothing lists them by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from relay.destinations import registry

MODEL = "newsletter_tool"
PACKAGES: Mapping[str, str] = {**registry.PACKAGES, MODEL: "scaffold.model.package"}


def part_of(name: str, what: str) -> ModuleType:
    """Return what a destination brings: its `subject` or its `mistakes`."""
    return import_module(f"scaffold.model.{what}" if name == MODEL else f"tests.contract.{name}_{what}")
