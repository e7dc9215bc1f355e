"""A file replaces who is in its segment: who is new enters, who is missing leaves, what is newer stays."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.domain.changes import Change, Forget
from relay.domain.closed_sets import SetPage
from relay.domain.problems import Busy
from relay.domain.segment_imports import FilePart, ImportState
from relay.routing import coalesce
from relay.routing.read import Arrival
from relay.segment_imports.files import FileSet
from relay.stores import closed_sets, notices, profiles, segment_imports
from relay.stores.database import Table
from tests.fakes.observing import counted
from tests.fakes.segment_files import NOON, OTHER, SEGMENT, World, person

MINUTE = timedelta(minutes=1)


def old_members(world: World, *numbers: int) -> None:
    for number in numbers:
        world.stream(number, realized=True, at=NOON - timedelta(days=2))


def test_who_is_new_enters_and_who_is_missing_leaves() -> None:
    world = World()
    old_members(world, 1, 2, 3)
    world.stream(9, realized=True, at=NOON - timedelta(days=2), segment=OTHER)
    world.files.put(NOON, [2, (3, {"city": "Ulm"}), 4, 5, 4])
    world.look()
    assert world.members() == {2, 3, 4, 5}
    assert world.members(OTHER) == {9}
    [one] = world.imports()
    assert one.state is ImportState.DONE
    counts = {"rows": 5, "members": 4, "entered": 2, "updated": 1, "unchanged": 1, "duplicates": 1, "left": 1}
    assert {name: one.counts.get(name) for name in counts} == counts
    assert one.counts["members_before"] == 3
    # Somebody known lives elsewhere now, which other segments' exports may show.
    assert world.requested() == {"letters/main", "letters/other", "parcels/both"}
    assert world.pages.kept == {}
    assert [notice.what for notice in notices.waiting(world.database)] == [notices.IMPORT_ENDED]


def test_the_same_file_again_writes_no_profile_and_starts_no_run() -> None:
    world = World()
    world.files.put(NOON, [(number, {"city": "Ulm"}) for number in range(10)])
    world.look()
    world.database.write_units.clear()
    world.files.put(NOON + MINUTE, [(number, {"city": "Ulm"}) for number in range(10)])
    before = world.requested()
    world.look()
    assert world.database.write_units[Table.PROFILES] == world.database.write_units[Table.SEGMENTS] == 0
    assert [one.state for one in world.imports()] == [ImportState.DONE, ImportState.DONE]
    assert world.imports()[0].counts["unchanged"] == 10
    assert world.requested() == before


def test_only_new_values_of_somebody_known_concern_the_exports_of_other_segments() -> None:
    world = World()
    old_members(world, 1)
    world.files.put(NOON, [1, (2, {"city": "Ulm"})])
    world.look()
    assert world.requested() == {"letters/main", "parcels/both"}
    world.files.put(NOON + MINUTE, [1, (2, {"city": "Bonn"})])
    world.look()
    assert world.requested() == {"letters/main", "letters/other", "parcels/both"}


def test_an_import_that_died_as_it_began_goes_on_even_if_its_files_are_gone() -> None:
    world = World()
    world.files.put(NOON, [1])
    with pytest.raises(StopIteration):
        # It asks for its time once more as it begins to read.
        world.importer().look(SEGMENT, "", iter([900.0]).__next__)
    world.files.found.clear()
    world.files.unreadable = set(world.files.contents)
    world.follow_waits()
    assert [one.state for one in world.imports()] == [ImportState.REFUSED]


def test_a_new_member_costs_two_write_units() -> None:
    world = World()
    world.files.put(NOON, [(number, {"email": f"{number}@x.example"}) for number in range(100)])
    world.look()
    units = world.database.write_units
    assert units[Table.PROFILES] + units[Table.SEGMENTS] <= 2.1 * 100


def test_what_was_streamed_after_the_files_time_survives() -> None:
    world = World()
    old_members(world, 1, 2)
    world.stream(2, realized=False, at=NOON + MINUTE)
    world.stream(7, realized=True, at=NOON + MINUTE)
    world.files.put(NOON, [1, 2])
    world.look()
    assert world.members() == {1, 7}
    assert world.imports()[0].counts["later"] == 1


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "it is empty. Where that is meant, set allow_empty of the source to true"),
        (["is no row"], "no row could be used: line 1 of {part} is no row"),
        (["is no row", "wrong", *[("wrong", {})] * 3, None], "no row could be used: line 1 of {part} is no row"),
        ([("wrong", {})] * 4, "no row could be used: line 1 of {part} has no status"),
        ([("wrong", {}), None, None, -1], "no row names a member: see the source's profile_key"),
    ],
)
def test_a_file_without_members_changes_nothing(rows: list[object], reason: str) -> None:
    world = World()
    old_members(world, 1, 2)
    world.files.put(NOON, [1, 3])
    world.files.put(NOON + MINUTE, rows)
    world.look()
    world.follow_waits()
    # An older one counts, whether it came before.
    assert world.members() == {1, 3}
    refused, one = world.imports()
    assert (refused.state, one.state) == (ImportState.REFUSED, ImportState.DONE)
    assert refused.reason == reason.format(part=world.files.found[SEGMENT][1].parts[0].key)
    assert refused.counts.get("broken", 0) + refused.counts.get("unidentified", 0) + refused.counts.get(
        "out", 0
    ) == len(rows)
    world.files.put(NOON + MINUTE / 2, [1, 4])
    world.look()
    assert world.members() == {1, 4}


def test_an_import_that_waits_for_confirmation_goes_on_waiting_where_a_newer_file_names_nobody() -> None:
    world = World()
    old_members(world, 1, 2)
    world.files.put(NOON, [3])
    world.look()
    world.files.put(NOON + MINUTE, [None])
    world.look()
    assert [one.state for one in world.imports()] == [ImportState.REFUSED, ImportState.NEEDS_CONFIRMATION]


def test_a_file_in_which_all_are_out_empties_a_segment_where_that_is_confirmed() -> None:
    world = World()
    old_members(world, 1, 2)
    world.files.put(NOON, [-1, -2])
    world.look()
    [one] = world.imports()
    assert (one.state, one.counts["out"]) == (ImportState.NEEDS_CONFIRMATION, 2)


def put_parts(world: World, count: int) -> None:
    """A set of many parts with long names and many columns comes."""
    columns = tuple(f"column_{number}" for number in range(100))
    parts = [FilePart(f"{SEGMENT}/part-{number:05d}-{'x' * 200}", 1, "e", columns) for number in range(count)]
    world.files.contents.update({part.key: [number % 5] for number, part in enumerate(parts)})
    world.files.found[SEGMENT] = [FileSet(NOON, tuple(parts))]


def test_a_set_of_many_parts_is_imported() -> None:
    world = World(most_rows=5_000)
    put_parts(world, 2_600)
    world.look()
    [one] = world.imports()
    assert (one.state, one.counts["rows"]) == (ImportState.DONE, 2_600)
    assert list(segment_imports.parts(world.database, one.id)) == list(world.files.found[SEGMENT][0].parts)


def test_a_set_of_too_many_parts_is_refused_and_what_is_left_of_it_is_no_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("relay.segment_imports.importer.MOST_PARTS", 3)
    world = World()
    old_members(world, 1, 2)
    put_parts(world, 4)
    world.look()
    [whole] = world.imports()
    assert (whole.state, whole.reason) == (
        ImportState.REFUSED,
        "it has 4 parts, and 3 are the most: write fewer, larger ones",
    )
    [one] = world.files.found[SEGMENT]
    world.files.found[SEGMENT] = [one._replace(parts=one.parts[2:])]
    world.look()
    assert world.imports()[0].reason == f"all of it is part of the set of import {whole.id}"
    assert world.members() == {1, 2}


def test_an_empty_file_empties_a_segment_where_that_is_allowed_and_confirmed() -> None:
    world = World()
    world.files.empty_allowed = True
    old_members(world, 1, 2)
    world.files.put(NOON, [])
    world.look()
    [one] = world.imports()
    assert one.state is ImportState.NEEDS_CONFIRMATION
    assert world.importer().confirm(one.id, "somebody")
    world.follow_waits()
    assert world.members() == set()


def test_a_file_that_cannot_be_read_to_its_end_changes_nothing() -> None:
    world = World()
    old_members(world, 1)
    world.files.put(NOON, [2, 3])
    world.files.unreadable = set(world.files.contents)
    world.look()
    assert world.members() == {1}
    assert world.imports()[0].reason == "unreadable: the file ends too early"
    assert world.requested() == set()


def test_broken_rows_are_named_by_their_lines_and_stop_nothing() -> None:
    world = World()
    world.files.put(NOON, [1, "has too many columns", ("wrong", {}), None, 4, -5])
    world.look()
    [one] = world.imports()
    assert world.members() == {1, 4}
    assert [(fault.line, fault.reason) for fault in one.faults] == [(2, "has too many columns"), (3, "has no status")]
    assert (one.counts["broken"], one.counts["unidentified"], one.counts["out"]) == (2, 1, 1)


def test_many_leavers_wait_for_a_confirmation_and_newcomers_do_not() -> None:
    world = World()
    old_members(world, *range(110))
    world.files.put(NOON, [200, 1])
    world.look()
    [one] = world.imports()
    assert one.state is ImportState.NEEDS_CONFIRMATION
    assert one.reason == "109 of 110 members would leave"
    assert world.members() == {*range(110), 200}
    assert world.requested() == {"letters/main", "parcels/both"}
    # Who enters meanwhile stays, whatever is confirmed.
    world.stream(300, realized=True, at=NOON + MINUTE)
    assert world.importer().confirm(one.id, "somebody")
    assert not world.importer().confirm(one.id, "somebody")
    world.follow_waits()
    assert world.members() == {1, 200, 300}
    assert world.imports()[0].counts["left"] == 109


def test_a_cancelled_import_removes_nobody() -> None:
    world = World()
    old_members(world, *range(110))
    world.files.put(NOON, [200])
    world.look()
    one = world.imports()[0]
    assert world.importer().cancel(one.id, "somebody")
    assert not world.importer().cancel(one.id, "somebody")
    assert not world.importer().confirm(one.id, "somebody")
    world.follow_waits()
    assert world.members() == {*range(110), 200}
    assert not world.importer().cancel("never", "somebody")


def test_an_older_file_changes_nothing_and_a_newer_one_takes_over() -> None:
    world = World()
    world.files.put(NOON, [1, 2])
    world.look()
    world.files.put(NOON - MINUTE, [3])
    world.look()
    assert world.members() == {1, 2}
    older = world.imports()[1]
    assert older.state is ImportState.SUPERSEDED
    assert (older.reason or "").startswith("older than")
    world.files.put(NOON + MINUTE, [2, 3])
    world.look()
    assert world.members() == {2, 3}


@pytest.mark.parametrize("minute", range(6))
def test_of_two_files_of_one_time_the_first_counts(minute: int) -> None:
    world = World()
    for number in (7, 1):
        world.files.put(NOON + minute * MINUTE, [number])
        world.look()
        world.follow_waits()
    assert world.members() == {7}
    assert sorted(one.state for one in world.imports()) == [ImportState.DONE, ImportState.SUPERSEDED]


def test_an_older_file_that_comes_with_a_newer_one_is_recorded_and_not_even_read() -> None:
    world = World()
    world.files.put(NOON, [1, 2])
    world.files.put(NOON - MINUTE, [3])
    world.files.put(NOON - 2 * MINUTE, [4])
    world.files.refused["shop/vip/115800-2.csv"] = "manifest-1.json is no manifest that can be read"
    world.look()
    newest, older, oldest = world.imports()
    assert (world.members(), newest.state) == ({1, 2}, ImportState.DONE)
    assert (older.state, oldest.state) == (ImportState.SUPERSEDED, ImportState.SUPERSEDED)
    told = "so it changed nothing: import it with a later time (--at) to use it"
    assert older.reason == f"older than the set of import {newest.id}, {told}"
    assert oldest.reason == "manifest-1.json is no manifest that can be read"
    assert (older.counts, older.ended_at) == ({}, older.begun_at)
    world.look()
    assert len(world.imports()) == 3


def test_a_file_that_cannot_be_used_gives_way_to_the_newest_that_can() -> None:
    world = World()
    world.files.put(NOON, [1, 2])
    world.files.put(NOON - MINUTE, [3])
    world.files.unreadable.add(world.files.found[SEGMENT][0].parts[0].key)
    world.look()
    assert world.members() == {3}
    assert [one.state for one in world.imports()] == [ImportState.REFUSED, ImportState.DONE]


def test_a_newer_file_supersedes_one_that_waits_for_a_confirmation() -> None:
    world = World()
    old_members(world, *range(110))
    world.files.put(NOON, [1])
    world.look()
    world.files.put(NOON + MINUTE, range(109))
    world.look()
    assert [one.state for one in world.imports()] == [ImportState.DONE, ImportState.SUPERSEDED]
    assert world.members() == set(range(109))


def test_a_newer_file_waits_until_the_worker_of_an_older_one_has_ended() -> None:
    world = World()
    world.files.put(NOON, range(12))
    # The second file comes while the first is applied.
    world.files.put(NOON + MINUTE, [1, 2, 3], due=None)
    second = world.files.found[SEGMENT].pop()

    def comes() -> None:
        world.files.found[SEGMENT].append(second)
        world.look()

    world.database.interrupt("write profiles", comes)
    world.look()
    world.follow_waits()
    assert [one.state for one in world.imports()] == [ImportState.DONE, ImportState.SUPERSEDED]
    assert world.members() == {1, 2, 3}


def test_an_import_goes_on_where_its_time_was_over_and_waits_for_missing_parts() -> None:
    world = World(seconds_after=30.0, at_once=3)
    world.files.put(NOON, range(20), due=world.clock.now() + MINUTE)
    world.look()
    assert world.imports() == []
    world.files.found[SEGMENT] = [one._replace(due=None) for one in world.files.found[SEGMENT]]
    world.follow_waits()
    assert world.members() == set(range(20))
    assert world.imports()[0].state is ImportState.DONE


def test_a_closed_set_of_pages_removes_who_is_missing() -> None:
    world = World()
    old_members(world, 1, 2, 3)
    at = world.clock.now()
    for number, page in ((2, 1), (4, 2)):
        world.stream(number, realized=True, at=at)
        closed_sets.add_page(world.database, SetPage(SEGMENT, "s", page, 2), at, [person(number)])
    world.follow_waits()
    [one] = world.imports()
    # All others leave: that needs a word.
    assert one.state in (ImportState.DONE, ImportState.NEEDS_CONFIRMATION)
    world.importer().confirm(one.id, "somebody")
    world.follow_waits()
    assert world.members() == {2, 4}


def test_a_forgotten_person_does_not_come_back_by_an_older_file() -> None:
    world = World()
    old_members(world, 1)
    gone = Change((person(1),), world.clock.now(), forget=Forget.HERE)
    world.writer.write(coalesce.by_id([Arrival("shop", gone, "t")]))
    world.clock.advance(60)
    world.files.put(NOON, [(1, {"email": "1@x.example"}), 2])
    world.look()
    assert world.members() == {2}
    [stored] = profiles.load(world.database, [person(1)])
    assert stored is not None
    assert stored.is_tombstone


class Crash(BaseException):
    """The function died."""


class Stepping:
    """Dies at chosen steps of the database, before or after them; may do something between two steps."""

    def __init__(self, world: World, deaths: list[int], streams: dict[int, tuple[int, bool]]) -> None:
        self.world, self.deaths, self.streams, self.count, self.is_busy = world, set(deaths), streams, 0, False

    def __call__(self, _: str) -> None:
        if self.is_busy:
            return
        self.count += 1
        if self.count in self.streams:
            number, realized = self.streams.pop(self.count)
            self.is_busy = True
            self.world.stream(number, realized=realized, at=NOON + timedelta(minutes=30, seconds=self.count))
            self.is_busy = False
        if self.count in self.deaths:
            raise Crash


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    before=st.sets(st.integers(0, 12), max_size=8),
    first=st.sets(st.integers(0, 12), min_size=1, max_size=9),
    second=st.sets(st.integers(0, 12), min_size=1, max_size=9),
    deaths=st.lists(st.integers(1, 400), max_size=6),
    streamed=st.dictionaries(st.integers(1, 300), st.tuples(st.integers(0, 15), st.booleans()), max_size=4),
    is_reversed=st.booleans(),
    second_comes=st.integers(0, 3),
)
def test_under_crashes_the_newest_file_and_what_is_newer_decide(
    before: set[int],
    first: set[int],
    second: set[int],
    deaths: list[int],
    streamed: dict[int, tuple[int, bool]],
    is_reversed: bool,
    second_comes: int,
) -> None:
    world = World()
    old_members(world, *before)
    left = dict(streamed)
    stepping = Stepping(world, deaths, left)
    world.database.before = world.database.after = stepping
    files = [(NOON, sorted(first)), (NOON + MINUTE, sorted(second))]
    if is_reversed:
        files.reverse()
    world.files.put(*files[0])
    for tried in range(20):
        if tried == second_comes:
            world.files.put(*files[1])
        try:
            world.look()
            world.look()
            world.follow_waits()
            for one in world.imports():
                world.importer().confirm(one.id, "somebody")
            world.follow_waits()
        except Crash:
            world.clock.advance(30)
            stepping.is_busy = False
        if tried > second_comes and stepping.count > max(deaths, default=0) and tried > 12:
            break
    world.database.before = world.database.after = lambda _: None
    world.look()
    for _ in range(3):
        world.follow_waits()
        for one in world.imports():
            world.importer().confirm(one.id, "somebody")
    expected = set(second)
    done = [(step, change) for step, change in streamed.items() if step not in left]
    for _, (number, realized) in sorted(done):
        (expected.add if realized else expected.discard)(number)
    assert world.members() == expected
    newest = world.imports()[0]
    assert newest.state is ImportState.DONE
    assert newest.counts["members"] == len(second)
    assert newest.counts["rows"] == len(second)
    assert segment_imports.latest(world.database)[0] == newest


def test_a_set_of_too_many_rows_is_refused_before_it_changes_anything() -> None:
    world = World()
    old_members(world, 1)
    world.files.put(NOON, range(2, 14))
    world.look()
    world.files.put(NOON + MINUTE, range(2, 15))
    world.most_rows = 8
    world.look()
    assert [one.state for one in world.imports()] == [ImportState.REFUSED, ImportState.DONE]
    assert world.imports()[0].reason == "it has more than 8 rows"


def test_a_set_that_takes_too_long_to_read_is_refused_by_an_invocation_that_began_with_it() -> None:
    world = World()
    old_members(world, 1)
    world.files.put(NOON, range(2, 30))
    world.seconds = 300
    world.look()
    assert [one.state for one in world.imports()] == [ImportState.CHECKING]
    left = iter(range(900, 0, -120))
    [one] = world.imports()
    world.importer().look(SEGMENT, one.id, lambda: next(left))
    [one] = world.imports()
    assert (one.state, one.reason) == (
        ImportState.REFUSED,
        "reading it takes more than 400 seconds: leave columns out",
    )
    assert world.members() == {1}


def test_what_an_import_has_counted_is_shown_by_its_source_once(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    old_members(world, 1, 2)
    world.files.put(NOON, [*range(2, 102), "has too many columns"])
    world.files.put(NOON - MINUTE, [9])
    for _ in range(2):
        world.look()
    shown = capsys.readouterr().out
    ended = [(line["source"], line["outcome"], line["value"]) for line in counted(shown, "ImportsEnded")]
    assert ended == [("shop", "done", 1), ("shop", "superseded", 1)]
    counts = {line["outcome"]: line["value"] for line in counted(shown, "ImportCounts")}
    assert (counts["rows"], counts["entered"], counts["left"], counts["broken"]) == (101, 99, 1, 1)


def test_of_interest_is_what_is_under_way_waits_or_was_refused_within_a_day() -> None:
    world = World()
    old_members(world, *range(110))
    world.files.put(NOON, [1])
    world.files.put(NOON, [5], OTHER)
    world.files.put(NOON - MINUTE, [5], OTHER)
    world.files.unreadable.add(world.files.found[OTHER][0].parts[0].key)
    world.look()
    world.look(OTHER)

    def found(after: timedelta) -> list[ImportState]:
        return [one.state for one in segment_imports.of_interest(world.database, world.clock.now() + after)]

    assert sorted(found(MINUTE)) == [ImportState.NEEDS_CONFIRMATION, ImportState.REFUSED]
    assert found(timedelta(days=1)) == [ImportState.NEEDS_CONFIRMATION]
    assert world.importer().cancel(world.imports()[0].id, "somebody")
    assert found(timedelta(days=1)) == []


def test_empty_lines_take_time_too() -> None:
    world = World()
    world.files.put(NOON, [1])
    left = [900.0]
    world.files.empty_lines = lambda: left.append(499.0)
    world.importer().look(SEGMENT, "", lambda: left[-1])
    [one] = world.imports()
    assert (one.state, one.reason) == (ImportState.REFUSED, "reading it takes more than 400 seconds: leave columns out")


def test_a_file_at_which_our_code_meets_a_defect_is_refused() -> None:
    world = World()
    old_members(world, 1)
    world.files.put(NOON, [2])
    world.files.fails = ValueError("a secret value")
    world.look()
    [one] = world.imports()
    assert (one.state, one.reason) == (ImportState.REFUSED, "our code met a defect while it read the file")
    assert world.members() == {1}


def test_where_s3_is_busy_the_file_is_read_later() -> None:
    world = World()
    world.files.put(NOON, [2])
    world.files.fails = Busy("file_not_read", "S3 did not answer")
    for _ in range(5):
        with pytest.raises(Busy):
            world.look()
    world.files.fails = None
    world.look()
    assert [one.state for one in world.imports()] == [ImportState.DONE]
    assert world.members() == {2}


def test_of_two_rows_of_one_person_the_later_counts_and_the_same_file_again_changes_nothing() -> None:
    world = World()
    rows = [(1, {"city": "Ulm", "age": 7}), 2, 3, (1, {"city": "Bonn"}), 4, (1, {"size": "L"}), (1, {"size": "M"})]
    for night in range(3):
        world.database.write_units.clear()
        world.files.put(NOON + night * MINUTE, rows)
        world.look()
        [held] = profiles.load(world.database, [person(1)])
        assert held is not None
        values = {name: register.value for name, register in held.attributes.items()}
        # Rows of one page are compared with each other.
        assert values == {"city": "Bonn", "age": 7, "size": "M"}
    one = world.imports()[0]
    assert (one.counts["rows"], one.counts["members"], one.counts["duplicates"]) == (7, 4, 3)
    assert (one.counts["unchanged"], world.database.write_units[Table.PROFILES]) == (4, 0)


def test_an_older_set_waits_until_it_is_known_whether_the_newer_one_can_be_read() -> None:
    world = World(seconds=300)
    world.files.put(NOON, [1])
    world.files.put(NOON + MINUTE, [2])
    world.files.unreadable = {world.files.found[SEGMENT][1].parts[0].key}
    world.look()
    assert [one.state for one in world.imports()] == [ImportState.CHECKING]
    world.seconds = 900
    world.follow_waits()
    assert [one.state for one in world.imports()] == [ImportState.REFUSED, ImportState.DONE]
    assert world.members() == {1}


def test_a_file_that_ends_the_function_three_times_is_refused() -> None:
    class Killed(BaseException):
        pass

    world = World()
    world.files.put(NOON, [2])
    world.files.fails = Killed()
    for _ in range(3):
        assert [one for one in world.imports() if one.ended_at] == []
        with pytest.raises(Killed):
            world.look()
    world.look()
    [one] = world.imports()
    assert (one.state, one.counts) == (ImportState.REFUSED, {})
    assert "begun 3 times and never ended" in (one.reason or "")
