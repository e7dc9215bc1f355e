"""Why was this person sent, or not: where a profile stands in every export, one sentence first and then the facts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from pydantic import Field

from relay.destinations.contract import Destination
from relay.domain.exports import Export
from relay.domain.profiles import Profile, Register
from relay.observability import Observability, places
from relay.reconcile.standing import AtTarget, Matter, Standing, Standings, State
from relay.settings.names import is_name
from relay.settings.settings import Settings
from relay.stores.database import Database
from relay.workers.operators import sentences
from relay.workers.operators.finding import Finder, Found
from relay.workers.operators.protocol import AboutValues, Answer, ExportKey
from relay.workers.operators.surroundings import Surroundings, surroundings


class Explain(AboutValues):
    """Why was a person sent to each export, or not?"""

    profile: str = Field(
        min_length=1,
        max_length=1_100,
        description="A profile id, `namespace:value`, `source:value`, the value of a source's `profile_key`, or an "
        "identity at a destination, such as an address. It is worked out in the stack and never logged.",
    )
    export: ExportKey | None = Field(default=None, description="Only this export (`connection/export`).")


class MembershipPart(Answer):
    """A profile in, or out of, a segment."""

    segment: str
    status: str = Field(description="`realized` or `exited`.")
    at: datetime = Field(description="When the profile qualified, or left, as the platform said.")
    received_at: datetime


class ProfilePart(Answer):
    """What is stored of a profile. `identities` and `attributes` are there only when values were asked for."""

    id: str
    source: str
    aliases: list[str] = Field(description="Other ids of the same person.")
    forgotten_at: datetime | None = Field(description="When the person was forgotten the last time.")
    stored_at: datetime | None = Field(description="When it was written last; null for whom nothing is known of.")
    version: int = Field(description="How often it was written.")
    request: str | None = Field(description="The `request_id` of the webhook that changed it last.")
    memberships: list[MembershipPart]
    identities: dict[str, Any] | None = None
    attributes: dict[str, Any] | None = None


class RefusedPart(Answer):
    """A rejection: its code, since when, what it means."""

    code: str
    at: datetime | None
    means: str | None


class TargetPart(Answer):
    """One identity of the profile at one target of an export."""

    target: str
    identity: str | None = Field(default=None, description="In clear, only when values were asked for.")
    desired: str = Field(description="`in` or `out`.")
    matter: str = Field(description="What is the matter: " + ", ".join(f"`{one.value}`" for one in Matter) + ".")
    acknowledged: str = Field(
        description="What the destination confirmed last: `as desired`, `other values`, `nothing`, `unknown`."
    )
    since: datetime | None = Field(description="When the destination confirmed that.")
    open_until: datetime | None = Field(description="Until when a call that is not answered may take effect.")
    call: str | None = Field(description="The id of the last call for the identity, open or over, as in the log.")
    refused: RefusedPart | None
    duplicate_of: str | None = Field(description="The profile with the same identity that is sent in its place.")
    not_before: datetime | None = Field(description="Before that nothing is sent, unless something changes.")


class StopPart(Answer):
    """Why the connection or the export is stopped."""

    what: str = Field(description="`connection` or `export`.")
    code: str
    reason: str
    actor: str
    since: datetime | None
    probe_at: datetime


class RunPart(Answer):
    """The run of the export that goes on, or its last one."""

    run: str
    state: str
    started_at: datetime
    ended_at: datetime | None


class DefectPart(Answer):
    """A defect of ours that was met with the profile."""

    error: str
    places: list[str]
    at: datetime


class ExportPart(Answer):
    """Where the profile stands in one export."""

    export: str
    state: str = Field(
        description="`delivered`, `waiting`, `rejected`, `duplicate`, `kept`, `not selected`, `set aside` or `unknown`."
    )
    sentence: str
    wants: list[str] = Field(default=[], description="The export's segments that the profile is in.")
    assigned_since: datetime | None = Field(default=None, description="Since when it stands for an identity there.")
    targets: list[TargetPart] = []
    rejection: RefusedPart | None = Field(default=None, description="Of the mapping.")
    warnings: list[str] = []
    set_aside: DefectPart | None = None
    paused: bool = False
    stop: StopPart | None = None
    resync_requested: bool = False
    last_run: RunPart | None = None
    traces: list[str] = Field(default=[], description="Requests and calls to look for in the log.")


class Explained(Answer):
    """Where a person stands: one sentence, then the facts. `profile` is null when nothing is stored."""

    sentence: str
    profile: ProfilePart | None
    others: list[str] = Field(
        [], description="Other profiles that the question may mean, such as those with the same address."
    )
    exports: list[ExportPart]


@dataclass(frozen=True, slots=True)
class Explainer:
    """Answers `explain`. `means` says what a code of a rejection means, given the destination's name."""

    database: Database
    settings: Settings
    destinations: Callable[[str], Destination]
    finder: Finder
    standings: Standings
    means: Callable[[str, str], str | None]
    observe: Observability

    def explain(self, question: Explain) -> Explained:
        """Answer; raises SettingsProblem for an export that there is not, Busy when AWS does not answer."""
        if question.export is not None:
            self.settings.export(question.export)
        found = self.finder.find(question.profile)
        if not found.profiles:
            said = _nobody(found, question.profile, self.finder.inventory().sources)
            return Explained(sentence=said, profile=None, others=[], exports=[])
        profile, *others = found.profiles
        parts: list[ExportPart] = []
        stands: list[tuple[Standing, str]] = []
        for export in self._exports(question.export):
            part, standing = self._export(export, profile, question.show_values)
            parts.append(part)
            if standing is not None:
                stands.append((standing, part.sentence))
        parts += self._invalid(question.export)
        if profile.is_tombstone and question.export is None:
            # Of whoever was forgotten only what is still to be taken out is news.
            parts = [part for part in parts if part.state != State.NOT_SELECTED.value]
        unknown = [f"{part.export}: {part.sentence}" for part in parts if part.state == "unknown"]
        return Explained(
            sentence=" ".join([*_first(profile, stands, is_known=bool(stands) or not unknown), *unknown]),
            profile=_profile(profile, found, question.show_values),
            others=[other.id for other in others],
            exports=parts,
        )

    def _exports(self, only: str | None) -> Iterable[Export]:
        valid = self.settings.exports().valid
        return [valid[key] for key in sorted(valid) if only in (None, key)]

    def _invalid(self, only: str | None) -> Iterator[ExportPart]:
        for one in self.settings.exports().problems:
            kind, _, name = one.subject.partition(" ")
            if only is None or (kind == "export" and name == only):
                said = f"The {kind} cannot be used as it is written: {one.problem.what}. Nothing is sent until then."
                yield ExportPart(export=name, state="unknown", sentence=said)

    def _export(self, export: Export, profile: Profile, show: bool) -> tuple[ExportPart, Standing | None]:
        try:
            [standing] = self.standings.of(export, [profile])
        except Exception as error:  # noqa: BLE001 - what a defect hides of one export must not hide the others
            self.observe.problem("not explained", error, export=export.key, profile=profile.id)
            where = ", ".join(places(error)[-1:])
            said = (
                f"A defect of ours keeps us from working it out ({type(error).__name__} at {where}). Report the place."
            )
            return ExportPart(export=export.key, state="unknown", sentence=said), None
        around = surroundings(self.database, export)
        code = standing.code
        means = None if code is None else self.means(export.destination, code)
        last = around.run
        trace = None if profile.is_tombstone else profile.trace
        return ExportPart(
            export=export.key,
            state=standing.state.value,
            sentence=sentences.sentence(standing, around, means),
            wants=sorted(segment for segment, held in standing.memberships.items() if held.realized),
            assigned_since=standing.assigned_since,
            targets=[self._target(export, one, show) for one in standing.targets],
            rejection=None
            if standing.rejection is None
            else RefusedPart(code=standing.rejection.code, at=standing.rejected_since, means=standing.rejection.detail),
            warnings=list(standing.warnings),
            set_aside=None
            if standing.defect is None
            else DefectPart(error=standing.defect.error, places=list(standing.defect.places), at=standing.defect.at),
            paused=not export.active,
            stop=_stop(around),
            resync_requested=bool(around.of_export.resync or around.of_connection.resync),
            last_run=None
            if last is None
            else RunPart(run=last.id, state=last.state.value, started_at=last.started_at, ended_at=last.ended_at),
            traces=_given(trace, *(one.call for one in standing.targets)) if standing.targets else [],
        ), standing

    def _target(self, export: Export, one: AtTarget, show: bool) -> TargetPart:
        refused = one.refused
        return TargetPart(
            target=one.pair.target,
            identity=one.pair.identity if show else None,
            desired="in" if one.is_wanted else "out",
            matter=one.matter.value,
            acknowledged=one.held.value,
            since=one.since,
            open_until=one.until,
            call=one.call,
            refused=None
            if refused is None
            else RefusedPart(code=refused.code, at=refused.at, means=self.means(export.destination, refused.code)),
            duplicate_of=one.duplicate_of,
            not_before=one.until
            if one.matter is Matter.EARLIER_CALL
            else None
            if refused is None
            else sentences.second_chance(refused.at),
        )


