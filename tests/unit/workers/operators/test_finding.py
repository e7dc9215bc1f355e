"""A person is found by what an operator knows of them."""

import pytest

from relay.domain.identity import Rest, Unwanted
from relay.settings.inventory import Inventory
from relay.stores import identities
from relay.wiring_people import People
from relay.workers.operators.finding import Finder, Found
from tests.fakes.bench import KEYED, LAPSED, OTHER_CONNECTION, Bench, person


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.inventory = Inventory(sources=["shop", "crm"])
    return bench


def find(bench: Bench, asked: str) -> Found:
    finder: Finder = People(bench.stack).finder
    return finder.find(asked)


def test_every_name_of_a_person_leads_to_the_profile(bench: Bench) -> None:
    bench.settings.profile_key = "identities.crm"
    ids = {"key": KEYED("shop", "42"), "other": KEYED("shop", "43")}
    for number, profile in enumerate(ids.values()):
        bench.store_as(profile, email=f"{number}@x.example")
    bench.full_run()
    for asked in (
        "42",
        " 42 ",
        "crm:42",
        "shop:42",
        ids["key"],
        ids["key"].upper(),
        "0@X.example",
        "email:0@x.example",
    ):
        assert [profile.id for profile in find(bench, asked).profiles] == [ids["key"]], asked


def test_of_whom_nothing_is_stored_it_says_what_would_identify_them(bench: Bench) -> None:
    found = find(bench, "crm:42")
    assert (found.profiles, found.keys) == ([], {"shop": "identities.crm", "crm": "identities.crm"})
    assert {KEYED("shop", "42"), KEYED("crm", "crm:42")} <= set(found.ids)


def test_keys_of_adobes_form_and_of_attributes_are_worked_out_too(bench: Bench) -> None:
    for expression in ("identityMap.ECID[0].id", "identities.ECID", "attributes.ECID", '"xdm:identityMap".ECID'):
        bench.settings.profile_key = expression
        assert KEYED("shop", "7") in find(bench, "ECID:7").ids, expression


def test_a_source_that_cannot_be_used_hides_no_other(bench: Bench) -> None:
    bench.settings.missing_sources = {"shop"}
    bench.store_as(KEYED("crm", "42"))
    found = find(bench, "42")
    assert [profile.id for profile in found.profiles] == [KEYED("crm", "42")]
    assert set(found.keys) == {"crm"}


def test_an_alias_leads_to_the_survivor(bench: Bench) -> None:
    bench.store(2, email="2@x.example")
    bench.store(4, email="4@x.example")
    bench.join(4, survivor=2)
    found = find(bench, person(4))
    assert ([profile.id for profile in found.profiles], found.aliases) == ([person(2)], [person(4)])


def test_all_who_share_an_identity_are_found_the_winner_first(bench: Bench) -> None:
    for number in (6, 2, 4):
        bench.store(number, email="same@x.example")
    bench.full_run()
    assert [profile.id for profile in find(bench, "same@x.example").profiles] == [person(2), person(4), person(6)]


def test_whoever_is_still_to_be_taken_out_is_found_by_the_identity(bench: Bench) -> None:
    bench.store(2, email="2@x.example")
    bench.full_run()
    key = bench.key("2@x.example")
    [held] = identities.load(bench.database, [key]).values()
    left = held.record._replace(desired=Unwanted(Rest.OUT, person(2)))
    bench.database.write([identities.save(key, left, held.version, bench.clock.now())])
    assert [profile.id for profile in find(bench, "2@x.example").profiles] == [person(2)]


def test_identities_at_every_connection_are_looked_up(bench: Bench) -> None:
    bench.store(2, inside=(LAPSED,), email="2@x.example")
    bench.full_run(bench.other_export)
    assert [profile.id for profile in find(bench, "2@x.example").profiles] == [person(2)]
    assert bench.other_export.connection == OTHER_CONNECTION
