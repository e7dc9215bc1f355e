"""From the Changes queue to the destination queues: merge changes into the store, then say who to look at again.

Each step leaves the store such that dying after it loses nothing, because the message comes back:

    1. catalogue and segment index   an entry too many only means one look in vain
    2. profiles                      over the version that was read; on a conflict loaded and merged again
    3. aliases                       as 2; a profile becomes an alias only after another one holds all it knew
    4. "look again"                  also for what an earlier try may have written and not got this far with
    5. ledger                        each message once; what comes back after this is not counted again

One profile stays one profile. A change names it by one or more ids, and whoever shares an id is the same profile. What
lies under the ids, aliases followed, decides:

- nothing: the smallest id becomes the profile, the others aliases of it;
- one profile: the ids that are not known yet become aliases of it;
- several: they are one person. The smallest survives and gets what all of them know, then each other one becomes an
  alias of it. Merging is a join, so it does not matter who joins whom, how often, or what came meanwhile.

Dying in between leaves two profiles of which one knows everything; the message comes back and makes the other one its
alias. Somebody who writes to that one meanwhile changes its version: it becomes an alias once that is merged, too.
An id that never was a profile may become an alias of a greater id: so a profile's id does not change because a smaller
one joins. Why no cycle can arise is said in `relay.stores.profiles`.

What goes wrong with one profile's changes concerns them alone: they go on in messages of their own, and only those end
in the dead-letter queue.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from relay.clock import Clock
from relay.delivery.messages import LookAgain, by_shard, group
from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch
from relay.domain.keyed_hash import bucket_of
from relay.domain.merging import canonical, is_same, join, looks_different, merge
from relay.domain.problems import Conflict, Transient
from relay.domain.profiles import Alias, Profile
from relay.observability import Count, Observability
from relay.queues import Message, Received
from relay.settings.exports import Outline
from relay.stores import attempts, ledger, profiles, segments
from relay.stores.database import Database
from relay.stores.directory import Directory, Entry
from relay.stores.ledger import Counts, Line
from relay.stores.profiles import Saved, Stored

MERGE_TRIES = 6
"""How often a profile is loaded and merged again when others keep writing it; then its messages fail and come back."""

CATALOGUE_AGE = timedelta(minutes=1)
"""How long we rely on what we remember of the segment catalogue."""

CATALOGUE_SIZE = 10_000
"""The most segments of the catalogue that we remember."""

PROFILE_FULL = "profile_full"
"""The code of what is left out of a change, or of a profile, because the profile's item has no more room."""


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


@dataclass(frozen=True, slots=True)
class Room:
    """How many bytes a profile may have (`profiles.size`): new values may fill `values`, memberships `most`."""

    values: int = 390_000
    most: int = profiles.MAX_BYTES


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
class _Told:
    """One change, its place in its batch, and what became of it."""

    batch: _Batch
    place: int
    change: Change
    outcome: str = "stale"
    """Its column in the ledger."""
    left_out: bool = False
    """Whether its identities and attributes found no room."""


