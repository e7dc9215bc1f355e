"""Claims in DynamoDB: pk the claim key, a keyed hash of connection, target and identity."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from relay.domain import claims
from relay.domain.claims import Claim
from relay.stores import documents
from relay.stores.database import Database, Key, Put, Table

FORGOTTEN_AFTER = timedelta(days=90)
"""An unclaimed identity is kept this long, so that a time sent for it does not go backwards when it returns."""


def load(database: Database, keys: Sequence[str]) -> dict[str, Claim]:
    """Return the claims, empty ones where there is none yet."""
    items = database.get([Key(Table.CLAIMS, key) for key in keys])
    return {
        key: Claim() if item is None else claims.from_json(documents.body_of(item), documents.version_of(item))
        for key, item in zip(keys, items, strict=True)
    }


def save(key: str, claim: Claim, now: datetime) -> Put:
    """Return the write of a claim over the version it was read at."""
    write = documents.put(Key(Table.CLAIMS, key), claims.to_json(claim), claim.version)
    is_held = claim.more is not None and claim.sent is not None
    if not claim.claimants and claim.flight is None and not is_held:
        write.item["expires_at"] = int((now + FORGOTTEN_AFTER).timestamp())
    return write
