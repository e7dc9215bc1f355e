"""External segments: made known to PX once, renamed when their names change, made again when PX has lost them.

Documented are the calls and the four texts of a segment (https://px-apidocs.gainsight.com, ExternalSegmentDto). Not
documented are which of them PUT goes by, so both ids are sent; what `failIfExists=false` answers for a segment that
exists, so an answer with other texts than ours is followed by a PUT; and how a deleted segment shows.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from relay.destinations.contract import Reply
from relay.destinations.error_table import raise_for
from relay.destinations.gainsight_px import blame
from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.errors import METADATA_TABLE, REFUSALS, status_word
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.domain.problems import Busy, Transient

METADATA = "external_segment/metadata"

_NOT_TAKEN = (400, 404, 413, 422)


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a segment: PX's id of it, and what PX was last told (`refused`: and did not take).

    `made_again` is the export's `tell_again` at the time PX had lost the segment and it was made again, if ever.
    """

    id: str
    name: str
    description: str
    refused: bool = False
    made_again: int | None = None


def known_segment(client: Client, segment: str) -> Known | None:
    """Return what is kept of a segment (`source/segment`); None when it was never made known."""
    kept = client.account.notes.get(_note(client, segment))
    return None if kept is None else _read(kept)


class Segments:
    """The external segments that one call is about."""

    def __init__(self, client: Client, options: GainsightPxOptions) -> None:
        self._client = client
        self._options = options
        self._known: dict[str, Known] = {}
        self._looked_after: set[str] = set()

    def reference(self, segment: str) -> str:
        """Return what PX wants as `segmentId`, making the segment known and renaming it first where that is due.

        Two workers may both create it: `failIfExists=false` makes that harmless, and the first id kept is used by both.
        Raises ExportProblem when PX refuses the metadata of a new segment, else as `Client.call` and `raise_for` do.
        """
        if segment not in self._known:
            kept = self._client.account.notes.get(_note(self._client, segment))
            if kept is None:
                made = self._create(segment)
                kept = self._keep(segment, made, None)
            known = _read(kept)
            if (known.name, known.description) != self._texts(segment):
                known = self._rename(segment, known, kept)
            self._known[segment] = known
        return segment if self._options.segment_ref == "external_id" else self._known[segment].id

    def other_reference(self, segment: str) -> str:
        """Return the other name of a segment whose `reference` was asked for: our external id, or PX's id."""
        return self._known[segment].id if self._options.segment_ref == "external_id" else segment

    def look_after(self, segments: Iterable[str]) -> bool:
        """Ask PX whether it still has the segments and make those again that it lost; True when one was lost.

        A PUT of what PX was told before tells: only where it is refused the segment is made again. Each segment is
        looked after once a call. Raises as `reference`.
        """
        lost = [segment for segment in sorted(set(segments) - self._looked_after) if self._made_again(segment)]
        return bool(lost)

    def tell_again(self, segment: str) -> None:
        """Tell PX of a segment what it was told before. Raises as `reference`, but not when PX refuses it as such."""
        known = self._known[segment]
        reply = self._put(segment, known.id, (known.name, known.description))
        blame.require_metadata(self._client, reply)
        if reply.status not in (*REFUSALS, *_NOT_TAKEN):
            raise_for(reply, METADATA_TABLE, word=status_word)

    def _made_again(self, segment: str) -> bool:
        kept = self._client.account.notes.get(_note(self._client, segment))
        if kept is None:
            return False
        known = _read(kept)
        if known.id != self._known[segment].id:
            # Another worker made it again meanwhile: PX refused the id of before, and the new one was not tried yet.
            self._known[segment] = known
            return True
        self._looked_after.add(segment)
        reply = self._put(segment, known.id, (known.name, known.description))
        if reply.status not in _NOT_TAKEN:
            self._require_taken(reply)
            return False
        self._known[segment] = self._create_again(segment, known, kept)
        return self._known[segment].id != known.id

    def _rename(self, segment: str, known: Known, kept: str) -> Known:
        """Tell PX the texts of today. A name is no reason to hold memberships back: what PX refuses is told by checks.

        Trouble that says nothing about the call as such leaves the renaming to the next delivery.
        """
        texts = self._texts(segment)
        try:
            reply = self._put(segment, known.id, texts)
            if reply.status == 404:
                return self._create_again(segment, known, kept)
            refused = reply.status in _NOT_TAKEN
            if not refused:
                self._require_taken(reply)
            renamed = replace(known, name=texts[0], description=texts[1], refused=refused)
            now = _read(self._keep(segment, renamed, kept))
            if now != renamed:
                # Another worker told a name meanwhile, and perhaps before us: PX shall show the one that is kept.
                self._put(segment, now.id, (now.name, now.description))
            return now
        except Transient as problem:
            if isinstance(problem, Busy) or problem.taken is False or problem.retry_after is not None:
                raise
            return known

    def _create_again(self, segment: str, known: Known, kept: str) -> Known:
        made = self._create(segment)
        if made.id != known.id:
            made = replace(made, made_again=self._options.tell_again)
        else:
            # PX has it after all; whatever it did not like about the PUT is not asked again until the texts change.
            name, description = self._texts(segment)
            made = replace(known, name=name, description=description, refused=True)
        return _read(self._keep(segment, made, kept))

    def _create(self, segment: str) -> Known:
        name, description = self._texts(segment)
        reply = self._client.call(
            "POST",
            METADATA,
            params={"failIfExists": "false"},
            json={"externalId": segment, "name": name, "description": description},
        )
        self._require_taken(reply)
        given = _text_of(reply, "id")
        if given is None and self._options.segment_ref == "id":
            raise Transient("unexpected_answer", "Gainsight PX gave a segment without its id", taken=False)
        return Known(
            segment if given is None else given,
            _text_of(reply, "name") or name,
            _text_of(reply, "description") or description,
        )

    def _put(self, segment: str, segment_id: str, texts: tuple[str, str]) -> Reply:
        body = {"id": segment_id, "externalId": segment, "name": texts[0], "description": texts[1]}
        return self._client.call("PUT", METADATA, json=body)

    def _require_taken(self, reply: Reply) -> None:
        blame.require_metadata(self._client, reply)
        raise_for(reply, METADATA_TABLE, word=status_word)

    def _texts(self, segment: str) -> tuple[str, str]:
        """Return name and description: the options', else the platform's name, else the segment's id."""
        name = self._options.segment_names.get(segment)
        if name is None:
            name = self._client.account.segment_name(segment)
        description = self._options.segment_descriptions.get(segment, f"Kept by Audience Relay from {segment}")
        return segment if name is None or not name.strip() else name, description

    def _keep(self, segment: str, known: Known, replaces: str | None) -> str:
        text = json.dumps(asdict(known), sort_keys=True)
        return self._client.account.notes.keep(_note(self._client, segment), text, replaces=replaces)


def _note(client: Client, segment: str) -> str:
    return f"{client.note_key('external segment')} of {segment}"


def _read(kept: str) -> Known:
    return Known(**json.loads(kept))


def _text_of(reply: Reply, key: str) -> str | None:
    value = reply.body.get(key) if isinstance(reply.body, Mapping) else None
    return value if isinstance(value, str) and value else None
