"""What ActiveCampaign's answers mean: https://developers.activecampaign.com/reference/errors."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from relay.destinations.contract import Reply
from relay.destinations.error_table import DEFAULT_TABLE, Outcome, Row, Table
from relay.domain.problems import Rejection, RejectionKind

IMPORT_BOUND = timedelta(hours=24)
"""An import that has not ended by then is looked up contact by contact. Others tell customers to allow for a day:
https://docs.amperity.com/operator/destination_active_campaign.html"""

UNDER_WAY = timedelta(minutes=20)
"""From writing down what is to be sent until an import of it must show: no function runs longer than 15 minutes."""

ANSWERED_IMPORT = IMPORT_BOUND - UNDER_WAY
"""How long after an answer, such as 500, an import may still take effect that was perhaps queued: it need not get under
way any more, so the overview shows it at once."""

ANSWERED = timedelta()
"""How long a single call may take effect once ActiveCampaign has answered it: no longer."""

MOST_TAGS = 50
"""Different tags of one profile. One contact by single calls takes up to three calls for each."""

MOST_TAG_NAMES = 1_000
"""Different tags that an export uses under one version of its settings: it never fills the account with tags."""


REJECTIONS: list[Rejection] = []
"""All that follow."""


def _rejection(kind: RejectionKind, code: str, detail: str, *, is_certain: bool = True) -> Rejection:
    REJECTIONS.append(Rejection(kind, code, detail, is_certain))
    return REJECTIONS[-1]


_of_profile = partial(_rejection, RejectionKind.DATA)
_of_contact = partial(_rejection, RejectionKind.DESTINATION)


MALFORMED = _of_contact("malformed", "ActiveCampaign refuses the record as malformed: check its values at the source")
NOT_DELETED = _of_contact(
    "not_deleted", "ActiveCampaign does not delete the contact: delete it there, or give the key's user the right to"
)
UNREADABLE = _of_contact(
    "unreadable",
    "ActiveCampaign does not show the contact or its subscription, so it was left alone: look at it in ActiveCampaign",
)
TOO_LARGE = _of_profile("too_large", "the record alone is larger than ActiveCampaign takes in one call")
UNFIT_VALUE = _of_contact(
    "unfit_value",
    "a value does not fit the type of its custom field (a date, a number, one choice): correct mapping or value",
)
TAG_REFUSED = _of_contact("tag_refused", "ActiveCampaign refuses the name of a tag: correct the mapping or the value")
TOO_MANY_TAGS = _of_profile(
    "too_many_tags", f"the profile has more than {MOST_TAGS} tags: map fewer, or correct the value"
)
TAGS_USED_UP = _of_profile(
    "tags_used_up",
    f"the export has used {MOST_TAG_NAMES:,} different tags since its settings were last edited, and uses no more: map "
    "a value that has fewer, or save the export again to let it go on",
)
UNSUBSCRIBED = _of_contact(
    "unsubscribed",
    "the contact has unsubscribed from the list, or nobody can say for certain who unsubscribed it: it is never "
    "subscribed again from here; ActiveCampaign's own forms can do that",
)
BOUNCED = _of_contact("bounced", "mail to the contact has bounced: correct the address at the source")
OPT_IN_PENDING = _of_contact(
    "opt_in_pending",
    "the contact has not confirmed its subscription to the list yet: only the contact can do that",
)
UNKNOWN_STATUS = _of_contact(
    "unknown_status",
    "the contact stands with the list in a way that ActiveCampaign does not document, so it was left alone: look at "
    "the contact in ActiveCampaign",
)
EXCLUDED = _of_contact(
    "excluded",
    "ActiveCampaign's import did not take the contact: it is on the exclusion list, has bounced or is malformed",
)
OVER_LIMIT = _of_contact(
    "over_limit",
    "the account has reached its contact limit: raise the plan's limit or remove contacts in ActiveCampaign",
)
IMPORT_REFUSED = _of_contact(
    "import_refused",
    "ActiveCampaign's import refused the contact and gives no reason; it may have unsubscribed from the list, be on "
    "the exclusion list, have bounced, or be over the account's contact limit: look at the contact in ActiveCampaign",
    is_certain=False,
)
"""Whether an import writes the values of a contact it does not subscribe is not documented."""
UNCONFIRMED = _of_contact(
    "unconfirmed",
    "ActiveCampaign neither confirmed nor refused the contact, and it was not found as wanted afterwards",
    is_certain=False,
)

