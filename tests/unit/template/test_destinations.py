"""All that exists once per destination, for each destination that the registry names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from relay import names
from relay.destinations.registry import PACKAGES
from tests.unit.template import expanding
from tests.unit.template.expanding import Resources, Source, is_dlq, listed, may_send_to, named, of, statements, target

ROOT = Path(__file__).parents[3]
DESTINATIONS = tuple(PACKAGES)
WORDS = tuple(map(names.word_of, DESTINATIONS))

# Who asks for looks, beside the destination's own function.
ASKS_FOR_LOOKS = {"RouteRole", "ExportRole", "AdminRole", "ForgetRole", "TickRole", "ImportChecksRole"}

each_destination = pytest.mark.parametrize("destination", DESTINATIONS)


def test_words_are_distinct_and_fit_into_logical_ids_and_names() -> None:
    assert len(set(WORDS)) == len(WORDS) > 1
    assert [word for word in WORDS if not re.fullmatch(r"[a-z][a-z0-9]{0,30}", word)] == []
    assert [names.word_of(word) for word in WORDS] == list(WORDS)


def test_one_list_names_every_destination_that_the_registry_names() -> None:
    template = expanding.read()
    loops = [
        loop
        for section in ("Resources", "Outputs")
        for key, loop in template[section].items()
        if key.startswith(f"{expanding.LOOP}") and "Destinations" in key
    ]
    assert len(loops) > 1
    assert all(loop[1] == sorted(WORDS) for loop in loops)
    # It is written down once; every other loop refers to it.
    assert expanding.TEMPLATE.read_text(encoding="utf-8").count(f"[{', '.join(sorted(WORDS))}]") == 1


def test_what_is_named_after_a_word_is_named_after_a_destination(resources: Resources) -> None:
    functions = of(resources, "AWS::Lambda::Function").values()
    given = [function["Environment"]["Variables"].get("RELAY_DESTINATION") for function in functions]
    assert sorted(word for word in given if word is not None) == sorted(WORDS)


@each_destination
def test_a_destination_has_a_function_that_knows_whose_it_is(resources: Resources, destination: str) -> None:
    name, function = _function(resources, destination)
    variables = function["Environment"]["Variables"]
    assert variables["RELAY_DESTINATION"] == variables["POWERTOOLS_SERVICE_NAME"] == names.word_of(destination)
    assert function["Handler"] == "app.handler"
    assert function["Layers"] == of(resources, "AWS::Lambda::Function")["TickFunction"]["Layers"]
    assert name.startswith(names.word_of(destination))


@each_destination
def test_the_code_of_a_destinations_function_is_there(source: Source, destination: str) -> None:
    function = source["Resources"][f"{names.word_of(destination)}Function"]["Properties"]
    assert (ROOT / function["CodeUri"] / "app.py").is_file()


@each_destination
def test_a_destination_has_a_fifo_queue_that_its_function_alone_works_on(
    resources: Resources, destination: str
) -> None:
    queue, described = _queue(resources, names.destination_queue("p", destination))
    assert described["FifoQueue"] is True
    mappings = [
        mapping
        for mapping in of(resources, "AWS::Lambda::EventSourceMapping").values()
        if target(mapping["EventSourceArn"]) == queue
    ]
    assert [target(mapping["FunctionName"]) for mapping in mappings] == [_function(resources, destination)[0]]


@each_destination
def test_a_destination_has_a_fifo_dead_letter_queue(resources: Resources, destination: str) -> None:
    _, described = _queue(resources, names.destination_queue("p", destination))
    dlq, letters = _queue(resources, f"p-{names.word_of(destination)}-dlq.fifo")
    assert target(described["RedrivePolicy"]["deadLetterTargetArn"]) == dlq
    assert letters["FifoQueue"] is True
    assert is_dlq(dlq)


@each_destination
def test_who_asks_for_looks_may_send_to_the_destination(resources: Resources, destination: str) -> None:
    queue, _ = _queue(resources, names.destination_queue("p", destination))
    own = target(_function(resources, destination)[1]["Role"])
    senders = {role for role in of(resources, "AWS::IAM::Role") if queue in may_send_to(resources, role)}
    assert senders == {*ASKS_FOR_LOOKS, own}


@each_destination
def test_a_destination_asks_for_checks(resources: Resources, destination: str) -> None:
    own = target(_function(resources, destination)[1]["Role"])
    assert "checksQueue" in may_send_to(resources, own)


@each_destination
def test_a_destination_may_do_what_every_other_may(resources: Resources, destination: str) -> None:
    word, other = names.word_of(destination), next(word for word in WORDS if word != names.word_of(destination))
    assert _rights(resources, word) == _rights(resources, other)


@each_destination
def test_the_outputs_name_what_a_destination_has(source: Source, resources: Resources, destination: str) -> None:
    word, outputs = names.word_of(destination), source["Outputs"]
    assert target(outputs[f"{word}FunctionName"]["Value"]) == _function(resources, destination)[0]
    assert target(outputs[f"{word}QueueUrl"]["Value"]) == f"{word}Queue"
    assert target(outputs[f"{word}DLQUrl"]["Value"]) == f"{word}DLQ"


def _function(resources: Resources, destination: str) -> tuple[str, dict[str, Any]]:
    wanted = f"p-{names.word_of(destination)}"
    return _one(of(resources, "AWS::Lambda::Function"), "FunctionName", wanted)


def _queue(resources: Resources, wanted: str) -> tuple[str, dict[str, Any]]:
    return _one(of(resources, "AWS::SQS::Queue"), "QueueName", wanted)


def _one(found: dict[str, dict[str, Any]], field: str, wanted: str) -> tuple[str, dict[str, Any]]:
    matching = [(name, described) for name, described in found.items() if named(described[field]) == wanted]
    assert len(matching) == 1, f"{wanted} is not there"
    return matching[0]


def _rights(resources: Resources, word: str) -> list[str]:
    """Return a destination's statements in words that are the same for all."""
    return [
        str((statement["Sid"], listed(statement["Action"]), statement["Resource"])).replace(word, "WORD")
        for name, _, statement in statements(resources)
        if name == f"{word}Role" and statement["Effect"] == "Allow" and "Sid" in statement
    ]
