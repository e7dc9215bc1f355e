"""Contacts of an ActiveCampaign account, and how they stand with its lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

SUBSCRIBED, UNSUBSCRIBED, BOUNCED = 1, 2, 3
REMOVED = 91
"""Taken off the list without having objected, by another integration:
https://help.activecampaign.com/hc/en-us/articles/360021838379-API-contact-with-91-as-list-subscription-status"""


@dataclass(slots=True)
class ListStatus:
    """How a contact stands with one list: 1 subscribed, 2 unsubscribed, 3 bounced, 91 removed, and who said so last."""

    relation_id: int
    status: int
    sourceid: int
    by: str
    changed: datetime


@dataclass(slots=True)
class Contact:
    """One contact; `tags` maps a tag's id to the id of the association, which is what can be deleted."""

    contact_id: int
    email: str
    created: datetime
    updated: datetime
    first_name: str = ""
    last_name: str = ""
    phone: str = ""
    fields: dict[int, str] = field(default_factory=dict)
    tags: dict[int, int] = field(default_factory=dict)
    lists: dict[int, ListStatus] = field(default_factory=dict)

    def is_active(self) -> bool:
        """Tell whether the contact counts against the contact limit: once, when subscribed to any list."""
        return any(standing.status == SUBSCRIBED for standing in self.lists.values())
