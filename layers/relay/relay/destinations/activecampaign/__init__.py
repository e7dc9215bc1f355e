"""ActiveCampaign: contacts of a list, in bulk with each asynchronous import verified, or one by one."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from relay.destinations.activecampaign import checks, contacts, errors, imports, overview
from relay.destinations.activecampaign import mapping as mapping_rules
from relay.destinations.activecampaign.client import REST, Client, ListStatus, Queued
from relay.destinations.activecampaign.errors import (
    ANSWERED_IMPORT,
    IMPORT_BOUND,
    MALFORMED,
    TAGS_USED_UP,
    TOO_LARGE,
)
from relay.destinations.activecampaign.mapping import PLAIN_FIELDS, TAGS, Leaving, field_id, leaving, target_of
from relay.destinations.activecampaign.rows import (
    Contact,
    body_of,
    contact_of,
    is_certainly_within,
    most_bytes,
    own_tags,
    row_of,
)
from relay.destinations.activecampaign.settings import (
    AcAccount,
    AcExport,
    ActiveCampaignConnection,
    ActiveCampaignOptions,
)
from relay.destinations.activecampaign.tags import TagNames
from relay.destinations.calling import encode_json
from relay.destinations.contract import Answer, Destination, Finding, ImportReport, OpenImport, Step
from relay.destinations.cutting import cut
from relay.destinations.isolating import isolate
from relay.destinations.standard import BaseDestination
from relay.domain.problems import Rejection

# https://developers.activecampaign.com/reference/bulk-import-contacts
MAX_CONTACTS = 250
MAX_BODY_BYTES = 399_999
_ENVELOPE_BYTES = len(encode_json({"contacts": [], "exclude_automations": True}))
_EVEN_SHARE = (MAX_BODY_BYTES - _ENVELOPE_BYTES) // MAX_CONTACTS
"""Bytes of a row of which MAX_CONTACTS fit. Smaller ones count for as many."""

FEW = 10
"""Up to so many contacts the vendor asks for single calls."""

TOLERATED_BACKLOG = timedelta(seconds=0.5)
"""While single calls have to wait longer than this, two contacts are enough for a bulk import.

Everybody who waits has taken one slot only, so half a second says that two others are at it.
"""

LEAVERS_AT_ONCE = 30
"""Leavers a run reads on for when each takes four calls of its own: some half a minute's work."""


