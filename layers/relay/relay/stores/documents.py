"""Versioned JSON documents: how nested records lie in the flat items of the database."""

import json
from collections.abc import Mapping
from typing import Any

from relay.stores.database import ABSENT, Delete, Expectation, Item, Key, Put

# One encoder for all: `json.dumps` with options makes a new one each time.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def body_of(item: Item) -> Any:
    """Return the nested value of an item."""
    return json.loads(str(item["doc"]))


def version_of(item: Item) -> int:
    """Return how often the item was written."""
    return int(item["version"])


def unchanged_since(version: int) -> Expectation:
    """Expect that nobody wrote since `version` was read; 0 means there was no item."""
    return {"pk": ABSENT} if version == 0 else {"version": version}


def put(key: Key, body: Mapping[str, Any], version: int, **attributes: str | int) -> Put:
    """Write a document over the version that was read (0: none)."""
    return Put(key, {"doc": _encode(body), "version": version + 1, **attributes}, unchanged_since(version))


def delete(key: Key, version: int) -> Delete:
    """Delete the version that was read."""
    return Delete(key, unchanged_since(version))
