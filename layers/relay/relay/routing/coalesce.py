"""The second step: changes become customers. Whoever shares an id is one customer, in what came and in the store."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from relay.routing.read import Arrival
from relay.stores import profiles
from relay.stores.profiles import Stored


@dataclass(slots=True, eq=False)
class Customer:
    """One customer of a source: all ids by which changes name it, sorted, and these changes in the order they came."""

    source: str
    ids: tuple[str, ...]
    arrivals: list[Arrival]
    is_large: bool = False
    """The profile does not fit into an item unless something is left out."""
    given_up: set[str] = field(default_factory=set)
    """The profiles that were made aliases of this customer's."""

    def absorb(self, other: "Customer") -> None:
        """Take over what turned out to be about the same customer."""
        self.ids = tuple(sorted({*self.ids, *other.ids}))
        self.arrivals += other.arrivals
        self.is_large |= other.is_large
        self.given_up |= other.given_up


def by_id(arrivals: Iterable[Arrival]) -> list[Customer]:
    """Gather changes by customer, as far as their ids say who is who."""
    customers = (Customer(arrival.source, arrival.change.profile_ids, [arrival]) for arrival in arrivals)
    return _united(customers, lambda profile_id: profile_id)


def by_profile(customers: Iterable[Customer], found: Mapping[str, Stored]) -> list[Customer]:
    """Make one of the customers whose ids lead to the same profile."""
    return _united(customers, lambda profile_id: profiles.root_of(profile_id, found))


def _united(customers: Iterable[Customer], key_of: Callable[[str], str]) -> list[Customer]:
    """Make one of the customers that have a key of an id in common; the first of them absorbs the others."""
    by_key: dict[str, Customer] = {}
    for customer in customers:
        keys = map(key_of, customer.ids)
        one, *others = *dict.fromkeys(by_key[key] for key in keys if key in by_key), customer
        for other in others:
            one.absorb(other)
        by_key.update(dict.fromkeys(map(key_of, one.ids), one))
    return list(dict.fromkeys(by_key.values()))
