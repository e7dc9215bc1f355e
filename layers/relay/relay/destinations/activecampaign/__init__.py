"""ActiveCampaign: contacts of a list, by bulk import, each asynchronous import verified."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from relay.destinations.activecampaign import mapping as mapping_rules
from relay.destinations.activecampaign.client import SUBSCRIBED, Client, Queued
from relay.destinations.activecampaign.errors import IMPORT_REFUSED, MALFORMED, TOO_LARGE, UNCONFIRMED
from relay.destinations.activecampaign.mapping import list_of, list_target, row_of
from relay.destinations.activecampaign.settings import ActiveCampaignConnection, ActiveCampaignOptions
from relay.destinations.calling import encode_json
from relay.destinations.contract import Account, Answer, Destination, Finding, ImportReport, Level, Step
from relay.destinations.isolating import isolate
from relay.domain.exports import Export
from relay.domain.problems import Actor, Rejection

# https://developers.activecampaign.com/reference/bulk-import-contacts
MAX_CONTACTS = 250
MAX_BODY_BYTES = 399_999
LOOKED_UP_AT_ONCE = 30
"""Contacts looked up in one look at an import: up to three calls each, under a quota of 5 a second for everybody."""
_ENVELOPE_BYTES = len(encode_json({"contacts": []}))


class ActiveCampaign:
    """See `Destination`."""

    name = "activecampaign"
    identity = mapping_rules.EMAIL
    shards = 4
    call_size = MAX_CONTACTS
    lost_answer_bound = timedelta(minutes=30)
    import_bound = timedelta(hours=6)
    streams = False
    connection_model: type[BaseModel] = ActiveCampaignConnection
    options_model: type[BaseModel] = ActiveCampaignOptions

    def mapping_problems(self, mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """Require `email`; know `first_name`, `last_name`, `phone` and `fields.<id>`."""
        return mapping_rules.mapping_problems(mapping)

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:  # noqa: ARG002 - the contract's names
        """Return the one normalised e-mail."""
        return mapping_rules.identity_of(value)

    def encode(self, target: str, value: Any) -> str | None:
        """Encode a value as the bulk import wants it."""
        return mapping_rules.encode(target, value)

    def targets(self, export: Export) -> Mapping[str, frozenset[str]]:
        """Return the list, which any of the segments qualifies for."""
        return {list_target(export.options.list_id): frozenset(export.segments)}

    def says_goodbye(self, export: Export) -> bool:
        """Return whether those who leave are told: not with `keep`."""
        return bool(export.options.on_exit != "keep")

    def calls(self, export: Export, steps: Sequence[Step]) -> list[list[int]]:
        """Cut by number and by encoded size. One address comes once in a call: an import has no order within."""
        calls: list[list[int]] = []
        addresses: set[str] = set()
        size = 0
        for index, step in enumerate(steps):
            row_bytes = _row_bytes(step, export.options)
            fits = calls and len(calls[-1]) < MAX_CONTACTS and size + row_bytes <= MAX_BODY_BYTES
            if not fits or step.identity in addresses:
                calls.append([])
                addresses = set()
                size = _ENVELOPE_BYTES
            calls[-1].append(index)
            addresses.add(step.identity)
            size += row_bytes
        return calls

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        """Queue an import. When rows had to be found out by halving, `import_id` joins several ids with commas."""
        client = Client(account)
        imports: list[Queued] = []

        def attempt(part: Sequence[int]) -> Mapping[int, Rejection] | None:
            result = client.bulk_import([row_of(steps[index], export.options) for index in part])
            if isinstance(result, Queued):
                imports.append(result)
                return None
            return {part[position]: MALFORMED for position in result.named}

        if len(steps) == 1 and _ENVELOPE_BYTES + _row_bytes(steps[0], export.options) > MAX_BODY_BYTES:
            return Answer(refused={0: TOO_LARGE})
        refused = isolate(range(len(steps)), attempt, MALFORMED)
        counts = [queued.contacts for queued in imports]
        return Answer(
            refused=refused,
            import_id=",".join(queued.import_id for queued in imports) or None,
            queued=None if not imports or None in counts else sum(count or 0 for count in counts),
        )

    def import_report(
        self, account: Account, export: Export, import_id: str, queued: int | None, steps: Sequence[Step]
    ) -> ImportReport:
        """Look at an import. `steps` are those that were queued, without the ones `send` refused.

        What a completed import does not account for, and all of one that failed, was interrupted or is unknown, is
        looked up contact by contact, some at a time.
        """
        client = Client(account)
        failed: set[str] = set()
        complete = True
        for part in import_id.split(","):
            state = client.import_state(part)
            if state is None or state.status in ("failed", "interrupted"):
                complete = False
            elif state.status != "completed":
                return ImportReport(finished=False)
            if state is not None:
                failed |= state.failed
        refused = {index: IMPORT_REFUSED for index, step in enumerate(steps) if step.identity in failed}
        accounted_for = queued is not None and queued >= len(steps) and failed <= {step.identity for step in steps}
        if complete and accounted_for:
            return ImportReport(finished=True, refused=refused)
        doubtful = [index for index in range(len(steps)) if index not in refused]
        for index in doubtful[:LOOKED_UP_AT_ONCE]:
            if not _is_as_wanted(client, steps[index], export.options):
                refused[index] = UNCONFIRMED
        return ImportReport(finished=True, refused=refused, open=frozenset(doubtful[LOOKED_UP_AT_ONCE:]))

    def check_before_run(self, account: Account, export: Export) -> list[Finding]:
        """Look at the key first (a refused key hides lists, too), then at the export's list and custom fields."""
        return self.check(account, [export])

    def check(self, account: Account, exports: Sequence[Export]) -> list[Finding]:
        """Look at the key, and for each export at its list and custom fields (once for all exports)."""
        client = Client(account)
        client.me()
        return [
            Finding("connection", Level.OK, "ActiveCampaign accepts the key"),
            *self._export_findings(client, exports),
        ]

    def _export_findings(self, client: Client, exports: Sequence[Export]) -> list[Finding]:
        findings: list[Finding] = []
        fields: frozenset[str] | None = None
        wanted = {export.key: _fields_used(export) for export in exports}
        if any(wanted.values()):
            fields = client.field_ids()
        for export in exports:
            findings.append(_list_finding(client, export))
            if wanted[export.key]:
                findings.extend(_field_findings(export, wanted[export.key], fields))
        return findings


