"""What the modules of commands share."""

from typing import Annotated, Any

from cyclopts import Group, Parameter


def _default(value: Any) -> Any:
    """Return what the help shows as a default; None for nothing, where "not given" says it all."""
    return None if value in (False, None, ()) else str(value)


FLAGS = Parameter(negative="", show_default=_default)
"""A flag is given or not: there is no --no-flag."""

Input = Annotated[str, Parameter(allow_leading_hyphen=True)]
"""What may be `-`, for standard input or output."""

FromFile = Annotated[str | None, Parameter(name="--from", allow_leading_hyphen=True)]
SecretFile = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
Assignments = Annotated[tuple[str, ...], Parameter(name="--set", negative="")]

LOOK = Group("Look", sort_key=1)
RUN = Group("Run", sort_key=2)
PEOPLE = Group("People", sort_key=3)
SETTINGS = Group("Settings", sort_key=4)
MESSAGES = Group("Messages", sort_key=5)
