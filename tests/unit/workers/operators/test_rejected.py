"""Who was rejected by an export: all of them, each once, whatever the pages."""

from collections import Counter
from datetime import timedelta

import pytest

from relay.domain import ledger
from relay.domain.identity import Authority
from relay.stores import identities, runs
from relay.wiring_people import People
from relay.workers.operators.rejected import ListRejected, RejectedPart
from tests.fakes.bench import CONNECTION, LAPSED, MINUTE, OTHER_CONNECTION, Bench, person

MAIN = f"{CONNECTION}/main"


@pytest.fixture
def bench() -> Bench:
    """Return a bench with a run behind it: of 60 profiles 20 have no address, and 20 others are refused."""
    bench = Bench()
    for number in range(60):
        bench.store(number, **({} if number % 3 == 0 else {"email": f"{number}@x.example"}))
    bench.tool.refuses = {f"{number}@x.example" for number in range(60) if number % 3 == 1}
    bench.full_run()
    return bench


@pytest.mark.parametrize(("question", "field"), [("rejected", "code"), ("run", "retry")])
def test_a_code_that_there_is_not_is_refused_with_the_nearest(bench: Bench, question: str, field: str) -> None:
    before = len(runs.latest(bench.database, MAIN))
    refused = bench.refused(question, export=MAIN, **{field: "bouncd"})
    assert (refused["code"], refused["field"], refused["errors"][0]["near"]) == ("unknown_code", field, "bounced")
    assert len(runs.latest(bench.database, MAIN)) == before


def test_where_a_page_goes_on_is_no_free_text(bench: Bench) -> None:
    refused = bench.refused("rejected", export=MAIN, after="made-up")
    assert (refused["code"], refused["field"]) == ("wrong_question", "after")


def rejected(bench: Bench, **more: object) -> list[RejectedPart]:
    """Return all pages together."""
    found: list[RejectedPart] = []
    after = None
    while True:
        asked = ListRejected.model_validate({"export": MAIN, "after": after, **more})
        page = People(bench.stack).rejections.page(asked)
        assert len(page.rejected) <= asked.limit
        found += page.rejected
        after = page.next
        if after is None:
            return found


def test_everybody_whom_a_run_counts_is_listed_with_the_reason(bench: Bench) -> None:
    [run] = runs.latest(bench.database, MAIN)
    counted = ledger.rejections(bench.counts(run))
    found = rejected(bench)
    assert Counter(one.code for one in found) == counted == {"no_email": 20, "unknown_user": 20}
    assert [one.profile for one in found] == sorted(person(number) for number in range(60) if number % 3 != 2)
    first, second = found[:2]
    assert (first.kind, first.means, first.since) == ("data", "the profile has no e-mail", bench.clock.now())
    assert (second.kind, second.means) == ("destination", "the destination knows nobody of this address")
    assert first.then == "Tried again by every look: when the profile or the settings change."
    assert second.then.endswith("by later runs at most daily, and on request.")


def test_pages_of_any_size_come_to_the_same(bench: Bench) -> None:
    whole = rejected(bench)
    for limit in (1, 7, 40, 41):
        assert rejected(bench, limit=limit) == whole, limit


def test_one_code_can_be_asked_for(bench: Bench) -> None:
    found = rejected(bench, code="unknown_user", limit=6)
    assert (len(found), {one.code for one in found}) == (20, {"unknown_user"})
    assert rejected(bench, code="bounced") == []


def test_a_page_is_worked_at_for_some_seconds_only(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.workers.operators.rejected.CHUNK", 10)
    now = bench.clock.now

    def slow() -> object:
        bench.clock.time += timedelta(seconds=8)
        return now()

    monkeypatch.setattr(bench.clock, "now", slow)
    pages: list[int] = []
    after = None
    while not pages or after is not None:
        page = People(bench.stack).rejections.page(ListRejected(export=MAIN, after=after))
        pages.append(len(page.rejected))
        after = page.next
    assert sum(pages) == 40
    assert len(pages) > 2


def test_who_is_well_by_now_is_listed_no_more(bench: Bench) -> None:
    bench.store(0, email="0@x.example")
    bench.tool.refuses = set()
    bench.consume(bench.look(0))
    assert person(0) not in {one.profile for one in rejected(bench)}
    bench.store(4, name="Changed")
    bench.consume(bench.look(4))
    assert person(4) not in {one.profile for one in rejected(bench)}


def test_a_profile_set_aside_is_listed_though_it_has_no_assignment() -> None:
    bench = Bench()
    for number in (2, 4):
        bench.store(number, email=f"{number}@x.example")
    bench.tool.script = [KeyError(), KeyError()]
    bench.consume(bench.look(2, 4))
    found = rejected(bench)
    assert [(one.profile, one.code, one.kind) for one in found] == [(person(2), "defect", "defect")]
    assert found[0].then == "Only this profile is set aside. Every look and every run tries it again."


def test_an_unconfirmed_row_says_that_it_is_looked_up() -> None:
    bench = Bench(imports=True)
    bench.store(2, email="2@x.example")
    bench.tool.undone = {"2@x.example"}
    bench.full_run()
    [one] = rejected(bench)
    assert (one.code, one.then) == (
        "unconfirmed",
        "Looked up again after 1, 4 and 12 hours, and sent again by the next run.",
    )


def test_a_duplicate_is_not_rejected_and_another_exports_refusal_is_its_own(bench: Bench) -> None:
    bench.store(61, email="1@x.example")
    bench.consume(bench.look(61))
    assert person(61) not in {one.profile for one in rejected(bench)}
    key = bench.key("1@x.example")
    [held] = identities.load(bench.database, [key]).values()
    others = held.record._replace(authority=Authority(1, 1, "another"))
    bench.database.write([identities.save(key, others, held.version, bench.clock.now())])
    assert person(1) not in {one.profile for one in rejected(bench)}


def test_a_profile_refused_at_several_targets_is_listed_once_for_each_reason() -> None:
    bench = Bench(segments=("shop/vip", "shop/gold"))
    bench.store(2, inside=("shop/vip", "shop/gold"), email="2@x.example")
    bench.tool.refuses = {"2@x.example"}
    bench.full_run()
    assert len(bench.assigned(2)) == 2
    assert [(one.profile, one.code) for one in rejected(bench)] == [(person(2), "unknown_user")]


def test_other_exports_are_not_mixed_in(bench: Bench) -> None:
    bench.store(63, inside=(LAPSED,))
    bench.full_run(bench.other_export)
    before = rejected(bench)
    found = rejected(bench, export=f"{OTHER_CONNECTION}/main")
    assert [one.profile for one in found] == [person(63)]
    assert rejected(bench) == before


def test_whom_the_destination_does_not_let_go_is_listed_as_leaving(bench: Bench) -> None:
    bench.store(61, email="61@x.example")
    bench.store(62, email="62@x.example")
    bench.clock.time += MINUTE
    bench.full_run()
    bench.tool.refuses = {"61@x.example"}
    for number in (61, 62):
        bench.leave(number)
    bench.clock.time += MINUTE
    run = bench.full_run()

    assert (bench.counts(run)["kept"], bench.counts(run)["removed"]) == (1, 1)
    assert [(one.profile, one.code) for one in rejected(bench) if one.leaving] == [(person(61), "unknown_user")]
    assert person(62) not in {one.profile for one in rejected(bench)}