def _row_bytes(step: Step, options: ActiveCampaignOptions) -> int:
    """Return the size of a row in a body, with its comma."""
    return len(encode_json(row_of(step, options))) + 1


def _is_as_wanted(client: Client, step: Step, options: ActiveCampaignOptions) -> bool:
    """Look a contact up: its status on the list, and the values that were sent (what differs stays unconfirmed)."""
    contact = client.contact_id(step.identity)
    if contact is None:
        return not step.joins
    by_field = options.on_exit == "set_field" and options.exit_field is not None
    stays_listed = not step.joins and by_field
    if not stays_listed and (client.list_status(contact, list_of(step.target)) == SUBSCRIBED) != step.joins:
        return False
    wanted = dict(step.values)
    if by_field:
        wanted[f"fields.{options.exit_field}"] = str(options.value_in if step.joins else options.value_out)
    held = client.values(contact) if wanted else {}
    return all(held.get(target) == value for target, value in wanted.items())


def _fields_used(export: Export) -> set[str]:
    used = {number for target in export.mapping if (number := mapping_rules.field_id(target)) is not None}
    return used if export.options.exit_field is None else used | {export.options.exit_field}


def _list_finding(client: Client, export: Export) -> Finding:
    number = export.options.list_id
    problem = client.list_problem(number)
    if problem is None:
        return Finding(export.key, Level.OK, f"list {number} is there")
    if problem.code == "not_visible":
        message = f"the key's user may not see list {number}: give its group access to the list in ActiveCampaign"
    else:
        message = f"there is no list {number}: correct list_id in the export"
    return Finding(export.key, Level.ERROR, message, Actor.ADMINISTRATOR)


def _field_findings(export: Export, wanted: set[str], known: frozenset[str] | None) -> list[Finding]:
    if known is None:
        message = "the key's user may not see custom fields, so they were not checked"
        return [Finding(export.key, Level.WARNING, message, Actor.ADMINISTRATOR)]
    return [
        Finding(
            export.key,
            Level.ERROR,
            f"there is no custom field {number}: its values would vanish; correct the mapping or the options",
            Actor.ADMINISTRATOR,
        )
        for number in sorted(wanted - known, key=int)
    ]


DESTINATION: Destination = ActiveCampaign()
