"""The tables of options and connection fields on the pages say what the models take."""

from __future__ import annotations

import pytest
from pydantic import create_model

from local.option_tables import page_of, written
from relay.destinations import registry
from tests.fakes.newsletter_tool import Options


@pytest.mark.parametrize("name", registry.PACKAGES)
def test_the_page_of_a_destination_has_the_tables_that_are_printed_now(name: str) -> None:
    text = page_of(name).read_text()
    assert written(name, text) == text, "run make pages"


@pytest.mark.parametrize("name", registry.PACKAGES)
def test_an_example_is_one(name: str) -> None:
    destination = registry.load(name)
    for model in (destination.connection_model, destination.options_model):
        for field in model.model_fields.values():
            for example in field.examples or ():
                create_model("One", one=(field.annotation, field)).model_validate({"one": example})


def test_an_option_that_is_not_explained_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Options):
        more: int = 1

    name = next(iter(registry.PACKAGES))
    monkeypatch.setattr(registry.load(name), "options_model", Silent, raising=True)
    with pytest.raises(ValueError, match="title"):
        written(name, page_of(name).read_text())
