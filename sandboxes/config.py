"""Settings of a sandbox: given when it is made, changed while it runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from sandboxes.answers import InvalidControlError

Text = Annotated[str, StringConstraints(min_length=1)]
Address = Annotated[str, StringConstraints(min_length=1, to_lower=True)]
"""An e-mail address, whose case does not matter."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AccountConfig:
    """Settings of one kind of sandbox. The type of a field says what it takes, its default what an account has."""

    def changed(self, changes: Mapping[str, object]) -> Self:
        """Return the settings with `changes`, which are JSON; InvalidControlError on an unknown name or a bad value."""
        try:
            read = TypeAdapter(type(self)).validate_json(json.dumps(changes), strict=True)
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            raise InvalidControlError("; ".join(wrong)) from None
        return dataclasses.replace(self, **{name: getattr(read, name) for name in changes})
