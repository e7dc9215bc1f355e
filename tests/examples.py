"""A table of examples within one test: whatever goes wrong names the example."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def example(*shown: object) -> Iterator[None]:
    """Add the example to what is raised within, `pytest.raises` included."""
    try:
        yield
    except BaseException as error:
        error.add_note("example: " + ", ".join(map(reprlib.repr, shown)))
        raise
