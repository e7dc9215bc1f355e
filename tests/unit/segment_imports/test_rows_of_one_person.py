"""Several rows of one person: the later one counts."""

from datetime import timedelta

import pytest

from relay.files.rows import Row
from relay.segment_imports.files import Member
from relay.stores import profiles
from relay.stores.database import Table
from tests.fakes.segment_files import NOON, SEGMENT, World, person

MINUTE = timedelta(minutes=1)


def city_of(world: World, number: int) -> object:
    [stored] = profiles.load(world.database, [person(number)])
    assert stored is not None
    return stored.attributes["city"].value


@pytest.mark.parametrize("cities", [("Ulm", "Bonn"), ("Bonn", "Ulm")])
@pytest.mark.parametrize("between", [range(2, 3), range(2, 9)])
def test_of_two_rows_of_one_person_the_later_counts_however_often_a_file_comes(
    cities: tuple[str, str], between: range
) -> None:
    world = World()
    first, last = cities
    for again in range(3):
        world.files.put(NOON + again * MINUTE, [(1, {"city": first}), *between, (1, {"city": last})])
        world.look()
        assert city_of(world, 1) == last
    assert [one.counts["members"] for one in world.imports()] == [len(between) + 1] * 3


def test_rows_side_by_side_that_name_one_person_by_other_ids_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    plain = world.files.members(SEGMENT)

    def member_of(row: Row) -> Member:
        number = row.values["number"]
        return plain(row)._replace(profile_ids=(person(1), person(2))[:number])

    monkeypatch.setattr(world.files, "members", lambda _: member_of)
    for again in range(3):
        world.database.write_units.clear()
        world.files.put(NOON + again * MINUTE, [(1, {"city": "Ulm"}), (2, {"city": "Bonn"})])
        world.look()
        assert city_of(world, 1) == "Bonn"
    assert world.database.write_units[Table.PROFILES] == 0
    assert world.imports()[0].counts["unchanged"] == 1
