"""ActiveCampaign: contacts of a list, in bulk with each asynchronous import verified, or one by one."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from relay.destinations.activecampaign import checks, contacts, errors, imports, overview
from relay.destinations.activecampaign import mapping as mapping_rules
from relay.destinations.activecampaign.bounds import ANSWERED_IMPORT, IMPORT_BOUND
from relay.destinations.activecampaign.client import REST, Client, Queued
from relay.destinations.activecampaign.errors import MALFORMED, TAGS_USED_UP, TOO_LARGE
from relay.destinations.activecampaign.mapping import Leaving, leaving
from relay.destinations.activecampaign.rows import (
    Contact,
    body_of,
    contact_of,
    is_certainly_within,
    most_bytes,
    own_tags,
    row_of,
)
from relay.destinations.activecampaign.settings import ActiveCampaignConnection, ActiveCampaignOptions
from relay.destinations.activecampaign.tags import TagNames
from relay.destinations.calling import encode_json
from relay.destinations.contract import Account, Answer, Destination, Finding, ImportReport, OpenImport, Step
from relay.destinations.error_table import Refused
from relay.destinations.isolating import Refusals, Tally, isolate
from relay.domain.exports import Export
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


class ActiveCampaign:
    """See `Destination`."""

    name = "activecampaign"
    identity = mapping_rules.EMAIL
    shards = 4
    call_size = MAX_CONTACTS
    lost_answer_bound = IMPORT_BOUND
    import_bound = IMPORT_BOUND + timedelta(hours=1)
    streams = False
    connection_model: type[BaseModel] = ActiveCampaignConnection
    options_model: type[BaseModel] = ActiveCampaignOptions
    reasons: Mapping[str, str] = {one.code: one.detail for one in (*mapping_rules.REJECTIONS, *errors.REJECTIONS)}

    def __init__(self) -> None:
        self.refusals = Refusals()

    def mapping_problems(self, mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """Require `email`; know `first_name`, `last_name`, `phone`, `tags` and `fields.<id>`."""
        return mapping_rules.mapping_problems(mapping)

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:  # noqa: ARG002 - the contract's names
        """Return the one normalised e-mail."""
        return mapping_rules.identity_of(value)

    def encode(self, target: str, value: Any) -> str | None:
        """Encode a value; what depends on the type of a custom field is done when it is sent."""
        return mapping_rules.encode(target, value)

    def complete(self, export: Export, values: Mapping[str, str]) -> Mapping[str, str]:
        """Add the field value or the tag by which the export marks its members."""
        return mapping_rules.complete(export.options, values)

    def targets(self, export: Export) -> Mapping[str, frozenset[str]]:
        """Return the list, or the field or tag that marks members; any of the segments qualifies for it."""
        return {mapping_rules.target_of(export.options): frozenset(export.segments)}

    def owned(self, export: Export) -> frozenset[str]:
        """Return the list, and the field or tag that marks members: two exports would undo each other there."""
        return frozenset((mapping_rules.target_of(export.options), mapping_rules.list_target(export.options.list_id)))

    def tells_leaving(self, export: Export) -> bool:
        """Return whether leavers are taken out: not with `keep`."""
        return bool(export.options.on_exit != "keep")

    def page_is_full(self, export: Export, joins: int, leaves: int) -> bool:
        """Return whether an import would be full, or single leavers are enough for once."""
        own = mapping_rules.target_of(export.options)
        return joins + leaves >= MAX_CONTACTS or (leaves >= LEAVERS_AT_ONCE and _leaves_alone(own, export.options))

    def calls(self, account: Account, export: Export, steps: Sequence[Step]) -> list[list[int]]:
        """Cut by number and by encoded size; few contacts, and those with a way of their own, go one by one.

        One address comes once in a call: an import has no order within. Where no automation may start, only those with
        a way of their own go one by one: single calls have no such option.
        """
        calls: list[list[int]] = []
        cut = _cut(export.options, steps)
        if export.options.exclude_automations:
            return cut
        singles = sum(len(call) == 1 and _takes_calls(steps[call[0]], export.options) for call in cut)
        for call in cut:
            if 1 < len(call) <= FEW and singles == 0 and account.backlog(REST) <= TOLERATED_BACKLOG:
                calls += [[index] for index in call]
            else:
                calls.append(call)
        return calls

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        """Queue an import; one step alone is done at once, by calls of its own.

        When rows had to be found out by halving, `import_id` joins several ids with commas.
        """
        if len(steps) == 1 and not steps[0].joins and leaving(steps[0].target, export.options) is Leaving.NOTHING:
            return Answer()
        client = Client(account)
        kinds = checks.kinds_for(client, account.notes, export)
        written = [contact_of(step, export.options, kinds) for step in steps]
        unfit = {index: contact for index, contact in enumerate(written) if isinstance(contact, Rejection)}
        fitting = {index: contact for index, contact in enumerate(written) if isinstance(contact, Contact)}
        if len(steps) == 1 and _ENVELOPE_BYTES + most_bytes(steps[0], export.options) > MAX_BODY_BYTES:
            return Answer(refused={0: TOO_LARGE})
        for index in _beyond_tags(account, export, fitting):
            unfit[index] = TAGS_USED_UP
            del fitting[index]
        if not fitting:
            return Answer(refused=unfit)
        if len(steps) == 1 and _goes_by_single_calls(steps[0], export.options):
            way = contacts.join if steps[0].joins else contacts.leave
            return way(account, export.options, steps[0], fitting[0])
        answer = _import(client, export.options, steps, fitting, self.refusals.of(account.notes, export))
        return Answer({**unfit, **answer.refused}, answer.import_id, answer.queued)

    def import_report(
        self, account: Account, export: Export, queued: OpenImport, steps: Sequence[Step]
    ) -> ImportReport:
        """Look at an import. `steps` are those that were queued, without the ones `send` refused."""
        kinds = checks.kinds_for(Client(account), account.notes, export)
        return imports.report(account, export.options, kinds, queued, steps)

    def confirm(self, account: Account, export: Export, steps: Sequence[Step]) -> Mapping[int, bool]:
        """Look contacts up, some at a time."""
        kinds = checks.kinds_for(Client(account), account.notes, export)
        return imports.confirm(account, export.options, kinds, steps)

    def cleared_before(self, account: Account, now: datetime) -> datetime | None:
        """Return up to when all that was to be sent is over, as the account's overview of open imports shows it."""
        return overview.cleared_before(Client(account), account.notes, now)

    def check_before_run(self, account: Account, export: Export) -> list[Finding]:
        """Look at the key first (a refused key hides lists, too), then at the export's list and custom fields."""
        return self.check(account, [export])

    def check(self, account: Account, exports: Sequence[Export]) -> list[Finding]:
        """Look at the key, the contact limit, and each export's list and custom fields."""
        return checks.findings(Client(account), account.notes, exports, account.first_run_exceeds)


