"""Who was set aside: records that come back, are replaced, and are forgotten."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from relay.stores import defects
from relay.stores.defects import Defect
from tests.fakes.memory_database import MemoryDatabase

MAIN, OTHER = "letters/main", "letters/other"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LINES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12)


def defect(number: int, minutes: int = 0) -> Defect:
    return Defect(f"{number:032x}", "KeyError", ("desired.py:7 in _values",), "c0de", NOON + timedelta(minutes=minutes))


@given(st.builds(Defect, LINES, LINES, st.lists(LINES, max_size=3).map(tuple), LINES, st.just(NOON)))
def test_every_record_comes_back_as_it_was(found: Defect) -> None:
    database = MemoryDatabase()
    defects.note(database, MAIN, [found])
    assert defects.of_export(database, MAIN, 10) == [found]


def test_a_later_record_replaces_an_earlier_one() -> None:
    database = MemoryDatabase()
    defects.note(database, MAIN, [defect(1), defect(2)])
    defects.note(database, MAIN, [defect(1, 5)])
    defects.note(database, OTHER, [defect(1)])
    assert defects.of_export(database, MAIN, 10) == [defect(1, 5), defect(2)]
    assert defects.of_export(database, MAIN, 1) == [defect(1, 5)]


def test_who_went_well_since_is_forgotten() -> None:
    database = MemoryDatabase()
    defects.note(database, MAIN, [defect(1), defect(2)])
    defects.forget(database, MAIN, [defect(1).profile, defect(9).profile])
    assert defects.of_export(database, MAIN, 10) == [defect(2)]


def test_records_of_before_a_run_are_forgotten() -> None:
    database = MemoryDatabase()
    defects.note(database, MAIN, [defect(1), defect(2, 5)])
    defects.note(database, OTHER, [defect(1)])
    defects.forget_older(database, MAIN, NOON + timedelta(minutes=1))
    assert defects.of_export(database, MAIN, 10) == [defect(2, 5)]
    assert defects.of_export(database, OTHER, 10) == [defect(1)]
