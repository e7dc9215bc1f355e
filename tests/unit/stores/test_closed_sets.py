"""Closed sets: a set is complete when all parts of all its pages are there, and starts its import by itself."""

from datetime import datetime, timedelta
from itertools import permutations

from relay.domain.closed_sets import Kind, Present, SetPage, packed, unpacked
from relay.stores import closed_sets, waits
from relay.stores.waits import SegmentWait
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase

NOW = FakeClock().now()
SEGMENT = "mixpanel/vip"


def person(number: int) -> str:
    return f"{number * 1_000_003:032x}"


def page(number: int, *, of: int = 3, part: int = 1, parts: int = 1, set_id: str = "s1") -> SetPage:
    return SetPage(SEGMENT, set_id, number, of, part, parts)


def due(database: MemoryDatabase, until: datetime = NOW + timedelta(days=1)) -> list[waits.Wait]:
    return [wait for part in waits.due(database, until) for wait in part]


def ids_of(database: MemoryDatabase, one: SetPage) -> list[bytes]:
    closed = closed_sets.load(database, closed_sets.id_of(one))
    assert closed is not None
    return list(closed_sets.pages(database, closed))


def test_a_set_is_complete_when_every_part_of_every_page_is_there_in_any_order() -> None:
    given = [page(1), page(2, part=1, parts=2), page(2, part=2, parts=2), page(3)]
    for order in permutations(range(4)):
        database = MemoryDatabase()
        for number, index in enumerate(order):
            at = NOW + timedelta(seconds=given[index].page - 1)
            is_complete = closed_sets.add_page(database, given[index], at, [person(index), person(index + 10)])
            assert is_complete is (number == 3)
        set_id = closed_sets.id_of(given[0])
        closed = closed_sets.load(database, set_id)
        assert closed is not None
        assert (closed.id, closed.segment, closed.at, closed.named) == (set_id, SEGMENT, NOW, 8)
        assert [wait[1:] for wait in due(database)] == [(set_id, "")]
        found = {one for ids in closed_sets.pages(database, closed) for one, _ in unpacked(ids)}
        assert found == {person(index) for index in (*range(4), *range(10, 14))}


def test_pages_of_other_sets_and_pages_that_come_again_complete_nothing() -> None:
    database = MemoryDatabase()
    for one in (page(1), page(2), page(1), page(3, set_id="s2"), page(2)):
        assert not closed_sets.add_page(database, one, NOW, [person(1)])
    assert closed_sets.load(database, closed_sets.id_of(page(1))) is None
    assert due(database) == []


def test_a_set_whose_last_page_comes_after_a_day_is_dropped() -> None:
    database = MemoryDatabase()
    closed_sets.add_page(database, page(1, of=2), NOW, [person(1)])
    late = NOW + closed_sets.OPEN_FOR + timedelta(seconds=1)
    assert not closed_sets.add_page(database, page(2, of=2), late, [person(2)])
    assert due(database, late) == []


def test_a_set_may_have_an_empty_page_and_says_who_is_new() -> None:
    database = MemoryDatabase()
    assert closed_sets.add_page(database, page(1, of=1), NOW, [person(1), person(2), person(1)], {person(2)})
    [ids] = ids_of(database, page(1))
    assert dict(unpacked(ids)) == {person(1): Kind.UNCHANGED, person(2): Kind.ENTERED}
    assert closed_sets.add_page(database, page(1, of=1, set_id="empty"), NOW, [])
    assert ids_of(database, page(1, set_id="empty")) == [b""]


def test_what_was_worked_on_is_deleted() -> None:
    database = MemoryDatabase()
    for number in (1, 2):
        closed_sets.add_page(database, page(number, of=2), NOW, [person(number)])
    waits.drop(database, due(database))
    closed_sets.drop(database, closed_sets.id_of(page(1)))
    assert len(database) == 0


def test_a_wait_for_a_segment_keeps_what_it_is_about() -> None:
    database = MemoryDatabase()
    given = [SegmentWait(NOW, "", "shop/a#b/c"), SegmentWait(NOW, "20260101T000000-ab")]
    waits.put(database, given)
    assert sorted(due(database)) == sorted(given)


def test_who_is_present_is_known_by_bucket_with_the_most_that_was_done() -> None:
    present = Present()
    present.add(packed([("00" * 16, Kind.UNCHANGED), ("00" * 15 + "01", Kind.ENTERED)]))
    present.add(packed([("ff" * 16, Kind.UPDATED), ("00" * 16, Kind.UPDATED), ("00" * 15 + "01", Kind.UNCHANGED)]))
    assert present.rows == 5
    assert present.bucket(0) == {bytes(16): Kind.UPDATED, bytes(15) + b"\x01": Kind.ENTERED}
    assert present.bucket(255) == {b"\xff" * 16: Kind.UPDATED}
    assert present.bucket(1) == {}


def test_a_set_whose_pages_say_another_number_of_pages_waits_for_the_most() -> None:
    database = MemoryDatabase()
    assert not closed_sets.add_page(database, page(1, of=2), NOW, [person(1)])
    assert not closed_sets.add_page(database, page(2, of=3), NOW, [person(2)])
    assert closed_sets.add_page(database, page(3, of=3), NOW, [person(3)])


def test_a_page_that_comes_again_in_other_parts_is_there_when_all_parts_of_one_request_are() -> None:
    database, again = MemoryDatabase(), NOW + timedelta(seconds=9)
    # Of the first request part 1 is missing, and it cut the page elsewhere.
    assert not closed_sets.add_page(database, page(1, of=1, part=2, parts=2), NOW, [person(3), person(4)])
    assert not closed_sets.add_page(database, page(1, of=1, part=1, parts=2), again, [person(1)])
    assert closed_sets.add_page(database, page(1, of=1, part=2, parts=2), again, [person(2), person(3)])
    named = {one for ids in ids_of(database, page(1, of=1)) for one, _ in unpacked(ids)}
    assert named == {person(1), person(2), person(3), person(4)}
    whole = MemoryDatabase()
    assert not closed_sets.add_page(whole, page(1, of=1, part=2, parts=2), NOW, [person(2)])
    assert closed_sets.add_page(whole, page(1, of=1), again, [person(1)])


def test_a_page_that_comes_again_leaves_the_time_of_its_set_as_it_is() -> None:
    database = MemoryDatabase()
    for seconds, number in enumerate((1, 2, 1)):
        closed_sets.add_page(database, page(number, of=2), NOW + timedelta(seconds=seconds), [person(number)])
    closed = closed_sets.load(database, closed_sets.id_of(page(1)))
    assert closed is not None
    assert closed.at == NOW


def test_of_a_part_that_is_delivered_twice_the_first_write_counts() -> None:
    database = MemoryDatabase()
    assert closed_sets.add_page(database, page(1, of=1), NOW, [person(1), person(2)], {person(1)})
    assert closed_sets.add_page(database, page(1, of=1), NOW, [person(1)])
    closed = closed_sets.load(database, closed_sets.id_of(page(1, of=1)))
    assert closed is not None
    assert closed.named == 2
    [ids] = closed_sets.pages(database, closed)
    assert dict(unpacked(ids)) == {person(1): Kind.ENTERED, person(2): Kind.UNCHANGED}
