"""Points in time: every form is read right or refused with ValueError, and the stored form sorts as the times do."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain import moments
from relay.sources.reading import moment_of

utc_times = st.datetimes(timezones=st.just(UTC))
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
NOON = datetime(2026, 4, 30, 12, tzinfo=UTC)


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


READ = [
    "2026-04-30T12:00:00Z",
    "2026-04-30t12:00:00z",
    "2026-04-30 12:00:00",
    "2026-04-30 12:00:00Z",
    "2026-04-30 12:00:00 UTC",
    "2026-04-30 12:00:00 +0000",
    "2026-04-30T12:00",
    "2026-04-30T12:00Z",
    "2026-04-30T12:00:00.000Z",
    "2026-04-30T12:00:00.000000+0000",
    "2026-04-30T12:00:00.000000000Z",
    "2026-04-30T12:00:00+00",
    "2026-04-30T12:00:00-00:00",
    "2026-04-30T14:00:00+02:00",
    "2026-04-30T14:00:00+0200",
    "2026-04-30T14:00:00+02",
    "2026-04-30T07:00:00-0500",
    "2026-04-30T17:45:00+05:45",
    "2026-05-01T02:00:00+14:00",
    "1777550400",
    "1777550400000",
]


def test_every_form_of_one_instant() -> None:
    assert {text: moment for text in READ if (moment := moments.parse(text)) != NOON} == {}


def test_times_that_are_read() -> None:
    times = {
        "2026-04-30": datetime(2026, 4, 30, tzinfo=UTC),
        "2024-02-29": datetime(2024, 2, 29, tzinfo=UTC),
        "1612051200000": datetime(2021, 1, 31, tzinfo=UTC),
        "1612051200": datetime(2021, 1, 31, tzinfo=UTC),
        "100000000": datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC),
        "9999999999": datetime(2286, 11, 20, 17, 46, 39, tzinfo=UTC),
        "100000000000": datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC),
        "9999999999999": datetime(2286, 11, 20, 17, 46, 39, 999000, tzinfo=UTC),
        "2026-04-30T12:00:00.1234567Z": NOON.replace(microsecond=123456),
        "2026-04-30T12:00:00.5Z": NOON.replace(microsecond=500000),
    }
    assert {text: moments.parse(text) for text in times} == times


REFUSED = [
    "",
    " ",
    "soon",
    "2026",
    "2026-04",
    "20260430",
    "202604",
    "2026043012",
    "202604301200",
    "20260430120000",
    "20260430120000Z",
    "20260430T120000Z",
    "2026-04-30T120000Z",
    "2026-W18-4",
    "2026-W18",
    "2026W184",
    "2026-W18-4T12:00:00.000000Z",
    "2026-120",
    "2026120",
    "2026-11-22-05:00",
    "2026-04-30+01:00",
    "2026-04-30Z",
    "2026-04-30T",
    "2026-04-30T12",
    "2026-04-30T12Z",
    "2026-04-30T12-05",
    "2026-04-30T12:00:60Z",
    "2026-12-31T23:59:60Z",
    "2026-04-30T24:00:00Z",
    "2026-04-30T24:00:00.000000Z",
    "2026-04-30T12:60:00Z",
    "2026-04-30T12:00:00,5Z",
    "2026-04-30T12:00:00.Z",
    "2026-04-30T12:00:00+24:00",
    "2026-04-30T12:00:00+1",
    "2026-04-30T12:00:00+01:00:30",
    "2026-04-30T12:00:00+0160",
    "2026-04-30T12:00:00\u221205:00",
    "2026-04-30T12:00:00 EST",
    "2026-04-30T12:00:00GMT",
    "2026-04-30T12:00:00[Europe/Berlin]",
    "2026-04-30T12:00:00Z[UTC]",
    "2026-04-30T12:00:00 PM",
    "2026-04-30  12:00:00",
    "2026-04-30_12:00:00",
    " 2026-04-30T12:00:00Z",
    "2026-04-30T12:00:00Z ",
    "2026-04-30T12:00:00Z\n",
    "2026-04-30T12:00:00.000000z\n",
    "2026-02-30",
    "2026-02-29T00:00:00Z",
    "2026-13-01",
    "2026-00-10",
    "0000-01-01",
    "26-04-30",
    "12026-04-30",
    "+2026-04-30",
    "-2026-04-30",
    "04/30/2026",
    "30.04.2026",
    "30/04/2026",
    "2026/04/30",
    "Thu, 30 Apr 2026 12:00:00 GMT",
    "\u0662\u0660\u0662\u0666-04-30",
    "12:00:00",
    "0",
    "1",
    "46142",
    "99999999",
    "10000000000",
    "99999999999",
    "17775504000000",
    "1777550400000000",
    "1777550400000000000",
    "-1777550400",
    "+1777550400",
    "01777550400",
    "1777550400.5",
    "1777550400.0",
    "1.7775504e9",
    "0x69F39A80",
    "1_777_550_400",
    "\u0661\u0667\u0667\u0667\u0665\u0665\u0660\u0664\u0660\u0660",
    "/Date(1777550400000)/",
    "nan",
    "true",
    "null",
]


def read(call: Callable[[], datetime]) -> datetime | None:
    """Return what a form is read as, or None where it is refused."""
    try:
        return call()
    except ValueError:
        return None


def test_what_may_mean_another_time_is_refused() -> None:
    ways: list[Callable[[str], datetime]] = [
        moments.parse,
        partial(moment_of, zoned=True),
        partial(moment_of, zoned=False),
    ]
    taken = {text: moment for text in REFUSED for way in ways if (moment := read(partial(way, text))) is not None}
    assert taken == {}


near_misses = st.sampled_from(READ + REFUSED).flatmap(
    lambda text: st.builds(
        lambda at, length, middle: text[:at] + middle + text[at + length :],
        st.integers(0, len(text)),
        st.integers(0, 3),
        st.text("0123456789TtZz-+:. W,", max_size=3),
    )
)


@given(near_misses | st.text(max_size=40) | st.from_regex(r"\A[0-9]{1,20}\Z"))
def test_whatever_is_read_says_so_itself(text: str) -> None:
    """What is read is found in the text again, digit by digit: nothing was taken for something else."""
    try:
        moment = moments.parse(text)
    except ValueError:
        return
    assert moment.tzinfo is UTC
    assert moments.parse(moments.text(moment)) == moment
    if re.fullmatch(r"[0-9]+", text):
        milliseconds = int(text) * {9: 1000, 10: 1000, 12: 1, 13: 1}[len(text)]
        assert moment == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
        return
    written = moments.as_written(text)
    assert moments.in_utc(written) == moment
    shown = written.isoformat(timespec="microseconds")
    assert text[:10] == shown[:10]
    time = text[11:19].ljust(8)
    assert shown[11:16] == (time[:5].strip() or "00:00")
    assert shown[17:19] == (time[6:8] if time[5] == ":" else "00")
    offset = re.search(r"([+-])(\d\d):?(\d\d)?$", text[16:])
    expected = "".join((offset[1], offset[2], ":", offset[3] or "00")) if offset else "+00:00"
    assert shown[26:] in (expected, "" if offset is None else expected, expected.replace("-00:00", "+00:00"))


@pytest.mark.parametrize("zoned", [True, False])
def test_times_in_a_body(zoned: bool) -> None:
    values: list[Any] = [1777550400, 1777550400000, 1777550400.0, 1.7775504e12]
    values += ["1777550400", "1777550400000", "2026-04-30T12:00:00Z"]
    assert [moment_of(value, zoned=zoned) for value in values] == [NOON] * len(values)


def test_a_number_of_a_body_is_unix_time_where_the_same_digits_as_a_text_are_uncertain() -> None:
    assert moment_of(2026043012, zoned=True) == datetime(2034, 3, 15, 13, 43, 32, tzinfo=UTC)


@pytest.mark.parametrize("zoned", [True, False])
def test_values_in_a_body_that_are_no_time(zoned: bool) -> None:
    values: list[Any] = [
        True,
        False,
        None,
        [],
        {},
        0,
        -1,
        1,
        20260430,
        202604301200,
        20260430120000,
        10**30,
        -1777550400,
    ]
    for value in [*values, 1777550400.5, 1e300, float("nan"), float("inf")]:
        with pytest.raises(ValueError, match="must be a time such as"):
            moment_of(value, zoned=zoned)


@pytest.mark.parametrize("text", ["2026-04-30T12:00:00", "2026-04-30 12:00", "2026-04-30"])
def test_a_text_without_a_zone_is_utc_or_refused(text: str) -> None:
    assert moment_of(text, zoned=False).date() == NOON.date()
    with pytest.raises(ValueError, match="with Z or an offset"):
        moment_of(text, zoned=True)


def test_a_body_tells_no_time_before_1970() -> None:
    with pytest.raises(ValueError, match="before 1970"):
        moment_of("1969-12-31T23:59:59Z", zoned=True)
