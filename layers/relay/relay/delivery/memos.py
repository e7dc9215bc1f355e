"""What a destination asked to remember of one identity at one target, for whoever needs it at another target."""

from relay.delivery.wishes import claim_key
from relay.domain.keyed_hash import KeyedHash
from relay.stores import claims
from relay.stores.database import Database


def memo_at(database: Database, keyed: KeyedHash, connection: str, target: str, identity: str) -> str | None:
    """Return what was remembered, None when there is nothing."""
    key = claim_key(keyed, connection, target, identity)
    return claims.load(database, [key])[key].memo
