"""What a history that breaks a promise raises."""

from __future__ import annotations


class BrokenPromise(AssertionError):  # noqa: N818 - what it is, said plainly
    """The relay did not do what it promises."""


def promise(kept: object, otherwise: str) -> None:
    """Raise `BrokenPromise` with what is otherwise, unless the promise is kept."""
    if not kept:
        raise BrokenPromise(otherwise)
