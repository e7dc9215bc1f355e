"""What a destination is: a declaration of its settings, limits and targets, and how to make one call.

The engine does everything else: it compares, decides, retries, paces, records and stops.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Generic, Protocol

from relay.domain.exports import Connection, Export, Options, Settings
from relay.domain.problems import Actor, Rejection


@dataclass(frozen=True, slots=True)
class Quota:
    """A documented limit of an account that calls are paced under: `calls` per `per`, evenly spread."""

    name: str
    calls: float
    per: timedelta
    a_day: int | None = None
    """The most calls of this quota a connection makes in a UTC day, less than the account's documented limit so that
    others who call it have room. When they are used up the connection stops until the next day."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to send to a destination: an identity belongs in a target (with these values), or no longer does."""

    target: str
    identity: str
    """Normalised, in clear: never logged."""
    joins: bool
    at: datetime
    """The time to send; never earlier than one sent before for the same identity and target."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Encoded values by field of the mapping, without the identity and what is missing; empty for one who leaves."""
    evidence: str | None = None
    """Evidence: what the destination gave back with the last step that it took for this identity at this target."""
    last_refusal: str | None = None
    """The code of the rejection, where the destination has refused this identity at this target since then."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call did. Either it is known for every step now, or an asynchronous import will show it.

    `refused` maps the index of a step to its rejection; every other step was taken (or, when `import_id` is set,
    queued under that id; `queued` of them, where the destination says how many). `evidence` maps the index of a step
    that was taken to the evidence that its next step shall carry; a step without one leaves none behind.
    """

    refused: Mapping[int, Rejection] = field(default_factory=dict)
    import_id: str | None = None
    queued: int | None = None
    evidence: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenImport:
    """An asynchronous import that is asked about: its id, since when it is queued, and when it is asked about."""

    import_id: str
    queued_at: datetime
    asked_at: datetime
    contacts: int | None = None
    """How many were queued, where the answer said so; None when the steps are the rest of an earlier look."""
    note: str | None = None
    """What the earlier look left as a note; None at the first one that finds the import ended."""
    is_time_left: Callable[[], bool] = lambda: True
    """Whether more calls may be made in this look; without time the rest is left `open`."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """How an asynchronous import stands: not finished, or finished with the refused steps by index.

    `open` are steps of a finished import that were not looked up yet: they are asked for again, by themselves, with
    `contacts` None and the `note` of this report, so that one look never takes long.
    `again` are steps that were not done though the import has ended for good: they are sent again, a few times at most.
    """

    finished: bool
    refused: Mapping[int, Rejection] = field(default_factory=dict)
    open: frozenset[int] = frozenset()
    again: frozenset[int] = frozenset()
    note: str | None = None
    may_come: bool = False
    """Whether the import may take effect all the same: it was given up, for want of a sign that it ended."""


class Level(Enum):
    """How bad a finding of a check is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a connection or export check: what was looked at, what is wrong, who must do what."""

    subject: str
    level: Level
    message: str
    actor: Actor | None = None
    code: str = "not_ready"
    """What it is called in the registry of codes."""
    field: str | None = None
    """The setting that it is about, such as `options.list_id`, where it is one alone."""
    near: str | None = None
    """The known value that is nearest to an unknown one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer. `body` is the parsed JSON (an object or array), None when the body was not JSON."""

    status: int
    headers: Mapping[str, str]
    """Keys in lower case."""
    body: Any
    size: int


Params = Mapping[str, str | Sequence[str]]
"""A query; of a sequence every value is sent under the same name."""


class Caller(Protocol):
    """Makes HTTP calls to one account: paced, time-limited, no redirects, one log line each."""

    def __call__(
        self,
        method: str,
        url: str,
        *,
        quota: Quota,
        headers: Mapping[str, str] | None = None,
        params: Params | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        """Return the answer whatever its status; Transient for network trouble, time-outs and an exhausted pace."""
        ...


class Notes(Protocol):
    """Small facts kept per connection (an id the destination gave us), shared by all functions."""

    def get(self, key: str) -> str | None:
        """Return the note, None if there is none."""
        ...

    def keep(self, key: str, value: str, *, replaces: str | None = None) -> str:
        """Keep a note if none is there (or the old one is `replaces`); return the note that is kept now."""
        ...


@dataclass(frozen=True, slots=True)
class Account(Generic[Settings]):
    """All a destination needs to talk to one account."""

    connection: Connection[Settings]
    call: Caller
    notes: Notes
    base_url: str | None = None
    """Set only in the local environment: the sandbox that stands in for the destination."""
    backlog: Callable[[Quota], timedelta] = lambda quota: timedelta()  # noqa: ARG005 - the name says what it takes
    """How far ahead the next free slot of a quota lies, for destinations that can choose between two ways."""
    segment_name: Callable[[str], str | None] = lambda segment: None  # noqa: ARG005 - the name says what it takes
    """The platform's display name of a segment (`source/segment`), None where the platform sent none."""
    hold: Callable[[Quota, timedelta], None] = lambda quota, wait: None  # noqa: ARG005 - the name says what it takes
    """Keeps everybody who talks to the account from calling under a quota for some time, an hour at most.

    For a limit of one quota's own. A 429 or 503 with `Retry-After` holds back every call to the account, and `call`
    sees to that."""
    evidence_at: Callable[[str, str], str | None] = lambda target, identity: None  # noqa: ARG005 - says what it takes
    """The evidence of an identity at another target of the connection, as in `Step.evidence`."""
    first_run_exceeds: Callable[[Export, int], bool] = lambda export, count: False  # noqa: ARG005 - says what it takes
    """Whether an export has had no run yet, and more than so many profiles are in its segments."""


