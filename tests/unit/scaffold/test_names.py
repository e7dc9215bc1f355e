"""Which names a new destination may have, and how each place writes them."""

from __future__ import annotations

import pytest

from scaffold.names import LONGEST, Name, UnusableNameError


def test_each_place_has_its_own_way_of_writing_a_name() -> None:
    name = Name("acme_mail2")
    assert (name.snake, name.kebab, name.camel, name.title, name.word) == (
        "acme_mail2",
        "acme-mail2",
        "AcmeMail2",
        "Acme Mail2",
        "acmemail2",
    )


@pytest.mark.parametrize(
    "text",
    ["", "Klaviyo", "2mail", "_mail", "mail_", "a__b", "acme-mail", "acme mail", "../mail", "mail\n", "pöst", "$(id)"],
)
def test_a_name_is_small_letters_and_digits_with_single_underscores(text: str) -> None:
    with pytest.raises(UnusableNameError, match="small letters and digits"):
        Name(text)


def test_a_name_fits_what_aws_takes() -> None:
    assert Name("a" * LONGEST).word == "a" * LONGEST
    with pytest.raises(UnusableNameError, match=f"at most {LONGEST}"):
        Name("a" * (LONGEST + 1))


@pytest.mark.parametrize("word", ["class", "lambda", "none", "true", "false"])
def test_a_name_is_no_word_of_python(word: str) -> None:
    """Nor is that of its class."""
    with pytest.raises(UnusableNameError, match="Python"):
        Name(word)


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "null", "n_o"])
def test_a_name_is_a_text_in_the_template(word: str) -> None:
    with pytest.raises(UnusableNameError, match="YAML"):
        Name(word)
