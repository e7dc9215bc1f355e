"""The tables of options and connection fields on the pages say what the models take."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import create_model

from local.option_tables import pages, written
from scaffold.model.package import NewsletterTool, Options

PAGES = pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_of_a_destination_has_the_tables_that_are_printed_now(page: Path) -> None:
    text = page.read_text()
    assert written(PAGES[page], text) == text, "run make pages"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_an_example_is_one(page: Path) -> None:
    for model in (PAGES[page].connection_model, PAGES[page].options_model):
        for field in model.model_fields.values():
            for example in field.examples or ():
                create_model("One", one=(field.annotation, field)).model_validate({"one": example})


def test_an_option_that_is_not_explained_is_noticed() -> None:
    class Silent(Options):
        more: int = 1

    class Unexplained(NewsletterTool):
        options_model = Silent

    page = next(page for page, destination in PAGES.items() if destination.name == NewsletterTool.name)
    with pytest.raises(ValueError, match="title"):
        written(Unexplained(), page.read_text())