@dataclass(slots=True, eq=False)
class _Work:
    """One profile with all that a call brings for it."""

    source: str
    ids: set[str] = field(default_factory=set)
    """All ids by which changes name it."""
    told: list[_Told] = field(default_factory=list)
    known: list[Profile] = field(default_factory=list)
    """The profiles stored under its ids, the survivor first."""
    profile: Profile = field(default_factory=lambda: Profile("", ""))
    """The survivor as it will be."""
    aliases: list[Alias] = field(default_factory=list)
    """What has to be written under the other ids."""
    given_up: set[str] = field(default_factory=set)
    """The ids of profiles that we made aliases."""
    clamped: int = 0
    written_before: bool = False
    """Somebody wrote between our reading and writing; it may have been ourselves, and the answer was lost."""
    is_large: bool = False
    """It does not fit into an item unless something is left out."""
    squeezed: bool = False
    """Whether values that were stored had to give way."""
    failed: bool = False
    defect: Exception | None = None

    @property
    def survivor(self) -> Profile:
        """The profile as it is stored; blank when it is not."""
        return self.known[0] if self.known else Profile(self.profile.id, self.source)

    @property
    def is_changed(self) -> bool:
        return self.profile is not self.survivor and not is_same(self.profile, self.survivor)

    def absorb(self, other: "_Work") -> None:
        """Take over the changes of a work that turned out to be about the same profile."""
        self.ids |= other.ids
        self.told += other.told
        self.given_up |= other.given_up
        self.written_before |= other.written_before
        self.is_large |= other.is_large

    def merge(self, found: Mapping[str, Stored], room: Room, now: datetime) -> None:
        """Merge all changes into what is stored now, forgetting earlier tries."""
        roots = sorted({profiles.root_of(one, found) for one in self.ids})
        self.known = [profile for root in roots if isinstance(profile := found[root], Profile)]
        survivor = self.known[0] if self.known else Profile(roots[0], self.source)
        self.aliases = list(_aliases(survivor.id, {*self.ids, *roots}, found, now))
        self.clamped, self.squeezed = 0, False
        self.profile = survivor
        for other in self.known[1:]:
            self.profile = join(self.profile, other)
        if self.is_large:
            self._squeeze(room)
        for told in self.told:
            self._take(told, room)

    def _take(self, told: _Told, room: Room) -> None:
        merged = merge(self.profile, told.change)
        told.left_out = self.is_large and merged.changed and not self._has_room_for(merged.profile, room)
        told.outcome = "merged" if merged.changed else "stale"
        if told.left_out:
            rest = told.change.memberships_alone()
            merged = merge(self.profile, rest)
            told.outcome = "rejected" if rest.is_empty else "merged" if merged.changed else "stale"
        self.profile = merged.profile
        self.clamped += merged.clamped
        if told.left_out:
            self._squeeze(room)

    def _has_room_for(self, profile: Profile, room: Room) -> bool:
        size = profiles.size(profile)
        return size <= room.values or (size <= room.most and size <= profiles.size(self.profile))

    def _squeeze(self, room: Room) -> None:
        """Drop the largest attributes until the profile fits: a membership has the right of way."""
        excess = profiles.size(self.profile) - room.most
        if excess <= 0:
            return
        attributes = self.profile.attributes
        sizes = {key: len(canonical([key, held.value]).encode(errors="replace")) for key, held in attributes.items()}
        for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
            if excess <= 0:
                break
            attributes = {name: held for name, held in attributes.items() if name != key}
            excess -= sizes[key]
        self.profile = replace(self.profile, attributes=attributes)
        self.squeezed = True

    def new_memberships(self) -> Iterator[str]:
        """Yield the segments the profile is in, and was not when it was loaded."""
        held = self.survivor.memberships
        for segment, membership in self.profile.memberships.items():
            if membership.realized and not (segment in held and held[segment].realized):
                yield segment

    def segments(self) -> set[str]:
        """Return all segments whose exports may have to act: an exit may be old enough not to be kept."""
        stored = [profile.memberships for profile in (*self.known, self.profile)]
        told = ({membership.segment for membership in told.change.memberships} for told in self.told)
        return set().union(*stored, *told)

    def looks(self, now: datetime, visibility: timedelta) -> set[str]:
        """Return the ids to look at again: where something visible changed, or an earlier try may have died early."""
        if self._may_have_been_cut_short(now, visibility):
            return {self.profile.id, *(self.ids if len(self.ids) > 1 else ()), *self.given_up}
        visible = self.is_changed and looks_different(self.survivor, self.profile)
        return {self.profile.id, *self.given_up} if visible or self.given_up else set()

    def _may_have_been_cut_short(self, now: datetime, visibility: timedelta) -> bool:
        if self.written_before:
            return True
        if any(told.batch.received_before or now - told.change.received_at >= visibility for told in self.told):
            return True
        # A queue may hand one message to two consumers at once: the other one wrote, and may be dead.
        written = self.survivor.changed_at
        is_news = all(told.outcome == "merged" for told in self.told)
        return written is not None and not is_news and now - written < visibility


def _aliases(survivor: str, ids: Iterable[str], found: Mapping[str, Stored], now: datetime) -> Iterator[Alias]:
    """Yield what has to be written so that all ids lead to the survivor in one step."""
    for one in sorted(ids):
        stored = found[one]
        if one != survivor and not (isinstance(stored, Alias) and stored.of == survivor):
            yield Alias(one, survivor, now, 0 if stored is None else stored.version)


