"""Looking at a subscription and its exports without changing anything: what is wrong, and who must do what."""

from collections.abc import Mapping, Sequence

from relay.destinations.contract import Finding, Level, Reply
from relay.destinations.error_table import raise_for
from relay.destinations.gainsight_px import attributes, feature, products, users
from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.errors import TABLE, USER_TABLE, status_word
from relay.destinations.gainsight_px.segments import known_segment
from relay.domain.exports import Export
from relay.domain.problems import Actor, ExportProblem

_FEATURE_OFF = (
    "Gainsight PX offers no external segments here: ask Gainsight support to enable the feature for the subscription, "
    "or set mode attributes; otherwise check region, and that the key has the Write permission"
)
_MAY_NOT_WRITE = (
    "the key or log-in may read but not write: give the key the Write permission in Gainsight PX under "
    "Administration > REST API, or the user its rights"
)


def findings(client: Client, exports: Sequence[Export]) -> list[Finding]:
    """Look at the key or log-in, and at what each export needs: the feature, or its attributes and product keys.

    Without exports only the account is looked at: an export whose mode does not work is stopped by itself.
    Raises as `Client.call` and `raise_for` do when the account or the network fails.
    """
    shown = products.subscription(client)
    found = [Finding("connection", Level.OK, "Gainsight PX accepts the key or log-in")]
    by_segments = [export for export in exports if export.options.mode == "segments"]
    by_attributes = [export for export in exports if export.options.mode == "attributes"]
    if by_segments:
        found += _feature_findings(client, by_segments)
        found += [warning for export in by_segments for warning in _segment_warnings(client, export)]
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
    return _feature_findings(client, [export]) if feature.was_off(client) else []


def _names(exports: Sequence[Export]) -> set[str]:
    return {name for export in exports for name in export.options.attributes.values()}


def _feature_findings(client: Client, exports: Sequence[Export]) -> list[Finding]:
    reply = feature.probe(client)
    message = {401: _MAY_NOT_WRITE, 403: _FEATURE_OFF, 404: _FEATURE_OFF}.get(reply.status)
    if message is None:
        raise_for(reply, TABLE, word=status_word)
        feature.note(client, is_on=True)
        return [Finding("external segments", Level.OK, "the external-segments feature answers")]
    if message is _FEATURE_OFF:
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
                f"tell_again in the export's options to {export.options.tell_again + 1} to have everybody told again"
            )
            found.append(Finding(export.key, Level.WARNING, message, Actor.ADMINISTRATOR))
    return found


def _writing_finding(client: Client) -> Finding:
    reply = users.probe(client)
    if reply.status in (401, 403):
        return Finding("users", Level.ERROR, _MAY_NOT_WRITE, Actor.ADMINISTRATOR)
    if reply.status >= 500:
        # An update of nobody may be more than PX can answer; that it is well was just seen.
        message = "whether users may be written could not be found out"
        return Finding("users", Level.WARNING, message, Actor.WAIT)
    if reply.status != 404:
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
