"""The protocol of the admin functions: typed, versioned questions and answers in JSON.

A question is `{"ask": "status", ...arguments}`, with `"version": 1` if one likes. An answer is
`{"version": 1, "answer": {...}}` or `{"version": 1, "error": {...}}`. An error is an answer too: the invocation fails
only where the runtime itself does. `docs/admin-api.md` describes all of it, `docs/admin-api.schema.json` is its schema.

Three functions share one code, because IAM cannot look into an event. The rights of the caller say which of them may be
invoked, and the rights of each function's role say what it can do.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.json_schema import models_json_schema

from relay.domain.problems import Actor, EventProblem, Fault, InputProblem, Problem, QuestionProblem
from relay.events import export_key
from relay.settings.explaining import faults_of
from relay.settings.faults import problem_text, shown_key
from relay.settings.names import NAME_RULE, is_name

VERSION: Final = 1
"""Raised when an old asker would misunderstand an answer. New arguments and new fields of answers do not raise it."""


class Level(StrEnum):
    """What a question needs: to look, to set something going, or to delete what is known of a person."""

    VIEW = "view"
    OPERATE = "operate"
    FORGET = "forget"

    @property
    def function(self) -> str:
        """The function that answers questions of this level; its name follows the prefix and a hyphen."""
        return {Level.VIEW: "view", Level.OPERATE: "admin", Level.FORGET: "forget"}[self]

    def covers(self, needed: "Level") -> bool:
        """Whether a function of this level answers a question that needs another one."""
        return self is needed or (self is Level.OPERATE and needed is Level.VIEW)


class Question(BaseModel):
    """The arguments of a question. Its docstring says what is asked; unknown arguments are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class AboutValues(Question):
    """A question whose answer can hold a person's identities and attributes: only when it is asked for."""

    show_values: bool = Field(False, description="Show identities and attributes. Only the admin function does.")


