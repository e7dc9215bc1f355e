"""Pools: tasks are under way at the same time, and their ends come as they come."""

import threading
from functools import partial

import pytest

from relay.reconcile.pool import pool_of

LONG = 60
"""Seconds after which a test that would hang fails."""


def test_as_many_tasks_are_under_way_as_the_pool_is_made_for() -> None:
    everybody = threading.Barrier(5)
    with pool_of(5) as pool:
        for _ in range(5):
            pool.begin(lambda: everybody.wait(LONG))
        assert sorted(pool.ended() for _ in range(5)) == [0, 1, 2, 3, 4]


def test_whatever_ends_first_is_seen_first() -> None:
    first = threading.Event()
    with pool_of(2) as pool:
        pool.begin(lambda: first.wait(LONG) and "slow")
        pool.begin(lambda: "fast")
        assert pool.ended() == "fast"
        first.set()
        assert pool.ended() == "slow"


def test_an_error_is_raised_where_the_end_is_asked_for_and_the_others_end() -> None:
    goes_on, ended = threading.Event(), threading.Event()

    def fail() -> None:
        raise ValueError("a defect")

    def end() -> None:
        goes_on.wait(LONG)
        ended.set()

    with pool_of(2) as pool:
        pool.begin(end)
        pool.begin(fail)
        with pytest.raises(ValueError, match="a defect"):
            pool.ended()
        assert not ended.is_set()
        goes_on.set()
    assert ended.is_set()


def test_a_pool_of_one_does_a_task_when_its_end_is_asked_for_and_in_the_same_thread() -> None:
    with pool_of(1) as pool:
        for number in (1, 2):
            pool.begin(partial(lambda number: (number, threading.get_ident()), number))
        assert [pool.ended() for _ in range(2)] == [(1, threading.get_ident()), (2, threading.get_ident())]
