"""From pydantic's errors to faults that an administrator can act on, in plain words, repeating no value of a secret."""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from relay.domain.problems import Fault
from relay.settings.faults import MISSING, unknown_key

_WORDS: Final[Mapping[str, str]] = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "list_type": "must be a list",
    "string_type": "must be a text",
    "datetime_type": "must be a time such as 2026-11-22T09:30:00Z",
    "datetime_parsing": "must be a time such as 2026-11-22T09:30:00Z",
    "datetime_from_date_parsing": "must be a time such as 2026-11-22T09:30:00Z",
    "timezone_aware": "must be a time with a time zone, such as 2026-11-22T09:30:00Z",
}
"""What is said of an error by its type; https://docs.pydantic.dev/latest/errors/validation_errors/."""

_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than": ("must be more than {}", "gt"),
    "greater_than_equal": ("must be at least {}", "ge"),
    "less_than": ("must be less than {}", "lt"),
    "less_than_equal": ("must be at most {}", "le"),
    "string_too_long": ("must have at most {} characters", "max_length"),
    "too_short": ("must have at least {} entries", "min_length"),
    "too_long": ("must have at most {} entries", "max_length"),
    "string_pattern_mismatch": ("must match the pattern {}", "pattern"),
    "literal_error": ("must be {}", "expected"),
    "enum": ("must be {}", "expected"),
}


def faults_of(error: ValidationError, model: type[BaseModel], *, inside: str = "") -> list[Fault]:
    """Return every error as a fault; `inside` is the field that holds the model's own fields."""
    return [_fault(one, model, inside) for one in error.errors(include_input=False, include_url=False)]


def _fault(error: ErrorDetails, model: type[BaseModel], inside: str) -> Fault:
    place = error["loc"]
    if error["type"] == "extra_forbidden":
        known = list(model.model_fields) if len(place) == 1 else []
        return unknown_key(str(place[-1]), known, inside=".".join(map(str, filter(None, (inside, *place[:-1])))))
    return Fault(".".join(map(str, filter(None, (inside, *place)))) or "value", _words(error))


def _words(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return MISSING
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_too_short":
        return "must not be empty" if context["min_length"] == 1 else f"must have {context['min_length']} characters"
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return words.format(context[name])
    # A type that is not known here is no reason to speak in a library's words.
    return _WORDS.get(kind, "is not usable as it is written")
