"""The type of identity an export sends memberships by, which stays what it was when it first sent any.

After an edit, those who were put in by the old type could not be found by the new one. Nor could they be separated from
those whom it puts in. So an edit is refused.
"""

from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.domain.exports import Export
from relay.domain.problems import ExportProblem

CHANGED = (
    "members were sent by the other type of identity: set identity_type in the export's options back, or make a new "
    "export"
)


class IdentityType:
    """The type of one export, as its members were sent."""

    def __init__(self, client: Client, export: Export) -> None:
        self._notes = client.account.notes
        self._key = f"{client.note_key('identity type')} of {export.name}"
        self._options: GainsightPxOptions = export.options
        self._told = self._notes.get(self._key)

    @property
    def is_changed(self) -> bool:
        """Whether the options name another type than members were sent by.

        Mode `attributes` only takes out of segments, by the type that put in.
        """
        return self._told not in (None, self._options.identity_type) and self._options.mode == "segments"

    def to_tell(self) -> str:
        """Return PX's word for the type. Raises ExportProblem when it was changed."""
        if self.is_changed:
            raise ExportProblem("identity_type_changed", CHANGED)
        return self._options.identity_type if self._told is None else self._told

    def keep(self) -> None:
        """Note that members were, or may have been, taken."""
        if self._told is None:
            self._told = self._notes.keep(self._key, self._options.identity_type)