def _nobody(found: Found, asked: str, sources: Sequence[str]) -> str:
    before, colon, _ = asked.strip().partition(":")
    is_namespace = any(before in expression for expression in found.keys.values())
    if colon and is_name(before) and before not in sources and not is_namespace and found.keys:
        near = next(iter(get_close_matches(before, sources, n=1)), None)
        more = "" if near is None else f" (the nearest is {near})"
        namespaces = "; ".join(f"{source}: {key}" for source, key in sorted(found.keys.items()))
        return (
            f"No profile is stored under this. There is no source {before}{more}, and no profile_key names it as a "
            f"namespace ({namespaces})."
        )
    if not found.keys:
        return "No profile is stored under this, and there is no source whose profile_key could say more."
    keys = "; ".join(f"{source}: {key}" for source, key in sorted(found.keys.items()))
    return (
        "No profile is stored under this. Nothing was received of it, or another value identifies it. "
        f"What identifies a profile (profile_key) by source: {keys}."
    )


def _first(profile: Profile, stands: Sequence[tuple[Standing, str]], *, is_known: bool) -> Iterator[str]:
    if profile.is_tombstone and profile.forgotten is not None:
        yield sentences.of_forgotten(profile.forgotten.at, stands)
    elif profile.forgotten is not None and any(one.is_forgotten for one, _ in stands):
        yield sentences.of_deleted_first(profile.forgotten.at, stands)
    elif is_known:
        yield sentences.overall(stands)


