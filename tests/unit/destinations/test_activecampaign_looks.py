"""How much one look at an import does: the rest is left open for the next one."""

from dataclasses import replace
from datetime import timedelta
from itertools import chain

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.activecampaign.client import BULK, REST
from relay.destinations.activecampaign.errors import IMPORT_BOUND
from relay.destinations.activecampaign.imports import EXPLAINED_AT_ONCE, LOOKED_UP_AT_ONCE
from relay.destinations.contract import ImportReport, Reply, Step
from tests.contract.activecampaign_replies import (
    NOBODY,
    NONE_OUTSTANDING,
    SUBSCRIBED,
    account,
    asked,
    associations,
    codes,
    contacts,
    entries,
    export,
    held,
    import_info,
    opened,
    room,
    step,
    steps,
    tags,
)
from tests.fakes.scripted_caller import asked_of, unused_of

FREE = timedelta(seconds=1)
BUSY = timedelta(seconds=1.01)
FULL = room(10, 10)


def look(
    people: list[Step],
    *answers: Reply,
    contacts: int | None = None,
    backlog: timedelta = FREE,
    time_for: int = 1_000,
    note: str | None = None,
) -> tuple[ImportReport, int]:
    """Look at an import once; return the report and how many calls were about contacts."""
    first = (NONE_OUTSTANDING,) if contacts is not None else ()
    the_account = account(*first, *answers, backlog=backlog)
    queued = replace(opened(contacts=contacts, time_for=time_for), note=note)
    seen = DESTINATION.import_report(the_account, export(), queued, people)
    assert seen.finished
    assert unused_of(the_account) == []
    return seen, len(asked(the_account)) - len(first) - 1


def refusing(people: list[Step], status: str = "completed") -> Reply:
    """Return the state of an import that refused all of these."""
    return import_info(status, failure=[one.identity for one in people])


def those_open(seen: ImportReport, people: list[Step]) -> list[Step]:
    """Return the steps the next look is about."""
    return [people[index] for index in sorted(seen.open)]


# Who is refused.


def test_the_refused_are_explained_over_several_looks() -> None:
    many = steps(2 * EXPLAINED_AT_ONCE + 3)
    info, contacts_queued, looks = refusing(many), len(many), []
    people = many
    while people:
        count = min(len(people), EXPLAINED_AT_ONCE)
        queued = contacts_queued if people is many else None
        seen, _ = look(people, info, NOBODY, FULL, *[NOBODY] * (count - 1), contacts=queued)
        looks.append((list(codes(seen.refused).values()), sorted(seen.open)))
        people = those_open(seen, people)
    full = ["over_limit"] * EXPLAINED_AT_ONCE
    assert looks == [
        (full, list(range(8, 19))),
        (full, list(range(8, 11))),
        (["over_limit"] * 3, []),
    ]


def test_others_are_settled_while_the_refused_wait_for_their_reasons() -> None:
    people = steps(EXPLAINED_AT_ONCE + 3)
    info = refusing(people[2:])
    seen, _ = look(people, info, NOBODY, FULL, *[NOBODY] * (EXPLAINED_AT_ONCE - 1), contacts=len(people))
    assert set(seen.refused) == set(range(2, 2 + EXPLAINED_AT_ONCE))
    assert seen.open == {len(people) - 1}


@pytest.mark.parametrize(("count", "asks"), [(64, True), (65, False)])
def test_reasons_are_looked_for_while_no_more_than_some_are_refused(count: int, asks: bool) -> None:
    people = steps(count)
    answers = [NOBODY, FULL, *[NOBODY] * (EXPLAINED_AT_ONCE - 1)] if asks else []
    seen, calls = look(people, refusing(people), *answers, contacts=count)
    assert (calls > 0, len(seen.open)) == (asks, count - EXPLAINED_AT_ONCE if asks else 0)
    assert set(codes(seen.refused).values()) == {"over_limit" if asks else "import_refused"}


def test_while_others_wait_nobody_is_asked_about_and_nobody_left_open() -> None:
    people = steps(EXPLAINED_AT_ONCE + 2)
    seen, calls = look(people, refusing(people), contacts=len(people), backlog=BUSY)
    assert (calls, seen.open, set(codes(seen.refused).values())) == (0, frozenset(), {"import_refused"})
    assert not any(rejection.is_certain for rejection in seen.refused.values())


# Who is in doubt.


def test_no_more_than_some_are_looked_up_at_once_and_the_rest_in_the_next_look() -> None:
    many = steps(LOOKED_UP_AT_ONCE + 2)
    failed = import_info("failed", success=())
    seen, _ = look(many, failed, *[NOBODY] * LOOKED_UP_AT_ONCE, contacts=len(many))
    assert seen.open == {LOOKED_UP_AT_ONCE, LOOKED_UP_AT_ONCE + 1}
    assert len(seen.again) == LOOKED_UP_AT_ONCE
    assert type(seen.note) is str, "it is stored"
    seen, calls = look(those_open(seen, many), failed, NOBODY, NOBODY, note=seen.note)
    assert (seen.open, len(seen.again), calls) == (frozenset(), 2, 2)


