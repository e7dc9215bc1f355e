"""What would be taken of a body: it is read as ingest reads it. Nothing is stored, and no value is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import AwareDatetime, Field

from relay.clock import Clock
from relay.domain import changes
from relay.domain.changes import Change
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import QuestionProblem
from relay.problem_details import MAX_ERRORS, Refusal
from relay.settings.settings import Settings
from relay.sources.intake import take_in
from relay.workers.operators.protocol import Answer, Name, Question

MOST: Final = 100
"""How many changes of a body are shown."""


class Take(Question):
    """What would be taken of a body, if its source posted it? Nothing is stored."""

    source: Name
    body: str = Field(max_length=2_000_000, description="The body. It is not logged.")


class TakenMembership(Answer):
    """A membership of a change."""

    segment: str
    realized: bool
    at: AwareDatetime


class TakenChange(Answer):
    """One change, without its values."""

    rejected: str | None = Field(description="The code of why it would not be accepted.")
    profile: str | None = Field(description="The id of the profile it is about, as far as the body alone tells.")
    identities: list[str] = Field(description="The namespaces that have an id.")
    attributes: list[str] = Field(description="The names.")
    memberships: list[TakenMembership]
    forget: bool


class LeftOutPart(Answer):
    """A part that would not be taken."""

    code: str
    detail: str
    pointer: str


class TakenBody(Answer):
    """What would be taken."""

    accepted: int
    rejected: int
    ignored_memberships: int
    ignored: Mapping[str, int] = Field(description="What of the body is none of our business, by kind.")
    left_out: int
    left_out_parts: list[LeftOutPart] = Field(description=f"The first {MAX_ERRORS}.")
    changes: list[TakenChange] = Field(description=f"The first {MOST}.")


@dataclass(frozen=True, slots=True)
class Taker:
    """Answers `take`."""

    settings: Settings
    keyed: KeyedHash
    clock: Clock

    def take(self, question: Take) -> TakenBody:
        """Return what would be taken.

        Raises SettingsProblem for a source that there is not, QuestionProblem for a body that ingest refuses.
        """
        try:
            intake = take_in(
                question.body.encode(errors="surrogatepass"),
                source=self.settings.source(question.source),
                identity_hash=self.keyed,
                received_at=self.clock.now(),
            )
        except Refusal as refusal:
            raise QuestionProblem(refusal.code, refusal.sentences(), field="body") from None
        found = [change for message in intake.messages for change in changes.from_json(message).changes]
        taken = intake.taken
        return TakenBody(
            accepted=taken.accepted,
            rejected=len(taken.rejections),
            ignored_memberships=taken.ignored_memberships,
            ignored=dict(taken.ignored),
            left_out=sum(taken.left_out_counts.values()),
            left_out_parts=[
                LeftOutPart(code=one.code, detail=one.error.detail, pointer=one.error.pointer)
                for one in taken.left_out[:MAX_ERRORS]
            ],
            changes=_shown(found[:MOST]),
        )


def _shown(found: Sequence[Change]) -> list[TakenChange]:
    return [
        TakenChange(
            rejected=one.rejection,
            profile=one.profile_ids[0] if one.profile_ids else None,
            identities=sorted(one.identities),
            attributes=sorted(one.attributes),
            memberships=[TakenMembership(segment=m.segment, realized=m.realized, at=m.at) for m in one.memberships],
            forget=one.forget is not None,
        )
        for one in found
    ]
