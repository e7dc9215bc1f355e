"""A person who is forgotten leaves every export, nothing of the person stays, and nothing older comes back."""

import zlib
from collections.abc import Callable
from typing import Any

import pytest

from relay.domain.changes import Forget
from relay.domain.identity import MOST_CLAIMANTS, OUT, Unwanted, Wanted
from relay.domain.problems import Transient
from relay.domain.profiles import Profile
from relay.stores import defects, forgettings, profiles, segments
from relay.stores.database import Table
from relay.stores.defects import Defect
from relay.stores.forgettings import AT_MOST
from relay.workers import forgetting
from relay.workers.forgetting import QUIET_AFTER
from tests.fakes.bench import CONNECTION, LAPSED, MINUTE, OTHER_CONNECTION, VIP, Bench, person
from tests.fakes.bench_destination import Lost

MAIN, OTHER = f"{CONNECTION}/main", f"{OTHER_CONNECTION}/main"
ANN = "ann@x.example"


def delivered(*, imports: bool = False, **more: Any) -> Bench:
    """Return a bench on which Ann (4) and Bob (6) are delivered by a run."""
    bench = Bench(imports=imports, **more)
    bench.store(4, email=ANN, name="Ann")
    bench.store(6, email="bob@x.example", name="Bob")
    bench.tick(after=MINUTE)
    bench.work_off()
    return bench


def forget(bench: Bench, number: int = 4, how: Forget = Forget.HERE) -> Profile | None:
    profile = bench.stack.forgetting.begin(person(number), how)
    step(bench, number)
    bench.work_off()
    step(bench, number)
    bench.work_off()
    return profile


def step(bench: Bench, number: int = 4) -> forgetting.Progress | None:
    return bench.stack.forgetting.step(person(number), bench.settings.as_settings().exports())


def departures(bench: Bench, number: int = 4) -> dict[tuple[str, str], int]:
    return dict(ended(bench, number).departures)


def ended(bench: Bench, number: int = 4) -> forgettings.Forgetting:
    [profile] = profiles.load(bench.database, [person(number)])
    assert profile is not None
    assert profile.forgotten is not None
    return forgettings.load(bench.database, profile.id, profile.forgotten)


def found(bench: Bench, *words: str) -> list[str]:
    """Return where words can be read, in any table."""
    return [
        f"{table.value} {item['pk']!s}"
        for table in Table
        for item in bench.database.items(table)
        if any(word in _readable(item) for word in words)
    ]


def _readable(item: Any) -> str:
    return " ".join(str(zlib.decompress(one), "utf-8") if _is_packed(one) else repr(one) for one in item.values())


def _is_packed(value: Any) -> bool:
    return isinstance(value, bytes) and value[:1] == b"x"


def test_a_forgotten_person_leaves_and_nothing_stays() -> None:
    bench = delivered()
    assert found(bench, ANN, "Ann")
    forget(bench)
    assert set(bench.tool.held) == {(f"segment/{VIP}", "bob@x.example")}
    assert found(bench, ANN, "Ann") == []
    assert bench.assigned(4) == set()
    assert segments.listing(bench.database, VIP, 4) == []
    assert departures(bench) == {(MAIN, "left"): 1}
    assert ended(bench).removed == {"index": 1}
    assert ended(bench).ended_at is not None
    progress = step(bench)
    assert progress is not None
    assert progress.is_done
    assert bench.assigned(6)


def test_the_identity_record_of_a_forgotten_person_holds_nothing_but_that_it_is_out() -> None:
    bench = delivered()
    bench.tool.evidence = "something of Ann's"
    forget(bench)
    record = bench.record(ANN)
    assert (record.desired, record.acknowledged, record.since, record.evidence) == (Unwanted(), OUT, None, None)


def test_older_changes_do_not_bring_a_forgotten_person_back_and_newer_ones_make_a_new_person() -> None:
    bench = delivered()
    before = bench.clock.now()
    bench.clock.time += MINUTE
    forget(bench)
    stored = forget(bench)
    assert stored is not None
    assert stored.is_tombstone
    bench.clock.time += MINUTE
    bench.store(4, inside=(), email=ANN)
    bench.clock.time += MINUTE
    assert before < bench.clock.now()
    bench.store(4, email=ANN, name="Ann Two")
    assert bench.reconcile(4)
    assert (f"segment/{VIP}", ANN) in bench.tool.held
    progress = step(bench)
    assert progress is not None
    assert progress.is_done
    assert bench.assigned(4)


