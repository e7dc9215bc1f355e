"""Segments are listed, and their members counted in pages."""

from datetime import timedelta
from typing import Any

import pytest

from relay.domain.problems import Transient
from relay.stores import segments
from tests.fakes.bench import CONNECTION, KEYED, LAPSED, OTHER_CONNECTION, VIP, Bench, person

MAIN = f"{CONNECTION}/main"


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    for number in range(30):
        bench.store_as(KEYED("shop", str(number)), email=f"{number}@x.example")
    return bench


def pages(bench: Bench, segment: str = VIP) -> list[dict[str, Any]]:
    found = [bench.ask("segment", segment=segment)]
    while found[-1]["next"] is not None:
        found.append(bench.ask("segment", segment=segment, after=found[-1]["next"]))
    return found


def test_members_are_counted_and_who_left_is_not_one(bench: Bench) -> None:
    began = bench.clock.now()
    bench.clock.time += timedelta(hours=1)
    for number in range(3):
        bench.store_as(KEYED("shop", str(number)), inside=(), outside=(VIP,))
    [page] = pages(bench)
    assert (page["members"], page["left"], page["next"]) == (27, 3, None)
    first, last = (page[name] for name in ("first_change", "last_change"))
    assert (first[:16], last[:16]) == (f"{began:%Y-%m-%dT%H:%M}", f"{bench.clock.now():%Y-%m-%dT%H:%M}")
    assert page["exports"] == [MAIN]


def test_pages_add_up_whatever_time_they_take(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.workers.operators.segments.CHUNK", 4)
    monkeypatch.setattr("relay.workers.operators.segments.LISTING", 3)
    now = bench.clock.now

    def slow() -> Any:
        bench.clock.time += timedelta(seconds=8)
        return now()

    monkeypatch.setattr(bench.clock, "now", slow)
    found = pages(bench)
    assert len(found) > 2
    assert sum(page["members"] for page in found) == 30
    assert [bool(page["days"]) for page in found] == [False] * len(found)


def test_an_alias_counts_as_nobody_and_an_entry_too_many_neither(bench: Bench) -> None:
    bench.store(2)
    bench.store(4)
    bench.join(4, survivor=2)
    segments.add(bench.database, [(VIP, KEYED("shop", "nobody"))])
    assert pages(bench)[0]["members"] == 31


def test_runs_say_how_many_members_there_were_by_day(bench: Bench) -> None:
    bench.full_run()
    bench.clock.time += timedelta(hours=1)
    bench.store_as(KEYED("shop", "30"), email="30@x.example")
    bench.full_run()
    bench.clock.time += timedelta(days=1)
    bench.store_as(KEYED("shop", "31"), email="31@x.example")
    last = bench.full_run()
    page = pages(bench)[0]
    assert [(one["day"], one["count"], one["export"]) for one in page["days"]] == [
        ("2026-03-01", 31, MAIN),
        ("2026-03-02", 32, MAIN),
    ]
    assert page["destinations"] == {MAIN: 32}
    assert page["days"][-1]["run"] == last.id
    [vip] = [one for one in bench.ask("segments")["segments"] if one["segment"] == VIP]
    assert (vip["last_count"], vip["last_count_on"]) == (32, "2026-03-02")


def test_what_a_destination_refuses_it_has_not_confirmed(bench: Bench) -> None:
    bench.tool.refuses = {f"{number}@x.example" for number in range(5)}
    bench.full_run()
    page = pages(bench)[0]
    assert (page["days"][0]["count"], page["days"][0]["confirmed"], page["destinations"]) == (30, 25, {MAIN: 25})


def test_a_run_of_several_segments_or_with_a_condition_counts_none_of_them(bench: Bench) -> None:
    bench.store(2, inside=(LAPSED,))
    for changes in ({"segments": (VIP, LAPSED)}, {"segments": (VIP,), "only_if": "`true`"}):
        bench.edit(**changes)
        bench.full_run()
        assert pages(bench)[0]["days"] == []


def test_counts_of_before_an_edit_are_left_out(bench: Bench) -> None:
    bench.store(2, inside=(LAPSED,))
    bench.edit(segments=(LAPSED,))
    bench.full_run()
    bench.edit(segments=(VIP,))
    assert pages(bench)[0]["days"] == []


def test_a_destination_is_asked_how_many_there_are_now(bench: Bench) -> None:
    bench.full_run()
    bench.tool.held["segment/shop/vip", "by-hand@x.example"] = {}
    bench.edit("several", segments=(VIP, LAPSED))
    bench.edit(connection=OTHER_CONNECTION, segments=(LAPSED, VIP))
    asked = bench.ask("segment", segment=VIP, ask_destinations=True)
    assert asked["at_destinations"] == [
        {"export": MAIN, "target": f"segment/{VIP}", "segments": [VIP], "count": 31, "problem": None},
        {
            "export": f"{CONNECTION}/several",
            "target": f"segment/{VIP}",
            "segments": [VIP],
            "count": 31,
            "problem": None,
        },
        {
            "export": f"{OTHER_CONNECTION}/main",
            "target": "list/7",
            "segments": [LAPSED, VIP],
            "count": 0,
            "problem": None,
        },
    ]
    assert bench.ask("segment", segment=VIP)["at_destinations"] == []
    assert bench.ask("segment", segment=VIP, ask_destinations=True, after=person(1))["at_destinations"] == []


def test_a_destination_that_does_not_say_how_many_is_shown_with_the_reason(bench: Bench) -> None:
    bench.tool.uncounted = {f"segment/{VIP}"}
    [one] = bench.ask("segment", segment=VIP, ask_destinations=True)["at_destinations"]
    assert (one["count"], one["problem"]) == (None, "its API does not say how many are in it")
    bench.tool.script = [Transient("server_error", "answers 500")]
    [one] = bench.ask("segment", segment=VIP, ask_destinations=True)["at_destinations"]
    assert one["count"] is None
    assert "answers 500" in one["problem"]


def test_all_segments_are_listed_and_those_that_only_exports_name(bench: Bench) -> None:
    bench.edit(segments=(VIP, "shop/typo"))
    listed = bench.ask("segments")
    assert [(one["segment"], one["exports"], one["last_count"]) for one in listed["segments"]] == [(VIP, [MAIN], None)]
    assert listed["never_seen"] == [LAPSED, "shop/typo"]


def test_a_segment_that_was_never_seen_is_refused(bench: Bench) -> None:
    error = bench.refused("segment", segment="shop/typo")
    assert (error["code"], error["field"]) == ("unknown_segment", "segment")
