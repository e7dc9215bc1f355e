"""Following a body that was posted: what became of each of its changes, and what each export did with the person.

Nothing is kept for this. The body is read once more with the source's dialect, as ingest read it. Whether a change was
merged shows in its profile, and what an export did shows where the profile stands.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field

from relay.domain import changes
from relay.domain.arriving import Arrived, arrived
from relay.domain.changes import Change
from relay.domain.exports import Export
from relay.domain.identity import CLOCK_MARGIN
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import QuestionProblem
from relay.domain.profiles import Profile
from relay.problem_details import Refusal
from relay.reconcile.standing import Standing, Standings, State
from relay.settings.settings import Settings
from relay.sources.intake import take_in
from relay.stores import profiles
from relay.stores.database import Database
from relay.workers.operators import sentences
from relay.workers.operators.protocol import MORE, Answer, Name, Question
from relay.workers.operators.surroundings import Surroundings, surroundings

AT_A_TIME: Final = 100
"""How many changes one answer is about."""


class Follow(Question):
    """What became of a body that was posted?"""

    source: Name
    body: str = Field(max_length=2_000_000, description="The body as it was posted. It is not logged.")
    received_at: Annotated[AwareDatetime, Field(strict=False)] = Field(
        description="When it was posted, or the `Date` of the answer."
    )
    webhook_id: str | None = Field(default=None, description="The `webhook-id` that it was posted with.")
    after: str | None = Field(default=None, description=MORE)


class AtExport(Answer):
    """What an export did with a person."""

    export: str
    state: str = Field(
        description="`delivered` (since the body was posted), `unchanged`, `rejected`, `waiting`, `duplicate`, `kept` "
        "or `not selected`."
    )
    code: str | None = Field(description="Of a rejection.")
    sentence: str
    open: bool = Field(
        description="Whether it waits and will be done soon: the export streams, and nothing is stopped."
    )


class FollowedChange(Answer):
    """One change of the body."""

    position: int = Field(description="Its place in the body, from 0.")
    rejected: str | None = Field(description="The code of why it was not accepted.")
    profile: str | None
    merged: bool | Literal["stale", "waiting"] = Field(
        description="Whether it is in the store. `stale`: it was merged, and something newer has taken its place."
    )
    exports: list[AtExport]


class Followed(Answer):
    """What became of the changes of a body."""

    changes: list[FollowedChange]
    left_out: int = Field(description="How many parts of the body were not taken, though their profiles were.")
    settled: bool = Field(description="Whether nothing more is to be waited for in this page.")
    next: str | None = Field(description="Ask again with it as `after`. Null at the end.")


@dataclass(frozen=True, slots=True)
class Follower:
    """Answers `follow`."""

    database: Database
    settings: Settings
    keyed: KeyedHash
    standings: Standings
    means: Callable[[str, str], str | None]

    def follow(self, question: Follow) -> Followed:
        """Return a page of changes.

        Raises SettingsProblem for a source that there is not, QuestionProblem for a body that ingest refuses.
        """
        source = self.settings.source(question.source)
        try:
            taken = take_in(
                question.body.encode(errors="surrogatepass"),
                source=source,
                identity_hash=self.keyed,
                received_at=question.received_at - CLOCK_MARGIN,
                webhook_id=question.webhook_id,
            )
        except Refusal as refusal:
            raise QuestionProblem(refusal.code, refusal.sentences(), field="body") from None
        posted = [change for message in taken.messages for change in changes.from_json(message).changes]
        start = int(question.after) if question.after is not None and question.after.isdecimal() else 0
        page = posted[start : start + AT_A_TIME]
        ids = [change.profile_ids[0] if change.profile_ids else None for change in page]
        found = profiles.follow(self.database, {one for one in ids if one is not None})
        people = [None if one is None else found[profiles.root_of(one, found)] for one in ids]
        stored = [one if isinstance(one, Profile) else None for one in people]
        come = [arrived(one, change) for one, change in zip(stored, page, strict=True)]
        told = self._exports(
            [one for one, how in zip(stored, come, strict=True) if one is not None and how is not Arrived.WAITING],
            question.received_at - CLOCK_MARGIN,
        )
        followed = [
            _change(start + place, change, profile, how, told)
            for place, (change, profile, how) in enumerate(zip(page, stored, come, strict=True))
        ]
        is_last = start + AT_A_TIME >= len(posted)
        return Followed(
            changes=followed,
            left_out=sum(taken.taken.left_out_counts.values()),
            settled=all(map(_is_settled, followed)),
            next=None if is_last else str(start + AT_A_TIME),
        )

    def _exports(self, people: Sequence[Profile], since: datetime) -> Mapping[str, list[AtExport]]:
        """Return where people stand in the exports of their segments, by profile."""
        told: dict[str, list[AtExport]] = {one.id: [] for one in people}
        unique = list({one.id: one for one in people}.values())
        for _, export in sorted(self.settings.exports().valid.items()):
            concerned = [one for one in unique if not one.memberships.keys().isdisjoint(export.segments)]
            if concerned:
                around = surroundings(self.database, export)
                for standing in self.standings.of(export, concerned):
                    told[standing.profile].append(self._at_export(export, standing, around, since))
        return told

    def _at_export(self, export: Export, standing: Standing, around: Surroundings, since: datetime) -> AtExport:
        code = standing.code
        means = None if code is None else self.means(export.destination, code)
        return AtExport(
            export=export.key,
            state=_state(standing, since),
            code=code,
            sentence=sentences.sentence(standing, around, means),
            open=standing.state is State.WAITING and around.works,
        )


_MERGED: Final[Mapping[Arrived, bool | Literal["stale", "waiting"]]] = {
    Arrived.MERGED: True,
    Arrived.STALE: "stale",
    Arrived.WAITING: "waiting",
}


def _state(standing: Standing, since: datetime) -> str:
    if standing.state is State.SET_ASIDE:
        return State.REJECTED.value
    if standing.state is State.DELIVERED and all(one.since is None or one.since < since for one in standing.targets):
        return "unchanged"
    return standing.state.value


def _change(
    position: int, change: Change, profile: Profile | None, how: Arrived, told: Mapping[str, list[AtExport]]
) -> FollowedChange:
    is_accepted = change.rejection is None
    return FollowedChange(
        position=position,
        rejected=change.rejection,
        profile=None if profile is None else profile.id,
        merged=_MERGED[how] if is_accepted else False,
        exports=[] if profile is None or how is Arrived.WAITING else told[profile.id],
    )


def _is_settled(change: FollowedChange) -> bool:
    return change.merged != "waiting" and not any(one.open for one in change.exports)
