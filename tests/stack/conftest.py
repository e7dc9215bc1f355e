"""The deployed stack that these tests talk to: the one that runs in this checkout, or one of their own."""

from collections.abc import Iterator

import pytest

from local.stack import LocalStack, local_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    with local_stack() as running:
        yield running