def _profile(profile: Profile, found: Found, show: bool) -> ProfilePart:
    return ProfilePart(
        id=profile.id,
        source=profile.source,
        aliases=sorted({*found.aliases, *profile.joined}),
        forgotten_at=None if profile.forgotten is None else profile.forgotten.at,
        stored_at=None if profile.is_tombstone else profile.changed_at,
        version=profile.version,
        request=None if profile.is_tombstone else profile.trace,
        memberships=[
            MembershipPart(segment=segment, status=_status(held.realized), at=held.at, received_at=held.heard_at)
            for segment, held in sorted(profile.memberships.items())
        ],
        identities=_values(profile.identities) if show else None,
        attributes=_values(profile.attributes) if show else None,
    )


def _values(registers: Mapping[str, Register]) -> dict[str, Any]:
    return {name: held.value for name, held in sorted(registers.items()) if held.value is not None}


def _status(is_realized: bool) -> str:
    return "realized" if is_realized else "exited"


def _given(*ids: str | None) -> list[str]:
    return list(dict.fromkeys(one for one in ids if one is not None))


def _stop(around: Surroundings) -> StopPart | None:
    for what, breaker in (("connection", around.of_connection), ("export", around.of_export)):
        if breaker.stop is not None:
            return StopPart(
                what=what,
                code=breaker.stop.code,
                reason=breaker.stop.reason,
                actor=breaker.stop.actor.value,
                since=breaker.since,
                probe_at=breaker.stop.probe_at,
            )
    return None
