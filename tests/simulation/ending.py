"""What is true when everything has come to rest, compared with an oracle that knows nothing of the relay's rules."""

from collections import Counter
from datetime import datetime, timedelta

from relay.domain.exports import Export
from relay.domain.identity import OUT, lapse, wanted_content
from relay.domain.profiles import Profile
from relay.domain.runs import RunState
from relay.stores import assignments, runs
from relay.stores.database import Table
from tests.simulation import oracle
from tests.simulation.destinations import Place
from tests.simulation.promises import promise
from tests.simulation.settings import options_of
from tests.simulation.watch import NOBODY, live, named
from tests.simulation.world import World


def check_nothing_is_lost(world: World) -> None:
    """No message died; every change that was posted is in the store."""
    for queue in (*world.plain_queues, *world.queues.values()):
        promise(not queue.dead, f"{len(queue.dead)} messages of {queue.name} died")
    world.check_where_changes_are()
    check_memberships(world)


def check_memberships(world: World) -> None:
    """For every customer and segment the newest qualification that was posted has won."""
    leads_to: dict[str, str] = {}

    def root(one: str) -> str:
        while leads_to.get(one, one) != one:
            one = leads_to[one]
        return one

    given = [change for batch in world.posted for change in batch.changes if change.profile_ids]
    for change in given:
        for one in change.profile_ids:
            leads_to.setdefault(one, one)
            leads_to[root(one)] = root(change.profile_ids[0])
    newest: dict[tuple[str, str], list[tuple[datetime, bool]]] = {}
    for change in given:
        for membership in change.memberships:
            place = root(change.profile_ids[0]), membership.segment
            # Of equal times the exit wins.
            newest.setdefault(place, []).append((membership.at, not membership.realized))
    for profile in live(world.watch.profiles.values()):
        for segment, held in profile.memberships.items():
            if profile.forgotten is not None or segment in world.replaced:
                # Whether a change is news is checked for each membership by itself.
                continue
            _, is_exited = max(newest[root(profile.id), segment])
            promise(held.realized is not is_exited, f"{profile.id} at {segment} is {held}")


def check_forgotten(world: World) -> None:
    """Nothing is left of whoever was forgotten, and nobody is back without a change that is newer."""
    told = [
        *world.told_by_sets(),
        *(
            (set(change.profile_ids), one.segment, one.at, change.receipt(change.received_at))
            for batch in world.posted
            for change in batch.changes
            for one in change.memberships
        ),
    ]
    for profile in live(world.watch.profiles.values()):
        if profile.forgotten is None:
            continue
        ids = {one for one in world.watch.profiles if world.watch.root(one) == profile.id}
        bound = profile.forgotten.at
        for segment, held in profile.memberships.items():
            news = [one for one in told if one[0] & ids and one[1] == segment and min(one[2], one[3]) > bound]
            promise(held.at in {at for _, _, at, _ in news}, f"{profile.id} is back at {segment} by an older change")
        if profile.forgotten.at_destinations:
            _check_deleted_first(world, profile, bound)
        if not profile.is_tombstone:
            continue
        for table in (Table.ASSIGNMENTS, Table.SEGMENTS):
            left = [str(key) for key, _ in world.database.of_table(table) if key.sk in ids]
            promise(not left, f"{profile.id} was forgotten, and is in {left}")
        left = [key.pk for key, _ in world.database.control("defects") if key.sk in ids]
        promise(not left, f"{profile.id} was forgotten, and is in {left}")
        for key, record in world.watch.records.items():
            promise(
                not ids & set(named(record)), f"{profile.id} was forgotten, and is named at {world.watch.places[key]}"
            )


def _check_deleted_first(world: World, profile: Profile, forgotten_at: datetime) -> None:
    """Whoever came back before the deletion at the destinations is assigned nothing of before."""
    promise(not world.watch.is_deleted_first(profile), f"{profile.id} came back and waits for its deletion for ever")
    if profile.joined:
        # Another profile that turned out to be the same person later may have been assigned since before.
        return
    for key, item in world.database.of_table(Table.ASSIGNMENTS):
        since = assignments.of_item(item).assignment.since
        is_of_before = key.sk == profile.id and since is not None and since <= forgotten_at
        promise(not is_of_before, f"{profile.id} was to be deleted, and has {key.pk} of before")


def wanted(world: World, export: Export) -> dict[Place, dict[str, oracle.Values]]:
    """Return who wants what of an export, by place and profile."""
    kind = world.destinations[export.connection].kind
    found: dict[Place, dict[str, oracle.Values]] = {}
    for profile in world.watch.as_they_stand():
        for place, values in oracle.wanted_by(kind, export, profile).places.items():
            found.setdefault(place, {})[profile.id] = values
    return found


def owned_by(world: World, export: Export) -> set[str]:
    """Return the targets that an export owns."""
    owners = {target: world.owner(export.connection, target) for target in world.targets(export.connection)}
    return {target for target, owner in owners.items() if owner is not None and owner[0] == export.name}


