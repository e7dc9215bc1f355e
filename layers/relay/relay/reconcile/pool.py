"""Pools: how tasks are done at the same time. What their ends mean is for whoever has begun them."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future


class Pool(Protocol):
    """Does tasks that were begun, several at the same time."""

    def begin(self, task: Callable[[], Any]) -> None:
        """Begin a task; at most so many are under way as the pool was made for."""
        ...

    def ended(self) -> Any:
        """Wait for the end of a task that is under way, whichever ends first; return its result or raise its error."""
        ...


class InTurn:
    """Does one task at a time, in the thread that asks for its end."""

    def __init__(self) -> None:
        self._begun: deque[Callable[[], Any]] = deque()

    def begin(self, task: Callable[[], Any]) -> None:
        """See `Pool`."""
        self._begun.append(task)

    def ended(self) -> Any:
        """See `Pool`."""
        return self._begun.popleft()()


class Threads:
    """Does each task in a thread."""

    def __init__(self, executor: "Executor") -> None:
        # Imported here: a function whose destinations make one call at a time starts without it.
        from queue import SimpleQueue

        self._executor = executor
        self._done: SimpleQueue[Future[Any]] = SimpleQueue()

    def begin(self, task: Callable[[], Any]) -> None:
        """See `Pool`."""
        self._executor.submit(task).add_done_callback(self._done.put)

    def ended(self) -> Any:
        """See `Pool`."""
        return self._done.get().result()


@contextmanager
def pool_of(most: int) -> Iterator[Pool]:
    """Make a pool for at most so many tasks under way. At its end it waits for those that still are."""
    if most == 1:
        yield InTurn()
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(most) as executor:
        yield Threads(executor)