def test_who_is_forgotten_already_is_not_forgotten_once_more() -> None:
    bench = delivered()
    first = forget(bench)
    bench.clock.time += MINUTE
    again = forget(bench)
    bench.clock.time += MINUTE
    later = forget(bench, how=Forget.AT_DESTINATIONS)
    assert first is not None
    assert first.forgotten is not None
    assert again is not None
    assert again.forgotten == first.forgotten
    assert later is not None
    assert later.forgotten is not None
    assert later.forgotten.at > first.forgotten.at
    assert later.forgotten.at_destinations


def test_nobody_is_forgotten_who_is_not_stored() -> None:
    bench = delivered()
    assert forget(bench, 8) is None
    assert step(bench, 6) is None


def test_the_clock_goes_on_with_a_forgetting_until_it_is_done() -> None:
    bench = delivered()
    bench.stack.forgetting.begin(person(4), Forget.HERE)
    bench.pass_time(4 * MINUTE)
    assert found(bench, ANN, "Ann", f"forget#shop#{person(4)}") == []
    assert ended(bench).ended_at is not None


def test_aliases_of_a_forgotten_person_are_forgotten() -> None:
    bench = delivered()
    bench.join(6, survivor=4)
    bench.store(4, email=[ANN, "bob@x.example"])
    bench.reconcile(4, 6)
    defects.note(bench.database, MAIN, [Defect(person(6), "KeyError", (), "1", bench.clock.now())])
    forget(bench)
    assert bench.tool.held == {}
    assert found(bench, ANN, "bob@x.example", "Ann", "Bob") == []
    assert segments.listing(bench.database, VIP, 6) == []
    assert ended(bench).removed == {"index": 2, "set_aside": 1}
    assert bench.stack.forgetting.begin(person(6), Forget.HERE) == profiles.load(bench.database, [person(4)])[0]


@pytest.mark.parametrize("imports", [False, True])
def test_a_person_is_deleted_at_the_destination_where_that_is_asked(imports: bool) -> None:
    bench = delivered(imports=imports)
    forget(bench, how=Forget.AT_DESTINATIONS)
    assert bench.tool.deleted == [ANN]
    assert departures(bench) == {(MAIN, "deleted"): 1}
    assert [where for where in found(bench, ANN, "Ann") if not where.startswith("control import#")] == []


def test_a_destination_that_cannot_delete_lets_the_person_leave() -> None:
    bench = delivered()
    bench.tool.kept_after_delete = None
    forget(bench, how=Forget.AT_DESTINATIONS)
    assert bench.tool.deleted == []
    assert departures(bench) == {(MAIN, "left"): 1}


def test_a_person_whom_the_export_keeps_is_deleted_all_the_same() -> None:
    bench = delivered()
    bench.tool.keeps = True
    forget(bench, how=Forget.AT_DESTINATIONS)
    assert departures(bench) == {(MAIN, "deleted"): 1}
    assert bench.tool.held.keys() == {(f"segment/{VIP}", "bob@x.example")}


def test_leavers_whom_the_export_keeps_are_left_where_they_are() -> None:
    bench = delivered()
    bench.tool.keeps = True
    forget(bench)
    assert departures(bench) == {(MAIN, "kept"): 1}
    assert found(bench, ANN, "Ann") == []
    assert (f"segment/{VIP}", ANN) in bench.tool.held
    bench.clock.time += MINUTE
    bench.store(4, email=ANN, name="Ann")
    bench.tool.calls_made.clear()
    bench.reconcile(4)
    assert bench.sent == [[ANN]]


def test_an_identity_that_another_profile_has_is_neither_taken_out_nor_deleted() -> None:
    bench = delivered()
    bench.store(6, email=ANN)
    bench.reconcile(4, 6)
    forget(bench, how=Forget.AT_DESTINATIONS)
    assert bench.tool.deleted == []
    assert departures(bench) == {(MAIN, "shared"): 1}
    assert (f"segment/{VIP}", ANN) in bench.tool.held
    assert bench.assigned(4) == set()


def test_nobody_is_deleted_while_another_export_of_the_account_has_the_person() -> None:
    bench = delivered(imports=True)
    bench.edit("other", options="8", segments=(LAPSED,))
    bench.store(4, inside=(VIP, LAPSED), email=ANN)
    bench.tick(after=MINUTE)
    bench.work_off()
    bench.stack.forgetting.begin(person(4), Forget.AT_DESTINATIONS)
    bench.reconcile(4)
    bench.work_off()
    assert bench.tool.deleted == []
    bench.pass_time(5 * MINUTE)
    assert departures(bench) == {(MAIN, "deleted"): 1, (f"{CONNECTION}/other", "deleted"): 1}
    assert [where for where in found(bench, ANN, "Ann") if not where.startswith("control import#")] == []


