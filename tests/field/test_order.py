"""README's own order: connect the source, let the platform post, make the export when there are people to export."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from relay.stores import segments
from tests.fakes.steady import same_every_time
from tests.field.reading import Setup
from tests.field.world import EXPORT, PREFIX, World

PEOPLE = range(1, 31)


def change(number: int) -> dict[str, object]:
    at = "2026-04-30T09:30:00Z"
    return {
        "identities": {"crm": f"c-{number}"},
        "attributes": {"email": f"person{number}@example.com"},
        "memberships": [
            {"segment": "vip", "status": "realized" if number % 3 else "exited", "at": at, "name": "VIPs"},
            {"segment": "lapsed", "status": "exited", "at": at},
        ],
    }


@pytest.mark.parametrize(("kind", "stream"), [("ac", False), ("ac", True), ("px", True)])
def test_an_export_made_after_the_platform_posted_brings_all_its_members(kind: str, stream: bool) -> None:
    with same_every_time():
        world = World(Setup(kind=kind, stream=stream))
        name = f"/{PREFIX}/exports/{EXPORT}"
        export = world.parameters.parameters[name]["Value"]
        del world.parameters[name]
        # The relay forgets that there was an export.
        world.invocations.run_until(world.clock.now() + timedelta(minutes=2))

        body = json.dumps({"changes": [change(number) for number in PEOPLE]})
        assert world.ingest(body, {"Authorization": "Bearer token-of-the-shop"}) == 202
        world.rest(timedelta(hours=1))
        # What has come so far is what an administrator chooses from.
        assert [(one.id, one.name) for one in segments.catalogue(world.database)] == [
            ("shop/lapsed", None),
            ("shop/vip", "VIPs"),
        ]

        world.invocations.run_until(world.clock.now() + timedelta(days=1))
        world.parameters[name] = export
        world.invocations.run_until(world.clock.now() + timedelta(minutes=5))
        if not stream:
            world.export_function({"export": EXPORT})
        world.rest(timedelta(hours=3))

        members = [number for number in PEOPLE if number % 3]
        held = world.vendor.held()
        if kind == "px":
            assert held["members"] == {"shop/vip": sorted(f"c-{number}" for number in members)}
        else:
            on_the_list = [one["email"] for one in held["contacts"] if one["lists"].get("7") == 1]
            assert sorted(on_the_list) == sorted(f"person{number}@example.com" for number in members)
        assert world.observe.defects == []
        assert world.dead == 0
