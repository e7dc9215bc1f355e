"""Profiles that no change and no export has named for a long time are forgotten by themselves."""

from datetime import timedelta
from typing import Any
from unittest.mock import patch

from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch, MembershipChange
from relay.domain.profiles import NOTED_AGAIN, Profile
from relay.queues import Message
from relay.stores import profiles
from relay.stores.database import Key, Put, Table
from relay.workers import retention
from tests.fakes.bench import LAPSED, MINUTE, Bench, person

DAYS = 100
LONG = timedelta(days=DAYS) + NOTED_AGAIN
ELSEWHERE = "shop/elsewhere"
DAY = timedelta(days=1)


def bench(days: int = DAYS, **more: Any) -> Bench:
    made = Bench(**more)
    made.stack.environment = {**made.stack.environment, "RELAY_RETENTION_DAYS": str(days)}
    return made


def post(bench: Bench, said: Change) -> None:
    body = changes.to_json(ChangeBatch("batch", "shop", [said]))
    bench.stack.router().route(bench.received([Message(body)]))


def is_forgotten(bench: Bench, number: int) -> bool:
    [profile] = profiles.load(bench.database, [person(number)])
    assert isinstance(profile, Profile)
    return profile.is_tombstone


def test_whom_nobody_names_is_forgotten_when_the_time_is_over_and_not_before() -> None:
    one = bench()
    one.store(4, inside=[ELSEWHERE], email="ann@x.example")
    one.tick(after=LONG - DAY)
    assert not is_forgotten(one, 4)
    one.tick(after=DAY + MINUTE)
    assert is_forgotten(one, 4)
    assert not [item for item in one.database.items(Table.PROFILES) if "ann@" in str(item)]


def test_nobody_is_forgotten_where_it_is_off() -> None:
    one = bench(days=0)
    one.store(4, inside=[ELSEWHERE])
    one.tick(after=LONG * 10)
    assert not is_forgotten(one, 4)


def test_who_is_in_a_segment_of_an_export_stays() -> None:
    one = bench()
    one.store(4)
    one.store(6, inside=[LAPSED])
    one.tick(after=LONG + DAY)
    assert not is_forgotten(one, 4)
    assert not is_forgotten(one, 6)


def test_who_is_assigned_stays() -> None:
    one = bench()
    one.store(4, email="ann@x.example")
    one.tick(after=MINUTE)
    one.work_off()
    one.store(4, inside=[], outside=["shop/vip"])
    with patch.object(retention, "_is_in", lambda *_: False):
        one.tick(after=LONG + DAY)
    assert not is_forgotten(one, 4)


def test_what_cannot_be_read_keeps_no_other_and_each_tick_forgets_a_few() -> None:
    one = bench()
    one.database.write([Put(Key(Table.PROFILES, "00"), {"format": 99, "version": 1, "doc": "{}"})])
    for number in (4, 6, 8):
        one.store(number, inside=[ELSEWHERE])
    with patch.object(retention, "MOST", 2):
        one.tick(after=LONG + DAY)
        assert [is_forgotten(one, number) for number in (4, 6, 8)].count(True) == 2
        one.tick(after=MINUTE)
    assert all(is_forgotten(one, number) for number in (4, 6, 8))


def test_a_pass_begins_once_a_day() -> None:
    one = bench()
    one.tick()
    one.tick(after=MINUTE)
    assert one.database.steps_on(Table.PROFILES, "scan") == 1
    one.tick(after=DAY)
    assert one.database.steps_on(Table.PROFILES, "scan") == 2


def test_a_change_that_says_nothing_new_names_its_profile_too() -> None:
    one = bench()
    now = one.clock.now()
    said = Change((person(4),), now, memberships=[MembershipChange(ELSEWHERE, True, now)])
    post(one, said)
    one.clock.time += LONG - DAY
    post(one, said)
    one.tick(after=2 * DAY)
    assert not is_forgotten(one, 4)
    [profile] = profiles.load(one.database, [person(4)])
    assert profile is not None
    one.clock.time += DAY
    post(one, said)
    assert profiles.load(one.database, [person(4)]) == [profile]