LEFT_OUT = frozenset(each.code for each in (EXCLUDED, OVER_LIMIT, IMPORT_REFUSED, UNCONFIRMED))
"""Codes of those whom an import did not take, or may not have taken.

The reason may be the exclusion list, which the API does not show. Single calls do not know it: they would put the
contact on the list.
"""

ANSWERS_ITSELF = (500, 503)
"""Statuses of trouble that come from ActiveCampaign itself: once it has answered, it does nothing more about the call.

502, 504, 520 and more come from a proxy before it, which does not know what goes on behind it.
"""


def _trouble(effect_within: timedelta) -> Row:
    text = "ActiveCampaign has a problem of its own"
    return Row(ANSWERS_ITSELF, Outcome.TRANSIENT, "unavailable", text, effect_within=effect_within)


def _is_rate_limited(reply: Reply) -> bool:
    """Whether a 400 is the bulk import's own rate limit, which does not come as 429."""
    message = reply.body.get("message") if isinstance(reply.body, Mapping) else None
    return isinstance(message, str) and "rate limit exceeded" in message.lower()


TABLE: Table = (
    Row(
        (401, 403),
        Outcome.CONNECTION,
        "not_authorised",
        "ActiveCampaign refuses the key: check api_key, and that its user was not deleted or lost permissions",
    ),
    Row((402,), Outcome.CONNECTION, "unpaid", "ActiveCampaign has blocked the account for a payment problem"),
    Row((404,), Outcome.CONNECTION, "not_found", "ActiveCampaign does not know the address: check api_host"),
    _trouble(ANSWERED),
    *DEFAULT_TABLE,
)

BULK_TABLE: Table = (
    Row(
        (400,),
        Outcome.TRANSIENT,
        "rate_limited",
        "the bulk import takes no more calls for now",
        when=_is_rate_limited,
        taken=False,
        least_wait=timedelta(seconds=60),
    ),
    _trouble(ANSWERED_IMPORT),
    *TABLE,
)
"""Anything else with 400 names rows or calls for splitting."""

GONE = "gone"
MAY_BE_GONE: Table = (Row((404,), Outcome.REJECTION, GONE, "there is no such record"), *TABLE)
"""For one contact, tag or import: the address is right."""

OF_ANOTHER: Table = (Row((404,), Outcome.SPLIT, GONE, "there is no such record"), *TABLE)
"""For what belongs to a contact: that it is not shown does not mean that there is none."""

NOT_VISIBLE = "not_visible"
MAY_BE_HIDDEN: Table = (Row((403,), Outcome.REJECTION, NOT_VISIBLE, "the key's user may not see this"), *MAY_BE_GONE)
"""For a list, the custom fields or the account's settings: missing or hidden, the account itself is fine."""

DELETE_TABLE: Table = (Row((403,), Outcome.REJECTION, NOT_DELETED.code, "may not delete"), *MAY_BE_GONE)
"""For deleting a contact: a right that only this takes."""

LIST_TABLE: Table = (
    Row((404,), Outcome.EXPORT, "list_gone", "ActiveCampaign does not know the list (or the contact) any more"),
    *TABLE,
)

STOPS: Mapping[str, str] = {"list_gone": "ActiveCampaign does not know the list any more: correct list_id."}
"""What the codes of its own stops mean."""
