"""Each stored item says which form it has, so that a later release can read what an earlier one wrote."""

import pytest

from relay.stores.database import Item, Key, Table
from tests.unit.template.test_rights import Day, _a_rich_day

KEYS_ALONE = (
    (Table.SEGMENTS, ""),
    (Table.CONTROL, "waits#"),
    (Table.CONTROL, "runs#"),
    (Table.CONTROL, "export#"),
)
"""Items (by table and the start of `pk`) that say what they say by their key, or name another item."""


@pytest.mark.parametrize("imports", [False, True])
def test_every_item_but_those_that_are_keys_alone_names_its_form(
    imports: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = Day(imports=imports)
    store, formless, kinds = day.database._store, set[str](), set[str]()

    def noting(key: Key, item: Item | None) -> None:
        store(key, item)
        is_key_alone = any(key.table is table and key.pk.startswith(start) for table, start in KEYS_ALONE)
        # What a test writes to be unreadable has no form.
        if item is not None and not is_key_alone and item.get("doc") != "{":
            kinds.add(kind_of(key))
            if "format" not in item:
                formless.add(kind_of(key))

    monkeypatch.setattr(day.database, "_store", noting)
    _a_rich_day(day)
    assert formless == set()
    assert len(kinds) >= 15, kinds


def kind_of(key: Key) -> str:
    first = key.pk.partition("#")[0] if key.table is Table.CONTROL else ""
    return " ".join((key.table.value, first, key.sk.partition("#")[0] if first in ("run", "breakers") else ""))
