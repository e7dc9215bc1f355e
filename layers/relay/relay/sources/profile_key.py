"""Which profile a change is about: the source's `profile_key`, an expression over the incoming profile.

The expression sees the profile as it came (so `identityMap.crm[0].id` works for Adobe), with two keys laid over it that
are the same for every dialect: `identities` {namespace: [id, ...]} and `attributes` {...}. It yields one identifying
value or a list of them, each of which stands for the profile: texts, whole numbers, or entries of Adobe's identityMap.
A list in that list counts with its values, so that `[identities.crm, attributes.email]` means what it says.

Values are compared without blanks at their ends. Letter case counts, except in a text with one `@`: that is an address,
and compared in its one form (`normal_address`).
"""

from collections.abc import Mapping

from relay.domain.addresses import normal_address
from relay.domain.changes import Json
from relay.domain.expressions import Expression, Unfit
from relay.domain.values import id_of
from relay.sources.json_body import flaw_of
from relay.sources.reading import Incoming


def keys_of(profile: Incoming, expression: Expression) -> frozenset[str]:
    """Return the identifying values of a profile, none when nothing identifies it."""
    identities = {name: list(ids) for name, ids in profile.identities.items() if ids is not None}
    view = {**profile.raw, "identities": identities, "attributes": profile.attributes}
    try:
        found = expression.value(view)
    except Unfit:
        # It cannot be worked out for this profile, which names nobody then.
        return frozenset()
    listed = found if isinstance(found, list) else [found]
    values = (value for one in listed for value in (one if isinstance(one, list) else [one]))
    return frozenset(key for key in map(_key, values) if key is not None)


def _key(value: Json) -> str | None:
    # An entry of Adobe's identityMap is an object.
    text = id_of(value.get("id", value.get("xdm:id")) if isinstance(value, Mapping) else value)
    if text is None or flaw_of(text) is not None:
        return None
    text = text.strip()
    return (normal_address(text) or text) if text.count("@") == 1 else text