class Router:
    """Merges messages of the Changes queue. One per function environment; calls must not overlap.

    `settings` tells the exports, `directory` where their connections' queues are, `queue_for` takes a destination's
    name, `changes` is the Changes queue. `visibility` is its visibility timeout.

    Everything is stored, whether or not an export names it: platforms send changes only once, and an export made later
    must find its members.
    """

    def __init__(
        self,
        database: Database,
        settings: Outlines,
        directory: Directory,
        queue_for: Callable[[str], Sender],
        changes: Sender,
        *,
        visibility: timedelta,
        clock: Clock,
        observability: Observability,
        room: Room = Room(),
    ) -> None:
        self._database = database
        self._settings = settings
        self._directory = directory
        self._queue_for = queue_for
        self._changes = changes
        self._visibility = visibility
        self._clock = clock
        self._observability = observability
        self._room = room
        self._catalogued: dict[str, str | None] = {}
        self._catalogued_at = clock.now()

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
                failed += self._fail(batch, error)
        return failed

    def _fail(self, batch: _Batch, error: Exception) -> list[str]:
        """Tell and record why a message fails; return the ids of all that carried it."""
        self._observability.problem(
            "not routed", error, batch_id=batch.batch.id, source=batch.batch.source, message_id=batch.ids[0]
        )
        if not isinstance(error, Transient):
            self._record(batch.messages, error)
        return batch.ids

    def _read(self, records: Sequence[Received]) -> tuple[list[_Batch], list[str]]:
        batches: dict[str, _Batch] = {}
        unreadable: list[str] = []
        for record in records:
            try:
                batch = changes.from_json(record.body)
                for one in (one for change in batch.changes for one in change.profile_ids):
                    bucket_of(one)
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
        try:
            works = self._work(_by_profile(batches), outlines)
        except Transient:
            raise
        except Exception as error:  # noqa: BLE001 - a defect met on one profile must not hold up the others
            works = self._work_one_by_one(batches, outlines, error)
        failed = {told.batch.batch.id for work in works if work.failed for told in work.told}
        ids = [one for batch in batches if batch.batch.id in failed for one in batch.ids]
        return ids + self._enter([batch for batch in batches if batch.batch.id not in failed], works)

    def _work(self, works: Sequence[_Work], outlines: Mapping[str, Outline]) -> list[_Work]:
        """Store what works bring and say whom to look at; return them, fewer where several were of one profile."""
        stored = self._store(works)
        self._say_look_again([work for work in stored if not work.failed], outlines)
        return stored

    def _work_one_by_one(
        self, batches: Sequence[_Batch], outlines: Mapping[str, Outline], error: Exception
    ) -> list[_Work]:
        works = _by_profile(batches)
        if len(works) == 1:
            works[0].defect = error
            return works
        self._observability.problem("profiles are tried one by one", error)
        for batch in batches:
            # The try together may have died after writing.
            batch.received_before = True
        for work in works:
            try:
                self._work([work], outlines)
            except Transient:
                raise
            except Exception as defect:  # noqa: BLE001 - as above
                work.defect = defect
        return works

    def _record(self, messages: Sequence[Received], error: Exception) -> None:
        attempts.note(self._database, self._observability, messages, error, self._clock.now())

    def _store(self, works: Sequence[_Work]) -> list[_Work]:
        done: list[_Work] = []
        waiting = list(works)
        for _ in range(MERGE_TRIES):
            if not waiting:
                return done
            now = self._clock.now()
            found = profiles.follow(self._database, {one for work in waiting for one in work.ids})
            waiting = _united(waiting, found)
            for work in waiting:
                work.merge(found, self._room, now)
            self._note_segments(waiting)
            segments.add(
                self._database,
                [
                    (segment, work.profile.id)
                    for work in waiting
                    if work.is_changed
                    for segment in work.new_memberships()
                ],
            )
            again = self._save(waiting, now)
            done += [work for work in waiting if work not in again]
            waiting = again
        for work in waiting:
            work.failed = True
        if waiting:
            self._observability.problem(
                "profiles not written", Conflict("busy_profile", f"{len(waiting)} profiles kept changing")
            )
        return done + waiting

    def _save(self, works: Sequence[_Work], now: datetime) -> list[_Work]:
        """Write profiles, then aliases; return the works that have to be merged again."""
        again: list[_Work] = []
        changed = [work for work in works if work.is_changed]
        limits = [self._room.most if work.is_large else self._room.values for work in changed]
        saved = profiles.save(self._database, [work.profile for work in changed], now, limits)
        for work, outcome in zip(changed, saved, strict=True):
            if outcome is Saved.CONFLICT:
                work.written_before = True
                again.append(work)
            elif outcome is Saved.TOO_LARGE and not work.is_large:
                work.is_large = True
                again.append(work)
            elif outcome is Saved.TOO_LARGE:
                _reject(work)
        settled = [work for work in works if work not in again]
        aliases = [(work, alias) for work in settled for alias in work.aliases if _is_stored(work)]
        written = profiles.save_aliases(self._database, [alias for _, alias in aliases])
        for (work, alias), is_written in zip(aliases, written, strict=True):
            if is_written:
                work.given_up.update(known.id for known in work.known if known.id == alias.id)
            elif work not in again:
                work.written_before = True
                again.append(work)
        return again

    def _say_look_again(self, works: Iterable[_Work], outlines: Mapping[str, Outline]) -> None:
        now = self._clock.now()
        wanted = [(work, ids) for work in works if (ids := work.looks(now, self._visibility))]
        if not wanted:
            return
        exports: dict[str, list[tuple[Outline, Entry]]] = {}
        for outline, entry in self._streaming(outlines):
            for segment in outline.segments:
                exports.setdefault(segment, []).append((outline, entry))
        looks: dict[str, tuple[Outline, Entry, set[str]]] = {}
        concerned: dict[str, list[_Work]] = {}
        for work, ids in wanted:
            for outline, entry in (pair for segment in work.segments() for pair in exports.get(segment, ())):
                looks.setdefault(outline.key, (outline, entry, set()))[2].update(ids)
                concerned.setdefault(entry.destination, []).append(work)
        messages: dict[str, list[Message]] = {}
        for outline, entry, to_look_at in looks.values():
            messages.setdefault(entry.destination, []).extend(
                Message(
                    LookAgain(outline.connection, outline.name, outline.version, ids).to_json(),
                    group(outline.connection, shard),
                )
                for shard, ids in by_shard(list(to_look_at), entry.shards)
            )
        for destination, queued in messages.items():
            try:
                self._queue_for(destination).send(queued)
            except Transient as problem:
                self._observability.problem("look again was not queued", problem, destination=destination)
                for work in concerned[destination]:
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

    def _enter(self, batches: Sequence[_Batch], works: Sequence[_Work]) -> list[str]:
        """Count batches in the ledger and send on what is set apart; return the ids of the messages that failed."""
        defects: dict[str, dict[int, Exception]] = {}
        counted: dict[str, Counter[str]] = {batch.batch.id: Counter() for batch in batches}
        for told, defect in ((told, work.defect) for work in works for told in work.told):
            if defect is not None:
                defects.setdefault(told.batch.batch.id, {})[told.place] = defect
            elif told.batch.batch.id in counted:
                counted[told.batch.batch.id][told.outcome] += 1
        failed: list[str] = []
        lines: list[Line] = []
        for batch in batches:
            name, counter, defective = batch.batch.id, counted[batch.batch.id], defects.get(batch.batch.id, {})
            if defective and not counter:
                # Nothing of it got through: the fault may be of any kind, and there is nobody to protect from it.
                failed += self._fail(batch, next(iter(defective.values())))
                continue
            counter.update(outcome for change in batch.batch.changes if (outcome := _outcome_of_nothing(change)))
            lines.append(
                Line(
                    name,
                    batch.batch.source,
                    Counts(**counter),
                    tuple(sorted(defective)),
                    nobody=not any(change.profile_ids for change in batch.batch.changes),
                    names=tuple(sorted({name for change in batch.batch.changes for name in change.identities})),
                )
            )
        recorded = ledger.record(self._database, lines, self._clock.now())
        by_source: dict[str, Counts] = {}
        for line in recorded.entered:
            by_source[line.source] = by_source.get(line.source, Counts()) + line.counts
        entered = {line.batch for line in recorded.entered}
        for source, counts in by_source.items():
            self._tell(source, counts, [work for work in works if work.source == source], entered)
        return failed + self._send_on(batches, recorded.apart)

    def _send_on(self, batches: Sequence[_Batch], apart: Mapping[str, Sequence[int]]) -> list[str]:
        """Send changes that were set apart as messages of their own; return the ids of the messages that failed."""
        concerned = [batch for batch in batches if batch.batch.id in apart]
        alone = [
            replace(batch.batch, id=f"{batch.batch.id}.{place}", changes=[batch.batch.changes[place]])
            for batch in concerned
            for place in apart[batch.batch.id]
        ]
        if not alone:
            return []
        try:
            self._changes.send([Message(changes.to_json(batch)) for batch in alone])
        except Transient as problem:
            self._observability.problem("not sent on", problem)
            return [one for batch in concerned for one in batch.ids]
        self._observability.info("changes go on by themselves", queued=len(alone))
        return []

    def _tell(self, source: str, counts: Counts, works: Sequence[_Work], entered: set[str]) -> None:
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
        count(Count.PROFILES_JOINED, sum(len(work.given_up) for work in works), source=source)
        full = [work for work in works if work.squeezed or any(told.left_out for told in work.told)]
        for work in full:
            self._observability.info("profile is full", source=source, profile=work.profile.id, code=PROFILE_FULL)
        left_out = sum(told.left_out and told.batch.batch.id in entered for work in full for told in work.told)
        count(Count.LEFT_OUT, left_out, source=source, outcome=PROFILE_FULL)

    def _note_segments(self, works: Sequence[_Work]) -> None:
        """Put segments and names into the catalogue that it does not have, as far as this environment remembers."""
        now = self._clock.now()
        if now - self._catalogued_at > CATALOGUE_AGE:
            self._catalogued, self._catalogued_at = {}, now
        known = self._catalogued
        news: dict[str, str | None] = {}
        for membership in (m for work in works for told in work.told for m in told.change.memberships):
            segment, name = membership.segment, membership.name
            if segment not in known or name not in (None, known[segment]):
                news[segment] = name if name is not None else news.get(segment)
        if news:
            segments.note(self._database, news, now)
            if len(known) + len(news) > CATALOGUE_SIZE:
                known.clear()
            known.update(list(news.items())[:CATALOGUE_SIZE])


