"""Standings: where one profile stands in one export, and why, by what is stored. Nothing is written and nobody asked.

A verdict says which column of a run counts a profile; a standing says to a person what the matter is. Both go by the
same records. Pure but for `Standings`, which reads.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from relay.clock import Clock
from relay.destinations.contract import Destination
from relay.domain.assignment import Assignment, MappingRejection, Pair
from relay.domain.exports import Export
from relay.domain.identity import (
    OUT,
    UNKNOWN,
    Content,
    Do,
    Record,
    Refused,
    Rest,
    Wanted,
    lapse,
    next_step,
)
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import DEFECT, Rejection
from relay.domain.profiles import Membership, Profile
from relay.reconcile.desired import Role, desired_of, identities_of
from relay.stores import assignments, defects, forgettings, identities, imports
from relay.stores.database import Database
from relay.stores.defects import Defect


class Matter(StrEnum):
    """What is the matter with a profile at one target."""

    DELIVERED = "delivered"
    """The destination holds it as it should."""
    REFUSED = "refused"
    DUPLICATE = "duplicate"
    """Another profile with the same identity is sent in its place."""
    NOT_LOOKED_AT = "not looked at"
    """The record does not say yet what the profile wants by now."""
    UNSENT = "unsent"
    """The record says so, and no call was made yet."""
    IMPORTING = "importing"
    OPEN_CALL = "open call"
    """A call was made whose answer nobody knows."""
    EARLIER_CALL = "earlier call"
    """A call with other values has to end first."""
    OUT = "out"
    """It is not wanted there, and the destination does not hold it."""
    KEPT = "kept"
    """It is not wanted there any more, and the export takes nobody out."""
    HELD = "held"
    """It is not wanted there any more; somebody who was turned away may want the identity."""
    OTHERS = "others"
    """It is not wanted there any more; another profile with the same identity is."""


class State(StrEnum):
    """Where a profile stands in an export as a whole."""

    SET_ASIDE = "set aside"
    REJECTED = "rejected"
    WAITING = "waiting"
    DUPLICATE = "duplicate"
    DELIVERED = "delivered"
    KEPT = "kept"
    NOT_SELECTED = "not selected"


_STATES: Final[Mapping[Matter, State]] = {
    Matter.REFUSED: State.REJECTED,
    Matter.EARLIER_CALL: State.WAITING,
    Matter.OPEN_CALL: State.WAITING,
    Matter.IMPORTING: State.WAITING,
    Matter.UNSENT: State.WAITING,
    Matter.NOT_LOOKED_AT: State.WAITING,
    Matter.HELD: State.WAITING,
    Matter.DUPLICATE: State.DUPLICATE,
    Matter.DELIVERED: State.DELIVERED,
    Matter.KEPT: State.KEPT,
    Matter.OTHERS: State.NOT_SELECTED,
    Matter.OUT: State.NOT_SELECTED,
}
"""The states, worst first: the worst matter of all targets is that of the export."""

_RANKS: Final = {matter: rank for rank, matter in enumerate(_STATES)}


class Held(StrEnum):
    """What the destination confirmed last that it holds."""

    AS_DESIRED = "as desired"
    OTHER_VALUES = "other values"
    NOTHING = "nothing"
    UNKNOWN = "unknown"


class AtTarget(NamedTuple):
    """A profile at one target: whether it is wanted there, what is the matter, and what the record says.

    `refused` is set only while it is the matter. `duplicate_of` is the profile that is sent in its place. `until` is
    when an open call can have no effect any more. `call` is the id of the last call, in the log.
    """

    pair: Pair
    is_wanted: bool
    matter: Matter
    held: Held
    since: datetime | None = None
    until: datetime | None = None
    refused: Refused | None = None
    duplicate_of: str | None = None
    call: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a profile stands in an export.

    `memberships` are those in the export's segments. `rejection` is that of the mapping, `rejected_since` when a look
    first met it (None before that). `defect` is set where the profile is set aside.
    """

    export: Export
    profile: str
    memberships: Mapping[str, Membership]
    targets: tuple[AtTarget, ...] = ()
    rejection: Rejection | None = None
    rejected_since: datetime | None = None
    warnings: tuple[str, ...] = ()
    defect: Defect | None = None
    assigned_since: datetime | None = None
    is_left_out: bool = False
    """Whether it is no member by the export's `only_if` alone."""
    is_forgotten: bool = False
    """Whether the person was forgotten, and nothing is known since; or is to be deleted at the destinations first."""

    @property
    def is_selected(self) -> bool:
        """Return whether the profile is in a segment of the export, and not left out."""
        return not self.is_left_out and any(held.realized for held in self.memberships.values())

    @property
    def worst(self) -> AtTarget | None:
        """Return the target that says most of how the profile stands."""
        return min(self.targets, key=lambda one: _RANKS[one.matter], default=None)

    @property
    def state(self) -> State:
        """Return where the profile stands as a whole."""
        if self.defect is not None:
            return State.SET_ASIDE
        if self.rejection is not None:
            return State.REJECTED
        worst = self.worst
        if worst is None:
            return State.NOT_SELECTED
        is_kept = worst.matter is Matter.REFUSED and not worst.is_wanted
        return State.KEPT if is_kept else _STATES[worst.matter]

    @property
    def code(self) -> str | None:
        """Return the code of the rejection or of our defect."""
        if self.defect is not None:
            return DEFECT
        if self.rejection is not None:
            return self.rejection.code
        worst = self.worst
        return None if worst is None or worst.refused is None else worst.refused.code


