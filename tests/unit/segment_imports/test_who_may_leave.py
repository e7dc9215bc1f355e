"""Nobody leaves by a set of which something is missing, in doubt, or not as it was judged."""

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

from relay.domain.changes import Change
from relay.domain.closed_sets import SetPage
from relay.domain.segment_imports import ImportState, to_confirm
from relay.routing import coalesce
from relay.routing.read import Arrival
from relay.stores import closed_sets
from tests.fakes.segment_files import NOON, SEGMENT, World, person

MINUTE = timedelta(minutes=1)


def old_members(world: World, *numbers: int) -> None:
    for number in numbers:
        world.stream(number, realized=True, at=NOON - timedelta(days=2))


@pytest.mark.parametrize("page", [0, 1, 2])
@pytest.mark.parametrize("is_confirmed", [False, True])
def test_nobody_leaves_when_it_is_not_known_any_more_who_is_present(page: int, *, is_confirmed: bool) -> None:
    world = World()
    old_members(world, *range(120))
    world.files.put(NOON, range(10))
    if not is_confirmed:
        # The page is gone before they are counted.
        world.seconds_after = 30.0
        while not world.imports() or world.imports()[0].state is not ImportState.COUNTING:
            world.look()
        world.seconds_after = None
    else:
        world.look()
        assert world.importer().confirm(world.imports()[0].id, "somebody")
    del world.pages.kept[sorted(world.pages.kept)[page]]
    world.follow_waits()
    [one] = world.imports()
    assert (one.state, one.reason) == (
        ImportState.REFUSED,
        "who is present is not known any more: import it again with a later time",
    )
    assert world.members() == set(range(120))


def test_a_closed_set_that_is_confirmed_when_its_pages_are_gone_removes_nobody() -> None:
    world = World()
    old_members(world, 1, 2, 3)
    at = world.clock.now()
    closed_sets.add_page(world.database, SetPage(SEGMENT, "s", 1, 1), at, [person(5)], {person(5)})
    world.follow_waits()
    [one] = world.imports()
    assert one.state is ImportState.NEEDS_CONFIRMATION
    assert one.closed_set is not None
    closed_sets.drop(world.database, one.closed_set)
    assert world.importer().confirm(one.id, "somebody")
    world.follow_waits()
    assert world.imports()[0].state is ImportState.REFUSED
    assert world.members() == {1, 2, 3}


def test_a_page_that_is_sent_again_begins_no_other_import() -> None:
    world = World()
    old_members(world, *range(1, 11))
    set_id = closed_sets.id_of(SetPage(SEGMENT, "s", 1, 2))

    def page(number: int, *members: int) -> bool:
        ids = [person(one) for one in members]
        return closed_sets.add_page(world.database, SetPage(SEGMENT, "s", number, 2), world.clock.now(), ids)

    assert not page(1, *range(1, 6))
    world.clock.advance(1)
    assert page(2, *range(6, 10))
    world.look("", set_id)
    assert world.members() == set(range(1, 10))
    world.clock.advance(1)
    # The first import has ended, and its pages are gone but for this one.
    assert not page(1, *range(1, 6))
    world.follow_waits()
    assert len(world.imports()) == 1

    # All is there once more, and a page comes again before the import begins, and while it ends.
    for number in (1, 2, 1):
        world.clock.advance(1)
        page(number, *(range(1, 6) if number == 1 else range(6, 10)))
    real, sent = closed_sets.drop, list[bool]()

    def drop(*given: Any) -> None:
        if not sent:
            world.clock.advance(1)
            sent.append(page(1, *range(1, 6)))
            world.look("", set_id)
        real(*given)

    with patch.object(closed_sets, "drop", drop):
        world.follow_waits()
    assert sent == [True]
    assert len(world.imports()) == 2
    assert world.members() == set(range(1, 10))


@pytest.mark.parametrize(("leaver", "named"), [(1, 2), (2, 1)])
def test_who_becomes_one_with_somebody_in_the_file_while_leavers_are_written_stays(leaver: int, named: int) -> None:
    world = World()
    old_members(world, leaver, named, 3, 4)
    world.files.put(NOON, [named, 3, 4])

    def become_one() -> None:
        both = Change(tuple(sorted((person(leaver), person(named)))), world.clock.now(), attributes={"city": "Ulm"})
        world.writer.write(coalesce.by_id([Arrival("shop", both, "webhook")]))

    world.database.interrupt("write profiles", become_one)
    world.look()
    assert world.members() == {min(leaver, named, key=person), 3, 4}
    [one] = world.imports()
    assert (one.state, one.counts["left"]) == (ImportState.DONE, 0)


