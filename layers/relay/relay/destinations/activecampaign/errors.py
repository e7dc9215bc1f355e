"""What ActiveCampaign's answers mean: https://developers.activecampaign.com/reference/errors."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from relay.destinations.activecampaign.bounds import ANSWERED_IMPORT
from relay.destinations.contract import Reply
from relay.destinations.error_table import DEFAULT_TABLE, SUCCESS, Outcome, Row, Table
from relay.domain.problems import Rejection, RejectionKind

MOST_TAGS = 50
"""Different tags of one profile. One contact by single calls takes up to three calls for each."""

MOST_TAG_NAMES = 1_000
"""Different tags that an export uses under one version of its settings: it never fills the account with tags."""

MALFORMED = Rejection(
    RejectionKind.DESTINATION,
    "malformed",
    "ActiveCampaign refuses the record as malformed: check its values at the source",
)
UNREADABLE = Rejection(
    RejectionKind.DESTINATION,
    "unreadable",
    "ActiveCampaign does not show the contact or its subscription, so it was left alone: look at it in ActiveCampaign",
)
TOO_LARGE = Rejection(
    RejectionKind.DATA, "too_large", "the record alone is larger than ActiveCampaign takes in one call"
)
UNFIT_VALUE = Rejection(
    RejectionKind.DESTINATION,
    "unfit_value",
    "a value does not fit the type of its custom field (a date, a number, one choice): correct mapping or value",
)
TAG_REFUSED = Rejection(
    RejectionKind.DESTINATION,
    "tag_refused",
    "ActiveCampaign refuses the name of a tag: correct the mapping or the value",
)
TOO_MANY_TAGS = Rejection(
    RejectionKind.DATA,
    "too_many_tags",
    f"the profile has more than {MOST_TAGS} tags: map fewer, or correct the value",
)
TAGS_USED_UP = Rejection(
    RejectionKind.DATA,
    "tags_used_up",
    f"the export has used {MOST_TAG_NAMES:,} different tags since its settings were last edited, and uses no more: map "
    "a value that has fewer, or save the export again to let it go on",
)
UNSUBSCRIBED = Rejection(
    RejectionKind.DESTINATION,
    "unsubscribed",
    "the contact has unsubscribed from the list, or nobody can say for certain who unsubscribed it: it is never "
    "subscribed again from here; ActiveCampaign's own forms can do that",
)
BOUNCED = Rejection(
    RejectionKind.DESTINATION, "bounced", "mail to the contact has bounced: correct the address at the source"
)
OPT_IN_PENDING = Rejection(
    RejectionKind.DESTINATION,
    "opt_in_pending",
    "the contact has not confirmed its subscription to the list yet: only the contact can do that",
)
UNKNOWN_STATUS = Rejection(
    RejectionKind.DESTINATION,
    "unknown_status",
    "the contact stands with the list in a way that ActiveCampaign does not document, so it was left alone: look at "
    "the contact in ActiveCampaign",
)
EXCLUDED = Rejection(
    RejectionKind.DESTINATION,
    "excluded",
    "ActiveCampaign's import did not take the contact: it is on the exclusion list, has bounced or is malformed",
)
OVER_LIMIT = Rejection(
    RejectionKind.DESTINATION,
    "over_limit",
    "the account has reached its contact limit: raise the plan's limit or remove contacts in ActiveCampaign",
)
IMPORT_REFUSED = Rejection(
    RejectionKind.DESTINATION,
    "import_refused",
    "ActiveCampaign's import refused the contact and gives no reason; it may have unsubscribed from the list, be on "
    "the exclusion list, have bounced, or be over the account's contact limit: look at the contact in ActiveCampaign",
    is_certain=False,
)
"""Whether an import writes the values of a contact it does not subscribe is not documented."""
UNCONFIRMED = Rejection(
    RejectionKind.DESTINATION,
    "unconfirmed",
    "ActiveCampaign neither confirmed nor refused the contact, and it was not found as wanted afterwards",
    is_certain=False,
)


def is_rate_limited(reply: Reply) -> bool:
    """Return whether a 400 is the bulk import's own rate limit, which does not come as 429."""
    message = reply.body.get("message") if isinstance(reply.body, Mapping) else None
    return isinstance(message, str) and "rate limit exceeded" in message.lower()


def _object_of(reply: Reply, key: str) -> Any:
    return reply.body.get(key) if isinstance(reply.body, Mapping) else None


def _is_filled_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _id_of(reply: Reply, key: str) -> Any:
    record = _object_of(reply, key)
    return record.get("id") if isinstance(record, Mapping) else None


UNREADABLE_ANSWERS = ("not_json", "unexpected_answer")
"""Codes of successes that are none: a page instead of JSON, or another shape."""