@pytest.mark.parametrize("keeps", [False, True])
def test_nobody_is_deleted_while_somebody_may_want_the_identity_whom_its_record_cannot_name(keeps: bool) -> None:
    bench = Bench()
    bench.edit(segments=(VIP, LAPSED))
    bench.tool.keeps = keeps
    crowd = range(100, 100 + MOST_CLAIMANTS + 1)
    bench.store(4, inside=(LAPSED,), email=ANN)
    for number in crowd:
        bench.store(number, email=ANN)
    bench.full_run()
    named = bench.record(ANN, f"segment/{VIP}").desired
    assert isinstance(named, Wanted)
    bench.clock.time += MINUTE
    for number in crowd:
        if person(number) in named.by:
            bench.leave(number)
            bench.reconcile(number)
    forget(bench, how=Forget.AT_DESTINATIONS)
    assert bench.tool.deleted == []
    bench.clock.time += MINUTE
    bench.full_run()
    forget(bench, how=Forget.AT_DESTINATIONS)
    assert departures(bench) == {(MAIN, "shared"): 1}
    assert (f"segment/{VIP}", ANN) in bench.tool.held


def test_a_refused_leave_is_left_where_it_is() -> None:
    bench = delivered()
    bench.tool.refuses = {ANN}
    forget(bench)
    assert departures(bench) == {(MAIN, "refused:unknown_user"): 1}
    assert found(bench, ANN, "Ann") == []


def test_a_refused_deletion_is_reported() -> None:
    bench = delivered()
    bench.tool.refuses_to_delete = {ANN}
    forget(bench, how=Forget.AT_DESTINATIONS)
    assert departures(bench) == {(MAIN, "refused:unknown_user"): 1}
    assert found(bench, ANN, "Ann") == []


@pytest.mark.parametrize(
    "problem",
    [
        Lost(),
        Transient("server_error", "500"),
        Transient("too_many_requests", "slow down", taken=False),
        Transient("timeout", "no answer", effect_within=MINUTE),
    ],
)
def test_a_deletion_that_failed_is_made_again(problem: Transient) -> None:
    bench = delivered()
    bench.stack.forgetting.begin(person(4), Forget.AT_DESTINATIONS)
    bench.tool.script = [None, problem]
    assert bench.consume(bench.look(4)) == ["m0"]
    assert bench.assigned(4)
    assert bench.consume(bench.look(4), receives=2) == []
    assert bench.tool.deleted == [ANN, ANN]
    assert departures(bench) == {(MAIN, "deleted"): 1}


def test_whoever_comes_back_while_a_deletion_may_take_effect_waits_for_its_end() -> None:
    bench = delivered()
    bench.stack.forgetting.begin(person(4), Forget.AT_DESTINATIONS)
    bench.tool.script = [None, Transient("timeout", "no answer")]
    bench.consume(bench.look(4))
    bench.clock.time += MINUTE
    bench.store(4, email=ANN)
    bench.tool.calls_made.clear()
    bench.reconcile(4)
    assert bench.sent == []
    bench.pass_time(10 * MINUTE)
    assert bench.sent == [[ANN]]


def _pause(bench: Bench) -> None:
    bench.edit(active=False)


def _stop(bench: Bench) -> None:
    bench.stop()


def _stop_export(bench: Bench) -> None:
    bench.stop("main", code="no_list")


def _edit(bench: Bench) -> None:
    bench.edit(name="main", mapping={"email": "attributes.email"})


def _delete(bench: Bench) -> None:
    bench.settings.delete(MAIN)


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (_pause, forgetting.PAUSED),
        (_stop, "the connection is stopped (unpaid)"),
        (_stop_export, "the export is stopped (no_list)"),
        (_edit, forgetting.NEEDS_RUN),
        (_delete, forgetting.DELETED_EXPORT),
    ],
)
def test_an_export_that_cannot_let_the_person_go_is_waited_for(trouble: Callable[[Bench], None], why: str) -> None:
    bench = delivered()
    trouble(bench)
    forget(bench)
    progress = step(bench)
    assert progress is not None
    assert progress.waiting == {MAIN: why}
    assert found(bench, ANN)


def test_an_export_that_does_not_work_for_weeks_is_not_waited_for() -> None:
    bench = delivered()
    _pause(bench)
    forget(bench)
    bench.tick(after=AT_MOST)
    assert found(bench, ANN, "Ann") == []
    assert departures(bench) == {(MAIN, forgetting.LEFT_BEHIND): 1}
    assert (f"segment/{VIP}", ANN) in bench.tool.held


def test_an_export_that_was_deleted_is_not_waited_for_once_nobody_works_for_it() -> None:
    bench = delivered()
    _delete(bench)
    bench.tick()
    forget(bench)
    assert found(bench, ANN)
    bench.tick(after=QUIET_AFTER)
    assert found(bench, ANN, "Ann") == []
    assert departures(bench) == {(MAIN, forgetting.LEFT_BEHIND): 1}
