"""What every database promises, as tests: a class of tests gives the `database`."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from relay.stores.database import ABSENT, Database, Delete, Item, Key, Put, Table, Update, Write

PROFILE = Key(Table.PROFILES, "p1")


def in_control(sk: str, pk: str = "c") -> Key:
    """Return a key of a sorted table."""
    return Key(Table.CONTROL, pk, sk)


def sks(items: Sequence[dict[str, Any]]) -> list[str]:
    """Return the sort keys of items."""
    return [item["sk"] for item in items]


def write_one(database: Database, write: Write) -> bool:
    """Apply one write; return whether it applied."""
    (applied,) = database.write([write])
    return applied


EXPECTATIONS: list[tuple[Any, Any, bool]] = [
    (None, {}, True),
    (None, {"pk": ABSENT}, True),
    (None, {"n": ABSENT}, True),
    (None, {"n": 0}, False),
    (None, {"pk": "p1"}, False),
    ({"n": 1}, {"pk": ABSENT}, False),
    ({"n": 1}, {"pk": "p1"}, True),
    ({"n": 1}, {"pk": "p1", "n": 1}, True),
    ({"n": 1}, {"pk": "p1", "n": 2}, False),
    ({"n": 1}, {"n": 1}, True),
    ({"n": 1}, {"n": 1, "m": ABSENT}, True),
    ({"n": 1}, {"n": ABSENT}, False),
    ({"n": 1}, {"n": "1"}, False),
    ({"n": 1}, {"n": True}, False),
    ({"n": True}, {"n": True}, True),
    ({"n": True}, {"n": 1}, False),
    ({"n": ""}, {"n": ""}, True),
    ({"n": ""}, {"n": ABSENT}, False),
]


DEFECTS: list[Write] = [
    Update(PROFILE),
    Update(PROFILE, {"n": 1}, add={"n": 1}),
    Put(PROFILE, {"pk": "p2"}),
    Put(PROFILE, cast("Item", {"n": None})),
    Put(PROFILE, {"n": 1}, {"n": 0}),
    Update(PROFILE, {"n": 1}, expect={"pk": "p2"}),
    Delete(Key(Table.CONTROL, "p", "s"), {"sk": "t"}),
    Put(Key(Table.PROFILES, "p", "s"), {}),
    Put(Key(Table.CONTROL, "p"), {}),
    Put(Key(Table.PROFILES, ""), {}),
    Put(PROFILE, {"text": "x" * 410_000}),
    Put(PROFILE, {"text": "ü" * 205_000}),
    Update(PROFILE, {"bytes": b"x" * 410_000}),
]


class DatabaseContract:
    """Derive from it and give a fixture `database` that is empty."""

    def test_a_scan_goes_through_a_table_page_by_page(self, database: Database) -> None:
        database.write([Put(Key(Table.PROFILES, f"p{number}"), {"n": number}) for number in range(5)])
        database.write([Put(Key(Table.IDENTITIES, "i1"), {"n": 9})])
        seen: list[str] = []
        after = ""
        while True:
            items, after = database.scan(Table.PROFILES, after=after, limit=2)
            assert len(items) <= 2
            seen += [str(item["pk"]) for item in items]
            if not after:
                break
        assert sorted(seen) == [f"p{number}" for number in range(5)]

    def test_an_item_comes_back_as_it_was_put_with_its_key(self, database: Database) -> None:
        item: Item = {"text": "ü", "empty": "", "number": -(10**30), "yes": True, "no": False, "bytes": b"\x00\xff"}
        assert database.write([Put(PROFILE, dict(item)), Put(in_control("a"), dict(item))]) == [True, True]

        found = database.get([PROFILE, in_control("a")])

        assert found == [{"pk": "p1", **item}, {"pk": "c", "sk": "a", **item}]
        assert found[0] is not None
        assert {name: type(value) for name, value in found[0].items() if name != "pk"} == {
            name: type(value) for name, value in item.items()
        }

    @pytest.mark.parametrize("way", ["insert", "update", "upsert", "transaction"])
    def test_every_way_of_writing_keeps_every_type(self, database: Database, way: str) -> None:
        item: Item = {"text": "'\"ü\\", "empty": "", "number": -7, "yes": True, "no": False, "bytes": b"\x00\xff"}
        key = in_control("a")
        if way == "update":
            database.write([Put(key, {"version": 1})])
        if way == "insert":
            assert write_one(database, Put(key, item, {"pk": ABSENT}))
        elif way == "update":
            assert write_one(database, Update(key, item, expect={"version": 1}))
        elif way == "upsert":
            assert write_one(database, Update(key, item))
        else:
            assert database.transact([Update(key, item)])

        (found,) = database.get([key])

        assert found is not None
        found.pop("version", None)
        assert found == {"pk": "c", "sk": "a", **item}

    def test_get_keeps_order_and_repeats_and_gaps_over_more_keys_than_a_call_takes(self, database: Database) -> None:
        database.write([Put(in_control(f"{n:03}"), {"n": n}) for n in range(230)])
        keys = [in_control(f"{n:03}") for n in (*range(229, -1, -1), 500, 7, 7)]

        found = database.get([*keys, PROFILE])

        numbers = [None if item is None else item["n"] for item in found]
        assert numbers == [*range(229, -1, -1), None, 7, 7, None]

    def test_what_was_read_is_a_copy(self, database: Database) -> None:
        write_one(database, Put(PROFILE, {"n": 1}))
        (one,) = database.get([PROFILE])
        assert one is not None
        one["n"] = 2
        assert database.get([PROFILE]) == [{"pk": "p1", "n": 1}]
        assert database.get([]) == []

    def test_a_put_replaces_the_whole_item(self, database: Database) -> None:
        write_one(database, Put(PROFILE, {"a": 1, "b": 2}))
        write_one(database, Put(PROFILE, {"b": 3}))
        assert database.get([PROFILE]) == [{"pk": "p1", "b": 3}]

    def test_an_update_makes_the_item_sets_and_adds_from_nought(self, database: Database) -> None:
        assert write_one(database, Update(PROFILE, put={"name": "x", "size": 4}, add={"count": 2}))
        assert write_one(database, Update(PROFILE, put={"size": 5}, add={"count": -3, "other": 0}))
        assert database.get([PROFILE]) == [{"pk": "p1", "name": "x", "size": 5, "count": -1, "other": 0}]

    def test_deleting_what_is_not_there_is_fine_but_in_a_transaction(self, database: Database) -> None:
        for expect in ({}, {"n": 1}, {"n": ABSENT}, {"pk": "p1"}):
            assert write_one(database, Delete(PROFILE, expect=expect))
        assert not database.transact([Delete(PROFILE, {"n": 1}), Put(in_control("a"), {})])
        assert database.get([in_control("a")]) == [None]
        assert database.transact([Delete(PROFILE)])

    def test_a_deletion_spares_what_is_not_as_expected(self, database: Database) -> None:
        write_one(database, Put(PROFILE, {"n": 1}))
        for expect in ({"n": 2}, {"m": 1}, {"n": ABSENT}, {"pk": ABSENT}):
            assert not write_one(database, Delete(PROFILE, expect=expect))
        assert database.get([PROFILE]) == [{"pk": "p1", "n": 1}]
        assert write_one(database, Delete(PROFILE, expect={"n": 1}))
        assert database.get([PROFILE]) == [None]

    @pytest.mark.parametrize("kind", [Update, Delete])
    @pytest.mark.parametrize("way", ["write", "transact"])
    def test_expectations(self, database: Database, kind: type[Update | Delete], way: str) -> None:
        for stored, expect, holds in EXPECTATIONS:
            example = f"{stored} {expect}"
            write_one(database, Delete(PROFILE) if stored is None else Put(PROFILE, stored))
            write: Write = Update(PROFILE, {"new": 1}, expect=expect) if kind is Update else Delete(PROFILE, expect)
            before = database.get([PROFILE])
            changed = [{"pk": "p1", **(stored or {}), "new": 1}] if kind is Update else [None]

            applied = write_one(database, write) if way == "write" else database.transact([write])

            assert applied is (holds or (stored is None and kind is Delete and way == "write")), example
            assert database.get([PROFILE]) == (changed if holds else before), example

    def test_a_put_may_expect_that_there_is_no_item(self, database: Database) -> None:
        assert write_one(database, Put(PROFILE, {"n": 1}, {"pk": ABSENT}))
        assert not write_one(database, Put(PROFILE, {"n": 2}, {"pk": ABSENT}))
        assert not database.transact([Put(PROFILE, {"n": 2}, {"pk": ABSENT})])
        assert database.get([PROFILE]) == [{"pk": "p1", "n": 1}]

    def test_each_write_is_judged_by_itself_in_the_order_given(self, database: Database) -> None:
        def step(n: int) -> Write:
            if n == 0:
                return Put(PROFILE, {"n": 0}, {"pk": ABSENT})
            return Update(PROFILE, {"n": n}, expect={"n": n - 1})

        writes = [step(0), step(2), step(1), step(1), step(2), Put(in_control("other"), {"n": 1})]
        assert database.write(writes) == [True, False, True, False, True, True]
        assert database.get([PROFILE]) == [{"pk": "p1", "n": 2}]
        assert database.write([]) == []

    def test_many_writes_of_which_some_are_refused(self, database: Database) -> None:
        database.write([Put(in_control(f"{n:03}"), {"n": n}) for n in range(0, 120, 7)])
        writes = [Put(in_control(f"{n:03}"), {"n": -1}, {"pk": ABSENT}) for n in range(120)]
        assert database.write(writes) == [n % 7 != 0 for n in range(120)]
        assert [item["n"] for item in database.query(Table.CONTROL, "c")] == [
            n if n % 7 == 0 else -1 for n in range(120)
        ]

    def test_a_transaction_applies_all_or_nothing_over_tables(self, database: Database) -> None:
        write_one(database, Put(PROFILE, {"version": 1}))
        changes = [Put(in_control("x"), {"n": 1}), Put(Key(Table.IDENTITIES, "k"), {"n": 1})]

        assert not database.transact([*changes, Update(PROFILE, {"version": 3}, expect={"version": 2})])
        assert database.get([in_control("x"), Key(Table.IDENTITIES, "k")]) == [None, None]

        assert database.transact([*changes, Update(PROFILE, {"version": 2}, expect={"version": 1})])
        assert None not in database.get([in_control("x"), Key(Table.IDENTITIES, "k")])

    def test_a_query_sorts_and_bounds(self, database: Database) -> None:
        names = ["b", "a", "a#2", "a#1", "a#1\U0010fffe", "ä", "Z", "a$"]
        database.write([*(Put(in_control(name), {}) for name in names), Put(in_control("a", "elsewhere"), {})])

        def found(**bounds: Any) -> list[str]:
            return sks(database.query(Table.CONTROL, "c", **bounds))

        assert found() == sorted(names)
        assert found(limit=3) == sorted(names)[:3]
        assert found(after="a#1") == ["a#1\U0010fffe", "a#2", "a$", "b", "ä"]
        assert found(after="a#15", limit=1) == ["a#1\U0010fffe"]
        assert found(prefix="a#") == ["a#1", "a#1\U0010fffe", "a#2"]
        assert found(prefix="a#", after="a#") == ["a#1", "a#1\U0010fffe", "a#2"]
        assert found(prefix="a#", after="a#1", limit=1) == ["a#1\U0010fffe"]
        assert found(prefix="a#", after="Z", limit=2) == ["a#1", "a#1\U0010fffe"]
        assert found(prefix="a#", after="b") == []
        assert found(after="\U0010ffff") == []
        assert found(limit=0) == []
        assert found(until="a#1") == ["Z", "a", "a#1"]
        assert found(after="a", until="a$") == ["a#1", "a#1\U0010fffe", "a#2", "a$"]
        assert found(after="a", until="a$", limit=2) == ["a#1", "a#1\U0010fffe"]
        assert found(prefix="a#", until="a#1") == ["a#1"]
        assert found(after="b", until="a") == []
        assert database.query(Table.CONTROL, "nobody") == []

    def test_a_query_reads_more_than_one_page(self, database: Database) -> None:
        database.write([Put(in_control(f"{n:02}"), {"blob": "x" * 300_000}) for n in range(12)])
        assert sks(database.query(Table.CONTROL, "c")) == [f"{n:02}" for n in range(12)]
        assert sks(database.query(Table.CONTROL, "c", after="01", limit=9)) == [f"{n:02}" for n in range(2, 11)]
        downwards = database.query(Table.CONTROL, "c", after="01", limit=9, newest_first=True)
        assert sks(downwards) == [f"{n:02}" for n in range(11, 2, -1)]

    def test_defects_are_refused_before_anything_is_written(self, database: Database) -> None:
        for defect in DEFECTS:
            with pytest.raises(ValueError, match=r"put|update|key|values|400 KB"):
                database.write([Put(in_control("first"), {}), defect])
            with pytest.raises(ValueError, match=r"put|update|key|values|400 KB"):
                database.transact([Put(in_control("first"), {}), defect])
        assert database.get([in_control("first")]) == [None]

    def test_a_transaction_has_writes_of_different_keys_and_not_too_many(self, database: Database) -> None:
        unfit: list[list[Write]] = [
            [],
            [Put(in_control(str(n)), {}) for n in range(101)],
            [Put(PROFILE, {}), Delete(PROFILE)],
            [Put(in_control(str(n)), {"text": "x" * 399_000}) for n in range(11)],
        ]
        for writes in unfit:
            with pytest.raises(ValueError, match="transaction"):
                database.transact(writes)
        assert database.query(Table.CONTROL, "c") == []
        assert database.get([PROFILE]) == [None]

    @pytest.mark.parametrize("way", ["execute", "upsert", "add", "transact"])
    def test_an_item_that_grows_too_large_is_refused_and_harms_no_other(self, database: Database, way: str) -> None:
        big: Item = {"blob": "x" * 300_000}
        write_one(database, Put(PROFILE, {**big, "n": 1}))
        more: Item = {"more": "x" * 200_000}
        write: Write = Update(PROFILE, more, {"n": 1} if way == "add" else {}, {"n": 1} if way == "execute" else {})
        others = [Update(in_control(str(n)), {"n": 1}, expect={"n": 0}) for n in range(3)]
        database.write([Put(one.key, {"n": 0}) for one in others])

        with pytest.raises(ValueError, match="400 KB"):
            _ = database.transact([write]) if way == "transact" else database.write([write])

        (found,) = database.get([PROFILE])
        assert found == {"pk": "p1", **big, "n": 1}
        assert database.write(others) == [True] * 3