def at_target(pair: Pair, record: Record, profile: str, content: Content, *, is_import: bool) -> AtTarget:
    """Return how a profile stands at a target where it wants a content, by the record that has no lapsed call."""
    matter, of = _matter(record, profile, content, is_import=is_import)
    call = record.open
    return AtTarget(
        pair,
        content is not OUT,
        matter,
        _held(record, content),
        record.since,
        None if call is None else call.deadline,
        record.refused if matter is Matter.REFUSED else None,
        of,
        record.last_call if call is None or call.id is None else call.id,
    )


def _matter(record: Record, profile: str, content: Content, *, is_import: bool) -> tuple[Matter, str | None]:
    desired = record.desired
    if content is OUT:
        if isinstance(desired, Wanted):
            return (Matter.NOT_LOOKED_AT, None) if profile in desired.by else (Matter.OTHERS, desired.by[0])
        if desired.rest is not Rest.OUT:
            return (Matter.KEPT if desired.rest is Rest.KEEP else Matter.HELD), None
    else:
        if not isinstance(desired, Wanted):
            return Matter.NOT_LOOKED_AT, None
        if desired.by[0] != profile:
            is_known = profile in desired.by or record.turned_away_at is not None
            return (Matter.DUPLICATE, desired.by[0]) if is_known else (Matter.NOT_LOOKED_AT, None)
        if desired.digest != content:
            return Matter.NOT_LOOKED_AT, None
    return _of_step(record, content, is_import=is_import), None


def _of_step(record: Record, content: Content, *, is_import: bool) -> Matter:
    step = next_step(record)
    if step.do is Do.NOTHING and record.acknowledged == content:
        return Matter.OUT if content is OUT else Matter.DELIVERED
    if step.do is Do.NOTHING:
        return Matter.REFUSED
    if record.open is None:
        return Matter.UNSENT
    if record.open.content != content:
        return Matter.EARLIER_CALL
    return Matter.IMPORTING if is_import else Matter.OPEN_CALL


def _held(record: Record, content: Content) -> Held:
    if record.acknowledged is UNKNOWN:
        return Held.UNKNOWN
    if record.acknowledged is OUT:
        return Held.NOTHING
    return Held.AS_DESIRED if record.acknowledged == content else Held.OTHER_VALUES