ANSWERS_ITSELF = (500, 503)
"""Statuses of trouble that come from ActiveCampaign itself: once it has answered, it does nothing more about the call.

502, 504, 520 and more come from a proxy before it, which does not know what goes on behind it.
"""


def _trouble(effect_within: timedelta) -> Row:
    return Row(
        ANSWERS_ITSELF,
        Outcome.TRANSIENT,
        "unavailable",
        "ActiveCampaign has a problem of its own",
        effect_within=effect_within,
    )


TABLE: Table = (
    # A wrong key can answer 200 with the log-in page: https://github.com/rudderlabs/rudder-transformer/pull/5350
    Row(
        SUCCESS,
        Outcome.CONNECTION,
        "not_json",
        "ActiveCampaign answered with a page instead of JSON, as it does for a wrong key: check api_host and api_key",
        when=lambda reply: reply.body is None,
    ),
    Row(
        (401, 403),
        Outcome.CONNECTION,
        "not_authorised",
        "ActiveCampaign refuses the key: check api_key, and that its user was not deleted or lost permissions",
    ),
    Row((402,), Outcome.CONNECTION, "unpaid", "ActiveCampaign has blocked the account for a payment problem"),
    Row((404,), Outcome.CONNECTION, "not_found", "ActiveCampaign does not know the address: check api_host"),
    _trouble(timedelta()),
    *DEFAULT_TABLE,
)

BULK_TABLE: Table = (
    Row(
        (400,),
        Outcome.TRANSIENT,
        "rate_limited",
        "the bulk import takes no more calls for now",
        when=is_rate_limited,
        taken=False,
        least_wait=timedelta(seconds=60),
    ),
    Row(
        SUCCESS,
        Outcome.TRANSIENT,
        "unexpected_answer",
        "the bulk import answered without the id of an import",
        when=lambda reply: reply.body is not None and not _is_filled_text(_object_of(reply, "batchId")),
        effect_within=ANSWERED_IMPORT,
    ),
    _trouble(ANSWERED_IMPORT),
    *TABLE,
)
"""Anything else with 400 names rows or calls for splitting."""

INFO_TABLE: Table = (
    Row((400, 404), Outcome.REJECTION, "unknown_import", "ActiveCampaign does not know the import"),
    Row(
        SUCCESS,
        Outcome.TRANSIENT,
        "unexpected_answer",
        "the state of an import came in another shape",
        when=lambda reply: (
            isinstance(reply.body, list) or (isinstance(reply.body, Mapping) and "status" not in reply.body)
        ),
    ),
    *TABLE,
)

CONTACT_TABLE: Table = (
    Row((404,), Outcome.REJECTION, "gone", "there is no such contact"),
    *TABLE,
)

DELETE_TABLE: Table = (
    Row((404,), Outcome.REJECTION, "gone", "it is not there any more"),
    *TABLE[1:],
)
"""A success of deleting may come without a body; a page with one is caught by the default table."""

RECORD_TABLE: Table = (
    Row((403,), Outcome.REJECTION, "not_visible", "the key's user may not see this"),
    Row((404,), Outcome.REJECTION, "gone", "there is no such record"),
    *TABLE,
)
"""For a list, the custom fields or the account's settings: missing or hidden, the account itself is fine."""

SYNC_TABLE: Table = (
    Row((400, 422), Outcome.REJECTION, "malformed", "ActiveCampaign refuses the contact"),
    Row(
        SUCCESS,
        Outcome.TRANSIENT,
        "unexpected_answer",
        "contact/sync answered without the id of the contact",
        when=lambda reply: reply.body is not None and _id_of(reply, "contact") is None,
        effect_within=timedelta(),
    ),
    *TABLE,
)

LIST_TABLE: Table = (
    Row((400, 422), Outcome.REJECTION, "malformed", "ActiveCampaign refuses the contact for the list"),
    Row((404,), Outcome.EXPORT, "list_gone", "ActiveCampaign does not know the list (or the contact) any more"),
    Row(
        SUCCESS,
        Outcome.TRANSIENT,
        "unexpected_answer",
        "contactLists answered without the list entry",
        when=lambda reply: reply.body is not None and not isinstance(_object_of(reply, "contactList"), Mapping),
        effect_within=timedelta(),
    ),
    *TABLE,
)

TAG_TABLE: Table = (
    Row((404, 422), Outcome.REJECTION, "tag_gone", "ActiveCampaign does not know the tag or the contact"),
    *TABLE,
)
"""For making a tag, which somebody else may have made meanwhile."""

CONTACT_TAG_TABLE: Table = (
    Row(
        SUCCESS,
        Outcome.TRANSIENT,
        "unexpected_answer",
        "contactTags answered without the tag's association",
        when=lambda reply: reply.body is not None and not isinstance(_object_of(reply, "contactTag"), Mapping),
        effect_within=timedelta(),
    ),
    *TAG_TABLE,
)
