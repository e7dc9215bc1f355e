"""Files and people who were forgotten: an older file brings nobody back, whenever it is imported; a newer one may."""

from datetime import datetime, timedelta
from unittest.mock import patch

import pytest

from relay.domain.changes import Change, Forget
from relay.domain.closed_sets import SetPage
from relay.domain.profiles import Profile
from relay.domain.segment_imports import ImportState
from relay.routing import coalesce
from relay.routing.read import Arrival
from relay.stores import closed_sets, profiles, segments, waits
from relay.stores.database import Table
from relay.stores.profiles import Saved
from relay.stores.waits import ForgetWait
from tests.fakes.segment_files import NOON, SEGMENT, World, person

HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> World:
    world = World()
    for number in (1, 2):
        world.stream(number, realized=True, at=NOON - timedelta(days=2))
    return world


def forget(world: World, number: int) -> datetime:
    """Forget a person as of now, the way route does it; return the time."""
    now = world.clock.now()
    change = Change((person(number),), now, forget=Forget.HERE)
    world.writer.write(coalesce.by_id([Arrival("shop", change, "webhook")]))
    segments_of = [(SEGMENT, person(number))]
    world.database.write([segments.remove(*one) for one in segments_of])
    return now


def profile(world: World, number: int) -> Profile:
    [stored] = profiles.load(world.database, [person(number)])
    assert stored is not None
    return stored


def forget_waits(world: World) -> set[str]:
    later = world.clock.now() + timedelta(days=1)
    found = [one for part in waits.due(world.database, later) for one in part]
    return {one.profile for one in found if isinstance(one, ForgetWait)}


def test_a_file_older_than_the_forgetting_brings_nobody_back_whenever_it_is_imported(world: World) -> None:
    at = forget(world, 1)
    world.files.put(at - HOUR, [(1, {"email": "ann@x.example"}), 2])
    world.clock.time += timedelta(days=20)
    world.look()
    assert profile(world, 1).is_tombstone
    assert world.members() == {2}
    assert "ann@x" not in repr(world.database.snapshot())
    [one] = world.imports()
    assert one.state is ImportState.DONE
    assert (one.counts["unchanged"], one.counts.get("entered", 0), one.counts.get("left", 0)) == (2, 0, 0)


def test_a_file_as_old_as_the_forgetting_brings_nobody_back(world: World) -> None:
    world.files.put(forget(world, 1), [1, 2])
    world.clock.time += HOUR
    world.look()
    assert profile(world, 1).is_tombstone


def test_a_newer_file_is_a_new_membership(world: World) -> None:
    at = forget(world, 1)
    world.clock.time += 2 * HOUR
    world.files.put(at + HOUR, [(1, {"email": "ann@x.example"}), 2])
    world.look()
    assert world.members() == {1, 2}
    assert profile(world, 1).attributes["email"].value == "ann@x.example"


def test_a_file_in_which_the_forgotten_person_is_missing_counts_no_leaver(world: World) -> None:
    forget(world, 1)
    world.clock.time += 2 * HOUR
    world.files.put(world.clock.now() - HOUR, [2])
    world.look()
    assert world.imports()[0].counts.get("left", 0) == 0
    assert profile(world, 1).is_tombstone


def test_an_entry_of_the_index_that_an_import_has_written_too_late_is_looked_for(world: World) -> None:
    """Given a person who is forgotten between the import's read and its write, the entry it has added must go."""
    real = profiles.save
    forgotten: list[str] = []

    def save(database: object, changed: object, *more: object) -> list[Saved]:
        if not forgotten:
            forgotten.append(person(3))
            forget(world, 3)
            segments.add(world.database, [(SEGMENT, person(3))])
        return real(database, changed, *more)  # type: ignore[arg-type]

    world.clock.time += HOUR
    world.stream(3, realized=False, at=NOON - timedelta(days=2))
    world.files.put(NOON, [3])
    with patch.object(profiles, "save", save):
        world.look()
    assert profile(world, 3).is_tombstone
    assert person(3) in forget_waits(world)


def test_what_an_import_keeps_names_people_by_keyed_hashes_alone(world: World) -> None:
    world.files.put(NOON, [(number, {"email": f"planted-{number}@x.example"}) for number in range(300)])
    world.look()
    world.files.put(NOON + HOUR, [(1, {"email": "planted-1@x.example"}), ("wrong", {"email": "planted-w@x.example"})])
    world.look()
    [waiting, _] = world.imports()
    assert waiting.state is ImportState.NEEDS_CONFIRMATION
    assert waiting.faults
    page = SetPage(SEGMENT, "planted-set", 1, 2, 1, 1)
    closed_sets.add_page(world.database, page, NOON, [person(1)])
    kept = [repr(world.pages.kept), *(repr(item) for item in world.database.items(Table.CONTROL))]
    assert world.pages.kept
    assert not [text for text in kept if "planted" in text and "planted-set" not in text]
