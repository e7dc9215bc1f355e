"""Identity records as they are stored: every record comes back as it was, and an overtaken writer writes nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.identity import (
    MOST_CLAIMANTS,
    NOBODY,
    OUT,
    UNKNOWN,
    Authority,
    Basis,
    Call,
    Digest,
    Record,
    Refused,
    Rest,
    Unwanted,
    Wanted,
)
from relay.domain.keyed_hash import KeyedHash
from relay.stores import identities
from relay.stores.database import MAX_ITEM_BYTES, Key, Table, size_of
from relay.stores.identities import FORGOTTEN_AFTER, FORMAT, NEVER, Stored, decode, encode
from tests.fakes.memory_database import MemoryDatabase

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
KEY = "a" * 32

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(0, 2**53)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2300, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - of UTC
DIGESTS = st.from_regex(r"[0-9a-f]{32}", fullmatch=True).map(Digest)
CONTENTS = st.just(OUT) | DIGESTS
PROFILES = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
WANTED = st.builds(
    Wanted,
    st.lists(PROFILES, min_size=1, max_size=MOST_CLAIMANTS, unique=True).map(lambda found: tuple(sorted(found))),
    st.none() | DIGESTS,
    st.none() | st.builds(Basis, NUMBERS, NUMBERS, NUMBERS),
)
UNWANTED = st.builds(Unwanted, st.sampled_from(Rest), st.none() | PROFILES)
RECORDS = st.builds(
    Record,
    authority=st.builds(Authority, NUMBERS, NUMBERS, TEXTS),
    desired=WANTED | UNWANTED,
    turned_away_at=st.none() | MOMENTS,
    acknowledged=st.just(UNKNOWN) | CONTENTS,
    since=st.none() | MOMENTS,
    open=st.none() | st.builds(Call, st.none() | TEXTS, CONTENTS, MOMENTS, MOMENTS, st.none() | MOMENTS),
    sent_at=st.none() | MOMENTS,
    evidence=st.none() | TEXTS,
    refused=st.none() | st.builds(Refused, CONTENTS, TEXTS, MOMENTS, TEXTS),
    last_refusal=st.none() | TEXTS,
    last_call=st.none() | TEXTS,
)


@settings(max_examples=300)
@given(RECORDS)
def test_every_record_comes_back_as_it_was(record: Record) -> None:
    assert decode(encode(record)) == record


@given(RECORDS, st.integers(0, 5))
def test_a_record_is_written_over_the_version_that_was_read(record: Record, overtaken: int) -> None:
    database = MemoryDatabase()
    assert identities.load(database, [KEY]) == {KEY: Stored(Record(), 0)}
    for version in range(2):
        [applied] = database.write([identities.save(KEY, record, version, NOON)])
        assert applied
        assert identities.load(database, [KEY]) == {KEY: Stored(record, version + 1)}
    [applied] = database.write([identities.save(KEY, Record(evidence="late"), overtaken, NOON)])
    assert applied is (overtaken == 2)
    assert database[Key(Table.IDENTITIES, KEY)]["format"] == FORMAT


def test_of_two_who_write_a_new_record_one_does() -> None:
    database = MemoryDatabase()
    writes = [identities.save(KEY, Record(evidence=text), 0, NOON) for text in ("first", "second")]
    assert database.write(writes) == [True, False]
    assert identities.load(database, [KEY])[KEY].record.evidence == "first"


CALL = Call("c1", OUT, NOON, NOON + timedelta(hours=1))


@pytest.mark.parametrize(
    ("record", "over"),
    [
        (Record(desired=Wanted(("p1",))), None),
        (Record(desired=Wanted(("p1",)), open=CALL), None),
        (Record(desired=Unwanted(Rest.OUT, "p1")), None),
        (Record(desired=NOBODY, evidence="ours"), NOON),
        (Record(desired=NOBODY, open=CALL), CALL.deadline),
        (Record(desired=NOBODY, open=CALL._replace(deadline=NOON - timedelta(days=1))), NOON),
    ],
)
def test_a_record_of_which_nothing_is_left_to_do_is_kept_for_some_time_from_the_end_of_its_last_call(
    record: Record, over: datetime | None
) -> None:
    for version in (0, 1):
        database = MemoryDatabase()
        database.write([identities.save(KEY, record, place, NOON) for place in range(version + 1)])
        expires_at = database[Key(Table.IDENTITIES, KEY)]["expires_at"]
        assert expires_at == (NEVER if over is None else (over + FORGOTTEN_AFTER).timestamp())


def test_the_largest_record_is_small() -> None:
    digest, text = Digest("f" * 32), "x" * 64
    by = tuple(f"{number:032x}" for number in range(MOST_CLAIMANTS))
    call = Call(text, digest, NOON, NOON, NOON)
    record = Record(
        Authority(2**45, 2**45, text),
        Wanted(by, digest, Basis(2**45, 2**31, 1)),
        NOON,
        digest,
        NOON,
        call,
        NOON,
        text,
        Refused(digest, text, NOON, text),
    )
    database = MemoryDatabase()
    database.write([identities.save(KEY, record, 0, NOON)])
    # Two write units; a usual record takes one.
    assert size_of(database[Key(Table.IDENTITIES, KEY)]) < 2048 < MAX_ITEM_BYTES
    usual = record._replace(desired=Wanted(by[:1], digest, Basis(2**45, 9, 1)), refused=None)
    database.write([identities.save(KEY, usual, 1, NOON)])
    assert size_of(database[Key(Table.IDENTITIES, KEY)]) < 1024


def test_evidence_is_found_by_place() -> None:
    database, keyed = MemoryDatabase(), KeyedHash("key")
    place = "letters", "list/7", "ann@x.example"
    assert identities.evidence(database, keyed, *place) is None
    database.write([identities.save(identities.key_of(keyed, *place), Record(evidence="ours"), 0, NOON)])
    assert identities.evidence(database, keyed, *place) == "ours"
    for other in ("others", "list/7", "ann@x.example"), ("letters", "list/8", place[2]), ("letters", "list/7", "b@x"):
        assert identities.evidence(database, keyed, *other) is None
