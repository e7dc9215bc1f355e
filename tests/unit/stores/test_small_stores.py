"""What is kept in one small item each: activations, the registry of exports, notes, the directory."""

from relay.stores import activations, registry
from relay.stores.database import Key, Table
from relay.stores.directory import MAX_AGE, MISS_AGE, Directory, Entry
from relay.stores.notes import ConnectionNotes
from relay.stores.registry import Registered
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase

TOOL = Entry("tool", streams=True, shards=4)


def test_an_activation_is_kept_until_it_is_forgotten() -> None:
    database = MemoryDatabase()
    assert activations.load(database, "letters/main") is None
    for version in (7, 8):
        activations.save(database, "letters/main", version)
        assert activations.load(database, "letters/main") == version
    assert activations.load(database, "letters/other") is None
    activations.forget(database, "letters/main")
    assert activations.load(database, "letters/main") is None


def test_the_registry_says_since_when_an_export_is_missing_and_how_far_its_removal_is() -> None:
    database, now = MemoryDatabase(), FakeClock().now()
    there, gone = Registered("letters/main"), Registered("letters/old", now, 17)
    for one in (there, gone):
        registry.save(database, one)
    assert registry.load(database) == {"letters/main": there, "letters/old": gone}
    registry.forget(database, "letters/old")
    assert registry.load(database) == {"letters/main": there}


def test_the_first_note_stays_unless_the_writer_knows_it() -> None:
    database = MemoryDatabase()
    mine, others = ConnectionNotes(database, "letters"), ConnectionNotes(database, "parcels")
    assert mine.get("tag") is None
    assert mine.keep("tag", "7") == "7"
    assert mine.keep("tag", "8") == "7"
    assert mine.keep("tag", "9", replaces="8") == "7"
    assert mine.keep("tag", "9", replaces="7") == "9"
    assert (mine.get("tag"), others.get("tag")) == ("9", None)


def test_of_two_that_keep_a_note_at_once_both_learn_the_first() -> None:
    database = MemoryDatabase()
    mine, others = ConnectionNotes(database, "letters"), ConnectionNotes(database, "letters")
    database.interrupt("write", lambda: others.keep("tag", "8"))
    assert mine.keep("tag", "7") == "8"
    database.interrupt("write", lambda: others.keep("tag", "9", replaces="8"))
    assert mine.keep("tag", "10", replaces="8") == "9"


def test_a_note_that_vanished_counts_as_kept() -> None:
    database = MemoryDatabase()
    assert ConnectionNotes(database, "letters").keep("tag", "7", replaces="6") == "7"
    assert Key(Table.CONTROL, "notes#letters", "tag") not in database


def test_the_directory_answers_from_memory_for_a_while() -> None:
    database, clock = MemoryDatabase(), FakeClock()
    mine, others = Directory(database, clock), Directory(database, clock)
    others.keep("letters", TOOL)
    assert mine.read() == {"letters": TOOL}
    others.forget("letters")
    assert mine.read() == {"letters": TOOL}
    clock.advance(MAX_AGE.total_seconds() + 0.1)
    assert mine.read() == {}


def test_who_is_missing_in_the_directory_is_looked_for_once_at_once() -> None:
    database, clock = MemoryDatabase(), FakeClock()
    mine, others = Directory(database, clock), Directory(database, clock)
    assert mine.look_up({"letters"}) == ({}, {"letters"})
    others.keep("letters", TOOL)
    reads = len(database.steps)
    assert mine.look_up({"letters"}) == ({}, set())
    assert len(database.steps) == reads
    clock.advance(MISS_AGE.total_seconds() + 0.1)
    assert mine.look_up({"letters"}) == ({"letters": TOOL}, set())
    assert mine.look_up({"letters"}) == ({"letters": TOOL}, set())
