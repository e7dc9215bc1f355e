"""Who was rejected by an export, and why. Nothing is kept for this: it is read where it is stored anyway.

A rejection of the mapping lies in the profile's assignment, a refusal of the destination in the identity records that
the assignment names, and a defect of ours has a record of its own. All three are sorted by profile, so one pass over
them finds everybody, page by page.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, islice
from operator import attrgetter
from typing import Final, NamedTuple

from pydantic import Field

from relay.breaker.failures import TABLE, Kind
from relay.clock import Clock
from relay.domain.assignment import Assignment
from relay.domain.exports import Export
from relay.domain.identity import OUT, Record, wanted_content
from relay.domain.keyed_hash import BUCKETS, KeyedHash, bucket_of
from relay.domain.problems import DEFECT, UNCONFIRMED, RejectionKind
from relay.settings.settings import Settings
from relay.stores import assignments, defects, identities
from relay.stores.database import Database, Item
from relay.workers.operators.codes import require_rejection
from relay.workers.operators.protocol import MORE, Answer, ExportKey, Question

LONGEST: Final = timedelta(seconds=15)
"""How long one page is worked at."""

CHUNK: Final = 1_000
"""How many assignments are looked at together."""

LISTING: Final = 200
"""How many defects are read at a time."""

DEFECTIVE: Final = "defect"
"""The kind of what was set aside for a defect of ours; the others are those of `RejectionKind`."""


class ListRejected(Question):
    """Who was rejected by an export, and why?"""

    export: ExportKey
    code: str | None = Field(default=None, description="Only rejections with this code.")
    after: str | None = Field(default=None, pattern="^[0-9a-f]{32}$", description=MORE)
    limit: int = Field(default=1_000, ge=1, le=10_000, description="How many a page has at most.")


class RejectedPart(Answer):
    """One rejection of one profile. A profile that is refused at several targets for several reasons has several."""

    profile: str
    code: str
    kind: str = Field(description="Who found it: `data` (the mapping), `destination`, or `defect` (our own code).")
    leaving: bool = Field(description="Whether the destination does not let the profile go; else it does not take it.")
    since: datetime
    means: str | None
    then: str = Field(description="What happens next by itself.")


class RejectedPage(Answer):
    """Rejections, sorted by profile."""

    rejected: list[RejectedPart]
    next: str | None = Field(description="Ask again with it as `after`. Null at the end.")


class Rejection(NamedTuple):
    """A rejection as it is stored."""

    profile: str
    code: str
    kind: str
    since: datetime
    leaving: bool = False


class _Entry(NamedTuple):
    """What a listing says of a profile: its assignment's item, or its rejection for a defect."""

    profile: str
    item: Item | None = None
    rejection: Rejection | None = None


def _says(kind: Kind) -> str:
    return next(row.says for row in TABLE if row.kind is kind)


THEN: Final = {
    RejectionKind.DATA.value: _says(Kind.DATA),
    RejectionKind.DESTINATION.value: _says(Kind.REFUSED),
    UNCONFIRMED: _says(Kind.UNCONFIRMED),
    DEFECTIVE: _says(Kind.SET_ASIDE),
}
"""What happens next by itself, by the kind of a rejection: as the table of failures says."""

_profile = attrgetter("profile")


@dataclass(frozen=True, slots=True)
class Rejections:
    """Answers `rejected`. `means` says what a code means, given the destination's name."""

    database: Database
    settings: Settings
    keyed: KeyedHash
    clock: Clock
    means: Callable[[str, str], str | None]

    def page(self, question: ListRejected) -> RejectedPage:
        """Return a page; raises SettingsProblem or QuestionProblem for an export or a code that there is not."""
        export = self.settings.export(question.export)
        if question.code is not None:
            require_rejection(question.code, field="code")
        found: list[Rejection] = []
        until = self.clock.now() + LONGEST
        listing, after = self._listing(export, question.after or ""), None
        by_profile = groupby(listing, key=_profile)
        while chunk := [entry for _, entries in islice(by_profile, CHUNK) for entry in entries]:
            after = chunk[-1].profile
            of_chunk = [one for one in self._of(export, chunk) if question.code in (None, one.code)]
            room = question.limit - len(found)
            if len(of_chunk) > room:
                # A profile's rejections stay together.
                after = of_chunk[room - 1].profile
                found += [one for one in of_chunk if one.profile <= after]
                break
            found += of_chunk
            if len(found) >= question.limit or self.clock.now() >= until:
                break
        else:
            after = None
        return RejectedPage(rejected=[self._part(export, one) for one in found], next=after)

    def _listing(self, export: Export, after: str) -> Iterator[_Entry]:
        """Yield what is stored of profiles after an id, sorted: one or two entries of each."""
        return heapq.merge(self._assigned(export, after), self._aside(export, after), key=_profile)

    def _assigned(self, export: Export, after: str) -> Iterator[_Entry]:
        for bucket in range(bucket_of(after) if after else 0, BUCKETS):
            for profile, item in assignments.listing(self.database, export.key, bucket, after):
                yield _Entry(profile, item)

    def _aside(self, export: Export, after: str) -> Iterator[_Entry]:
        while page := defects.listing(self.database, export.key, after=after, limit=LISTING):
            for one in page:
                yield _Entry(one.profile, rejection=Rejection(one.profile, DEFECT, DEFECTIVE, one.at))
            after = page[-1].profile

    def _of(self, export: Export, chunk: Sequence[_Entry]) -> list[Rejection]:
        """Return the rejections of a chunk, each profile's with the earliest time of each code."""
        held = [(one.profile, assignments.of_item(one.item).assignment) for one in chunk if one.item is not None]
        keys = {profile: self._keys(export, assignment) for profile, assignment in held}
        records = identities.load(self.database, list(dict.fromkeys(key for named in keys.values() for key in named)))
        found: dict[tuple[str, str], Rejection] = {}
        for one in chunk:
            if one.rejection is not None:
                _add(found, one.rejection)
        for profile, assignment in held:
            rejected = assignment.rejection
            if rejected is not None:
                _add(found, Rejection(profile, rejected.code, rejected.kind.value, rejected.at))
            for key in keys[profile]:
                refused = _refused(records[key].record, export, profile)
                if refused is not None:
                    _add(found, refused)
        return [found[place] for place in sorted(found)]

    def _keys(self, export: Export, assignment: Assignment) -> list[str]:
        place = self.keyed, export.connection
        return [identities.key_of(*place, pair.target, pair.identity) for pair in assignment.pairs]

    def _part(self, export: Export, one: Rejection) -> RejectedPart:
        means = self.means(export.destination, one.code)
        return RejectedPart(**one._asdict(), means=means, then=THEN[_then_of(one)])


def _add(found: dict[tuple[str, str], Rejection], one: Rejection) -> None:
    place = one.profile, one.code
    if place not in found or one.since < found[place].since:
        found[place] = one


def _refused(record: Record, export: Export, profile: str) -> Rejection | None:
    """Return the rejection of a profile that a record holds: of a member as a run counts it, or of who leaves."""
    refused, content = record.refused, wanted_content(record)
    if refused is None or record.open is not None or record.responsible != profile or refused.content != content:
        return None
    if record.authority.export != export.name or record.acknowledged == content:
        return None
    return Rejection(profile, refused.code, RejectionKind.DESTINATION.value, refused.at, leaving=content is OUT)


def _then_of(one: Rejection) -> str:
    return UNCONFIRMED if one.code == UNCONFIRMED else one.kind
