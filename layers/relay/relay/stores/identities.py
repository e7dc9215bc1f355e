"""Identity records in DynamoDB: pk the record's key, a keyed hash of connection, target and identity.

The record lies in one attribute as compact JSON, times in microseconds since 1970. `format` is the version of that
form.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from relay.domain.identity import (
    NOBODY,
    OUT,
    UNKNOWN,
    Acknowledged,
    Authority,
    Basis,
    Call,
    Content,
    Digest,
    Record,
    Refused,
    Rest,
    Unwanted,
    Wanted,
)
from relay.domain.keyed_hash import KeyedHash
from relay.domain.moments import from_microseconds, microseconds
from relay.stores.database import ABSENT, Database, Delete, Item, Key, Put, Table, Update, Write

FORMAT: Final = 1

FORGOTTEN_AFTER = timedelta(days=90)
"""A record nobody wants is kept this long: the latest time sent and the destination's evidence are of use till then."""

NEVER: Final = 9_999_999_999
"""`expires_at` of a record that is kept: an attribute that is always there need not be removed."""


class Stored(NamedTuple):
    """A record and how often it was written; 0 when it is not stored."""

    record: Record
    version: int


ABSENT_RECORD: Final = Stored(Record(), 0)


def key_of(keyed: KeyedHash, connection: str, target: str, identity: str) -> str:
    """Return the key of a record."""
    return keyed("identity", connection, target, identity)


def load(database: Database, keys: Sequence[str]) -> dict[str, Stored]:
    """Return the records by key, the default for those not stored."""
    items = database.get([Key(Table.IDENTITIES, key) for key in keys])
    return {
        key: ABSENT_RECORD if item is None else Stored(decode(str(item["doc"])), int(item["version"]))
        for key, item in zip(keys, items, strict=True)
    }


def evidence(database: Database, keyed: KeyedHash, connection: str, target: str, identity: str) -> str | None:
    """Return what the destination gave back with the last call that it took for an identity, None when nothing."""
    key = key_of(keyed, connection, target, identity)
    return load(database, [key])[key].record.evidence


def save(key: str, record: Record, version: int, now: datetime) -> Write:
    """Return the write of a record over the version that was read (0: it must not exist).

    A record expires once nobody wants the identity and nobody has to be taken out any more.
    """
    is_over = isinstance(record.desired, Unwanted) and record.desired.leaving is None
    over = now if record.open is None else max(now, record.open.deadline)
    expires_at = int((over + FORGOTTEN_AFTER).timestamp()) if is_over else NEVER
    item: Item = {"doc": encode(record), "version": version + 1, "expires_at": expires_at}
    place = Key(Table.IDENTITIES, key)
    if version == 0:
        return Put(place, {**item, "format": FORMAT}, {"pk": ABSENT})
    return Update(place, item, expect={"version": version})


def delete(key: str, version: int) -> Write:
    """Return the write that deletes the version of a record that was read."""
    return Delete(Key(Table.IDENTITIES, key), {"version": version})


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
# Half the time of `json.loads`, which looks for spaces around.
_decode = json.JSONDecoder().raw_decode


def encode(record: Record) -> str:
    """Return the stored form of a record."""
    desired, call, refused = record.desired, record.open, record.refused
    doc: list[Any] = [
        list(record.authority),
        [list(desired.by), desired.digest, None if desired.basis is None else list(desired.basis)]
        if isinstance(desired, Wanted)
        else [desired.rest.value, desired.leaving],
        _microseconds(record.turned_away_at),
        _text(record.acknowledged),
        _microseconds(record.since),
        None
        if call is None
        else [
            call.id,
            _text(call.content),
            _microseconds(call.send_by),
            _microseconds(call.deadline),
            _microseconds(call.earlier),
        ],
        _microseconds(record.sent_at),
        record.evidence,
        None if refused is None else [_text(refused.content), refused.code, _microseconds(refused.at), refused.under],
        record.last_refusal,
        record.last_call,
    ]
    while doc[-1] is None:
        doc.pop()
    return _encode(doc)


def decode(text: str) -> Record:
    """Read the stored form of a record."""
    doc, _ = _decode(text)
    doc += [None] * (11 - len(doc))
    authority, desired, turned_away_at, acknowledged, since, call, sent_at, evidence, refused, *rest = doc
    last_refusal, last_call = rest
    return Record(
        Authority(*authority),
        _desired(desired),
        _moment(turned_away_at),
        _acknowledged(acknowledged),
        _moment(since),
        None if call is None else _call(call),
        _moment(sent_at),
        evidence,
        None if refused is None else _refused(refused),
        last_refusal,
        last_call,
    )


def _desired(given: Sequence[Any]) -> Wanted | Unwanted:
    if len(given) == 3:
        by, digest, basis = given
        return Wanted(tuple(by), digest, None if basis is None else Basis(*basis))
    rest, leaving = given
    return NOBODY if leaving is None and rest == Rest.OUT.value else Unwanted(Rest(rest), leaving)


def _call(given: Sequence[Any]) -> Call:
    call_id, content, send_by, deadline, earlier = given
    return Call(call_id, _content(content), from_microseconds(send_by), from_microseconds(deadline), _moment(earlier))


def _refused(given: Sequence[Any]) -> Refused:
    content, code, at, under = given
    return Refused(_content(content), code, from_microseconds(at), under)


# Digests are hexadecimal in lower case, so these words are none of them.
_WORDS: Mapping[object, str] = {OUT: "OUT", UNKNOWN: "UNKNOWN"}


def _text(content: Acknowledged) -> str:
    return content if isinstance(content, str) else _WORDS[content]


def _content(text: str) -> Content:
    return OUT if text == "OUT" else Digest(text)


def _acknowledged(text: str) -> Acknowledged:
    return UNKNOWN if text == "UNKNOWN" else _content(text)


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)


def _moment(given: int | None) -> datetime | None:
    return None if given is None else from_microseconds(given)
