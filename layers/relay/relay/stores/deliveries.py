"""Deliveries in DynamoDB: pk `connection/export#bucket`, sk profile id; identities lie here in clear."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from relay.domain import deliveries
from relay.domain.deliveries import Delivery
from relay.domain.keyed_hash import bucket_of
from relay.stores import documents
from relay.stores.database import Database, Delete, Key, Put, Table

PAGE = 500


def key_of(export: str, profile: str) -> Key:
    """Return where the delivery of a profile for an export (`connection/name`) lies."""
    return Key(Table.DELIVERIES, f"{export}#{bucket_of(profile):02x}", profile)


def load(database: Database, export: str, profiles: Sequence[str]) -> dict[str, Delivery]:
    """Return the deliveries of all the profiles, empty ones where nothing was ever told."""
    items = database.get([key_of(export, profile) for profile in profiles])
    return {
        profile: Delivery()
        if item is None
        else deliveries.from_json(documents.body_of(item), documents.version_of(item))
        for profile, item in zip(profiles, items, strict=True)
    }


def save(export: str, profile: str, delivery: Delivery) -> Put | Delete:
    """Return the write of a delivery over the version it was read at; an empty one is deleted."""
    key = key_of(export, profile)
    if delivery.is_empty and delivery.version > 0:
        return documents.delete(key, delivery.version)
    return documents.put(key, deliveries.to_json(delivery), delivery.version)


def profiles_of(database: Database, export: str, bucket: int, after: str) -> Iterator[str]:
    """Yield, sorted, the ids of all profiles ever told in a bucket, after a given id, reading page by page."""
    while True:
        page = database.query(Table.DELIVERIES, f"{export}#{bucket:02x}", after=after, limit=PAGE)
        for item in page:
            after = str(item["sk"])
            yield after
        if len(page) < PAGE:
            return


def some(database: Database, export: str, bucket: int, count: int) -> list[Delivery]:
    """Return up to `count` deliveries of a bucket; one that cannot be read is left out."""
    found = []
    for item in database.query(Table.DELIVERIES, f"{export}#{bucket:02x}", limit=count):
        # A defect that one delivery meets concerns its profile alone; its next look records it.
        with suppress(Exception):
            found.append(deliveries.from_json(documents.body_of(item), documents.version_of(item)))
    return found
