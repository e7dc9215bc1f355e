"""What operators ask about imports of whole segments."""

from datetime import timedelta

import pytest

from relay.domain.problems import QuestionProblem
from relay.workers.operators.importing import CancelImport, ConfirmImport, Importing, ListImports, ShowImport
from tests.fakes.segment_files import NOON, OTHER, SEGMENT, World


@pytest.fixture
def world() -> World:
    world = World()
    for number in range(110):
        world.stream(number, realized=True, at=NOON - timedelta(days=2))
    world.files.put(NOON, [200, 1])
    world.look()
    return world


def asked(world: World) -> Importing:
    return Importing(world.database, world.importer())


def test_imports_are_listed_and_shown(world: World) -> None:
    [one] = asked(world).list(ListImports()).imports
    assert (one.segment, one.state, one.counts["leaving"]) == (SEGMENT, "needs-confirmation", 109)
    assert asked(world).list(ListImports(segment=OTHER)).imports == []
    assert asked(world).show(ShowImport(id=one.id)) == one
    for nobody in ("", "never"):
        with pytest.raises(QuestionProblem, match="no such import"):
            asked(world).show(ShowImport(id=nobody))


def test_one_that_waits_is_confirmed_once(world: World) -> None:
    [one] = asked(world).list(ListImports()).imports
    assert asked(world).confirm(ConfirmImport(id=one.id)).done
    again = asked(world).confirm(ConfirmImport(id=one.id))
    assert (again.done, "only one that needs it" in (again.reason or "")) == (False, True)
    world.follow_waits()
    assert world.members() == {1, 200}


def test_one_that_is_cancelled_takes_nobody_out(world: World) -> None:
    [one] = asked(world).list(ListImports()).imports
    assert asked(world).cancel(CancelImport(id=one.id)).done
    again = asked(world).cancel(CancelImport(id=one.id))
    assert (again.done, again.reason) == (False, f"import {one.id} is over (cancelled)")
    world.follow_waits()
    assert len(world.members()) == 111
