"""From pydantic's errors to a SettingsProblem: one an administrator can act on, repeating no value of a secret."""

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from relay.domain.problems import SettingsProblem
from relay.settings.faults import MISSING, problem, unknown_key


def explained(
    error: ValidationError, model: type[BaseModel], *, inside: str = "", hidden: Iterable[str] = ()
) -> SettingsProblem:
    """Tell every error, the first one's field leading; values of secrets are struck out of what a model says.

    `inside` is the field that holds the model's own fields, `hidden` are the values of a secret.
    """
    faults = []
    for one in error.errors(include_input=False, include_url=False):
        field = ".".join(map(str, filter(None, (inside, *_place(one))))) or "value"
        faults.append((field, _reason(one, model)))
    return problem(faults, hidden)


def _place(error: ErrorDetails) -> Sequence[int | str]:
    # An unknown key is not named: in a secret it may be a value pasted into the wrong column.
    return error["loc"][:-1] if error["type"] == "extra_forbidden" else error["loc"]


def _reason(error: ErrorDetails, model: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        return unknown_key(str(error["loc"][-1]), list(model.model_fields))
    return MISSING if error["type"] == "missing" else error["msg"]
