"""External segments: made known to PX once, renamed when their names change, made again when PX has lost them.

Documented are the calls and the four texts of a segment (https://px-apidocs.gainsight.com, ExternalSegmentDto). Not
documented are which of them PUT goes by, so both ids are sent; what `failIfExists=false` answers for a segment that
exists, so an answer with other texts than ours is followed by a PUT; and how a deleted segment shows.
"""

import json
from dataclasses import asdict, dataclass, replace

from relay.destinations.contract import Reply
from relay.destinations.gainsight_px import errors, stops
from relay.destinations.gainsight_px.client import Client, Note, ReadOnlyClient
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.domain.problems import Busy, Transient

_NOT_TAKEN = (400, 404, 413, 422)


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a segment: PX's id of it, and what PX was last sent (`refused`: and did not take).

    `made_again` is the export's `tell_again` at the time PX had lost the segment and it was made again, if ever.
    """

    id: str
    name: str
    description: str
    refused: bool = False
    made_again: int | None = None

    @classmethod
    def read(cls, kept: str) -> "Known":
        """Read the text of a note."""
        return cls(**json.loads(kept))


def note_of(client: ReadOnlyClient, segment: str) -> Note:
    """Return the note that keeps a `Known` of a segment (`source/segment`); it is empty before PX knows the segment."""
    return client.note("external segment", of=segment)


class Segments:
    """The external segments that one call is about; nothing that is done here changes who is in one.

    All raise ExportProblem when PX refuses a new segment's texts or has no external segments, else as `Client` does.
    """

    def __init__(self, client: Client, options: GainsightPxOptions) -> None:
        self._client = client
        self._options = options
        self._known: dict[str, Known] = {}
        self._looked_after: set[str] = set()

    def reference(self, segment: str) -> str:
        """Return what PX wants as `segmentId`, making the segment known and renaming it first where that is due.

        Two workers may both make it: `failIfExists=false` makes that harmless, and the first id kept is used by both.
        """
        if segment not in self._known:
            kept = note_of(self._client, segment).read()
            if kept is None:
                kept = self._keep(segment, None, self._make(segment))
            known = Known.read(kept)
            if (known.name, known.description) != self._texts(segment):
                known = self._rename(segment, kept)
            self._known[segment] = known
        return segment if self._options.segment_ref == "external_id" else self._known[segment].id

    def other_reference(self, segment: str) -> str:
        """Return the other name of a segment whose `reference` was asked for: our external id, or PX's id."""
        return self._known[segment].id if self._options.segment_ref == "external_id" else segment

    def make_again_if_lost(self, segment: str) -> bool:
        """Ask PX whether it still has a segment, once a call; return whether it has another id now.

        A PUT of what PX was sent before shows it: where that is refused the segment is made again.
        """
        kept = note_of(self._client, segment).read()
        if kept is None or segment in self._looked_after:
            return False
        former, known = self._known[segment], Known.read(kept)
        # Otherwise another worker made it again meanwhile: PX refused the former id, and this one was not tried yet.
        if known.id == former.id:
            self._looked_after.add(segment)
            reply = self._put(segment, known)
            if reply.status in _NOT_TAKEN:
                known = self._make_again(segment, kept)
            else:
                stops.require_segment_taken(self._client, reply)
        self._known[segment] = known
        return known.id != former.id

    def _rename(self, segment: str, kept: str) -> Known:
        """Send PX the texts of today. A name is no reason to hold memberships back: checks show what PX refuses.

        Trouble with the name alone leaves it to the next delivery; who asks us to wait is not called on.
        """
        known = Known.read(kept)
        name, description = self._texts(segment)
        renamed = replace(known, name=name, description=description, refused=False)
        try:
            reply = self._put(segment, renamed)
            if reply.status == 404:
                return self._make_again(segment, kept)
            if reply.status in _NOT_TAKEN:
                renamed = replace(renamed, refused=True)
            else:
                stops.require_segment_taken(self._client, reply)
            now = Known.read(self._keep(segment, kept, renamed))
            if now != renamed:
                # Another worker sent a name meanwhile, and perhaps before us: PX shall show the one that is kept.
                self._put(segment, now)
            return now
        except Transient as problem:
            if isinstance(problem, Busy) or problem.code == "rate_limited" or problem.retry_after is not None:
                raise
            return known

    def _make_again(self, segment: str, kept: str) -> Known:
        known, made = Known.read(kept), self._make(segment)
        if made.id != known.id:
            made = replace(made, made_again=self._options.tell_again)
        else:
            # PX has it after all; whatever it did not like about the PUT is not asked again until the texts change.
            name, description = self._texts(segment)
            made = replace(known, name=name, description=description, refused=True)
        return Known.read(self._keep(segment, kept, made))

    def _make(self, segment: str) -> Known:
        name, description = self._texts(segment)
        reply = self._client.make_segment({"externalId": segment, "name": name, "description": description})
        stops.require_segment_taken(self._client, reply)
        given, shown_name, shown_description = (_text(reply, key) for key in ("id", "name", "description"))
        if given is None and self._options.segment_ref == "id":
            raise Transient("unexpected_answer", "Gainsight PX gave a segment without its id", taken=False)
        return Known(given or segment, shown_name or name, shown_description or description)

    def _put(self, segment: str, known: Known) -> Reply:
        texts = {"id": known.id, "externalId": segment, "name": known.name, "description": known.description}
        return self._client.rename_segment(texts)

    def _texts(self, segment: str) -> tuple[str, str]:
        """Return name and description: the options', else the platform's name, else the segment's id."""
        name = self._options.segment_names.get(segment) or self._client.account.segment_name(segment) or ""
        description = self._options.segment_descriptions.get(segment, f"Kept by Audience Relay from {segment}")
        return name if name.strip() else segment, description

    def _keep(self, segment: str, former: str | None, known: Known) -> str:
        return note_of(self._client, segment).replace(former, json.dumps(asdict(known), sort_keys=True))


def _text(reply: Reply, name: str) -> str | None:
    value = errors.field(reply.body, name)
    return value if isinstance(value, str) and value else None
