"""A third destination, as small as one can be: a list of a newsletter tool that does not exist.

It proves that the contract suite is not made for the two that ship, and shows a contributor the whole of a destination.
`newsletter_sandbox` describes its API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from relay.destinations.contract import (
    Account,
    Answer,
    Destination,
    Finding,
    ImportReport,
    Level,
    OpenImport,
    Quota,
    Reply,
    Step,
)
from relay.destinations.error_table import DEFAULT_TABLE, SUCCESS, Outcome, Row, raise_for
from relay.destinations.isolating import Proof, in_the_middle, isolate
from relay.domain import moments
from relay.domain.addresses import normal_address
from relay.domain.exports import Export
from relay.domain.problems import Actor, ExportProblem, Problem, Rejection, RejectionKind, SettingsProblem, Transient
from relay.domain.values import text_of

API = Quota("api", 1_900, timedelta(hours=1), a_day=18_000)
MOST_MEMBERS = 50
LISTS_A_PAGE = 20

NO_EMAIL = Rejection(RejectionKind.DATA, "no_email", "the profile has no e-mail address")
MALFORMED_EMAIL = Rejection(RejectionKind.DATA, "malformed_email", "the e-mail address cannot be used")
REFUSED = Rejection(RejectionKind.DESTINATION, "refused", "the newsletter tool refuses the address: look at it there")
LIST_GONE = "the newsletter tool does not know the list: correct list_id"


TABLE = (
    Row((404,), Outcome.EXPORT, "list_gone", LIST_GONE),
    Row(SUCCESS, Outcome.CONNECTION, "not_json", "answered with no JSON", when=lambda reply: reply.body is None),
    *DEFAULT_TABLE,
)


def _records(reply: Reply, name: str, keys: set[str]) -> list[Mapping[str, Any]]:
    """Return the records of an answer, which all have these keys."""
    records = reply.body.get(name) if isinstance(reply.body, Mapping) else None
    if not isinstance(records, list) or not all(isinstance(one, Mapping) and one.keys() >= keys for one in records):
        raise Transient("unexpected_answer", f"gave {name} in another shape")
    return records


class ConnectionFields(BaseModel):
    """The fields of a connection's secret."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    api_key: SecretStr
    region: Literal["eu", "us"] = "eu"


