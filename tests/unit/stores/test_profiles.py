"""Profiles and segments in the database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from relay.domain.profiles import Membership, Profile, Register
from relay.stores import profiles, segments
from relay.stores.database import Key, Table
from relay.stores.profiles import Saved
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.routing_world import profile_id

NOON = datetime(2026, 5, 1, 12, 0, 0, 17, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)

PROFILE = Profile(
    id=profile_id(1),
    source="s",
    identities={"email": Register(["a@example.com"], NOON, LATER), "crm": Register(None, NOON, NOON)},
    identities_floor=(NOON, LATER),
    attributes_floor=(NOON, NOON),
    attributes={
        "näme": Register("Zoë \ud83d", NOON, LATER),
        "nested": Register({"b": [1, 1.5, True, None], "a": ""}, NOON, NOON),
    },
    memberships={"s/a": Membership(True, NOON, NOON), "s/b": Membership(False, NOON, NOON)},
    receipts={"6b86b273ff34": NOON, "d4735e3a265e": LATER},
)


def test_a_profile_comes_back_as_it_was_saved() -> None:
    database = MemoryDatabase()
    assert profiles.save(database, [PROFILE], LATER) == [Saved.WRITTEN]
    found = profiles.load(database, [profile_id(2), PROFILE.id])
    assert found == [None, replace(PROFILE, version=1, changed_at=LATER)]


def test_a_profile_is_flat_text_that_utf_8_can_hold() -> None:
    database = MemoryDatabase()
    profiles.save(database, [PROFILE], LATER)
    for value in database[Key(Table.PROFILES, PROFILE.id)].values():
        assert isinstance(value, str | int)
        str(value).encode()


def test_only_one_of_two_writers_over_one_version_succeeds() -> None:
    database = MemoryDatabase()
    assert profiles.save(database, [PROFILE], NOON) == [Saved.WRITTEN]
    assert profiles.save(database, [PROFILE], NOON) == [Saved.CONFLICT]
    [loaded] = profiles.load(database, [PROFILE.id])
    assert loaded is not None
    assert profiles.save(database, [loaded], NOON) == [Saved.WRITTEN]
    assert profiles.save(database, [loaded], NOON) == [Saved.CONFLICT]


def test_a_profile_too_large_for_an_item_is_told_and_holds_up_no_other() -> None:
    database = MemoryDatabase()
    large = replace(PROFILE, id=profile_id(2), attributes={"blob": Register("x" * 410_000, NOON, NOON)})
    assert profiles.save(database, [large, PROFILE], NOON) == [Saved.TOO_LARGE, Saved.WRITTEN]
    assert len(database) == 1


def test_a_segment_is_listed_by_bucket_after_an_id() -> None:
    database = MemoryDatabase()
    ids = [profile_id(1 + 256 * number) for number in range(5)]
    segments.add(database, [("s/a", identifier) for identifier in [*ids, ids[0], profile_id(2)]])
    segments.add(database, [("s/b", ids[0])])
    assert segments.listing(database, "s/a", 1) == sorted(ids)
    assert segments.listing(database, "s/a", 1, after=sorted(ids)[1], limit=2) == sorted(ids)[2:4]
    assert segments.listing(database, "s/a", 3) == []


def test_the_catalogue_keeps_the_first_time_and_the_last_name() -> None:
    database = MemoryDatabase()
    segments.note(database, {"s/a": None, "s/b": "Gold"}, NOON)
    segments.note(database, {"s/a": "Silver", "s/b": None, "s/c": "\ud83d"}, LATER)
    assert [(one.id, one.name, one.first_seen) for one in segments.catalogue(database)] == [
        ("s/a", "Silver", NOON),
        ("s/b", "Gold", NOON),
        ("s/c", "?", LATER),
    ]
    assert segments.known(database, ["s/a", "s/x", "s/a"]) == {"s/a"}
