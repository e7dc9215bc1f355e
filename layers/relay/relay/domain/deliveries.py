"""Deliveries: what a destination was last told about one profile for one export, and how that differs from the wish."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from relay.domain import moments
from relay.domain.problems import Rejection, RejectionKind

MAPPING = ""
"""The key of a refusal that no identity could be made for."""


@dataclass(frozen=True, slots=True)
class Told:
    """One identity the profile claims at one target.

    `digest` is the payload the destination last took from this profile; None while that is open (a duplicate, a call
    in flight). `gone` marks a claim given back whose heirs may not have been woken yet.
    """

    target: str
    identity: str
    digest: str | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rejection, the digest of what was refused, and when: not tried again for the same payload.

    `settings` names the settings of export and connection that it was sent under, without repeating them; "" where
    that was not kept.
    """

    rejection: Rejection
    digest: str
    at: datetime
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Everything told about (export, profile), by claim key.

    `settings` is the version of the export's settings it was written under. `sent_in` names the last run in which a
    call for this profile was answered, `counted_in` the last run whose ledger an import of it was settled in,
    `begun_in` the last one that began a call for it, `new_in` the run that began to tell of it when nothing was told.
    """

    told: Mapping[str, Told] = field(default_factory=dict)
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    settings: int = 0
    sent_in: str | None = None
    counted_in: str | None = None
    begun_in: str | None = None
    new_in: str | None = None
    version: int = 0

    @property
    def is_empty(self) -> bool:
        """Nothing told, nothing refused, no run that may ask about it: the record need not be kept."""
        return not self.told and not self.refusals and self.sent_in is None and self.counted_in is None


@dataclass(frozen=True, slots=True)
class Want:
    """What one profile should be told at one claim: in, with these values, since `at`."""

    target: str
    identity: str
    digest: str
    at: datetime
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """Claims to join or update, and claims to give back."""

    joins: Mapping[str, Want]
    leaves: Mapping[str, Told]

    def __bool__(self) -> bool:
        return bool(self.joins or self.leaves)


def compare(wanted: Mapping[str, Want], delivery: Delivery, *, thorough: bool) -> Difference:
    """Return what must be done. `thorough` looks at the claims behind what seems settled, too."""
    joins = {
        key: want
        for key, want in wanted.items()
        if thorough or key not in delivery.told or delivery.told[key].digest != want.digest
    }
    leaves = {key: told for key, told in delivery.told.items() if key not in wanted}
    return Difference(joins, leaves)


def to_json(delivery: Delivery) -> dict[str, Any]:
    """Return the stored form (without its version). What is alike stands together, for the sake of compression."""
    told = sorted(delivery.told.items(), key=lambda pair: (pair[1].identity, pair[1].target))
    return {
        "told": {key: [t.target, t.identity, t.digest, t.gone] for key, t in told},
        "refusals": {
            key: [
                r.rejection.kind.value,
                r.rejection.code,
                r.rejection.detail,
                r.digest,
                moments.text(r.at),
                r.settings,
            ]
            for key, r in delivery.refusals.items()
        },
        "settings": delivery.settings,
        "sent_in": delivery.sent_in,
        "counted_in": delivery.counted_in,
        "begun_in": delivery.begun_in,
        "new_in": delivery.new_in,
    }


def from_json(body: Mapping[str, Any], version: int) -> Delivery:
    """Read the stored form."""
    return Delivery(
        told={key: Told(*told) for key, told in body["told"].items()},
        refusals={
            key: Refusal(Rejection(RejectionKind(kind), code, detail), digest, moments.parse(at), *settings)
            for key, (kind, code, detail, digest, at, *settings) in body["refusals"].items()
        },
        settings=body["settings"],
        sent_in=body["sent_in"],
        counted_in=body["counted_in"],
        begun_in=body.get("begun_in"),
        new_in=body.get("new_in"),
        version=version,
    )
