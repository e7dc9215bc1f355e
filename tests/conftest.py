"""What all tests share."""

from __future__ import annotations

import inspect

import pytest

from relay.destinations.isolating import Refusals


@pytest.fixture(autouse=True)
def _what_a_process_counts_is_of_one_test(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exports of most tests have the same name, and a module's tests share a destination."""
    for shared in vars(request.module).values() if request.module is not None else ():
        if isinstance(inspect.getattr_static(shared, "refusals", None), Refusals):
            monkeypatch.setattr(shared, "refusals", Refusals())