def test_while_others_wait_for_calls_nobody_is_looked_up_and_all_are_left_to_a_later_look() -> None:
    many = steps(LOOKED_UP_AT_ONCE + 2)
    seen, calls = look(many, import_info(success=()), contacts=1, backlog=BUSY)
    assert (len(seen.open), seen.refused, calls) == (len(many), {}, 0)
    # Not even the import is asked about again.
    the_account = account(backlog=BUSY)
    later = DESTINATION.import_report(the_account, export(), replace(opened(), note=seen.note), many)
    assert (later.finished, len(later.open), later.note) == (True, len(many), seen.note)
    assert asked(the_account) == []


def test_beside_imports_look_ups_take_half_of_the_calls_that_are_ours() -> None:
    """Whether imports count among the requests of a second is not documented: both together stay below five."""
    for imports_wait, a_second in ((timedelta(), REST.calls), (timedelta(seconds=0.4), REST.calls / 2)):
        plain = account(import_info(success=()), NOBODY)
        busy = replace(plain, backlog=lambda quota, wait=imports_wait: wait if quota == BULK else timedelta())  # type: ignore[misc]
        DESTINATION.import_report(busy, export(), opened(age=600), steps(1))
        look_up = asked_of(busy)[-1]
        assert (look_up.quota.name, look_up.quota.calls, look_up.quota.per) == (REST.name, a_second, REST.per)
    assert BULK.calls / 60 + REST.calls / 2 < 5


# Time.


def test_what_a_day_did_not_settle_is_looked_up_before_it_counts_as_refused() -> None:
    assert timedelta(hours=24) == IMPORT_BOUND < DESTINATION.import_bound


def test_a_call_without_an_answer_may_still_arrive_for_as_long_as_an_import_may_take() -> None:
    assert DESTINATION.lost_answer_bound == IMPORT_BOUND


@pytest.mark.parametrize("time_for", [0, 1, 3])
def test_when_time_runs_out_the_doubtful_are_left_open(time_for: int) -> None:
    people = steps(4)
    seen, calls = look(people, import_info("failed", success=()), *[NOBODY] * time_for, time_for=time_for)
    assert (calls, set(seen.again), seen.open) == (time_for, set(range(time_for)), frozenset(range(time_for, 4)))


@pytest.mark.parametrize("time_for", [0, 1, 3])
def test_when_time_runs_out_the_refused_are_left_open_with_their_reasons_unknown(time_for: int) -> None:
    people = steps(4)
    answers = [NOBODY, FULL, NOBODY, NOBODY][: time_for + 1 if time_for else 0]
    seen, _ = look(people, refusing(people), *answers, contacts=4, time_for=time_for)
    assert (set(seen.refused), seen.open) == (set(range(time_for)), frozenset(range(time_for, 4)))


def test_when_time_runs_out_among_the_refused_nobody_in_doubt_is_looked_up() -> None:
    people = steps(4)
    seen, _ = look(people, refusing(people[2:], "failed"), NOBODY, FULL, time_for=1)
    assert (codes(seen.refused), seen.open) == ({2: "over_limit"}, frozenset({0, 1, 3}))


def test_when_time_runs_out_between_the_refused_and_the_doubtful_only_those_are_open() -> None:
    people = steps(4)
    seen, _ = look(people, refusing(people[2:], "failed"), NOBODY, FULL, NOBODY, NOBODY, time_for=3)
    assert (codes(seen.refused), set(seen.again)) == ({2: "over_limit", 3: "over_limit"}, {0})
    assert seen.open == {1}


def test_one_look_keeps_within_half_a_minute_of_calls() -> None:
    """Everybody refused or in doubt takes as many calls as there are, and each has a tag of their own."""
    refused = [step(f"r{number}@example.com") for number in range(EXPLAINED_AT_ONCE + 1)]
    doubtful = [
        step(f"u{number}@example.com", first_name="A", tags=f"||T{number}||") for number in range(LOOKED_UP_AT_ONCE + 1)
    ]
    reasons = [[contacts(("17", one.identity)), entries()] for one in refused[:EXPLAINED_AT_ONCE]]
    reasons[0].append(room())
    look_ups = [
        [
            contacts(("17", one.identity)),
            SUBSCRIBED,
            held({"firstName": "A"}),
            associations(("55", str(number))),
            tags((str(number), f"T{number}")),
        ]
        for number, one in enumerate(doubtful[:LOOKED_UP_AT_ONCE])
    ]
    people = [*refused, *doubtful]
    info = refusing(refused, "failed")
    seen, calls = look(people, info, contacts(("1", "nobody@example.com")), *chain(*reasons, *look_ups), contacts=30)
    assert codes(seen.refused) == dict.fromkeys(range(EXPLAINED_AT_ONCE), "import_refused")
    assert seen.open == {EXPLAINED_AT_ONCE, len(people) - 1}
    assert (calls + 2) * (REST.per / REST.calls) <= timedelta(seconds=30)
    # While imports are sent it takes twice as long, which the time that is left takes into account.
