"""What Gainsight PX's answers mean. Its statuses: https://px-apidocs.gainsight.com (tags ExternalSegments, Users)."""

import re
from collections.abc import Mapping
from typing import Any

from relay.destinations.contract import Finding, Level, Reply
from relay.destinations.error_table import DEFAULT_TABLE, SUCCESS, OtherShape, Outcome, Row, Table, result_of
from relay.domain.exports import Export
from relay.domain.problems import Actor, Rejection, RejectionKind


def _rejection(code: str, detail: str) -> Rejection:
    return Rejection(RejectionKind.DESTINATION, code, detail)


REFUSED_IDENTITY = _rejection(
    "identity_refused",
    "Gainsight PX refuses this identity by itself: check that it is the value given to PX's identify call",
)
UNKNOWN_USER = _rejection(
    "unknown_user",
    "Gainsight PX has no such user: it is tried again once the user may have appeared there, or set create_users",
)
CREATION_REFUSED = _rejection(
    "creation_refused",
    "Gainsight PX neither knows the user nor takes it as a new one: check product_keys and the identity",
)
SEGMENT_OUT_OF_REACH = _rejection(
    "segment_out_of_reach",
    "the identity is still in an external segment of before the export's mode was changed, and Gainsight PX offers no "
    "external segments now",
)
ATTRIBUTE_OUT_OF_REACH = _rejection(
    "attribute_out_of_reach",
    "the user still has an attribute set that is no longer an enabled custom attribute of type Boolean",
)
SEVERAL_IDENTITIES = Rejection(
    RejectionKind.DATA,
    "several_identities",
    "the profile has several IDENTIFY_IDs and the export's multiple_identities says reject",
)
NOT_DELETED = Rejection(
    RejectionKind.DESTINATION,
    "not_deleted",
    "Gainsight PX does not delete the user: delete it there, or give the key or log-in the right to",
)
REJECTIONS = (
    REFUSED_IDENTITY,
    NOT_DELETED,
    UNKNOWN_USER,
    CREATION_REFUSED,
    SEGMENT_OUT_OF_REACH,
    ATTRIBUTE_OUT_OF_REACH,
    SEVERAL_IDENTITIES,
)

FEATURE_OFF = "feature_off"
"""The code of what stopped because external segments do not answer."""
FEATURE_OFF_TEXT = (
    "Gainsight PX offers no external segments here: ask Gainsight support to enable the feature for the subscription, "
    "or set mode attributes; otherwise check region, segment_ref, and that the key has the Write permission"
)
NOT_AUTHORISED = (
    "Gainsight PX refuses the key or log-in: check the connection's secret and region, and that the key has the Read "
    "permission and the Write permission"
)
MAY_NOT_WRITE = (
    "the key or log-in may read but not write: give the key the Write permission in Gainsight PX under "
    "Administration > REST API, or the user its rights"
)
MAY_NOT_READ = (
    "Gainsight PX does not show the log-in the subscription, its attributes or its users, which mode attributes needs: "
    "give the user more rights, or use an api_key"
)

REFUSALS = (401, 403, 404)
"""Statuses that may be about the connection, or about what one export needs."""

_STATUS_WORD = re.compile(r"[A-Z][A-Z_]{0,40}")


def error(export: Export, message: str) -> Finding:
    """Return what keeps an export from working."""
    return Finding(export.key, Level.ERROR, message, Actor.ADMINISTRATOR)


def warning(subject: str, message: str) -> Finding:
    """Return what an administrator should see to."""
    return Finding(subject, Level.WARNING, message, Actor.ADMINISTRATOR)


def judge(reply: Reply, table: Table) -> None:
    """Raise as `result_of` does, unless PX took what it was sent."""
    result_of(reply, table, taken, about=status_word)


def taken(reply: Reply) -> None:
    """Read a success. No body is documented of one, so any but a page will do."""
    if is_page(reply):
        raise OtherShape("an answer")


def is_taken(reply: Reply) -> bool:
    """Return whether an answer is a success."""
    return reply.status in SUCCESS and not is_page(reply)


