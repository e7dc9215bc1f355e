from datetime import UTC

import pytest

from sandboxes.limits import FixedQuota, ScaledClock, SlidingQuota

from .conftest import Clock


def test_a_scaled_clock_speeds_up_durations_but_not_dates(clock: Clock) -> None:
    scaled = ScaledClock(clock, 60)
    clock.advance(1)
    assert scaled.elapsed() == 60
    assert scaled.wall_seconds(30) == 0.5
    assert scaled.now().timestamp() == clock.seconds
    assert scaled.now().tzinfo is UTC


def test_a_time_scale_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        ScaledClock(scale=0)


def test_a_sliding_quota_looks_back_one_window_from_every_request(clock: Clock) -> None:
    quota = SlidingQuota(2, 1, ScaledClock(clock).elapsed)
    assert quota.admit() is None
    clock.advance(0.6)
    assert quota.admit() is None
    assert quota.remaining() == 0
    clock.advance(0.3)
    assert quota.admit() == pytest.approx(0.1, abs=1e-3)
    clock.advance(0.2)
    assert quota.admit() is None
    assert quota.report() == {"limit": 2, "seconds": 1, "most_seen": 3, "violations": 1}


def test_refused_requests_do_not_use_the_quota_up(clock: Clock) -> None:
    quota = SlidingQuota(1, 1, ScaledClock(clock).elapsed)
    quota.admit()
    clock.advance(0.9)
    assert quota.admit() is not None
    clock.advance(0.2)
    assert quota.admit() is None


def test_a_quota_of_nothing_admits_nobody(clock: Clock) -> None:
    assert SlidingQuota(0, 60, ScaledClock(clock).elapsed).admit() == 60


def test_a_fixed_quota_starts_afresh_with_each_period(clock: Clock) -> None:
    quota = FixedQuota(2, 100, ScaledClock(clock).elapsed)
    assert [quota.admit(), quota.admit()] == [None, None]
    clock.advance(40)
    assert quota.admit() == pytest.approx(60, abs=1e-3)
    clock.advance(60)
    assert quota.remaining() == 2
    assert quota.admit() is None
    assert quota.report() == {"limit": 2, "seconds": 100, "most_seen": 3, "violations": 1}
