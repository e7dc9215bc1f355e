"""From the Changes queue to the destination queues: merge changes into the store, then say who to look at again.

Each step leaves the store such that dying after it loses nothing, because the message comes back:

    1. catalogue and segment index   an entry too many only means one look in vain
    2. profiles                      over the version that was read; on a conflict loaded and merged again
    3. "look again"                  also for what an earlier try may have written and not got this far with
    4. ledger                        each message once; what comes back after this is not counted again
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from relay.clock import Clock
from relay.delivery.messages import LookAgain, by_shard, group
from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch
from relay.domain.keyed_hash import bucket_of
from relay.domain.merging import is_relevant, merge
from relay.domain.problems import Conflict, Transient
from relay.domain.profiles import Profile
from relay.observability import Count, Observability
from relay.queues import Message, Received
from relay.settings.exports import Outline
from relay.stores import attempts, ledger, profiles, segments
from relay.stores.database import Database
from relay.stores.directory import Directory, Entry
from relay.stores.ledger import Counts, Line
from relay.stores.profiles import Saved

MERGE_TRIES = 6
"""How often a profile is loaded and merged again when others keep writing it; then its messages fail and come back."""

CATALOGUE_AGE = timedelta(seconds=5)
"""How long the segment catalogue is kept in memory."""


class Outlines(Protocol):
    """What routing must know of the settings."""

    def export_outlines(self) -> Mapping[str, Outline]:
        """Return all readable exports, paused ones included, by key."""
        ...


class Sender(Protocol):
    """A queue that takes messages; all of them are in it when it returns."""

    def send(self, messages: Sequence[Message]) -> None:
        """Put messages on the queue; Busy when that fails."""
        ...


@dataclass(slots=True)
class _Batch:
    """One ChangeBatch, with every message that carried it (a queue may deliver twice)."""

    batch: ChangeBatch
    messages: list[Received]
    received_before: bool

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.messages]


@dataclass(slots=True)
class _Work:
    """One profile with all that a call brings for it."""

    profile_id: str
    source: str
    told: list[tuple[_Batch, Change]] = field(default_factory=list)
    loaded: Profile | None = None
    profile: Profile | None = None
    changed: list[bool] = field(default_factory=list)
    """Per change."""
    visible: bool = False
    clamped: int = 0
    ignored_memberships: int = 0
    written_before: bool = False
    """Somebody wrote between our reading and writing; it may have been ourselves, and the answer was lost."""
    too_large: bool = False
    failed: bool = False

    def merge(self, loaded: Profile | None, named: frozenset[str]) -> None:
        """Merge all changes into what is stored now, forgetting earlier tries."""
        self.loaded = self.profile = loaded
        self.changed, self.visible, self.clamped, self.ignored_memberships = [], False, 0, 0
        for _, change in self.told:
            merged = merge(self.profile, change, source=self.source, named=named)
            self.profile = merged.profile
            self.changed.append(merged.changed)
            self.visible |= merged.visible
            self.clamped += merged.clamped
            self.ignored_memberships += merged.ignored_memberships

    def new_memberships(self) -> Iterator[str]:
        """Yield the segments the profile is in, and was not when it was loaded."""
        held = {} if self.loaded is None else self.loaded.memberships
        for segment, membership in () if self.profile is None else self.profile.memberships.items():
            if membership.realized and not (segment in held and held[segment].realized):
                yield segment

    def segments(self) -> set[str]:
        """Return all segments whose exports may have to act: an exit may be old enough not to be kept."""
        stored = [profile.memberships for profile in (self.loaded, self.profile) if profile is not None]
        told = ({membership.segment for membership in change.memberships} for _, change in self.told)
        return set().union(*stored, *told)

    def wants_a_look(self, now: datetime, visibility: timedelta) -> bool:
        """Return whether something visible changed, or an earlier try may have died before it could say so."""
        if self.visible or self.written_before:
            return True
        if any(batch.received_before or now - change.received_at >= visibility for batch, change in self.told):
            return True
        # A queue may hand one message to two consumers at once: the other one wrote, and may be dead.
        written = None if self.loaded is None else self.loaded.changed_at
        return written is not None and not all(self.changed) and now - written < visibility


class Router:
    """Merges messages of the Changes queue. One per function environment; calls must not overlap.

    `settings` tells the exports, `directory` where their connections' queues are, `queue_for` takes a destination's
    name. `visibility` is the Changes queue's visibility timeout.

    Segments that are stored: those an export names (a paused one too), and those in the catalogue. What was stored
    once goes on being stored, so that an export that cannot be read for a while, or is deleted and made again, finds
    its members as they are.
    """

    def __init__(
        self,
        database: Database,
        settings: Outlines,
        directory: Directory,
        queue_for: Callable[[str], Sender],
        *,
        visibility: timedelta,
        clock: Clock,
        observability: Observability,
    ) -> None:
        self._database = database
        self._settings = settings
        self._directory = directory
        self._queue_for = queue_for
        self._visibility = visibility
        self._clock = clock
        self._observability = observability
        self._catalogue: tuple[datetime, dict[str, str | None]] | None = None

    def route(self, records: Sequence[Received]) -> list[str]:
        """Take the messages of one call; return the ids of those that failed and have to come back.

        A message that cannot be read, or on which the code trips, fails alone. When the stores or SSM are not to be
        had, all fail.
        """
        batches, failed = self._read(records)
        if not batches:
            return failed
        try:
            return failed + self._take(batches)
        except Transient as problem:
            self._observability.problem("not routed", problem)
            return failed + [one for batch in batches for one in batch.ids]
        except Exception as error:  # noqa: BLE001 - a defect met on one message must not hold up the others
            if len(batches) > 1:
                self._observability.problem("messages are tried one by one", error)
        for batch in batches:
            # The try together may have died after writing.
            batch.received_before = True
            try:
                failed += self._take([batch])
            except Exception as error:  # noqa: BLE001 - as above
                self._observability.problem(
                    "not routed",
                    error,
                    batch_id=batch.batch.id,
                    source=batch.batch.source,
                    message_id=batch.ids[0],
                )
                if not isinstance(error, Transient):
                    self._record(batch.messages, error)
                failed += batch.ids
        return failed

    def _read(self, records: Sequence[Received]) -> tuple[list[_Batch], list[str]]:
        batches: dict[str, _Batch] = {}
        unreadable: list[str] = []
        for record in records:
            try:
                batch = changes.from_json(record.body)
                for change in batch.changes:
                    if change.profile_id is not None:
                        bucket_of(change.profile_id)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                self._observability.problem("message is not a batch of changes", error, message_id=record.id)
                self._record([record], error)
                unreadable.append(record.id)
                continue
            held = batches.setdefault(batch.id, _Batch(batch, [], received_before=False))
            held.messages.append(record)
            held.received_before |= record.receive_count > 1 or len(held.messages) > 1
        return list(batches.values()), unreadable

    def _take(self, batches: Sequence[_Batch]) -> list[str]:
        """Route batches; return the messages of those that failed."""
        outlines = self._settings.export_outlines()
        catalogue = self._known_segments()
        named = frozenset(catalogue).union(*(outline.segments for outline in outlines.values()))
        works = _by_profile(batches, named)
        self._store(works, named, catalogue)
        self._say_look_again([work for work in works if not work.failed and not work.too_large], outlines)
        failed = {batch.batch.id for work in works if work.failed for batch, _ in work.told}
        self._enter(batches, works, named, failed)
        return [one for batch in batches if batch.batch.id in failed for one in batch.ids]

    def _record(self, messages: Sequence[Received], error: Exception) -> None:
        attempts.note(self._database, self._observability, messages, error, self._clock.now())

    def _store(self, works: Sequence[_Work], named: frozenset[str], catalogue: dict[str, str | None]) -> None:
        waiting = list(works)
        for _ in range(MERGE_TRIES):
            if not waiting:
                return
            loaded = profiles.load(self._database, [work.profile_id for work in waiting])
            for work, profile in zip(waiting, loaded, strict=True):
                work.merge(profile, named)
            self._note_segments(waiting, named, catalogue)
            changed = [(work, work.profile) for work in waiting if any(work.changed) and work.profile is not None]
            segments.add(
                self._database,
                [(segment, work.profile_id) for work, _ in changed for segment in work.new_memberships()],
            )
            saved = profiles.save(self._database, [profile for _, profile in changed], self._clock.now())
            waiting = []
            for (work, _), outcome in zip(changed, saved, strict=True):
                work.too_large = outcome is Saved.TOO_LARGE
                if outcome is Saved.CONFLICT:
                    work.written_before = True
                    waiting.append(work)
        for work in waiting:
            work.failed = True
        if waiting:
            self._observability.problem(
                "profiles not written", Conflict("busy_profile", f"{len(waiting)} profiles kept changing")
            )

    def _say_look_again(self, works: Iterable[_Work], outlines: Mapping[str, Outline]) -> None:
        now = self._clock.now()
        wanted = [work for work in works if work.wants_a_look(now, self._visibility)]
        if not wanted:
            return
        exports: dict[str, list[tuple[Outline, Entry]]] = {}
        for outline, entry in self._streaming(outlines):
            for segment in outline.segments:
                exports.setdefault(segment, []).append((outline, entry))
        looks: dict[str, tuple[Outline, Entry, dict[str, _Work]]] = {}
        for work in wanted:
            for outline, entry in (pair for segment in work.segments() for pair in exports.get(segment, ())):
                looks.setdefault(outline.key, (outline, entry, {}))[2][work.profile_id] = work
        messages: dict[str, list[Message]] = {}
        for outline, entry, concerned in looks.values():
            messages.setdefault(entry.destination, []).extend(
                Message(
                    LookAgain(outline.connection, outline.name, outline.version, ids).to_json(),
                    group(outline.connection, shard),
                )
                for shard, ids in by_shard(list(concerned), entry.shards)
            )
        for destination, queued in messages.items():
            try:
                self._queue_for(destination).send(queued)
            except Transient as problem:
                self._observability.problem("look again was not queued", problem, destination=destination)
                for _, entry, concerned in looks.values():
                    for work in concerned.values() if entry.destination == destination else ():
                        work.failed = True

    def _streaming(self, outlines: Mapping[str, Outline]) -> Iterator[tuple[Outline, Entry]]:
        """Yield the exports that stream. An unknown connection gets nothing; the run it starts with brings all."""
        entries, missing = self._directory.look_up({outline.connection for outline in outlines.values()})
        for connection in sorted(missing):
            self._observability.info("connection not in the directory", connection=connection)
            self._observability.count(Count.UNROUTED, connection=connection)
        for outline in outlines.values():
            entry = entries.get(outline.connection)
            if entry is not None and (entry.streams if outline.stream is None else outline.stream):
                yield outline, entry

    def _enter(
        self, batches: Sequence[_Batch], works: Sequence[_Work], named: frozenset[str], failed: set[str]
    ) -> None:
        counted: dict[str, Counter[str]] = {}
        for batch in batches:
            counter = counted[batch.batch.id] = Counter()
            for change in batch.batch.changes:
                if _is_rejected(change):
                    counter["rejected"] += 1
                elif not is_relevant(change, named):
                    counter["ignored"] += 1
        for work in works:
            for (batch, _), changed in zip(work.told, work.changed, strict=True):
                outcome = "rejected" if work.too_large else "merged" if changed else "stale"
                counted[batch.batch.id][outcome] += 1
        lines = [
            Line(batch.batch.id, batch.batch.source, Counts(**counted[batch.batch.id]))
            for batch in batches
            if batch.batch.id not in failed
        ]
        by_source: dict[str, Counts] = {}
        for line in ledger.record(self._database, lines, self._clock.now()):
            by_source[line.source] = by_source.get(line.source, Counts()) + line.counts
        for source, counts in by_source.items():
            self._tell(source, counts, [work for work in works if work.source == source])

    def _tell(self, source: str, counts: Counts, works: Sequence[_Work]) -> None:
        self._observability.info(
            "routed",
            source=source,
            merged=counts.merged,
            stale=counts.stale,
            ignored=counts.ignored,
            rejected=counts.rejected,
        )
        count = self._observability.count
        count(Count.MERGED, counts.merged, source=source)
        count(Count.STALE, counts.stale, source=source)
        count(Count.IGNORED, counts.ignored, source=source)
        count(Count.FROM_THE_FUTURE, sum(work.clamped for work in works), source=source)
        ignored = sum(work.ignored_memberships for work in works)
        count(Count.IGNORED_MEMBERSHIPS, ignored, source=source, outcome="not_exported")

    def _known_segments(self) -> dict[str, str | None]:
        now = self._clock.now()
        if self._catalogue is None or now - self._catalogue[0] > CATALOGUE_AGE:
            self._catalogue = now, {segment.id: segment.name for segment in segments.catalogue(self._database)}
        return self._catalogue[1]

    def _note_segments(self, works: Sequence[_Work], named: frozenset[str], catalogue: dict[str, str | None]) -> None:
        """Put segments and names into the catalogue that it does not have, as far as this environment knows."""
        news: dict[str, str | None] = {}
        for membership in (m for work in works for _, change in work.told for m in change.memberships):
            segment, name = membership.segment, membership.name
            if segment in named and (segment not in catalogue or name not in (None, catalogue[segment])):
                news[segment] = name if name is not None else news.get(segment)
        if news:
            segments.note(self._database, news, self._clock.now())
            catalogue.update(news)


def _is_rejected(change: Change) -> bool:
    return change.rejection is not None or change.profile_id is None


def _by_profile(batches: Iterable[_Batch], named: frozenset[str]) -> list[_Work]:
    works: dict[str, _Work] = {}
    for batch in batches:
        for change in batch.batch.changes:
            if change.profile_id is not None and not _is_rejected(change) and is_relevant(change, named):
                work = works.setdefault(change.profile_id, _Work(change.profile_id, batch.batch.source))
                work.told.append((batch, change))
    return list(works.values())
