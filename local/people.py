"""Made-up customers for the demo: what the platforms send about them, and what the destinations must hold then.

What is expected is worked out here from what was sent, in the plainest way, and never asked of the stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

TRIAL = "3f1d0c52-8a57-4a0e-9a0f-5d9c6f0f7b11"
POWER = "c09e2a44-61b2-4c5d-8f53-2b7b3f5c1e90"
SEGMENT_NAMES = {TRIAL: "Trial users", POWER: "Power users"}
"""Segments as Adobe Experience Platform names them: ids on the wire, names beside them."""

CUSTOMERS = "customers"
"""The segment of the other platform."""

_FIRST = ("Mireille", "Tomás", "Akua", "Ingrid", "Bartholomäus", "Chiara", "Dmitri", "Eun-ji", "Fatima", "Günter")
_LAST = ("Okonjo-Barnes", "Ørsted", "Lindqvist", "van der Berg", "Marić", "O'Neill", "Yamada", "Szabó", "Haddad", "Lee")
_TIERS = ("gold", "silver", "bronze")
_BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
"""Lately, as on a real wire: who left longer ago than a month is not remembered as having left."""


@dataclass(frozen=True)
class Visitor:
    """A profile at Adobe Experience Platform; `segments` maps to realized (True) or exited (False)."""

    number: int
    segments: Mapping[str, bool]
    qualified_at: datetime
    known: bool = True
    """Whether there is a customer id, which is the IDENTIFY_ID at Gainsight PX."""

    @property
    def customer_id(self) -> str:
        """The IDENTIFY_ID."""
        return f"HB-{100_000 + self.number}"

    def profile(self) -> dict[str, Any]:
        """Return the profile as Adobe's HTTP API destination sends it."""
        time = _text(self.qualified_at)
        return {
            "person": {"name": {"firstName": _FIRST[self.number % 10], "lastName": _LAST[self.number % 7]}},
            "personalEmail": {"address": f"visitor{self.number}@harbour-books.example"},
            "_harbourbooks": {"loyaltyTier": _TIERS[self.number % 3]},
            "segmentMembership": {
                "ups": {
                    segment: {
                        "lastQualificationTime": time,
                        "status": "realized" if inside else "exited",
                        "name": SEGMENT_NAMES[segment],
                    }
                    for segment, inside in self.segments.items()
                }
            },
            "identityMap": {
                "ECID": [{"id": f"{41_280_017_734_420_917_730 + self.number}", "primary": True}],
                **({"crmId": [{"id": self.customer_id}]} if self.known else {}),
            },
        }


def first_visitors(count: int = 40, nameless: int = 2) -> list[Visitor]:
    """Return visitors of both segments, some of them leaving one at once, and a few without a customer id."""
    visitors = [Visitor(n, {TRIAL: n % 2 == 0} | ({POWER: True} if n % 3 == 0 else {}), _BEGIN) for n in range(count)]
    return visitors + [Visitor(count + n, {TRIAL: True}, _BEGIN, known=False) for n in range(nameless)]


def later_visitors(earlier: Iterable[Visitor]) -> list[Visitor]:
    """Return those of whom there is news an hour later: some leave, some come, some do both."""
    news: list[Visitor] = []
    for visitor in earlier:
        changed: dict[str, bool] = {}
        if visitor.number % 8 == 0:
            changed[TRIAL] = False
        if visitor.number % 9 == 0:
            changed[POWER] = False
        if visitor.number % 10 == 7:
            changed |= {TRIAL: True, POWER: True}
        if changed and visitor.known:
            news.append(replace(visitor, segments=changed, qualified_at=_BEGIN + timedelta(hours=1)))
    return news


def members(visitors: Iterable[Visitor]) -> dict[str, set[str]]:
    """Return who is in which segment when all has come: the newest qualification counts."""
    newest: dict[tuple[str, str], tuple[datetime, bool]] = {}
    for visitor in visitors:
        for segment, inside in visitor.segments.items() if visitor.known else ():
            place = (segment, visitor.customer_id)
            if place not in newest or newest[place][0] < visitor.qualified_at:
                newest[place] = (visitor.qualified_at, inside)
    found: dict[str, set[str]] = {TRIAL: set(), POWER: set()}
    for (segment, customer_id), (_, inside) in newest.items():
        if inside:
            found[segment].add(customer_id)
    return found


@dataclass(frozen=True)
class Customer:
    """A customer of the shop's own system."""

    number: int
    email: str | None

    @property
    def contact(self) -> tuple[str, str, str, str]:
        """First name, last name, phone and custom field as ActiveCampaign should hold them."""
        tier = _TIERS[self.number % 3]
        return _FIRST[self.number % 10], _LAST[self.number // 10 % 10], f"+32 470 {self.number:06}", tier

    def change(self) -> dict[str, Any]:
        """Return the customer in our own JSON dialect."""
        first_name, last_name, phone, tier = self.contact
        identities = {"crm_id": f"HB-{200_000 + self.number}"}
        return {
            "identities": identities if self.email is None else {**identities, "email": self.email},
            "attributes": {"first_name": first_name, "last_name": last_name, "phone": phone, "tier": tier},
            "memberships": [{"segment": CUSTOMERS, "status": "realized", "at": _text(_BEGIN), "name": "Customers"}],
        }


def customers(count: int) -> list[Customer]:
    """Return customers who can all be delivered."""
    return [Customer(n, f"customer{n}@harbour-books.example") for n in range(count)]


def bad_customers(after: int) -> list[Customer]:
    """Return customers nobody can write to: three without an e-mail address, two with a malformed one."""
    addresses = (None, None, None, "not-an-address", "two@@signs.example")
    return [Customer(after + place, address) for place, address in enumerate(addresses)]


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def in_requests(bodies: Sequence[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Cut into requests of at most `size`."""
    for start in range(0, len(bodies), size):
        yield list(bodies[start : start + size])
