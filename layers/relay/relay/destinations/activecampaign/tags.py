"""Tags of single contacts: by the name in the settings, by ids at ActiveCampaign.

https://developers.activecampaign.com/reference/create-contact-tag
"""

from collections.abc import Sequence
from hashlib import sha256

from relay.destinations.activecampaign.client import Client
from relay.destinations.activecampaign.errors import MOST_TAG_NAMES
from relay.destinations.contract import Notes
from relay.destinations.error_table import Refused
from relay.domain.exports import Export
from relay.domain.problems import Conflict

_MARK = 8
"""Characters by which a name is known again. That two names look alike happens to one in four million."""

_ATTEMPTS = 20


class TagNames:
    """The different tags that an export has used under its present settings: a note of the connection that is bounded.

    Counted is what is sent, whether or not the account had the tag: a bulk import makes those that are missing.
    """

    def __init__(self, notes: Notes, export: Export) -> None:
        self._notes = notes
        self._key = f"ac tags of {export.name}"
        self._version = str(export.version)

    def admit(self, names: Sequence[str]) -> set[str]:
        """Return which of these names (in lower case) may be used: known ones, and new ones while there is room.

        Raises Conflict when others kept writing.
        """
        marks = {name: sha256(name.encode()).hexdigest()[:_MARK] for name in names}
        for _ in range(_ATTEMPTS):
            kept = self._notes.get(self._key)
            known = self._known(kept)
            new = list(dict.fromkeys(mark for mark in marks.values() if mark not in known))
            known |= set(new[: MOST_TAG_NAMES - len(known)])
            now = f"{self._version} {''.join(sorted(known))}"
            if not new or now == kept or self._notes.keep(self._key, now, replaces=kept) == now:
                return {name for name, mark in marks.items() if mark in known}
        raise Conflict("tags", "others kept noting the tags of the export")

    def _known(self, kept: str | None) -> set[str]:
        version, _, marks = (kept or "").partition(" ")
        if version != self._version:
            return set()
        return {marks[start : start + _MARK] for start in range(0, len(marks), _MARK)}


class Tags:
    """Puts tags on contacts and takes them off. Ids of tags are kept as notes of the connection."""

    def __init__(self, client: Client, notes: Notes) -> None:
        self._client = client
        self._notes = notes
        self._seen: dict[str, str | None] = {}

    def prepare(self, names: Sequence[str]) -> None:
        """Make tags that do not exist. Raises Refused when ActiveCampaign takes no such name."""
        for name in names:
            self._known_or_made(name)

    def add(self, contact_id: str, names: Sequence[str]) -> None:
        """Tag a contact. A tag that was deleted meanwhile is made again. Raises Refused."""
        for name in names:
            known = self._known_or_made(name)
            try:
                self._client.add_tag(contact_id, known)
            except Refused:
                found = self._found_or_made(name)
                if found == known:
                    raise
                self._notes.keep(_note(name), found, replaces=known)
                self._client.add_tag(contact_id, found)

    def remove(self, contact_id: str, name: str) -> None:
        """Take a tag off a contact. Raises Refused.

        It is looked up by its name, not by the kept id: somebody may have made it again.
        """
        tag = self._client.tag_id(name)
        association = None if tag is None else self._client.tags_of(contact_id).get(tag)
        if association is not None:
            self._client.remove_tag(association)

    def has(self, contact_id: str, names: Sequence[str]) -> bool:
        """Return whether a contact has all these tags. One that is on it by the kept id need not be searched for."""
        on = self._client.tags_of(contact_id).keys() if names else set()
        return all(self._notes.get(_note(name)) in on or self._found(name) in on for name in names)

    def _known_or_made(self, name: str) -> str:
        known = self._notes.get(_note(name))
        return self._notes.keep(_note(name), self._found_or_made(name)) if known is None else known

    def _found_or_made(self, name: str) -> str:
        found = self._client.tag_id(name)
        if found is not None:
            return found
        try:
            return self._client.make_tag(name)
        except Refused:
            # Somebody else may have made it meanwhile.
            found = self._client.tag_id(name)
            if found is None:
                raise
            return found

    def _found(self, name: str) -> str | None:
        if name not in self._seen:
            self._seen[name] = self._client.tag_id(name)
        return self._seen[name]


def _note(name: str) -> str:
    # A tag's name may be long, and come from a profile.
    return f"ac tag {sha256(name.lower().encode()).hexdigest()}"
