"""Which profile a change is about: the source's `profile_key`, a JMESPath expression over the incoming profile.

The expression sees the profile as it came (so `identityMap.crm[0].id` works for Adobe), with two keys laid over it that
are the same for every dialect: `identities` {namespace: [id, ...]} and `attributes` {...}. It yields the identifying
value: a text or a whole number; of an array the one that the dialect marks as primary, else the smallest.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import jmespath

from relay.domain.changes import Json
from relay.domain.values import id_of
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


def key_of(profile: Incoming, expression: Expression) -> str | None:
    """Return the identifying value of a profile, None when it has none."""
    identities = {name: list(ids) for name, ids in profile.identities.items() if ids is not None}
    view = {**profile.raw, "identities": identities, "attributes": profile.attributes}
    try:
        found = expression.search(view)
    except (ValueError, TypeError):
        # A function met a value it does not take (`sort(attributes.name)` of a number): this profile names nobody.
        return None
    primary = {identity for marked in profile.primary.values() for identity in marked}
    return _chosen(found if isinstance(found, list) else [found], primary)


def _chosen(candidates: Sequence[Json], primary: Iterable[str]) -> str | None:
    texts = {text for text in map(_text, candidates) if text is not None}
    return min(texts.intersection(primary) or texts, default=None)


def _text(value: Json) -> str | None:
    # An entry of Adobe's identityMap is an object.
    return id_of(value.get("id", value.get("xdm:id")) if isinstance(value, Mapping) else value)
