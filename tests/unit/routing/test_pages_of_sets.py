"""Pages of closed sets: who they name is kept once they are stored, under the ids that aliases lead to."""

import json

import pytest

from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch
from relay.domain.closed_sets import SetPage, unpacked
from relay.domain.problems import Busy
from relay.stores import closed_sets
from tests.fakes.routing_world import World, change, member, profile_id
from tests.unit.routing.test_defects import POISON, poisoned

FIRST, SECOND = (SetPage("s/a", "session", page, 2) for page in (1, 2))


def post(world: World, page: SetPage, *posted: Change) -> None:
    world.post_text(json.dumps(changes.to_json(ChangeBatch(page.set_id, "s", posted, page))))


def named(world: World, page: SetPage) -> set[str]:
    pages = closed_sets.pages(world.database, closed_sets.id_of(page))
    return {identifier for one in pages for identifier, _ in unpacked(one)}


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

    def broken(*_: object) -> bool:
        raise Busy("throttled", "test")

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
