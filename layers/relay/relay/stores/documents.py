"""Versioned JSON documents: how nested records lie in the flat items of the database."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from relay.stores.database import ABSENT, Delete, Expectation, Item, Key, Put

# One encoder for all: `json.dumps` with options makes a new one each time.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


PACKED_FROM = 20_000
"""Characters from which a document is kept compressed: an item has room for 400 KB."""


def body_of(item: Item) -> Any:
    """Return the nested value of an item."""
    packed = item.get("packed")
    return json.loads(zlib.decompress(packed) if isinstance(packed, bytes) else str(item["doc"]))


def version_of(item: Item) -> int:
    """Return how often the item was written."""
    return int(item["version"])


def unchanged_since(version: int) -> Expectation:
    """Expect that nobody wrote since `version` was read; 0 means there was no item."""
    return {"pk": ABSENT} if version == 0 else {"version": version}


def put(key: Key, body: Mapping[str, Any], version: int, **attributes: str | int) -> Put:
    """Write a document over the version that was read (0: none)."""
    text = _encode(body)
    document: Item = {"doc": text} if len(text) < PACKED_FROM else {"packed": zlib.compress(text.encode())}
    return Put(key, {**document, "version": version + 1, **attributes}, unchanged_since(version))


def delete(key: Key, version: int) -> Delete:
    """Delete the version that was read."""
    return Delete(key, unchanged_since(version))
