"""The page and the schema of the questions say what the models say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import create_model

from local.admin_pages import CODES, SETTINGS, codes_page, settings_page
from relay.wiring import Stack
from relay.wiring_operators import Operators
from relay.workers.operators.protocol import Answer, Error, Kind, Level, Question, read, schema, schema_text
from relay.workers.operators.questions import QUESTIONS
from tests.unit.template import expanding

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "admin-api.md").read_text()
EXAMPLES: dict[str, list[Any]] = {
    section.partition("\n")[0]: [json.loads(text) for text in re.findall(r"```json\n(.*?)```", section, re.DOTALL)]
    for section in re.split(r"^### ", PAGE.partition("## Questions")[2], flags=re.MULTILINE)[1:]
}


def test_every_question_is_on_the_page_in_order() -> None:
    assert list(EXAMPLES) == sorted(QUESTIONS)


@pytest.mark.parametrize("ask", QUESTIONS)
def test_the_examples_of_a_question_are_one_and_its_answer(ask: str) -> None:
    question, *answers = EXAMPLES[ask]
    assert read(question, QUESTIONS)[0] == ask
    assert answers
    for answer in answers:
        adapter = QUESTIONS[ask].answers
        assert adapter.dump_python(adapter.validate_python(answer), mode="json") == answer


def test_two_models_of_one_name_are_refused() -> None:
    def kind(number: int, parts: type[Any]) -> Kind:
        asked = create_model(f"Asked{number}", __base__=Question)
        held: Any = (create_model("Twin", __base__=Answer, part=(parts, ...)), ...)
        return Kind(Level.VIEW, asked, create_model(f"Answer{number}", __base__=Answer, held=held))

    assert "Twin" in schema({"one": kind(1, int), "two": kind(2, int)})["$defs"]
    with pytest.raises(ValueError, match="two models are called Twin"):
        schema({"one": kind(1, int), "two": kind(2, str)})


def test_the_example_of_an_error_is_one() -> None:
    (text,) = re.findall(r"<!-- error -->\n```json\n(.*?)```", PAGE, re.DOTALL)
    given = json.loads(text)["error"]
    assert Error.model_validate(given).model_dump(mode="json") == given


def test_the_schema_is_the_one_that_is_printed_now() -> None:
    assert (DOCS / "admin-api.schema.json").read_text() == schema_text(QUESTIONS), "run make pages"


def test_every_question_has_somebody_who_answers_it() -> None:
    stack = Stack({"RELAY_PREFIX": "p", "RELAY_ADMIN": "operate"})
    assert Operators(stack).operator().asks == QUESTIONS.keys()


@pytest.mark.parametrize("ask", QUESTIONS)
def test_every_question_and_answer_says_what_it_is(ask: str) -> None:
    definition = json.loads(schema_text(QUESTIONS))["$defs"][f"question_{ask}"]
    assert definition["description"]
    assert definition["additionalProperties"] is False


def test_the_page_of_codes_is_the_one_that_is_printed_now() -> None:
    assert CODES.read_text() == codes_page(), "run make pages"


def test_the_page_of_settings_is_the_one_that_is_printed_now() -> None:
    assert SETTINGS.read_text() == settings_page(), "run make pages"


def test_every_parameter_of_the_stack_is_on_the_page_of_settings() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S[^|]+) \|", SETTINGS.read_text().partition("## The stack")[2], re.MULTILINE)
    assert [name for name, _ in rows] == list(expanding.read()["Parameters"])
