"""Looking at a subscription and its exports without changing anything: what is wrong, and who must do what."""

from collections.abc import Mapping, Sequence

from relay.destinations.contract import Finding, Level, Reply
from relay.destinations.error_table import raise_for
from relay.destinations.gainsight_px import attributes, blame, feature, identity_type, products, reading
from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.errors import (
    FEATURE_OFF_TEXT,
    MAY_NOT_WRITE_TEXT,
    SUBSCRIPTION_TABLE,
    TABLE,
    USER_TABLE,
    is_success,
    status_word,
)
from relay.destinations.gainsight_px.identity_type import IdentityType
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.destinations.gainsight_px.segments import known_segment
from relay.domain.exports import Export
from relay.domain.problems import Actor, ExportProblem


def findings(client: Client, exports: Sequence[Export]) -> list[Finding]:
    """Look at the key or log-in, and at what each export needs: the feature, or its attributes and product keys.

    Without exports only the account is looked at, and what stopped the connection: an export whose mode does not work
    is stopped by itself. Raises as `Client.call` and `raise_for` do when the account or the network fails.
    """
    by_segments = [export for export in exports if export.options.mode == "segments"]
    by_attributes = [export for export in exports if export.options.mode == "attributes"]
    shown = client.call("GET", reading.SUBSCRIPTION)
    if reading.is_hidden(client, shown):
        found = [_log_in_finding(client), *[_error(export, reading.MAY_NOT_READ_TEXT) for export in by_attributes]]
        by_attributes = []
    else:
        raise_for(shown, SUBSCRIPTION_TABLE, word=status_word)
        found = [Finding("connection", Level.OK, "Gainsight PX accepts the key or log-in")]
    if not exports:
        blame.try_again(client)
    found += [warning for export in exports for warning in _warnings_of_options(export)]
    if by_segments:
        found += _feature_findings(client, by_segments)
        for export in by_segments:
            found += [*_identity_type_findings(client, export), *_segment_warnings(client, export)]
    if by_attributes:
        found.append(_writing_finding(client))
        state = attributes.look(client, _names(by_attributes))
        for export in by_attributes:
            found += _export_findings(client, export, state, shown)
    return found


def findings_before_run(client: Client, export: Export) -> list[Finding]:
    """Look at what would make a run pointless, by calls that only read.

    The feature of external segments is looked at where a call has shown it to be off: that takes a call that could
    write. Raises as `findings`.
    """
    if export.options.mode == "attributes":
        state = attributes.look(client, _names([export]))
        return _export_findings(client, export, state, products.subscription(client))
    changed = _identity_type_findings(client, export)
    return changed or (_feature_findings(client, [export]) if feature.was_off(client) else [])


def _log_in_finding(client: Client) -> Finding:
    """Look at a log-in that the subscription is not shown to, which is documented for API keys only."""
    reply = feature.probe(client)
    if not is_success(reply):
        raise_for(reply, TABLE, word=status_word)
    message = (
        "Gainsight PX gave a token and takes it; it does not show the log-in the subscription, which only mode "
        "attributes needs"
    )
    return Finding("connection", Level.WARNING, message, Actor.ADMINISTRATOR)


def _warnings_of_options(export: Export) -> list[Finding]:
    options: GainsightPxOptions = export.options
    by_segment = {
        "segment_names": options.segment_names,
        "segment_descriptions": options.segment_descriptions,
        "attributes": options.attributes,
    }
    return [
        Finding(
            export.key,
            Level.WARNING,
            f"{option} names {segment}, which is not one of the export's segments: correct it",
            Actor.ADMINISTRATOR,
        )
        for option, given in by_segment.items()
        for segment in sorted(given.keys() - set(export.segments))
    ]


def _identity_type_findings(client: Client, export: Export) -> list[Finding]:
    return [_error(export, identity_type.CHANGED)] if IdentityType(client, export).is_changed else []


def _names(exports: Sequence[Export]) -> set[str]:
    return {name for export in exports for name in export.options.attributes.values()}


def _feature_findings(client: Client, exports: Sequence[Export]) -> list[Finding]:
    reply = feature.probe(client)
    message = {401: MAY_NOT_WRITE_TEXT, 403: FEATURE_OFF_TEXT, 404: FEATURE_OFF_TEXT}.get(reply.status)
    if message is None:
        if not is_success(reply):
            raise_for(reply, TABLE, word=status_word)
        feature.note(client, is_on=True)
        return [Finding("external segments", Level.OK, "the external-segments feature answers")]
    if message is FEATURE_OFF_TEXT:
        feature.note(client, is_on=False)
    return [_error(export, message) for export in exports]


def _segment_warnings(client: Client, export: Export) -> list[Finding]:
    found = []
    for segment in export.segments:
        known = known_segment(client, segment)
        if known is not None and known.refused:
            message = f"Gainsight PX keeps the old name or description of {segment}: it refused to change them"
            found.append(Finding(export.key, Level.WARNING, message, Actor.ADMINISTRATOR))
        if known is not None and known.made_again == export.options.tell_again:
            message = (
                f"{segment} was gone in Gainsight PX and was made again, without its members of before: raise "
                f"tell_again in the export's options to {export.options.tell_again + 1} to have everybody sent again"
            )
            found.append(Finding(export.key, Level.WARNING, message, Actor.ADMINISTRATOR))
    return found


def _writing_finding(client: Client) -> Finding:
    reply = blame.probe_users(client)
    if reply.status in (401, 403):
        return Finding("users", Level.ERROR, MAY_NOT_WRITE_TEXT, Actor.ADMINISTRATOR)
    if reply.status >= 500:
        # An update of nobody may be more than PX can answer; that it is well was just seen.
        message = "whether users may be written could not be found out"
        return Finding("users", Level.WARNING, message, Actor.WAIT)
    if reply.status != 404 and not is_success(reply):
        raise_for(reply, USER_TABLE, word=status_word)
    return Finding("users", Level.OK, "users may be written")


def _export_findings(client: Client, export: Export, state: Mapping[str, str], shown: Reply) -> list[Finding]:
    found = _attribute_findings(export, state)
    strange = set(export.options.product_keys) - set(products.keys_in(shown))
    if strange:
        message = (
            f"{len(strange)} of the product_keys in the export's options are not of this subscription: correct them"
        )
        found.append(_error(export, message))
    try:
        products.keys_for(client, export.options, shown)
    except ExportProblem as problem:
        found.append(_error(export, problem.what))
    return found or [Finding(export.key, Level.OK, "the attributes and product keys can be used")]


def _attribute_findings(export: Export, state: Mapping[str, str]) -> list[Finding]:
    found = []
    for segment in export.segments:
        name = export.options.attributes.get(segment)
        if name is None:
            found.append(_error(export, f"{segment} has no attribute: name one in attributes of the export's options"))
        elif state[name] != attributes.USABLE:
            found.append(_error(export, f"attribute {name}: {attributes.PROBLEMS[state[name]]}"))
    return found


def _error(export: Export, message: str) -> Finding:
    return Finding(export.key, Level.ERROR, message, Actor.ADMINISTRATOR)
