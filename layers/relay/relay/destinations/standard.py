"""The bases of destinations: what is the same for most, so that a package says only what is its vendor's own."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Generic

from relay.destinations.calling import encode_json
from relay.destinations.contract import Account, Answer, Finding, ImportReport, Level, OpenImport, Step
from relay.destinations.cutting import cut
from relay.destinations.isolating import Refusals, isolate
from relay.destinations.outcomes import nothing_done, part_done
from relay.domain.addresses import normal_address
from relay.domain.exports import Export, Options, Settings
from relay.domain.problems import Actor, ExportProblem, Rejection, RejectionKind
from relay.domain.values import id_of, text_of

NO_EMAIL = Rejection(RejectionKind.DATA, "no_email", "the profile has no e-mail address where the mapping looks for it")
MALFORMED_EMAIL = Rejection(
    RejectionKind.DATA, "malformed_email", "the e-mail address cannot be used: correct it at the source"
)
NO_IDENTITY = Rejection(RejectionKind.DATA, "no_identity", "the profile has no identity where the mapping looks for it")
MALFORMED_IDENTITY = Rejection(
    RejectionKind.DATA, "malformed_identity", "the identity is neither text nor a whole number: correct the mapping"
)

CALLS_A_PAGE = 12
"""How many calls a page fills for each that is made at the same time: at its end fewer and fewer are under way."""

MOST_A_PAGE = 5_000
"""The most steps of a page that fills many calls."""

AROUND_A_ROW = 200
"""More than the bytes of names and punctuation around the values of a row, and around all rows of a body."""


def email_of(value: Any) -> list[str] | Rejection:
    """Return the one e-mail address, normalised; of several the smallest, in whatever order they come.

    What is no address does not count beside one that is.
    """
    filled = _filled(value)
    addresses = [address for item in filled if isinstance(item, str) and (address := normal_address(item)) is not None]
    if addresses:
        return [min(addresses)]
    return MALFORMED_EMAIL if filled else NO_EMAIL


def text_identity_of(value: Any) -> list[str] | Rejection:
    """Return the one identity as it is, a whole number as its digits; of several the smallest."""
    filled = _filled(value)
    texts = [text for item in filled if (text := id_of(item)) is not None]
    if texts:
        return [min(texts)]
    return MALFORMED_IDENTITY if filled else NO_IDENTITY


def _filled(value: Any) -> list[Any]:
    items = value if isinstance(value, list | tuple) else [value]
    return [item for item in items if item is not None and not (isinstance(item, str) and not item.strip())]


class BaseDestination(ABC, Generic[Settings, Options]):
    """What most destinations answer alike: one identity, no imports, leaving is told. Implements part of `Destination`.

    Whoever is different overrides a method: `tests/contract` holds all of them to the contract alike.
    """

    name: str
    title: str
    """The vendor's name, as it is written in texts."""
    identity: str = "email"
    """`email`, or another name of the field that carries the identity: then any text is one (`text_identity_of`)."""
    fields: tuple[str, ...] = ()
    """The other fields that a mapping may fill."""
    shards: int = 1
    call_size: int
    at_once: int = 1
    lost_answer_bound: timedelta = timedelta(minutes=5)
    import_bound: timedelta = timedelta(0)
    kept_after_delete: timedelta | None = None
    streams: bool = False
    connection_model: type[Settings]
    options_model: type[Options]
    rejections: Sequence[Rejection] = ()
    """The vendor's own."""
    stops: Mapping[str, str] = MappingProxyType({})
    """What the vendor's own codes of stops mean."""

    def __init__(self) -> None:
        self.refusals = Refusals()

    @property
    def reasons(self) -> Mapping[str, str]:
        """What the codes of rejections mean: those of the identity, and the vendor's own."""
        ours = (NO_EMAIL, MALFORMED_EMAIL) if self.identity == "email" else (NO_IDENTITY, MALFORMED_IDENTITY)
        return {one.code: one.detail for one in (*ours, *self.rejections)}

    @abstractmethod
    def targets(self, export: Export[Options]) -> Mapping[str, frozenset[str]]:
        """Return what members are in, and the segments that qualify for each; see `Destination`."""

    @abstractmethod
    def calls(self, account: Account[Settings], export: Export[Options], steps: Sequence[Step]) -> list[list[int]]:
        """Cut steps into calls; see `Destination`."""

    @abstractmethod
    def send(self, account: Account[Settings], export: Export[Options], steps: Sequence[Step]) -> Answer:
        """Make one call; see `Destination`."""

    @abstractmethod
    def check(self, account: Account[Settings], exports: Sequence[Export[Options]]) -> list[Finding]:
        """Look at the account and the exports; see `Destination`."""

    def mapping_problems(self, mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """Require the identity, and know it and `fields`."""
        if self.identity not in mapping:
            yield self.identity, "is required"
        for field in mapping:
            if field != self.identity and not self.is_field(field):
                known = ", ".join((self.identity, *self.fields))
                yield field, f"is no field of {self.title}: use {known}"

    def is_field(self, name: str) -> bool:
        """Return whether a mapping may fill a field beside the identity."""
        return name in self.fields

    def identity_of(self, value: Any, export: Export[Options]) -> list[str] | Rejection:  # noqa: ARG002
        """Return the one e-mail address, or the one text."""
        return email_of(value) if self.identity == "email" else text_identity_of(value)

    def encode(self, field: str, value: Any) -> str | None:  # noqa: ARG002
        """Return a value as text (`text_of`)."""
        return text_of(value)

    def complete(self, export: Export[Options], values: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002
        """Add nothing."""
        return values

    def owned(self, export: Export[Options]) -> frozenset[str]:
        """Return the targets."""
        return frozenset(self.targets(export))

    def tells_leaving(self, export: Export[Options]) -> bool:  # noqa: ARG002
        """Return True."""
        return True

    def page_is_full(self, export: Export[Options], joins: int, leaves: int) -> bool:  # noqa: ARG002
        """Return whether there is a full call; where several are made at the same time, many of them."""
        if self.at_once == 1:
            return joins + leaves >= self.call_size
        return joins + leaves >= max(self.call_size, min(CALLS_A_PAGE * self.at_once * self.call_size, MOST_A_PAGE))

    def delete(self, account: Account[Settings], export: Export[Options], identity: str) -> Rejection | None:
        """Never called, unless `kept_after_delete` is declared: then it is to be overridden."""
        raise NotImplementedError

    def import_report(
        self,
        account: Account[Settings],  # noqa: ARG002
        export: Export[Options],  # noqa: ARG002
        queued: OpenImport,  # noqa: ARG002
        steps: Sequence[Step],  # noqa: ARG002
    ) -> ImportReport:
        """Return that it is finished: there are no imports."""
        return ImportReport(finished=True)

    def confirm(
        self,
        account: Account[Settings],  # noqa: ARG002
        export: Export[Options],  # noqa: ARG002
        steps: Sequence[Step],  # noqa: ARG002
    ) -> Mapping[int, bool]:
        """Return nothing: nobody is looked up."""
        return {}

    def members(self, account: Account[Settings], target: str) -> int | None:  # noqa: ARG002
        """Return None: the API does not tell."""
        return None

    def cleared_before(self, account: Account[Settings], now: datetime) -> datetime | None:  # noqa: ARG002
        """Return None: nothing shows calls under way."""
        return None

    def check_before_run(self, account: Account[Settings], export: Export[Options]) -> list[Finding]:
        """Check the account and this one export."""
        return self.check(account, [export])


class StandardDestination(BaseDestination[Settings, Options]):
    """A destination that keeps one target per export: a list, a tag, an audience. Implements `Destination`.

    A subclass declares itself by the attributes, and implements `target_of`, `deliver` and `existing_targets`.
    """

    body_size: int | None = None
    """The most bytes of a request's body, where the vendor has such a limit."""
    target_option: str = "list_id"
    """The option that names the target, for texts."""
    refused: Rejection
    """The rejection of a row that is refused by itself without a reason; one of `rejections`."""

    @abstractmethod
    def target_of(self, options: Options) -> str:
        """Return the name of what members are in, such as `list/7`. Pure.

        It is kept for years: leavers come with it when the options are long edited.
        """

    @abstractmethod
    def deliver(
        self, account: Account[Settings], target: str, *, joins: bool, steps: Sequence[Step]
    ) -> Mapping[int, Rejection]:
        """Make one request: these steps join the target, or leave it. Return who of them is refused, by index.

        Raises Refused when the request is refused as a whole: it is then taken apart to find out who is the reason.
        Raises Transient, ConnectionProblem or ExportProblem. What is read before belongs in `nothing_done`.
        A target that is gone is an ExportProblem. For those who leave, `existing_targets` then says whether it is.
        """

    @abstractmethod
    def existing_targets(self, account: Account[Settings]) -> Collection[str]:
        """Read which targets the account has; takes a key that works. Raises as `send` does."""

    def row_bytes(self, step: Step) -> int:
        """Return the most bytes that a step takes in a body."""
        return len(encode_json([step.identity, *step.values, *step.values.values()])) + AROUND_A_ROW

    def targets(self, export: Export[Options]) -> Mapping[str, frozenset[str]]:
        """Return the one target, which any of the segments qualifies for."""
        return {self.target_of(export.options): frozenset(export.segments)}

    def calls(self, account: Account[Settings], export: Export[Options], steps: Sequence[Step]) -> list[list[int]]:  # noqa: ARG002
        """Cut by target and direction, by number and by size. Nobody comes twice in a call."""
        room, size = (0, lambda _: 0) if self.body_size is None else (self.body_size - AROUND_A_ROW, self.row_bytes)
        return cut(steps, self.call_size, lane=lambda step: (step.target, step.joins), size=size, room=room)

    def send(self, account: Account[Settings], export: Export[Options], steps: Sequence[Step]) -> Answer:
        """Deliver a call, taking it apart where the vendor refuses it.

        Nobody can still be in a target that is gone: whoever was to leave it has left.
        """
        target, joins = steps[0].target, steps[0].joins

        def attempt(rows: Sequence[int]) -> Mapping[int, Rejection]:
            return self.deliver(account, target, joins=joins, steps=[steps[row] for row in rows])

        tally = self.refusals.of(account.notes, export)
        try:
            return Answer(isolate(range(len(steps)), attempt, self.refused, tally))
        except ExportProblem as problem:
            if joins:
                raise
            with nothing_done() if problem.taken is False else part_done():
                is_gone = target not in self.existing_targets(account)
            if is_gone:
                return Answer()
            raise

    def check(self, account: Account[Settings], exports: Sequence[Export[Options]]) -> list[Finding]:
        """Look whether the key works and each export's target is there."""
        there = self.existing_targets(account)
        return [
            Finding("connection", Level.OK, f"{self.title} accepts the key"),
            *(self._target_finding(export, there) for export in exports),
        ]

    def _target_finding(self, export: Export[Options], there: Collection[str]) -> Finding:
        target = self.target_of(export.options)
        if target in there:
            return Finding(export.key, Level.OK, f"{target} is there")
        message = f"{self.title} has no {target}: correct {self.target_option} in the export's options"
        return Finding(export.key, Level.ERROR, message, Actor.ADMINISTRATOR)
