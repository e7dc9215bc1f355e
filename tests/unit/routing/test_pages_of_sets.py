"""Pages of closed sets: who they name is kept once they are stored, under the ids that aliases lead to."""

import json

import pytest

from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch
from relay.domain.closed_sets import Kind, SetPage, unpacked
from relay.domain.problems import Busy
from relay.stores import closed_sets
from tests.fakes.routing_world import World, change, member, profile_id
from tests.unit.routing.test_defects import POISON, poisoned

FIRST, SECOND = (SetPage("s/a", "session", page, 2) for page in (1, 2))
ONLY = SetPage("s/a", "session", 1, 1)


def post(world: World, page: SetPage, *posted: Change) -> None:
    world.post_text(json.dumps(changes.to_json(ChangeBatch(page.set_id, "s", posted, page))))


def broken(*_: object, **__: object) -> bool:
    raise Busy("throttled", "test")


def named(world: World, page: SetPage) -> set[str]:
    return set(kinds(world, page))


def kinds(world: World, page: SetPage) -> dict[str, Kind]:
    closed = closed_sets.load(world.database, closed_sets.id_of(page))
    assert closed is not None
    return {one: kind for ids in closed_sets.pages(world.database, closed) for one, kind in unpacked(ids)}


def is_closed(world: World) -> bool:
    return closed_sets.load(world.database, closed_sets.id_of(FIRST)) is not None


def test_a_set_is_closed_when_all_its_pages_are_there() -> None:
    world = World()
    post(world, FIRST, change((1, 5), member("s/a")), change(2, member("s/a")))
    assert world.run() == []
    assert not is_closed(world)
    post(world, SECOND, change((5, 9), member("s/a")))
    assert world.run() == []
    assert is_closed(world)
    assert named(world, FIRST) == {world.profile(1).id, profile_id(2)}
    assert world.profile(9).id == world.profile(1).id


def test_an_empty_page_counts_as_well() -> None:
    world = World()
    post(world, FIRST)
    post(world, SECOND, change(1, member("s/a")))
    assert world.run() == []
    assert is_closed(world)


def test_a_page_that_cannot_be_kept_comes_back_and_holds_up_no_other_message(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    post(world, FIRST, change(1, member("s/a")))
    plain = world.post(change(3, member("s/a")))

    with monkeypatch.context() as patched:
        patched.setattr(closed_sets, "add_page", broken)
        failed = world.run()
    assert len(failed) == 1
    assert plain not in world.waiting
    post(world, SECOND, change(2, member("s/a")))
    assert world.run() == []
    assert is_closed(world)


def test_a_change_that_goes_on_alone_is_no_page() -> None:
    world = World()
    poisoned(world)
    post(world, FIRST, change(POISON, member("s/a")), change(1, member("s/a")))
    assert world.run() == []
    [alone] = [json.loads(body) for body, _ in world.waiting.values()]
    assert "set" not in alone
    post(world, SECOND)
    world.run()
    assert named(world, FIRST) == {profile_id(1), profile_id(POISON)}


def test_entries_of_a_page_that_name_nobody_are_counted() -> None:
    world = World()
    nobody = Change((), world.clock.now(), rejection="wrong_shape")
    post(world, FIRST, change(1, member("s/a")), nobody, nobody)
    post(world, SECOND, nobody)
    assert world.run() == []
    closed = closed_sets.load(world.database, closed_sets.id_of(FIRST))
    assert closed is not None
    assert closed.broken == 3


def test_it_is_known_who_was_no_member_before() -> None:
    world = World()
    world.post(change(1, member("s/a")))
    world.post(change(2, member("s/b")))
    assert world.run() == []
    world.clock.sleep(60)
    later = {"received_at": world.clock.now()}
    post(world, ONLY, change(1, member("s/a", 60), **later), change(2, member("s/a", 60), **later))
    assert world.run() == []
    assert kinds(world, FIRST) == {profile_id(1): Kind.UNCHANGED, profile_id(2): Kind.ENTERED}


def test_who_entered_by_an_earlier_try_of_a_page_was_no_member_before() -> None:
    world = World()
    post(world, ONLY, change(1, member("s/a")))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(closed_sets, "add_page", broken)
        assert len(world.run()) == 1
    assert world.run() == []
    assert kinds(world, FIRST) == {profile_id(1): Kind.ENTERED}