def is_page(reply: Reply) -> bool:
    """Return whether an answer is a page of HTML, or something that does not say what it is."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    return reply.body is None and reply.size > 0 and (not kind or "html" in kind)


def is_unknown_user(reply: Reply) -> bool:
    """Return whether PX says in so many words that it has no such user."""
    return reply.status == 404 and status_word(reply) == "NOT_FOUND"


def status_word(reply: Reply) -> str | None:
    """Return the status word of PX's error envelope, such as `NOT_FOUND`.

    Its messages stay out of our texts: "User was not found for parameters {id=...}" holds an identity.
    """
    word = field(field(reply.body, "externalapierror"), "status")
    return word if isinstance(word, str) and _STATUS_WORD.fullmatch(word) else None


def field(holder: Any, name: str) -> Any:
    """Return a field of a JSON object; None where there is none, or no object."""
    return holder.get(name) if isinstance(holder, Mapping) else None


MEMBERSHIP_TABLE: Table = (
    Row((401,), Outcome.CONNECTION, "not_authorised", NOT_AUTHORISED),
    Row((403, 404), Outcome.CONNECTION, FEATURE_OFF, FEATURE_OFF_TEXT),
    *DEFAULT_TABLE,
)

SEGMENT_TABLE: Table = (
    Row(
        (400, 413, 422),
        Outcome.EXPORT,
        "segment_refused",
        "Gainsight PX refuses the segment's name, description or id: check segment_names in the export's options",
    ),
    *MEMBERSHIP_TABLE,
)

USER_TABLE: Table = (Row((401, 403), Outcome.CONNECTION, "not_authorised", NOT_AUTHORISED), *DEFAULT_TABLE)

READ_TABLE: Table = (Row(REFUSALS, Outcome.CONNECTION, "not_authorised", NOT_AUTHORISED), *DEFAULT_TABLE)

TOKEN_TABLE: Table = (
    Row(
        (400, 401),
        Outcome.CONNECTION,
        "invalid_grant",
        "the log-in was refused (invalid_grant): the password may have changed, the user may be locked, or PX allows "
        'SAML log-in only ("Saml Only"): put the user on its allow list',
        when=lambda reply: field(reply.body, "error") == "invalid_grant",
    ),
    Row(
        (400, 401),
        Outcome.CONNECTION,
        "invalid_client",
        "the client was refused (invalid_client): client_id must be the subscription ID, and the OAuth secret may have "
        "been generated again on the Company Details page",
        when=lambda reply: field(reply.body, "error") == "invalid_client",
    ),
    Row((404,), Outcome.CONNECTION, "not_found", "there is nothing at token_url: check it"),
    Row(
        frozenset(range(400, 500)) - {408, 429},
        Outcome.CONNECTION,
        "token_refused",
        "no token was given: check username, password, client_id, client_secret and token_url",
    ),
    *DEFAULT_TABLE,
)

STOPS: Mapping[str, str] = {
    FEATURE_OFF: "Gainsight PX offers no external segments: ask Gainsight's support to enable them.",
    "segment_refused": "Gainsight PX refuses a segment's name, description or id: check segment_names.",
    "segment_unknown": "Gainsight PX does not know a segment that it made: it may have been deleted there.",
    "segment_without_attribute": "A segment has no attribute: name one for each segment in attributes.",
    "attribute_unusable": "A custom attribute that the export names is not there, or is no boolean: correct it.",
    "identity_type_changed": "The mapping's identity is of another type than the segment was made with.",
    "product_keys_needed": "The subscription has several products: name theirs in product_keys.",
    "may_not_read": "The key may not read: give it the right in Gainsight PX.",
    "may_not_write": "The key may not write: give it the right in Gainsight PX.",
    "invalid_grant": "The log-in was refused: the password may have changed, or the user may be locked.",
    "invalid_client": "The client was refused: check client_id and client_secret.",
    "token_refused": "No token was given: check the fields of the log-in.",
    "insecure_token_url": "token_url must begin with https.",
    "no_token": "token_url answers without a token that can be used: check it.",
}
"""What the codes of its own stops mean."""
