"""The deployed stack that these tests talk to: the one that runs in this checkout, or one of their own."""

from collections.abc import Iterator

import pytest

from local.roles import Operator
from local.stack import LocalStack, local_stack
from tests.stack.world import World


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    with local_stack() as running:
        yield running
        operator = Operator(running)
        left = {
            name: operator.waiting(name) for name in (key[: -len("Url")] for key in running.outputs) if "DLQ" in name
        }
        assert left
        assert not any(left.values()), f"messages were given up: {left}"


@pytest.fixture
def world(stack: LocalStack) -> Iterator[World]:
    world = World(stack)
    yield world
    # What a failed test left must not trouble the next one.
    world.px.well()
    world.campaign.well()