class Options(BaseModel):
    """The options of an export."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    list_id: int


class NewsletterTool:
    """See `Destination`."""

    name = "newsletter"
    identity = "email"
    shards = 1
    call_size = MOST_MEMBERS
    lost_answer_bound = timedelta(minutes=5)
    import_bound = timedelta(0)
    streams = False
    connection_model: type[BaseModel] = ConnectionFields
    options_model: type[BaseModel] = Options
    reasons: Mapping[str, str] = {one.code: one.detail for one in (NO_EMAIL, MALFORMED_EMAIL, REFUSED)}

    def mapping_problems(self, mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        if "email" not in mapping:
            yield "email", "is required"
        for target in mapping.keys() - {"email", "name"}:
            yield target, "is not a target: use email or name"

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        if value is None:
            return NO_EMAIL
        address = normal_address(value) if isinstance(value, str) else None
        return MALFORMED_EMAIL if address is None else [address]

    def encode(self, target: str, value: Any) -> str | None:
        return text_of(value)

    def complete(self, export: Export, values: Mapping[str, str]) -> Mapping[str, str]:
        return values

    def targets(self, export: Export) -> Mapping[str, frozenset[str]]:
        return {f"list/{export.options.list_id}": frozenset(export.segments)}

    def owned(self, export: Export) -> frozenset[str]:
        return frozenset(self.targets(export))

    def tells_leaving(self, export: Export) -> bool:
        return True

    def page_is_full(self, export: Export, joins: int, leaves: int) -> bool:
        return joins + leaves >= MOST_MEMBERS

    def calls(self, account: Account, export: Export, steps: Sequence[Step]) -> list[list[int]]:
        """Cut by number; nobody comes twice for one list in a call."""
        calls: list[list[int]] = []
        places: set[tuple[str, str]] = set()
        for index, step in enumerate(steps):
            place = (step.target, step.identity)
            if not calls or len(calls[-1]) == MOST_MEMBERS or place in places:
                calls.append([])
                places = set()
            calls[-1].append(index)
            places.add(place)
        return calls

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        """Add some and remove others: a request for each list and direction."""
        client = Client(account)
        groups: dict[tuple[str, bool], list[int]] = {}
        for index, step in enumerate(steps):
            groups.setdefault((step.target, step.joins), []).append(index)
        keys = {target: client.list_key(_list_in(target)) for target, _ in groups}
        refused: dict[int, Rejection] = {}
        for number, ((target, joins), indices) in enumerate(groups.items()):
            try:
                refused |= _tell(client, export, keys[target], joins, {index: steps[index] for index in indices})
            except Problem as problem:
                if number == 0:
                    raise
                raise in_the_middle(problem, "some were told") from None
        return Answer(refused)

    def import_report(
        self, account: Account, export: Export, queued: OpenImport, steps: Sequence[Step]
    ) -> ImportReport:
        return ImportReport(finished=True)

    def confirm(self, account: Account, export: Export, steps: Sequence[Step]) -> Mapping[int, bool]:
        return {}

    def cleared_before(self, account: Account, now: datetime) -> datetime | None:
        return None

    def check_before_run(self, account: Account, export: Export) -> list[Finding]:
        return self.check(account, [export])

    def check(self, account: Account, exports: Sequence[Export]) -> list[Finding]:
        """Read the lists, which takes a good key, and look for those of the exports."""
        lists = Client(account).lists()
        found = [Finding("connection", Level.OK, "the newsletter tool accepts the key")]
        for export in exports:
            is_there = export.options.list_id in lists
            found.append(
                Finding(export.key, Level.OK, "the list is there")
                if is_there
                else Finding(export.key, Level.ERROR, LIST_GONE, Actor.ADMINISTRATOR)
            )
        return found


class Client:
    """The calls of the API."""

    def __init__(self, account: Account) -> None:
        settings: ConnectionFields = account.connection.settings
        self.notes = account.notes
        self._call = account.call
        self._root = account.base_url or f"https://{settings.region}.newsletter.invalid"
        self._headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}

    def list_key(self, list_id: int) -> str:
        """Return the key of a list, which is looked for once. Raises ExportProblem where there is no such list."""
        note = f"newsletter list {list_id}"
        kept = self.notes.get(note)
        if kept is not None:
            return kept
        found = self.lists().get(list_id)
        if found is None:
            raise ExportProblem("list_gone", LIST_GONE)
        return self.notes.keep(note, found)

    def lists(self) -> dict[int, str]:
        """Return the keys of all lists by their numbers. Whatever goes wrong, nothing was done by reading."""
        try:
            return self._lists()
        except Problem as problem:
            problem.taken = False
            raise

    def _lists(self) -> dict[int, str]:
        found: dict[int, str] = {}
        after = ""
        while True:
            reply = self._read("v2/lists", {"after": after})
            for one in _records(reply, "lists", {"id", "key"}):
                if not isinstance(one["id"], int) or not isinstance(one["key"], str):
                    raise Transient("unexpected_answer", "gave a list in another shape")
                found[one["id"]] = one["key"]
            after = reply.body.get("next")
            if after is None:
                return found
            if not isinstance(after, str):
                raise Transient("unexpected_answer", "gave the next page in another shape")

    def write(self, path: str, members: Sequence[Mapping[str, str]]) -> Mapping[str, str] | None:
        """Return what became of each address; None when the request was refused as a whole."""
        reply = self._call("POST", f"{self._root}/{path}", quota=API, headers=self._headers, json={"members": members})
        if raise_for(reply, TABLE) is not None:
            return None
        became = {str(one["email"]): str(one["status"]) for one in _records(reply, "results", {"email", "status"})}
        if became.keys() != {member["email"] for member in members} or not KNOWN.issuperset(became.values()):
            raise Transient("unexpected_answer", "not everybody was answered")
        return became

    def _read(self, path: str, params: Mapping[str, str]) -> Reply:
        reply = self._call("GET", f"{self._root}/{path}", quota=API, headers=self._headers, params=params)
        if raise_for(reply, TABLE) is not None:
            raise Transient("read_refused", "refuses to show its lists")
        return reply


KNOWN = frozenset({"added", "updated", "removed", "unknown", "refused"})


def _tell(client: Client, export: Export, key: str, joins: bool, steps: Mapping[int, Step]) -> Mapping[int, Rejection]:
    refused: dict[int, Rejection] = {}

    def attempt(part: Sequence[int]) -> Mapping[int, Rejection] | None:
        rows = [_row(steps[index]) for index in part]
        became = client.write(f"v2/lists/{key}/{'members' if joins else 'removals'}", rows)
        if became is None:
            return {}
        refused.update({index: REFUSED for index in part if became[steps[index].identity] == "refused"})
        return None

    return isolate(sorted(steps), attempt, REFUSED, Proof(client.notes, export)) | refused


def _row(step: Step) -> dict[str, str]:
    return {"email": step.identity, "since": moments.text(step.at), **step.values}


def _list_in(target: str) -> int:
    return int(target.partition("/")[2])


DESTINATION: Destination = NewsletterTool()


class CarelessFields(BaseModel):
    """Fields of a connection whose author forgot that an error may show them."""

    model_config = ConfigDict(extra="forbid")

    api_key: str
    region: str = "eu"

    @field_validator("api_key")
    @classmethod
    def _careless(cls, value: str) -> str:
        if len(value) < 8:
            raise ValueError(f"{value} is too short")
        return value


class CarelessTool(NewsletterTool):
    """The same destination with careless settings."""

    connection_model: type[BaseModel] = CarelessFields


def load(name: str) -> Destination:
    if name != "newsletter":
        raise SettingsProblem("unknown_destination", "must be newsletter", field="destination")
    return CarelessTool()
