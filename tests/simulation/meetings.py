"""Who else may write an item that a worker is about to write: what brings two writers together.

Messages come twice, late and in any order, so whatever is sent here may come at that very moment.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from relay.domain.problems import UNCONFIRMED
from relay.domain.profiles import Alias
from relay.messages import CheckImport, Confirm, Look, group, shard_of
from relay.queues import Message
from relay.stores.database import Key, Table
from tests.simulation.watch import NOBODY, named

if TYPE_CHECKING:
    from tests.simulation.world import World

Rival = Callable[[], object]


def rivals(world: "World", key: Key) -> Sequence[Rival]:
    """Return invocations that are likely to write an item, empty where nothing is known of it."""
    if key.table is Table.IDENTITIES and key.pk in world.watch.places:
        return _of_record(world, key.pk)
    if key.table is Table.ASSIGNMENTS:
        return _of_assignment(world, key.pk.rpartition("#")[0], key.sk)
    if key.table is not Table.CONTROL:
        return []
    kind, _, name = key.pk.partition("#")
    if kind == "imports":
        return [lambda: _check(world, name, [key.sk])]
    if kind == "run" and key.sk == "header":
        export = str((world.database.peek(key) or {}).get("export", ""))
        found: list[Rival] = [world.confirm_runs, world.cancel_a_run, world.tick]
        return found + [lambda: world.start_run(export)] * bool(export)
    if kind == "run":
        return _of_ledger(world, name)
    return []


def _of_record(world: "World", key: str) -> Sequence[Rival]:
    connection, place = world.watch.places[key]
    record = world.watch.records.get(key, NOBODY)
    by_export = {
        export: sorted({profile for profile, pairs in held.items() if place in pairs} | set(named(record)))
        for export, held in world.watch.assigned.items()
        if export.startswith(f"{connection}/") and export in world.console.exports
    }
    found: list[Rival] = [
        lambda export=export, some=some: _look(world, export, some)  # type: ignore[misc]
        for export, some in by_export.items()
        if some
    ]
    found += [
        lambda export=export, some=some: _edit(world, export, some)  # type: ignore[misc]
        for export, some in by_export.items()
        if some and world.chance.random() < 0.2
    ]
    call = record.open
    if call is not None and call.id is not None:
        calls = [call.id]
        found += [lambda: _check(world, connection, calls)] * 2
    if record.refused is not None and record.refused.code == UNCONFIRMED and record.responsible is not None:
        asked = record.responsible
        found.append(lambda: _confirm(world, f"{connection}/{record.authority.export}", asked))
    found += [lambda: _claim(world, connection, place[1])] * 2
    everybody = sorted(set().union(*by_export.values()))
    if everybody:
        found.append(lambda: _join(world, connection, world.chance.choice(everybody)))
    return found


def _of_assignment(world: "World", export: str, profile: str) -> Sequence[Rival]:
    if export not in world.console.exports:
        return []
    held = world.watch.assigned.get(export, {})
    aliases = [
        one for one, stored in world.watch.profiles.items() if isinstance(stored, Alias) and held.get(one, frozenset())
    ]
    found: list[Rival] = [lambda: _join(world, export.partition("/")[0], profile)]
    if aliases:
        found += [lambda: _look(world, export, aliases)] * 2
    return found


def _of_ledger(world: "World", run: str) -> Sequence[Rival]:
    opened = [
        (key.pk.partition("#")[2], key.sk) for key, item in world.database.control("imports") if item["run"] == run
    ]
    if not opened:
        return [world.tick]
    connection = opened[0][0]
    return [lambda: _check(world, connection, [call for _, call in opened])]


def _look(world: "World", export: str, profiles: Iterable[str]) -> None:
    """Have profiles looked at whose group nobody works on."""
    connection, _, name = export.partition("/")
    queue, shards = world.queues[connection], world.destinations[connection].shards
    blocked = queue.blocked()
    by_group: dict[str, list[str]] = {}
    for profile in profiles:
        by_group.setdefault(group(connection, shard_of(profile, shards)), []).append(profile)
    for place in sorted(by_group.keys() - blocked):
        if export in world.console.exports:
            settings = world.console.exports[export].version
            queue.send([Message(Look(connection, name, settings, tuple(by_group[place])).to_json(), place)])
            world.consume(connection, place)


def _edit(world: "World", export: str, profiles: Iterable[str]) -> None:
    """Somebody acts under newer settings."""
    if export in world.console.exports:
        world.edit_export(export)
        _look(world, export, profiles)


def _claim(world: "World", connection: str, identity: str) -> None:
    """Somebody else turns out to have an identity, and is looked at."""
    new = replace(world.change(), attributes={"email": identity, "backup": identity, "name": "D"})
    world.route(f'"{world.post_changes([new])}"')
    for place in world.queues[connection].free():
        world.consume(connection, place)


def _check(world: "World", connection: str, calls: Iterable[str]) -> None:
    """Have imports checked whose rows have all arrived."""
    world.destinations[connection].land_some(everything=True)
    for call in calls:
        header = world.database.peek(Key(Table.CONTROL, f"imports#{connection}", call))
        if header is not None:
            world.checks.send([Message(CheckImport(connection, call, int(header["number"])).to_json())])
            world.check(call)


def _confirm(world: "World", export: str, profile: str) -> None:
    connection, _, name = export.partition("/")
    if export in world.console.exports:
        settings = world.console.exports[export].version
        world.checks.send([Message(Confirm(connection, name, settings, (profile,)).to_json())])
        world.check(profile)


def _join(world: "World", connection: str, profile: str) -> None:
    """A platform tells that two ids belong to one person; whoever is an alias from then on is looked at."""
    person = sorted(next((ids for ids in world.people if profile in ids), [profile]))
    held = {one for export, by in world.watch.assigned.items() if export.startswith(f"{connection}/") for one in by}
    # The smallest id stays; whoever becomes its alias hands over what it is assigned.
    later = [one for one in person if one > profile and one in held]
    other = world.chance.choice(later or person)
    if other != profile:
        joined = replace(world.change(), profile_ids=tuple(sorted((profile, other))))
        world.route(f'"{world.post_changes([joined])}"')
        for place in world.queues[connection].free():
            world.consume(connection, place)