class Destination(Protocol[Settings, Options]):
    """The contract; `tests/contract` holds every destination to it. `StandardDestination` has most of it.

    **Where code lives.** All that is sent to a vendor, or asked, is in the destination's package and goes out by
    `Account.call`. The engine compares, decides, retries, paces, records and stops.

    **How long a call may take.** A function has two minutes for all that it does. No request begins in its last 30
    seconds, not even in the middle of `send`: `Account.call` raises Conflict then. So a call takes a few requests, and
    what needs more is cut into more calls. A look at an import takes some 30 seconds, and leaves the rest `open`.

    **Who leaves.** A step of one who leaves names the target that the person was put in. The export may have been
    edited since and name that target no more: `send` goes by `Step.target`, never by today's options. Nobody can still
    be in a target that was deleted at the vendor: whoever leaves it is done, and that stops nothing.

    **What survives an import.** Its id, how many were queued, its steps without their evidence, and the note of the
    report before. Nothing else does: another process looks, perhaps hours later, under settings that may be newer.
    """

    name: str
    """The value of `destination` in a connection; also the name of its queue and function."""
    identity: str
    """The field of the mapping that carries the identity, e.g. `email`."""
    shards: int
    """How many FIFO groups a connection's work is spread over."""
    call_size: int
    """The most steps one call takes."""
    at_once: int
    """How many calls (`send`) one worker makes at the same time, at most `relay.destinations.calling.CONNECTIONS`.

    An account sees up to `shards` times as many. A vendor is used at its limit when this is its calls per second times
    the seconds that one call takes. More than 1 asks for a `send` that several threads may be in; calls that share an
    identity are made one after the other all the same.
    """
    lost_answer_bound: timedelta
    """How long after a call with an unknown outcome its effect may still arrive.

    When a call was begun is reckoned back from its bound: a longer one than before makes older lost calls look older.
    """
    import_bound: timedelta
    """How long an asynchronous import may stay open before what it does not confirm counts as refused."""
    kept_after_delete: timedelta | None
    """How long the vendor can bring back whom `delete` has deleted. None: nobody can be deleted by its API."""
    streams: bool
    """Default of an export's `stream`."""
    connection_model: type[Settings]
    """The destination's own fields of a connection secret (flat strings): a pydantic model."""
    options_model: type[Options]
    """The destination's options of an export: a pydantic model."""

    @property
    def reasons(self) -> Mapping[str, str]:
        """What the codes of its rejections mean and what to do about each, as in `Rejection.detail`."""
        ...

    @property
    def stops(self) -> Mapping[str, str]:
        """What its own codes of stops mean, beside those of `relay.destinations.error_table`."""
        ...

    def mapping_problems(self, mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """Yield (field, reason) for fields of a mapping that are missing or unknown. Pure."""
        ...

    def identity_of(self, value: Any, export: Export[Options]) -> list[str] | Rejection:
        """Return the normalised identities of a mapped value, or why there is none. Pure."""
        ...

    def encode(self, field: str, value: Any) -> str | None:
        """Encode a mapped value as the destination wants it; None when there is nothing to send. Pure."""
        ...

    def complete(self, export: Export[Options], values: Mapping[str, str]) -> Mapping[str, str]:
        """Return a member's encoded values with what the export's options say about every member. Pure."""
        ...

    def targets(self, export: Export[Options]) -> Mapping[str, frozenset[str]]:
        """Return what identities can be in or out of, and the segments that qualify for each. Pure.

        An ActiveCampaign export has one target (its list) that any of its segments qualifies for; a Gainsight PX
        export has one target per segment. A target belongs to one export of a connection.
        """
        ...

    def owned(self, export: Export[Options]) -> frozenset[str]:
        """Return the names of what no other export of the connection may write to: its targets, and more. Pure."""
        ...

    def tells_leaving(self, export: Export[Options]) -> bool:
        """Return whether leavers are taken out of a target at all (False: keep). Pure."""
        ...

    def page_is_full(self, export: Export[Options], joins: int, leaves: int) -> bool:
        """Return whether a run that has read so many steps shall send them before it reads on. Pure.

        A page should fill many more than `at_once` calls: the next one begins when the last call of this one has ended.
        """
        ...

    def calls(self, account: Account[Settings], export: Export[Options], steps: Sequence[Step]) -> list[list[int]]:
        """Cut steps into calls within the destination's limits of number and size: lists of indices.

        Looks at nothing but `account.backlog`. Two steps for one identity go out in their order.
        """
        ...

    def send(self, account: Account[Settings], export: Export[Options], steps: Sequence[Step]) -> Answer:
        """Make one call for steps that `calls` put together. Sending the same again must do no harm.

        Raises Transient, ConnectionProblem or ExportProblem, which say what is known of its steps (`outcomes`). A bad
        row is a refusal in the answer, never an exception.
        """
        ...

    def delete(self, account: Account[Settings], export: Export[Options], identity: str) -> Rejection | None:
        """Delete a contact or user, whatever targets it is in, because the person is to be forgotten.

        Return why that is refused. Who is not there is deleted. Sending the same again must do no harm. Never called
        where `kept_after_delete` is None. Raises as `send` does.
        """
        ...

    def import_report(
        self, account: Account[Settings], export: Export[Options], queued: OpenImport, steps: Sequence[Step]
    ) -> ImportReport:
        """Look at an asynchronous import once, within some 30 seconds. `steps` are those still open.

        Destinations without imports never return an `import_id`.
        """
        ...

    def confirm(self, account: Account[Settings], export: Export[Options], steps: Sequence[Step]) -> Mapping[int, bool]:
        """Look, without changing anything, whether steps that ended as `unconfirmed` are done by now; by index.

        Steps that were not looked at, for want of time or calls, are left out. Raises as `send` does.
        """
        ...

    def members(self, account: Account[Settings], target: str) -> int | None:
        """Ask how many are in a target, whoever put them there. None where the vendor's API does not tell.

        A few requests that only read, made when an operator asks. Raises as `send` does.
        """
        ...

    def cleared_before(self, account: Account[Settings], now: datetime) -> datetime | None:
        """Return a moment: what was to be sent at or before it, and not answered, can have no effect any more.

        Asked while something waits for `lost_answer_bound`, which it cuts short, and again, less and less often, as
        long as something waits. None while nothing shows it. Raises as `send` does; Transient is as good as None.
        """
        ...

    def check_before_run(self, account: Account[Settings], export: Export[Options]) -> list[Finding]:
        """Look, without changing anything, at what would make a run of this export pointless; errors stop it."""
        ...

    def check(self, account: Account[Settings], exports: Sequence[Export[Options]]) -> list[Finding]:
        """Look at the account and the exports without changing anything; used by probes and operators.

        Raises as `send` does when the account or the network fails.
        """
        ...
