"""The fifth step: ask for a look at the profiles that may have to change at a destination.

A look is asked for where something that can be seen changed. It is asked for as well where the profile was written
since one of the changes was received: an earlier try of that change may have died after the write and before it asked.
A repeat that a platform sends the next night costs no look.

Asked are the exports of all segments that the profile is in or left, or was in until it was forgotten. Whoever
delivered a profile that became an alias has to look at that one, too: it hands over to the survivor.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from relay.domain.merging import looks_different
from relay.domain.problems import Transient
from relay.messages import Look, by_shard, group
from relay.observability import Count, Observability
from relay.queues import Message, Sender
from relay.routing.merge import Draft
from relay.settings.exports import Outline
from relay.stores.directory import Directory, Entry


class Asker:
    """Asks for looks. `directory` says where connections' queues are, `queue_for` takes a destination's name."""

    def __init__(self, directory: Directory, queue_for: Callable[[str], Sender], observability: Observability) -> None:
        self._directory = directory
        self._queue_for = queue_for
        self._observability = observability

    def ask(self, drafts: Sequence[Draft], outlines: Mapping[str, Outline]) -> list[Draft]:
        """Ask for all looks that written drafts need; return the drafts for which that failed."""
        wanted = [(one, ids) for one in drafts if (ids := _to_look_at(one))]
        if not wanted:
            return []
        exports: dict[str, list[tuple[Outline, Entry]]] = {}
        for outline, entry in self._streaming(outlines):
            for segment in outline.segments:
                exports.setdefault(segment, []).append((outline, entry))
        looks: dict[str, tuple[Outline, Entry, set[str]]] = {}
        concerned: dict[str, dict[Draft, None]] = {}
        for one, ids in wanted:
            for segment in {segment for held in (*one.stored, one.profile) for segment in held.memberships}:
                for outline, entry in exports.get(segment, ()):
                    looks.setdefault(outline.key, (outline, entry, set()))[2].update(ids)
                    concerned.setdefault(entry.destination, {})[one] = None
        messages: dict[str, list[Message]] = {}
        for outline, entry, to_look_at in looks.values():
            messages.setdefault(entry.destination, []).extend(
                Message(
                    Look(outline.connection, outline.name, outline.version, ids).to_json(),
                    group(outline.connection, shard),
                )
                for shard, ids in by_shard(to_look_at, entry.shards)
            )
        failed: dict[Draft, None] = {}
        for destination, queued in sorted(messages.items()):
            try:
                self._queue_for(destination).send(queued)
            except Transient as problem:
                self._observability.problem("looks were not asked for", problem, destination=destination)
                failed |= concerned[destination]
        return list(failed)

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


def _to_look_at(one: Draft) -> set[str]:
    """Return the ids of the profiles to look at."""
    others = one.customer.given_up | one.written_since
    is_visible = one.is_changed and looks_different(one.survivor, one.profile)
    return {one.profile.id, *others} if is_visible or others else others
