"""External segments: made known to PX once, their ids kept."""

from collections.abc import Mapping

from relay.destinations.contract import Account
from relay.destinations.error_table import raise_for
from relay.destinations.gainsight_px.client import call
from relay.destinations.gainsight_px.errors import METADATA_TABLE, status_word
from relay.destinations.gainsight_px.settings import GainsightPxConnection, GainsightPxOptions
from relay.destinations.gainsight_px.token import Tokens
from relay.domain.problems import Transient

_PREFIX = "segment/"


def segment_target(segment: str) -> str:
    """Return the name of the target that stands for a segment (`source/segment`)."""
    return _PREFIX + segment


def segment_of(target: str) -> str:
    """Return the segment of a target made by `segment_target`; it is also the segment's external id at PX."""
    return target.removeprefix(_PREFIX)


def segment_reference(account: Account, tokens: Tokens, options: GainsightPxOptions, segment: str) -> str:
    """Return what PX wants as `segmentId`, making the segment known first if this connection never did.

    Two workers may both create it: `failIfExists=false` makes that harmless, and the first id kept is used by both.
    Raises ExportProblem when PX refuses the metadata, else as `call` does.
    """
    note = _note_key(account.connection.settings, segment)
    kept = account.notes.get(note)
    if kept is None:
        kept = account.notes.keep(note, _create(account, tokens, options, segment))
    return segment if options.segment_ref == "external_id" else kept


def _create(account: Account, tokens: Tokens, options: GainsightPxOptions, segment: str) -> str:
    reply = call(
        account,
        tokens,
        "POST",
        "external_segment/metadata",
        params={"failIfExists": "false"},
        json={
            "externalId": segment,
            "name": options.segment_names.get(segment, segment),
            "description": options.segment_descriptions.get(segment, f"Kept by Audience Relay from {segment}"),
        },
    )
    raise_for(reply, METADATA_TABLE, word=status_word)
    given = reply.body.get("id") if isinstance(reply.body, Mapping) else None
    if isinstance(given, str) and given:
        return given
    if options.segment_ref == "external_id":
        return segment
    raise Transient("unexpected_answer", "Gainsight PX gave a segment without its id", taken=False)


def _note_key(settings: GainsightPxConnection, segment: str) -> str:
    # Ids belong to a subscription: a connection that is pointed at another one must not use the old ones.
    return f"px segment {settings.region} {settings.client_id or ''} {segment}"