def check_converged(world: World, export: Export, *, strict: bool) -> None:
    """The destination holds what the profiles say; unless `strict`, refusals that have passed may still stand."""
    newest = runs.newest(world.database, export.key)
    if newest is not None and newest.state is RunState.REFUSED:
        # One of its segments was never posted.
        return
    if newest is not None and newest.state is RunState.CANCELLED and not strict:
        # What an operator has kept it from is left to the next run.
        return
    connection, by_place = export.connection, wanted(world, export)
    destination = world.destinations[connection]
    owned = owned_by(world, export)
    promise({target for target, _ in by_place} <= owned, f"{export.key} does not own its targets")
    for place in sorted({*by_place, *destination.held}):
        if place[0] in owned:
            _check_place(world, export, place, by_place.get(place, {}), strict=strict)
    for profile in sorted(world.watch.profiles):
        missing = {place for place, by in by_place.items() if profile in by} - _assigned(world, export, profile)
        promise(not missing, f"{profile} is not assigned {missing}")


def check_assignments(world: World, export: Export) -> None:
    """After a run over unchanged data nobody stands for anything in vain."""
    by_place, owned = wanted(world, export), owned_by(world, export)
    for profile in sorted(world.watch.profiles):
        # What another export has taken over may stay behind.
        vain = {
            place
            for place in _assigned(world, export, profile)
            if place[0] in owned and profile not in by_place.get(place, {}) and not _is_kept(world, export, place)
        }
        promise(not vain, f"{profile} is assigned {vain} in vain")


def _assigned(world: World, export: Export, profile: str) -> frozenset[Place]:
    return frozenset(
        (target, identity) for target, identity in world.watch.assigned.get(export.key, {}).get(profile, ())
    )


def _is_kept(world: World, export: Export, place: Place) -> bool:
    """Return whether the destination refuses to let an identity go."""
    record = world.watch.records.get(world.record_key(export.connection, *place), NOBODY)
    is_refused = record.refused is not None and record.refused.content is OUT
    return is_refused and place[1] in world.destinations[export.connection].refuses


def has_passed_refusals(world: World) -> bool:
    """Return whether something is refused that a destination would take by now: the next run tries it."""
    for key, record in world.watch.records.items():
        connection, place = world.watch.places[key]
        is_refused = record.refused is not None and record.refused.content == wanted_content(record)
        if is_refused and place[1] not in world.destinations[connection].refuses:
            return True
    return False


def has_just_taken_over(world: World) -> bool:
    """Return whether somebody has taken over what an alias stood for within the last hours."""
    found = (assignments.of_item(item).assignment for _, item in world.database.of_table(Table.ASSIGNMENTS))
    since = world.time - timedelta(hours=2)
    return any(one.took_over_at is not None and one.took_over_at > since for one in found)


def _was_kept(world: World, connection: str) -> bool:
    """Return whether an export of a connection ever kept its leavers: they stay, whatever it does later."""
    versions = world.console.versions.values()
    return any(options_of(export).keep for export in versions if export.connection == connection)


def _check_place(world: World, export: Export, place: Place, by: dict[str, oracle.Values], *, strict: bool) -> None:
    connection = export.connection
    destination = world.destinations[connection]
    held = destination.held.get(place)
    record = lapse(world.watch.records.get(world.record_key(connection, *place), NOBODY), world.time)
    where = f"{connection} holds {held} at {place}, {by} want it: {record}"
    is_refused = record.refused is not None and record.refused.content == wanted_content(record)
    if not by:
        may_stay = is_refused if not strict else _is_kept(world, export, place)
        may_stay = may_stay or (connection, place) in world.watch.left_behind
        promise(held is None or may_stay or _was_kept(world, connection), f"somebody never left: {where}")
        return
    promise(record.open is None or record.open.content == wanted_content(record), f"a call is open: {where}")
    promise(record.winner in by, f"the wrong winner: {where}")
    promise(world.is_crowded or record.winner == min(by), f"the wrong winner: {where}")
    if is_refused:
        promise(not strict or place[1] in destination.refuses, f"a refusal that has passed stands: {where}")
        return
    promise(record.winner is not None and held == by[record.winner], f"not converged: {where}")


def check_ledger(world: World, export: Export) -> None:
    """The last run of an export has counted everybody as the oracle does, and moved nothing."""
    run = runs.newest(world.database, export.key)
    if run is None or run.state is RunState.REFUSED:
        return
    promise(run.state in (RunState.FINISHED, RunState.MANY_REJECTED), f"the last run is {run}")
    counts: Counter[str] = Counter()
    for shard in runs.shards(world.database, run.id):
        counts.update(shard.counts)
    expected = _expected(world, export)
    found = {name: counts[name] for name in expected}
    promise(found == dict(expected), f"run {run.id} counts {dict(counts)}, the oracle {dict(expected)}")


def _expected(world: World, export: Export) -> Counter[str]:
    destination, owned = world.destinations[export.connection], owned_by(world, export)
    expected = Counter(
        dict.fromkeys(("selected", "delivered", "unchanged", "rejected", "duplicate", "leaving", "kept"), 0)
    )
    for profile in world.watch.as_they_stand():
        pairs = world.watch.assigned.get(export.key, {}).get(profile.id, frozenset())
        wants = oracle.wanted_by(destination.kind, export, profile)
        left = {place for place in pairs if place[0] in owned and tuple(place) not in wants.places}
        if left and not options_of(export).keep:
            expected["leaving"] += 1
            expected["kept"] += 1
        if not wants.is_member:
            continue
        expected["selected"] += 1
        records = {place: world.watch.records[world.record_key(export.connection, *place)] for place in wants.places}
        won = [place for place, record in records.items() if record.winner == profile.id]
        if wants.is_rejected or any(place[1] in destination.refuses for place in won):
            expected["rejected"] += 1
        else:
            expected["unchanged" if won else "duplicate"] += 1
    return expected
