"""Which profile a change is about: the source's `profile_key`, a JMESPath expression over the incoming profile.

The expression sees the profile as it came (so `identityMap.crm[0].id` works for Adobe), with two keys laid over it that
are the same for every dialect: `identities` {namespace: [id, ...]} and `attributes` {...}. It yields one identifying
value or a list of them, each of which stands for the profile: texts, whole numbers, or entries of Adobe's identityMap.

Values are compared without blanks at their ends. Letter case counts, except in a text with one `@`: that is an address,
and compared in its one form (`normal_address`).
"""

from collections.abc import Mapping
from typing import Any, Protocol

import jmespath

from relay.domain.addresses import normal_address
from relay.domain.changes import Json
from relay.domain.values import id_of
from relay.sources.json_body import flaw_of
from relay.sources.reading import Incoming


class Expression(Protocol):
    """A compiled JMESPath expression."""

    def search(self, value: Any) -> Any:
        """Evaluate the expression."""
        ...


def compiled(expression: str) -> Expression:
    """Compile an expression; ValueError (with a text that does not repeat it) when it is none."""
    try:
        return jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as error:
        position = getattr(error, "lex_position", None)
        near = "" if position is None else f", near character {position + 1}"
        raise ValueError(f"is not a JMESPath expression{near}: https://jmespath.org") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def keys_of(profile: Incoming, expression: Expression) -> frozenset[str]:
    """Return the identifying values of a profile, none when nothing identifies it."""
    identities = {name: list(ids) for name, ids in profile.identities.items() if ids is not None}
    view = {**profile.raw, "identities": identities, "attributes": profile.attributes}
    try:
        found = expression.search(view)
    except (ValueError, TypeError, RecursionError):
        # A function met a value it does not take (`sort(attributes.name)` of a number): this profile names nobody.
        return frozenset()
    keys = map(_key, found if isinstance(found, list) else [found])
    return frozenset(key for key in keys if key is not None)


def _key(value: Json) -> str | None:
    # An entry of Adobe's identityMap is an object.
    text = id_of(value.get("id", value.get("xdm:id")) if isinstance(value, Mapping) else value)
    if text is None or flaw_of(text) is not None:
        return None
    text = text.strip()
    return (normal_address(text) or text) if text.count("@") == 1 else text
