"""What is raised when a promise does not hold."""


class BrokenPromise(BaseException):
    """The relay did not do what it promises. No code of ours may catch it: whoever broke it stands in the traceback."""


def promise(kept: object, otherwise: str) -> None:
    """Raise `BrokenPromise` with what is otherwise, unless the promise is kept."""
    if not kept:
        raise BrokenPromise(otherwise)
