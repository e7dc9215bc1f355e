"""One person's address becomes one text, however it was typed or pasted; what is uncertain is refused."""

# ruff: noqa: RUF001 - letters that look alike are what this is about

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.addresses import MAX_BYTES, normal_address

KIM = "kim@example.com"

INVISIBLE = [
    "\u200b",  # zero width space
    "\u200c",
    "\u200d",
    "\u2060",  # word joiner
    "\ufeff",  # byte order mark
    "\u00ad",  # soft hyphen
    "\u034f",  # combining grapheme joiner
    "\u200e",
    "\u200f",
    "\u202a",
    "\u202e",
    "\u2066",
    "\u2069",  # marks of direction
    "\u061c",
    "\u180e",
    "\ufe0f",
    "\U000e0100",  # variation selectors
    "\U000e0061",
    "\U000e007f",  # tags
    "\u115f",
    "\u3164",  # fillers
]
BLANKS = [" ", "\t", "\r\n", "\u00a0", "\u2007", "\u202f", "\u3000", "\u1680", "\u2028", "\u0085", "\u2800"]


def test_what_cannot_be_seen_is_left_out_wherever_it_stands() -> None:
    written = [KIM[:place] + mark + KIM[place:] for mark in INVISIBLE for place in range(len(KIM) + 1)]
    assert {one: address for one in written if (address := normal_address(one)) != KIM} == {}


def test_blanks_at_the_ends_are_left_out_and_blanks_within_refused() -> None:
    around = [f"{blank}{mark}{blank}{KIM}{mark}{blank}{mark}" for blank in BLANKS for mark in ("", "\u200b")]
    within = [KIM[:place] + blank + KIM[place:] for blank in BLANKS for place in range(1, len(KIM))]
    assert {one: address for one in around if (address := normal_address(one)) != KIM} == {}
    assert {one: address for one in within if (address := normal_address(one)) is not None} == {}


def test_one_person_written_in_several_ways() -> None:
    addresses = {
        "Kim@Example.COM": KIM,
        "kim@example.com.": KIM,
        " kim@example.com. ": KIM,
        "ｋｉｍ＠ｅｘａｍｐｌｅ．ｃｏｍ": KIM,
        "kim@example。com": KIM,
        "\u212aim@example.com": KIM,
        "JOSÉ@example.com": "josé@example.com",
        "jose\u0301@example.com": "josé@example.com",
        "JOSE\u0301@example.com": "josé@example.com",
        "kim@bücher.de": "kim@xn--bcher-kva.de",
        "kim@BU\u0308CHER.de": "kim@xn--bcher-kva.de",
        "kim@XN--BCHER-KVA.de": "kim@xn--bcher-kva.de",
        "kim@bücher。de.": "kim@xn--bcher-kva.de",
        "kim@straße.de": "kim@xn--strae-oqa.de",
        "info@почта.рф": "info@xn--80a1acny.xn--p1ai",
        "почта@пример.рф": "почта@xn--e1afmkfd.xn--p1ai",
        "ｶﾞ@example.com": "ガ@example.com",
        "\u0e17\u0e33@example.com": "\u0e17\u0e33@example.com",
        "\u0e17\u0e4d\u0e32@example.com": "\u0e17\u0e33@example.com",
        "o'brien+x.y@mail.example.co": "o'brien+x.y@mail.example.co",
        "a@b_c.example.com": "a@b_c.example.com",
    }
    assert {written: normal_address(written) for written in addresses} == addresses


REFUSED = [
    "",
    " ",
    "kim",
    "@example.com",
    "kim@",
    "kim@example",
    "kim@example.c",
    "kim@example.c1",
    "kim@@example.com",
    "a@b@example.com",
    "kim@.example.com",
    "kim@example..com",
    "kim@example.com..",
    "k..im@example.com",
    "kim@-example.com",
    "kim@exa mple.com",
    "kim@exam!ple.com",
    "kim@[192.0.2.1]",
    "<kim@example.com>",
    "mailto:kim@example.com",
    "kim@example.com, lee@example.com",
    "kim@example.com;lee@example.com",
    "kim\x00@example.com",
    "kim@example.com\x00",
    "kim\ud83d@example.com",
    "kim\ue000@example.com",
    "k\ufffdm@example.com",
    "kim@i❤.ws",
    "ﬁona@example.com",
    "k²@example.com",
    "KİM@example.com",
    "ki\u0307m@example.com",
    "ΚΩΣ.Α@example.com",
    "क्\u200dष@example.com",
    f"{'k' * 250}@example.com",
    "\u200b" * 100_000 + KIM,
    f"kim@{'a' * 64}.com",
]


def test_what_is_no_address_or_an_uncertain_one_is_refused() -> None:
    assert {written: address for written in REFUSED if (address := normal_address(written)) is not None} == {}


def test_addresses_that_are_different_stay_different() -> None:
    written = ["kim@example.com", "k.im@example.com", "kim+1@example.com", "kìm@example.com", "кim@example.com"]
    written += ["strasse@example.com", "straße@example.com", "kim@strasse.de", "kim@straße.de", "κως@example.com"]
    assert len({normal_address(one) for one in written}) == len(written)
    assert None not in set(map(normal_address, written))


def test_the_longest_address() -> None:
    longest = f"{'k' * (MAX_BYTES - len('@example.com'))}@example.com"
    assert normal_address(longest) == longest
    assert normal_address("k" + longest) is None


letters = st.text(
    st.characters(codec="utf-8") | st.sampled_from([*"kimKIM.+-ßéÄ", "\u0301", "\u0307", *INVISIBLE]),
    min_size=1,
    max_size=8,
)
addresses = st.builds("{}@{}.{}".format, letters, letters | st.just("example"), st.just("com") | letters)


@given(addresses)
def test_an_address_in_its_one_form_stays_as_it_is(written: str) -> None:
    address = normal_address(written)
    assert address is None or normal_address(address) == address


@given(addresses, st.sampled_from(["NFC", "NFD"]))
def test_composed_and_decomposed_are_one_address(written: str, form: str) -> None:
    other = unicodedata.normalize(form, written)  # type: ignore[arg-type]
    assert normal_address(other) == normal_address(written)


@given(addresses)
def test_what_is_left_is_visible_and_in_small_letters(written: str) -> None:
    address = normal_address(written)
    if address is not None:
        assert not any(unicodedata.category(one)[0] in "CZ" for one in address)
        assert address == unicodedata.normalize("NFKC", address.replace("\u0e33", "").replace("\u0eb3", "")) or (
            "\u0e33" in address or "\u0eb3" in address
        )
        assert address.partition("@")[2].isascii()
        assert not any(one.isupper() for one in address)


@pytest.mark.exhaustive
def test_every_letter_of_unicode_has_one_form_or_none() -> None:
    for number in range(sys.maxunicode + 1):
        written = f"k{chr(number)}m@example.com"
        address = normal_address(written)
        if address is None:
            continue
        # What is spelt as what was just tried gives the same.
        others = {address, unicodedata.normalize("NFC", written), unicodedata.normalize("NFD", written)} - {written}
        assert {normal_address(other) for other in others} <= {address}, hex(number)
