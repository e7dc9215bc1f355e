"""Tags of single contacts: by the name in the settings, by ids at ActiveCampaign.

https://developers.activecampaign.com/reference/create-contact-tag
"""

from collections.abc import Sequence

from relay.destinations.activecampaign.client import Client
from relay.destinations.contract import Notes
from relay.domain.problems import Transient


class Tags:
    """Puts tags on contacts and takes them off. Ids of tags are kept as notes of the connection."""

    def __init__(self, client: Client, notes: Notes) -> None:
        self._client = client
        self._notes = notes

    def add(self, contact_id: str, names: Sequence[str]) -> None:
        """Tag a contact, making tags that do not exist. A tag that was deleted since its id was noted is made anew."""
        for name in names:
            known = self._notes.get(_note(name))
            if known is not None and self._client.add_tag(contact_id, known):
                continue
            found = self._found_or_made(name)
            self._notes.keep(_note(name), found, replaces=known)
            if not self._client.add_tag(contact_id, found):
                raise Transient("tag_gone", "a tag that was just found or made is not there", taken=None)

    def remove(self, contact_id: str, name: str) -> None:
        """Take a tag off a contact; fine when it does not have it or the tag does not exist."""
        tag = self._client.tag_id(name)
        association = None if tag is None else self._client.tags_of(contact_id).get(tag)
        if association is not None:
            self._client.remove_tag(association)

    def has(self, contact_id: str, names: Sequence[str]) -> bool:
        """Return whether a contact has all these tags."""
        ids = [self._client.tag_id(name) for name in names]
        return not ids or set(ids) <= self._client.tags_of(contact_id).keys()

    def _found_or_made(self, name: str) -> str:
        found = self._client.tag_id(name) or self._client.make_tag(name) or self._client.tag_id(name)
        if found is None:
            raise Transient("tag_gone", "a tag could neither be found nor made", taken=None)
        return found


def _note(name: str) -> str:
    return f"ac tag {name.lower()}"
