"""What can be written is described: the fields of settings, of destinations, the codes."""

from __future__ import annotations

from typing import Any

import pytest

from relay.destinations import registry
from relay.settings import described
from relay.settings.exports import read_export
from relay.settings.sources import source_of
from relay.workers.operators.describing import Describe, Describing


def description() -> dict[str, Any]:
    describing = Describing("relay", "eu-west-1", registry.PACKAGES, registry.load)
    return describing.describe(Describe()).model_dump(mode="json")


def test_the_stack_and_its_codes_are_described() -> None:
    given = description()
    assert (given["stack"]["prefix"], given["stack"]["region"]) == ("relay", "eu-west-1")
    assert given["codes"]
    assert given["destinations"].keys() == registry.PACKAGES.keys()


@pytest.mark.parametrize("name", registry.PACKAGES)
def test_a_destination_describes_all_its_fields(name: str) -> None:
    destination, given = registry.load(name), description()["destinations"][name]
    fields = {field["name"]: field for field in given["connection_fields"]}
    assert fields.keys() == destination.connection_model.model_fields.keys()
    assert fields["api_key"]["secret"]
    assert {field["name"] for field in given["export_options"]} == destination.options_model.model_fields.keys()
    assert given["mapping_fields"][0]["name"] == given["identity"] == destination.identity
    assert all(field["means"] and not field["means"].startswith("None") for field in fields.values())


def test_choices_and_defaults_are_those_of_the_models() -> None:
    options = {field["name"]: field for field in description()["destinations"]["activecampaign"]["export_options"]}
    assert (options["list_id"]["required"], options["list_id"]["default"]) == (True, None)
    assert (options["on_exit"]["default"], "unsubscribe" in options["on_exit"]["choices"]) == ("keep", True)
    assert not options["on_exit"]["secret"]


def test_fields_have_the_type_of_their_values() -> None:
    given = description()
    types = {
        field["name"]: field["type"]
        for fields in (given["export_fields"], *(one["export_options"] for one in given["destinations"].values()))
        for field in fields
    }
    expected = {
        "segments": "array",
        "mapping": "object",
        "stream": "boolean",
        "only_if": "string",
        "list_id": "string",
        "on_exit": "string",
        "tell_again": "integer",
        "value_in": "string",
    }
    assert {name: types[name] for name in expected} == expected


def test_the_described_fields_of_sources_and_exports_are_those_that_are_read() -> None:
    """Given the reader's own list of what is known, Then it is what the descriptions have, and the same is required."""
    with pytest.raises(Exception, match="known are") as caught:
        source_of("shop", {"unknown_key_of_a_source": "x"})
    _known_and_required(str(caught.value), described.SOURCE)
    from relay.settings.doors import Parameter

    with pytest.raises(Exception, match="known are") as caught:
        read_export(Parameter('{"unknown_key_of_an_export": 1}', 1))
    _known_and_required(str(caught.value), described.EXPORT)


def _known_and_required(text: str, fields: tuple[described.Described, ...]) -> None:
    known = text.rpartition("known are ")[2].partition(";")[0].split(", ")
    assert sorted(known) == sorted(field.name for field in fields)
    for field in fields:
        assert field.required == (f"{field.name}: is missing" in text), field.name
