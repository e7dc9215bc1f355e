"""Points in time: every form is read or refused with ValueError, and the stored form sorts as the times do."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain import moments

utc_times = st.datetimes(timezones=st.just(UTC))
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(utc_times)
def test_a_written_time_is_read_as_it_was(moment: datetime) -> None:
    assert moments.parse(moments.text(moment)) == moment


@given(utc_times, utc_times)
def test_the_stored_form_sorts_as_the_times_do(one: datetime, other: datetime) -> None:
    assert (moments.text(one) < moments.text(other)) is (one < other)
    assert len(moments.text(one)) == len("2026-01-11T21:24:39.000000Z")


@given(st.datetimes(timezones=zones) | st.datetimes())
def test_any_offset_is_read_as_utc_or_refused(moment: datetime) -> None:
    try:
        read = moments.parse(moment.isoformat())
    except ValueError:
        assert moment.year in (1, 9999)
    else:
        assert read.tzinfo is UTC
        assert read == (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-00:01"])
def test_a_time_that_utc_cannot_tell_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="beyond the years"):
        moments.parse(text)


def test_early_years_have_four_digits() -> None:
    assert moments.text(datetime(33, 4, 3, tzinfo=UTC)) == "0033-04-03T00:00:00.000000Z"


@given(st.text(max_size=40))
def test_anything_else_is_a_value_error(text: str) -> None:
    try:
        read = moments.parse(text)
    except ValueError:
        return
    assert read.tzinfo is UTC
