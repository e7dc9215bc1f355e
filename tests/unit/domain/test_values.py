"""What a JSON value is as text, and as something that identifies."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.domain.values import EXACT, id_of, text_of, whole
from tests.examples import example

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)


def test_a_value_as_text_and_as_an_id() -> None:
    table: list[tuple[str, str | None, str | None]] = [
        ("1001", "1001", "1001"),
        ("1001.0", "1001", "1001"),
        ("1e3", "1000", "1000"),
        ("-0.0", "0", "0"),
        ("-7.0", "-7", "-7"),
        ("9007199254740993", "9007199254740993", "9007199254740993"),
        ("123456789012345678901234567890", "123456789012345678901234567890", "123456789012345678901234567890"),
        ("9007199254740992.0", "9007199254740992", "9007199254740992"),
        ("1e300", "1e+300", None),
        ("123456789012345678901234567890.0", "1.2345678901234568e+29", None),
        ("2.5", "2.5", None),
        ("1e-7", "1e-07", None),
        ("NaN", None, None),
        ("Infinity", None, None),
        ("true", "true", None),
        ("false", "false", None),
        ("null", None, None),
        ('""', None, None),
        ('" "', None, None),
        ('" Ada "', "Ada", " Ada "),
        ('"1001.0"', "1001.0", "1001.0"),
        ('"null"', "null", "null"),
        ("[]", None, None),
        ('["a"]', None, None),
        ("{}", None, None),
    ]
    for written, text, identity in table:
        with example(written, text, identity):
            value = json.loads(written)
            assert (text_of(value), id_of(value)) == (text, identity)


@given(st.integers(-EXACT, EXACT))
def test_a_whole_number_is_the_same_however_it_is_written(number: int) -> None:
    assert text_of(float(number)) == text_of(number) == id_of(float(number)) == id_of(number) == str(number)
    assert type(whole(float(number))) is int


@given(scalars, scalars)
def test_two_numbers_are_one_id_only_when_they_are_one_number(one: Any, other: Any) -> None:
    if isinstance(one, int | float) and isinstance(other, int | float) and id_of(one) is not None:
        assert (id_of(one) == id_of(other)) is (one == other and not isinstance(other, bool))


@given(scalars | st.lists(scalars) | st.dictionaries(st.text(), scalars))
def test_nothing_missing_becomes_a_word(value: Any) -> None:
    for text in (text_of(value), id_of(value)):
        assert text is None or isinstance(value, str) or text not in ("null", "None", "undefined", "nan", "inf", "NaN")
