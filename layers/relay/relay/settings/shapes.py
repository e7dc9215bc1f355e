"""How connections are written, and how exports are listed for those who work with all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.domain.exports import Export
from relay.domain.problems import SettingsProblem

CONSENT = "I agree"
COMMON_FIELDS = ("destination", "display_name", "privacy_consent", "description")
"""The fields of a connection's secret that every destination has; the others are the destination's own."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """What cannot be used, and why; `subject` is `export {connection}/{export}` or `connection {connection}`."""

    subject: str
    problem: SettingsProblem


@dataclass(frozen=True, slots=True)
class Listing:
    """All exports: those that can be used by their key, and what is wrong with the others."""

    valid: Mapping[str, Export]
    problems: Sequence[Invalid]