@dataclass(frozen=True, slots=True)
class Standings:
    """Reads where profiles stand."""

    database: Database
    destinations: Callable[[str], Destination]
    keyed: KeyedHash
    clock: Clock

    def of(self, export: Export, profiles: Sequence[Profile]) -> list[Standing]:
        """Return where profiles stand in an export, in their order. Reads each record once, and writes nothing."""
        first = forgettings.to_be_deleted(self.database, profiles, self.clock.now())
        profiles = [one.as_tombstone if one.id in first else one for one in profiles]
        ids = [profile.id for profile in profiles]
        assigned = assignments.load(self.database, export.key, ids)
        aside = defects.load(self.database, export.key, ids)
        roles = [self._roles(export, profile, assigned[profile.id].assignment) for profile in profiles]
        keys = {self._key(export, role.pair) for wants in roles for role in (*wants.members, *wants.others)}
        records = identities.load(self.database, sorted(keys))
        calls = {call.id for one in records.values() if (call := one.record.open) is not None and call.id is not None}
        queued = imports.still_open(self.database, export.connection, calls)
        return [
            Standing(
                export,
                profile.id,
                _memberships(export, profile),
                tuple(self._targets(export, profile.id, wants, records, queued)),
                wants.rejection,
                _since(wants.rejection, assigned[profile.id].assignment.rejection),
                wants.warnings,
                aside.get(profile.id),
                assigned[profile.id].assignment.since,
                wants.is_left_out,
                profile.is_tombstone,
            )
            for profile, wants in zip(profiles, roles, strict=True)
        ]

    def _roles(self, export: Export, profile: Profile, assignment: Assignment) -> "_Wants":
        """Return what a profile wants, and what it stands for or may have stood for besides."""
        destination, now = self.destinations(export.destination), self.clock.now()
        desired = desired_of(export, destination, profile, self.keyed)
        others = {*assignment.pairs}
        identities_now = identities_of(export, destination, profile.view())
        if not isinstance(identities_now, Rejection) and _memberships(export, profile):
            others |= {Pair(target, one) for target in destination.targets(export) for one in identities_now}
        others = set() if desired.stays else others - {member.pair for member in desired.members}
        out = tuple(Role(pair, OUT, now) for pair in sorted(others))
        return _Wants(desired.members, out, assignment.pairs, desired.rejection, desired.warnings, desired.is_left_out)

    def _targets(
        self,
        export: Export,
        profile: str,
        wants: "_Wants",
        records: Mapping[str, identities.Stored],
        queued: Collection[str],
    ) -> Iterator[AtTarget]:
        now = self.clock.now()
        for role in (*wants.members, *wants.others):
            stored = records[self._key(export, role.pair)]
            call = stored.record.open
            is_import = call is not None and call.id in queued
            # The check of an import answers its calls, whenever that is.
            record = stored.record if is_import else lapse(stored.record, now)
            if role.content is not OUT or role.pair in wants.assigned or stored.version > 0:
                yield at_target(role.pair, record, profile, role.content, is_import=is_import)

    def _key(self, export: Export, pair: Pair) -> str:
        return identities.key_of(self.keyed, export.connection, pair.target, pair.identity)


class _Wants(NamedTuple):
    """What a profile wants, and pairs that it does not want: those it is assigned, and those it may have had."""

    members: tuple[Role, ...]
    others: tuple[Role, ...]
    assigned: frozenset[Pair]
    rejection: Rejection | None
    warnings: tuple[str, ...]
    is_left_out: bool


def _memberships(export: Export, profile: Profile) -> dict[str, Membership]:
    return {one: profile.memberships[one] for one in export.segments if one in profile.memberships}


def _since(rejection: Rejection | None, noted: MappingRejection | None) -> datetime | None:
    is_same = rejection is not None and noted is not None and (rejection.kind, rejection.code) == noted[:2]
    return noted.at if is_same and noted is not None else None
