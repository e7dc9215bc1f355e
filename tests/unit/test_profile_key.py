"""Which profile a change is about."""

from typing import Any

import pytest

from relay.domain.expressions import compiled
from relay.sources.profile_key import key_of
from relay.sources.reading import Incoming

RAW = {
    "person": {"id": 12},
    "identityMap": {"crmId": [{"id": "c-9"}, {"id": "c-5", "primary": True}, {"id": "c-1"}], "x": [{"xdm:id": "x-1"}]},
}


def profile(**changed: Any) -> Incoming:
    fields: dict[str, Any] = {
        "raw": RAW,
        "place": (),
        "snapshot": True,
        "identities": {"crmId": ["c-9", "c-5", "c-1"], "ECID": ["2", "10"], "gone": None},
        "attributes": {"person": {"id": 12}, "vip": True, "blank": " ", "score": 1.5, "name": "Ada", "number": 1001.0},
        "memberships": [],
        "primary": {"crmId": {"c-5"}},
    }
    return Incoming(**{**fields, **changed})


@pytest.mark.parametrize(
    ("expression", "key"),
    [
        ("identities.crmId", "c-5"),
        ("identities.ECID", "10"),
        ("identityMap.crmId", "c-5"),
        ("identityMap.crmId[0].id", "c-9"),
        ("identityMap.x", "x-1"),
        ("attributes.person.id", "12"),
        ("person.id", "12"),
        ("attributes.number", "1001"),
        ("identities.email || attributes.name", "Ada"),
        ("[attributes.name, person.id]", "12"),
    ],
)
def test_the_identifying_value(expression: str, key: str) -> None:
    assert key_of(profile(), compiled(expression)) == key


def test_without_a_primary_the_smallest_is_taken() -> None:
    assert key_of(profile(primary={}), compiled("identities.crmId")) == "c-1"


@pytest.mark.parametrize(
    "expression",
    [
        "identities.email",
        "identities.gone",
        "attributes.vip",
        "attributes.blank",
        "attributes.score",
        "attributes",
        "sort(attributes.name)",
        "join('-', [attributes.name, attributes.missing])",
        "to_string(attributes.missing)",
        "identities.ECID[5]",
        "identities.ECID[?@ == 'no']",
    ],
)
def test_what_identifies_nobody(expression: str) -> None:
    assert key_of(profile(), compiled(expression)) is None