def _outcome_of_nothing(change: Change) -> str | None:
    """Return the ledger's column of a change that is not merged."""
    if change.rejection is not None or not change.profile_ids:
        return "rejected"
    return "ignored" if change.is_empty else None


def _by_profile(batches: Iterable[_Batch]) -> list[_Work]:
    """Gather changes by profile: those that share an id belong together."""
    by_id: dict[str, _Work] = {}
    for batch in batches:
        for place, change in enumerate(batch.batch.changes):
            if _outcome_of_nothing(change) is None:
                work = _one_of(by_id, change.profile_ids) or _Work(batch.batch.source)
                work.ids.update(change.profile_ids)
                work.told.append(_Told(batch, place, change))
                by_id.update(dict.fromkeys(work.ids, work))
    return _each_once(by_id.values())


def _united(works: Iterable[_Work], found: Mapping[str, Stored]) -> list[_Work]:
    """Make one of the works whose ids lead to the same profile."""
    by_root: dict[str, _Work] = {}
    for work in works:
        roots = [profiles.root_of(one, found) for one in work.ids]
        other = _one_of(by_root, roots)
        if other is not None:
            other.absorb(work)
        one = other or work
        by_root.update(dict.fromkeys([profiles.root_of(one_id, found) for one_id in one.ids], one))
    return _each_once(by_root.values())


def _one_of(works: Mapping[str, _Work], keys: Iterable[str]) -> _Work | None:
    """Return the work under any of the keys; of several one that has absorbed the others."""
    found = _each_once(works[key] for key in keys if key in works)
    for other in found[1:]:
        found[0].absorb(other)
    return found[0] if found else None


def _each_once(works: Iterable[_Work]) -> list[_Work]:
    return list({id(work): work for work in works}.values())


def _is_stored(work: _Work) -> bool:
    """Whether there is a profile for aliases to point to."""
    return bool(work.known) or work.is_changed


def _reject(work: _Work) -> None:
    """Even its memberships do not fit: nothing of what came is stored."""
    for told in work.told:
        told.outcome = "rejected"
    work.profile, work.aliases = work.survivor, []