class ActiveCampaign(BaseDestination[ActiveCampaignConnection, ActiveCampaignOptions]):
    """See `Destination`."""

    name = "activecampaign"
    title = "ActiveCampaign"
    fields = (*PLAIN_FIELDS, TAGS, "fields.<id of a custom field>")
    shards = 4
    call_size = MAX_CONTACTS
    at_once = 1
    lost_answer_bound = IMPORT_BOUND
    import_bound = IMPORT_BOUND + timedelta(hours=1)
    kept_after_delete: timedelta | None = timedelta(days=30)
    connection_model = ActiveCampaignConnection
    options_model = ActiveCampaignOptions
    rejections = errors.REJECTIONS
    stops = errors.STOPS

    def is_field(self, name: str) -> bool:
        """Know custom fields by their ids."""
        return name in (*PLAIN_FIELDS, TAGS) or field_id(name) is not None

    def encode(self, field: str, value: Any) -> str | None:
        """Encode a value; what depends on the type of a custom field is done when it is sent."""
        return mapping_rules.encode(field, value)

    def complete(self, export: AcExport, values: Mapping[str, str]) -> Mapping[str, str]:
        """Add the field value or the tag by which the export marks its members."""
        return mapping_rules.complete(export.options, values)

    def targets(self, export: AcExport) -> Mapping[str, frozenset[str]]:
        """Return the list, or the field or tag that marks members; any of the segments qualifies for it."""
        return {target_of(export.options): frozenset(export.segments)}

    def owned(self, export: AcExport) -> frozenset[str]:
        """Return the list, and the field or tag that marks members: two exports would undo each other there."""
        return frozenset((target_of(export.options), mapping_rules.list_target(export.options.list_id)))

    def tells_leaving(self, export: AcExport) -> bool:
        """Return whether leavers are taken out: not with `keep`."""
        return export.options.on_exit != "keep"

    def page_is_full(self, export: AcExport, joins: int, leaves: int) -> bool:
        """Return whether an import would be full, or single leavers are enough for once."""
        own = target_of(export.options)
        return joins + leaves >= MAX_CONTACTS or (leaves >= LEAVERS_AT_ONCE and _leaves_alone(own, export.options))

    def calls(self, account: AcAccount, export: AcExport, steps: Sequence[Step]) -> list[list[int]]:
        """Cut by number and by encoded size; few contacts, and those with a way of their own, go one by one.

        One address comes once in a call: an import has no order within. Where no automation may start, only those with
        a way of their own go one by one: single calls have no such option.
        """
        options = export.options

        def size(step: Step) -> int:
            return _EVEN_SHARE if is_certainly_within(step, options, _EVEN_SHARE) else most_bytes(step, options)

        def lane(step: Step) -> str | None:
            return None if _goes_alone(step, options) else "imports"

        calls = cut(steps, MAX_CONTACTS, lane=lane, size=size, room=MAX_BODY_BYTES - _ENVELOPE_BYTES)
        is_alone = any(len(call) == 1 and _takes_calls(steps[call[0]], options) for call in calls)
        if is_alone or options.exclude_automations or not any(1 < len(call) <= FEW for call in calls):
            return calls
        if account.backlog(REST) > TOLERATED_BACKLOG:
            return calls
        return [part for call in calls for part in ([[index] for index in call] if len(call) <= FEW else [call])]

    def send(self, account: AcAccount, export: AcExport, steps: Sequence[Step]) -> Answer:
        """Queue an import; one step alone is done at once, by calls of its own, unless only an import can.

        When rows had to be found out by halving, `import_id` joins several ids with commas.
        """
        options = export.options
        if len(steps) == 1 and not _takes_calls(steps[0], options):
            return Answer()
        client = Client(account)
        kinds = checks.kinds_for(client, account.notes, export)
        written = [contact_of(step, options, kinds) for step in steps]
        unfit = {index: contact for index, contact in enumerate(written) if isinstance(contact, Rejection)}
        fitting = {index: contact for index, contact in enumerate(written) if isinstance(contact, Contact)}
        if len(steps) == 1 and _ENVELOPE_BYTES + most_bytes(steps[0], options) > MAX_BODY_BYTES:
            return Answer(refused={0: TOO_LARGE})
        for index in _beyond_tags(account, export, fitting):
            unfit[index] = TAGS_USED_UP
            del fitting[index]
        if not fitting:
            return Answer(refused=unfit)
        # Single calls may start automations.
        if len(steps) == 1 and (not options.exclude_automations or _goes_alone(steps[0], options)):
            way = contacts.join if steps[0].joins else contacts.leave
            answer = way(account, options, steps[0], fitting[0])
            if answer is not None:
                return answer
        queued: list[Queued] = []

        def attempt(rows: Sequence[int]) -> Mapping[int, Rejection]:
            body = body_of([row_of(steps[index], fitting[index], options) for index in rows], options)
            queued.append(client.bulk_import(body))
            return {}

        refused = isolate(sorted(fitting), attempt, MALFORMED, self.refusals.of(account.notes, export), ANSWERED_IMPORT)
        counts = [each.contacts for each in queued]
        return Answer(
            refused=unfit | refused,
            import_id=",".join(each.import_id for each in queued) or None,
            queued=None if not queued or None in counts else sum(count or 0 for count in counts),
        )

    def delete(self, account: AcAccount, export: AcExport, identity: str) -> Rejection | None:  # noqa: ARG002
        """Delete the contact; whoever looks in ActiveCampaign can bring it back for 30 days."""
        return contacts.delete(account, identity)

    def import_report(
        self, account: AcAccount, export: AcExport, queued: OpenImport, steps: Sequence[Step]
    ) -> ImportReport:
        """Look at an import. `steps` are those that were queued, without the ones `send` refused."""
        return imports.report(account, export, queued, steps)

    def confirm(self, account: AcAccount, export: AcExport, steps: Sequence[Step]) -> Mapping[int, bool]:
        """Look contacts up, some at a time."""
        return imports.confirm(account, export, steps)

    def members(self, account: AcAccount, target: str) -> int | None:
        """Ask how many contacts are subscribed to the list, or carry the tag; no filter goes by a custom field."""
        client = Client(account)
        kind, _, name = target.partition("/")
        if kind == "list":
            return client.count({"listid": name, "status": str(int(ListStatus.SUBSCRIBED))})
        if kind == "tag":
            tag = client.tag_id(name)
            return 0 if tag is None else client.count({"tagid": tag})
        return None

    def cleared_before(self, account: AcAccount, now: datetime) -> datetime | None:
        """Return up to when all that was to be sent is over, as the account's overview of open imports shows it."""
        return overview.cleared_before(Client(account), account.notes, now)

    def check(self, account: AcAccount, exports: Sequence[AcExport]) -> list[Finding]:
        """Look at the key first (a refused key hides lists, too), the contact limit, and lists and custom fields."""
        return checks.findings(Client(account), account.notes, exports, account.first_run_exceeds)


def _leaves_alone(target: str, options: ActiveCampaignOptions) -> bool:
    """Whether a leaver takes calls of its own: a tag comes off, or our own unsubscribing leaves its evidence."""
    way = leaving(target, options)
    return way in (Leaving.REMOVE_TAG, Leaving.NOTHING) or (way is Leaving.UNSUBSCRIBE and options.resubscribe)


def _goes_alone(step: Step, options: ActiveCampaignOptions) -> bool:
    """Whether a bulk import cannot do it: a way out of its own, or the way back of someone we unsubscribed."""
    return step.evidence is not None if step.joins else _leaves_alone(step.target, options)


def _takes_calls(step: Step, options: ActiveCampaignOptions) -> bool:
    return step.joins or leaving(step.target, options) is not Leaving.NOTHING


def _beyond_tags(account: AcAccount, export: AcExport, fitting: Mapping[int, Contact]) -> list[int]:
    """Return those whose tags would be more different ones than an export may use."""
    wanted = {index: own_tags(contact.tags, export.options) for index, contact in fitting.items() if contact.tags}
    names = list(dict.fromkeys(name for tags in wanted.values() for name in sorted(tags)))
    admitted = TagNames(account.notes, export).admit(names) if names else set[str]()
    return [index for index, tags in wanted.items() if not tags <= admitted]


DESTINATION: Destination[ActiveCampaignConnection, ActiveCampaignOptions] = ActiveCampaign()
