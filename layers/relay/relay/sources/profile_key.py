"""Which profile a change is about: the source's `profile_key`, an expression over the incoming profile.

The expression sees the profile as it came (so `identityMap.crm[0].id` works for Adobe), with two keys laid over it that
are the same for every dialect: `identities` {namespace: [id, ...]} and `attributes` {...}. It yields the identifying
value: a text or a whole number; of an array the one that the dialect marks as primary, else the smallest.
"""

from collections.abc import Iterable, Mapping, Sequence

from relay.domain.changes import Json
from relay.domain.expressions import Expression, Unfit
from relay.domain.values import id_of
from relay.sources.reading import Incoming


def key_of(profile: Incoming, expression: Expression) -> str | None:
    """Return the identifying value of a profile, None when it has none."""
    identities = {name: list(ids) for name, ids in profile.identities.items() if ids is not None}
    view = {**profile.raw, "identities": identities, "attributes": profile.attributes}
    try:
        found = expression.value(view)
    except Unfit:
        # It cannot be worked out for this profile, which names nobody then.
        return None
    primary = {identity for marked in profile.primary.values() for identity in marked}
    return _chosen(found if isinstance(found, list) else [found], primary)


def _chosen(candidates: Sequence[Json], primary: Iterable[str]) -> str | None:
    texts = {text for text in map(_text, candidates) if text is not None}
    return min(texts.intersection(primary) or texts, default=None)


def _text(value: Json) -> str | None:
    # An entry of Adobe's identityMap is an object.
    return id_of(value.get("id", value.get("xdm:id")) if isinstance(value, Mapping) else value)