def test_no_more_leave_than_were_counted_and_confirmed() -> None:
    world = World()
    old_members(world, *range(110))
    world.files.put(NOON, [1, 2])
    world.look()
    [one] = world.imports()
    assert one.reason == "108 of 110 members would leave"
    old_members(world, 200, 201)
    assert world.importer().confirm(one.id, "somebody")
    world.follow_waits()
    [one] = world.imports()
    left = 112 - len(world.members())
    assert left >= 1
    says = f"110 of 112 members would leave: {left} of them have left already"
    assert (one.state, one.reason) == (ImportState.NEEDS_CONFIRMATION, says)
    assert world.importer().confirm(one.id, "somebody")
    world.follow_waits()
    [one] = world.imports()
    assert (one.state, one.counts["left"], one.counts["leaving"]) == (ImportState.DONE, 110, 110)
    assert world.members() == {1, 2}


def test_rows_that_name_nobody_let_nobody_leave_without_a_confirmation() -> None:
    world = World()
    old_members(world, *range(1, 60))
    world.files.put(NOON, [*range(10, 60), *[None] * 9])
    world.look()
    [one] = world.imports()
    assert one.state is ImportState.NEEDS_CONFIRMATION
    assert one.reason == "9 of 59 members would leave, and 9 rows are broken or name nobody: they may be among them"
    assert world.members() == set(range(1, 60))


def test_a_set_with_a_time_in_the_future_is_refused_and_keeps_no_other_out() -> None:
    world = World()
    old_members(world, 1)
    world.files.put(world.clock.now() + MINUTE, [1, 2])
    world.look()
    assert world.imports()[0].state is ImportState.REFUSED
    assert world.imports()[0].reason == "its time is in the future"
    world.files.put(world.clock.now() + timedelta(seconds=1), [1, 3])
    world.look()
    assert world.members() == {1, 3}


def test_a_set_of_the_time_of_another_says_what_to_do() -> None:
    world = World()
    old_members(world, 1, 2, 3)
    world.files.put(NOON, [2, 3])
    world.files.put(NOON + MINUTE, [4])
    world.files.unreadable.add(world.files.found[SEGMENT][1].parts[0].key)
    world.look()
    first = world.imports()[1]
    world.files.found.clear()
    world.files.put(NOON, [1, 2, 3])
    world.look()
    second = next(one for one in world.imports() if one.at == NOON and one.id != first.id)
    assert second.state is ImportState.SUPERSEDED
    assert second.reason == (
        f"of the same time as the set of import {first.id}, "
        "so it changed nothing: import it with a later time (--at) to use it"
    )
    world.files.put(NOON + 2 * MINUTE, [1, 2, 3])
    world.look()
    assert world.members() == {1, 2, 3}


def test_newcomers_of_pages_do_not_count_as_members_before() -> None:
    world = World()
    old_members(world, *range(110))
    at = world.clock.now()
    new = range(1_000, 1_500)
    for number in new:
        world.stream(number, realized=True, at=at)
    ids = [person(number) for number in new]
    closed_sets.add_page(world.database, SetPage(SEGMENT, "s", 1, 1), at, ids, set(ids))
    world.follow_waits()
    [one] = world.imports()
    assert (one.state, one.reason) == (ImportState.NEEDS_CONFIRMATION, "110 of 110 members would leave")
    assert (one.counts["entered"], one.counts.get("unchanged", 0)) == (500, 0)


def test_many_broken_rows_let_nobody_leave_without_a_confirmation() -> None:
    """Who stands in a broken row cannot be told from who is missing."""
    world = World()
    old_members(world, *range(1, 60))
    world.files.put(NOON, [*range(2, 60), "has too many columns"])
    world.look()
    [one] = world.imports()
    assert one.state is ImportState.NEEDS_CONFIRMATION
    assert one.reason == "1 of 59 members would leave, and 1 rows are broken or name nobody: they may be among them"
    assert world.members() == {*range(1, 60)}
    assert world.importer().confirm(one.id, "somebody")
    world.follow_waits()
    assert world.members() == {*range(2, 60)}


@pytest.mark.parametrize(
    ("broken", "members", "leaving", "is_asked"),
    [(1, 100, 1, False), (2, 100, 1, True), (2, 100, 0, False), (100, 50_000, 1, False), (101, 50_000, 1, True)],
)
def test_few_broken_rows_stop_nobody(broken: int, members: int, leaving: int, *, is_asked: bool) -> None:
    counts = {"broken": broken, "members": members, "leaving": leaving, "members_before": members}
    assert (to_confirm(counts) is not None) is is_asked


def test_unreadable_members_of_a_page_let_nobody_leave_without_a_confirmation() -> None:
    world = World()
    old_members(world, 1, 2)
    now = world.clock.now()
    for page in (1, 2):
        world.stream(page, realized=True, at=NOON)
    assert not closed_sets.add_page(world.database, SetPage(SEGMENT, "s", 1, 2), now, [person(1)], broken=1)
    assert closed_sets.add_page(world.database, SetPage(SEGMENT, "s", 2, 2), now, [])
    world.follow_waits()
    [one] = world.imports()
    assert (one.state, one.counts["broken"]) == (ImportState.NEEDS_CONFIRMATION, 1)
    assert world.members() == {1, 2}