def _leaves_alone(target: str, options: ActiveCampaignOptions) -> bool:
    """Whether a leaver takes calls of its own: a tag comes off, or our own unsubscribing leaves its evidence."""
    way = leaving(target, options)
    return way in (Leaving.REMOVE_TAG, Leaving.NOTHING) or (way is Leaving.UNSUBSCRIBE and options.resubscribe)


def _goes_alone(step: Step, options: ActiveCampaignOptions) -> bool:
    """Whether a bulk import cannot do it: a way out of its own, or the way back of someone we unsubscribed."""
    return step.evidence is not None if step.joins else _leaves_alone(step.target, options)


def _beyond_tags(account: Account, export: Export, fitting: Mapping[int, Contact]) -> list[int]:
    """Return those whose tags would be more different ones than an export may use."""
    wanted = {index: own_tags(contact.tags, export.options) for index, contact in fitting.items() if contact.tags}
    names = list(dict.fromkeys(name for tags in wanted.values() for name in sorted(tags)))
    admitted = TagNames(account.notes, export).admit(names) if names else set[str]()
    return [index for index, tags in wanted.items() if not tags <= admitted]


def _goes_by_single_calls(step: Step, options: ActiveCampaignOptions) -> bool:
    """Whether a step that is sent alone goes by single calls, which may start automations."""
    return not options.exclude_automations or _goes_alone(step, options)


def _takes_calls(step: Step, options: ActiveCampaignOptions) -> bool:
    return step.joins or leaving(step.target, options) is not Leaving.NOTHING


def _cut(options: ActiveCampaignOptions, steps: Sequence[Step]) -> list[list[int]]:
    calls: list[list[int]] = []
    filling: list[int] | None = None
    size = 0
    addresses: set[str] = set()
    for index, step in enumerate(steps):
        if _goes_alone(step, options):
            calls.append([index])
            # Whoever has a call of their own comes into no import that goes out before it.
            addresses.add(step.identity)
            continue
        is_small = is_certainly_within(step, options, _EVEN_SHARE)
        row_bytes = _EVEN_SHARE if is_small else most_bytes(step, options)
        fits = filling is not None and len(filling) < MAX_CONTACTS and size + row_bytes <= MAX_BODY_BYTES
        if filling is None or not fits or step.identity in addresses:
            filling, addresses, size = [], set(), _ENVELOPE_BYTES
            calls.append(filling)
        filling.append(index)
        addresses.add(step.identity)
        size += row_bytes
    return calls


def _import(
    client: Client,
    options: ActiveCampaignOptions,
    steps: Sequence[Step],
    fitting: Mapping[int, Contact],
    tally: Tally,
) -> Answer:
    queued: list[Queued] = []

    def attempt(part: Sequence[int]) -> Mapping[int, Rejection]:
        result = client.bulk_import(body_of([row_of(steps[index], fitting[index], options) for index in part], options))
        if isinstance(result, Queued):
            queued.append(result)
            return {}
        raise Refused(result.row, result.reply, dict.fromkeys(result.named, MALFORMED))

    refused = isolate(sorted(fitting), attempt, MALFORMED, tally, ANSWERED_IMPORT)
    counts = [each.contacts for each in queued]
    return Answer(
        refused=refused,
        import_id=",".join(each.import_id for each in queued) or None,
        queued=None if not queued or None in counts else sum(count or 0 for count in counts),
    )


DESTINATION: Destination = ActiveCampaign()
