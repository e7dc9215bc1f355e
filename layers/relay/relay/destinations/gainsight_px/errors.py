"""What Gainsight PX's answers mean. Its statuses: https://px-apidocs.gainsight.com (tags ExternalSegments, Users)."""

import re
from collections.abc import Mapping
from typing import Any

from relay.destinations.contract import Reply
from relay.destinations.error_table import DEFAULT_TABLE, SUCCESS, Outcome, Row, Table
from relay.domain.problems import Rejection, RejectionKind

REFUSED_IDENTITY = Rejection(
    RejectionKind.DESTINATION,
    "identity_refused",
    "Gainsight PX refuses this identity by itself: check that it is the value given to PX's identify call",
)

UNKNOWN_USER = Rejection(
    RejectionKind.DESTINATION,
    "unknown_user",
    "Gainsight PX has no such user: it is tried again once the user may have appeared there, or set create_users",
)
CREATION_REFUSED = Rejection(
    RejectionKind.DESTINATION,
    "creation_refused",
    "Gainsight PX neither knows the user nor takes it as a new one: check product_keys and the identity",
)
SEGMENT_OUT_OF_REACH = Rejection(
    RejectionKind.DESTINATION,
    "segment_out_of_reach",
    "the identity is still in an external segment of before the export's mode was changed, and Gainsight PX offers no "
    "external segments now",
)
ATTRIBUTE_OUT_OF_REACH = Rejection(
    RejectionKind.DESTINATION,
    "attribute_out_of_reach",
    "the user still has an attribute set that is no longer an enabled custom attribute of type Boolean",
)

REJECTIONS = (REFUSED_IDENTITY, UNKNOWN_USER, CREATION_REFUSED, SEGMENT_OUT_OF_REACH, ATTRIBUTE_OUT_OF_REACH)

FEATURE_OFF = "feature_off"
"""The code of what stopped because external segments do not answer."""
FEATURE_OFF_TEXT = (
    "Gainsight PX offers no external segments here: ask Gainsight support to enable the feature for the subscription, "
    "or set mode attributes; otherwise check region, and that the key has the Write permission"
)

MAY_NOT_WRITE = "may_not_write"
MAY_NOT_WRITE_TEXT = (
    "the key or log-in may read but not write: give the key the Write permission in Gainsight PX under "
    "Administration > REST API, or the user its rights"
)

REFUSALS = (401, 403, 404)
"""Statuses that may be about the connection, or about what one export needs."""

_STATUS_WORD = re.compile(r"[A-Z][A-Z_]{0,40}")


def status_word(reply: Reply) -> str | None:
    """Return the status word of PX's error envelope, such as `NOT_FOUND`.

    Its messages stay out of our texts: "User was not found for parameters {id=...}" holds an identity.
    """
    envelope = reply.body.get("externalapierror") if isinstance(reply.body, Mapping) else None
    word = envelope.get("status") if isinstance(envelope, Mapping) else None
    return word if isinstance(word, str) and _STATUS_WORD.fullmatch(word) else None


def is_unknown_user(reply: Reply) -> bool:
    """Return whether PX says in so many words that it has no such user."""
    return reply.status == 404 and status_word(reply) == "NOT_FOUND"


def is_page(reply: Reply) -> bool:
    """Return whether an answer is a page of HTML, or something that does not say what it is."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    return reply.body is None and reply.size > 0 and (not kind or "html" in kind)


def is_success(reply: Reply) -> bool:
    """Return whether PX took what it was sent: no body is documented of such an answer, so any but a page will do."""
    return reply.status in SUCCESS and not is_page(reply)


def _error_of(reply: Reply) -> Any:
    return reply.body.get("error") if isinstance(reply.body, Mapping) else None


TABLE: Table = (
    Row(
        (401,),
        Outcome.CONNECTION,
        "not_authorised",
        "Gainsight PX refuses the key or token: check the connection's secret and region, and the key's permission",
    ),
    Row(
        (403, 404),
        Outcome.CONNECTION,
        FEATURE_OFF,
        "Gainsight PX offers no external segments here: ask Gainsight support to enable the feature, or use mode "
        "attributes; otherwise check region, the key's permission and segment_ref",
    ),
    *DEFAULT_TABLE,
)

ADMIN_TABLE: Table = (
    Row(
        (403, 404),
        Outcome.CONNECTION,
        "not_authorised",
        "Gainsight PX does not show the subscription: check region, the key, and that it has the Read permission",
    ),
    *TABLE,
)

SUBSCRIPTION_TABLE: Table = (
    Row(
        SUCCESS,
        Outcome.CONNECTION,
        "unexpected_answer",
        "what should be Gainsight PX does not describe the subscription: check region",
        when=lambda reply: not (isinstance(reply.body, Mapping) and reply.body.keys() & {"id", "products"}),
    ),
    *ADMIN_TABLE,
)
"""A success shows that a key is good, so it has to be one. SubscriptionDetail has both."""

METADATA_TABLE: Table = (
    Row(
        (400, 413, 422),
        Outcome.EXPORT,
        "segment_refused",
        "Gainsight PX refuses the segment's name, description or id: check segment_names in the export's options",
    ),
    *TABLE,
)

USER_TABLE: Table = (
    Row(
        (401, 403),
        Outcome.CONNECTION,
        "not_authorised",
        "Gainsight PX refuses to write users: check the connection's secret and region, and that the key has the "
        "Write permission",
    ),
    *DEFAULT_TABLE,
)

TOKEN_TABLE: Table = (
    Row(
        (400, 401),
        Outcome.CONNECTION,
        "invalid_grant",
        "the log-in was refused (invalid_grant): the password may have changed, the user may be locked, or PX allows "
        'SAML log-in only ("Saml Only"): put the user on its allow list',
        when=lambda reply: _error_of(reply) == "invalid_grant",
    ),
    Row(
        (400, 401),
        Outcome.CONNECTION,
        "invalid_client",
        "the client was refused (invalid_client): client_id must be the subscription ID, and the OAuth secret may have "
        "been generated again on the Company Details page",
        when=lambda reply: _error_of(reply) == "invalid_client",
    ),
    Row((429,), Outcome.TRANSIENT, "rate_limited", "the token address asks us to slow down", taken=False),
    Row(
        (408, *range(500, 600)),
        Outcome.TRANSIENT,
        "unavailable",
        "the token address has a problem of its own",
        taken=False,
    ),
    Row((404,), Outcome.CONNECTION, "not_found", "there is nothing at token_url: check it"),
    Row(
        range(400, 500),
        Outcome.CONNECTION,
        "token_refused",
        "no token was given: check username, password, client_id, client_secret and token_url",
    ),
    Row(
        SUCCESS,
        Outcome.CONNECTION,
        "no_token",
        "token_url answered without a usable access token: check it",
        when=lambda reply: not usable_token(reply),
    ),
    *DEFAULT_TABLE,
)


def usable_token(reply: Reply) -> bool:
    """Return whether an answer holds an access token that can go into a header."""
    token = reply.body.get("access_token") if isinstance(reply.body, Mapping) else None
    return isinstance(token, str) and token.isascii() and token.isprintable() and token != "" and " " not in token