class Answer(BaseModel):
    """An answer, or a part of one. Its docstring says what it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Kind:
    """One kind of question: what it needs, and the models of question and answer."""

    level: Level
    question: type[Question]
    answer: Any
    """A model, or a union of models."""

    @cached_property
    def answers(self) -> TypeAdapter[Any]:
        """What reads and writes an answer."""
        return TypeAdapter(self.answer)

    def needs(self, question: Question) -> Level:
        """Return the level that one question needs: whoever sees values of persons must be allowed more."""
        shows_values = isinstance(question, AboutValues) and question.show_values
        return Level.OPERATE if shows_values and self.level is Level.VIEW else self.level


class ErrorPart(Answer):
    """One thing that is wrong with a question or a document."""

    field: str
    what: str
    near: str | None = Field(None, description="The known name that is nearest to an unknown one.")


class Error(Answer):
    """Why a question was not answered."""

    code: str
    what: str
    field: str | None = None
    actor: Actor = Field(description="Who must act.")
    next_step: str = Field(description="What happens next.")
    errors: list[ErrorPart] = Field([], description="All that is wrong with the question, the first one included.")


def read(event: Any, kinds: Mapping[str, Kind]) -> tuple[str, Question]:
    """Return what an event asks and its arguments; QuestionProblem with all that is wrong with it."""
    if not isinstance(event, Mapping) or not isinstance(event.get("ask"), str):
        what = f"names the question, one of {', '.join(sorted(kinds))}"
        raise QuestionProblem("no_question", what, field="ask")
    asked, arguments = event["ask"], {name: value for name, value in event.items() if name not in ("ask", "version")}
    if event.get("version", VERSION) != VERSION:
        raise QuestionProblem("unknown_version", f"must be {VERSION}, or left out", field="version")
    if asked not in kinds:
        near = next(iter(get_close_matches(asked[:64], kinds, n=1)), None)
        what = f"is no question; known are {', '.join(sorted(kinds))}"
        raise QuestionProblem("unknown_question", what, field="ask", faults=[Fault("ask", what, near)])
    model = kinds[asked].question
    try:
        return asked, model.model_validate(arguments)
    except ValidationError as error:
        faults = [fault._replace(field=shown_key(fault.field) or "event") for fault in faults_of(error, model)]
        raise QuestionProblem("wrong_question", problem_text(faults), field=faults[0].field, faults=faults) from None


def require(level: Level, needed: Level, *, prefix: str) -> None:
    """Refuse, with QuestionProblem, a question that the function of a level does not answer."""
    if not level.covers(needed):
        raise QuestionProblem("not_here", f"is answered by the function {prefix}-{needed.function}", field="ask")


def answered(kind: Kind, answer: Any) -> dict[str, Any]:
    """Return what is sent back with an answer."""
    return {"version": VERSION, "answer": kind.answers.dump_python(answer, mode="json")}


def refused(problem: Problem) -> dict[str, Any]:
    """Return what is sent back in place of an answer."""
    parts = problem.faults if isinstance(problem, InputProblem) else ()
    error = Error(
        code=problem.code,
        what=problem.what,
        field=problem.field if isinstance(problem, InputProblem) else None,
        actor=problem.actor,
        next_step=problem.next_step,
        errors=[ErrorPart(field=part.field, what=part.what, near=part.near) for part in parts],
    )
    return {"version": VERSION, "error": error.model_dump(mode="json")}


def _export_key(value: str) -> str:
    try:
        return export_key(value, field="export")
    except EventProblem as problem:
        raise ValueError(problem.faults[0].what) from None


def _name(value: str) -> str:
    if not is_name(value):
        raise ValueError(NAME_RULE)
    return value


ExportKey = Annotated[str, AfterValidator(_export_key), Field(description="`connection/export`")]
"""An argument that names an export."""

Name = Annotated[str, AfterValidator(_name)]
"""An argument that names a source or a connection."""

MORE: Final = "Where a page before ended; the same question with it goes on."


def schema(kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Return the JSON schema of the protocol: it describes any question; answers are among its definitions.

    `question_x` and `answer_x` are those of the question x, `error` is what comes in place of any answer. Raises
    ValueError for two different models of one name.
    """
    given = [(kind.question, "validation") for kind in kinds.values()]
    _, models = models_json_schema([*given, (Error, "serialization")], ref_template="#/$defs/{model}")  # type: ignore[list-item]
    definitions: dict[str, Any] = dict(models["$defs"])
    definitions["error"] = _response({"error": {"$ref": "#/$defs/Error"}})
    for name, kind in sorted(kinds.items()):
        question = dict(definitions.pop(kind.question.__name__))
        question["properties"] = {
            "ask": {"const": name},
            "version": {"const": VERSION},
            **question.get("properties", {}),
        }
        question["required"] = ["ask", *question.get("required", [])]
        answer = kind.answers.json_schema(mode="serialization", ref_template="#/$defs/{model}")
        _add(definitions, answer.pop("$defs", {}))
        definitions[f"question_{name}"] = {**question, "x-level": kind.level.value}
        definitions[f"answer_{name}"] = _response({"answer": answer})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Questions to the admin functions of Audience Relay, version {VERSION}",
        "oneOf": [{"$ref": f"#/$defs/question_{name}"} for name in sorted(kinds)],
        "$defs": dict(sorted(definitions.items())),
    }


def _add(definitions: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add definitions; ValueError where two models of one name are not the same, as only one of them would be left."""
    for name, definition in more.items():
        if definitions.setdefault(name, definition) != definition:
            raise ValueError(f"two models are called {name}")


def _response(part: Mapping[str, Any]) -> dict[str, Any]:
    properties = {"version": {"const": VERSION}, **part}
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def schema_text(kinds: Mapping[str, Kind]) -> str:
    """Return the schema as it stands in `docs/admin-api.schema.json`."""
    return json.dumps(schema(kinds), indent=2, sort_keys=False, ensure_ascii=False) + "\n"
