"""How large a first run will be, as a check asks before it."""

import pytest

from relay.destinations.contract import Account
from tests.fakes.delivery_bench import LAPSED, VIP, Bench


def account_of(bench: Bench) -> Account:
    account, _ = bench.opener.account(bench.settings.connection("letters"))
    return account


@pytest.mark.parametrize(("count", "exceeds"), [(4, True), (5, False), (0, True)])
def test_members_of_all_segments_are_counted_once_each(count: int, exceeds: bool) -> None:
    bench = Bench(segments=(VIP, LAPSED))
    for number in range(4):
        bench.store(number, inside=(VIP, LAPSED))
    bench.store(300, inside=(LAPSED,))
    bench.store(301, inside=("shop/other",))
    assert account_of(bench).first_run_exceeds(bench.export, count) is exceeds


def test_an_export_that_has_had_a_run_has_no_first_one_to_come() -> None:
    bench = Bench()
    bench.store(1)
    assert account_of(bench).first_run_exceeds(bench.export, 0)
    bench.start()
    assert not account_of(bench).first_run_exceeds(bench.export, 0)


def test_a_run_that_was_refused_is_no_run() -> None:
    bench = Bench()
    bench.start()
    bench.store(1)
    assert account_of(bench).first_run_exceeds(bench.export, 0)
