"""The identity record: what a destination holds for one identity at one target, and the rules that change it. Pure.

There is one record for each (connection, target, identity). It is the only place that says what the destination holds,
and everybody who wants to change that meets here: each change is one conditional write of this one item.

The record knows two states and compares them. The *desired* state is what the exports say. The *acknowledged* state is
what the destination last confirmed. An *open call* lies between them: a call whose final answer nobody knows yet.

    next_step   what is to be done about a record now
    answered    what a record says after an answer
    claim, release, hand_over, begin, lapse   the other changes; each returns the new record

Whoever reads or writes a record and does not carry out its next step makes sure that somebody does: a look at the
responsible profile is put on the queue, or a wait into the list of waits.
"""

from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Literal, NamedTuple, NewType

MOST_CLAIMANTS = 16
"""How many profiles of one record are kept; thousands of profiles may share a placeholder address."""

REMEMBERED_FOR = timedelta(minutes=1)
"""How far the time of the last turning-away may lag behind: thousands may be turned away in one run."""

CLOCK_MARGIN = timedelta(seconds=5)
"""How far the clocks of two functions are apart at most. AWS keeps them within milliseconds; a call also takes a while
from the last look at the clock until it leaves."""

TURN = timedelta(milliseconds=1)
"""What is sent next of an identity is sent as so much later: what a destination does with equal times is documented
nowhere."""

Digest = NewType("Digest", str)
"""A keyed hash of the values a member is sent: 32 hexadecimal digits."""


class _Out(Enum):
    OUT = "OUT"


class _Unknown(Enum):
    UNKNOWN = "UNKNOWN"


OUT: Final = _Out.OUT
"""The identity is not in the target."""
UNKNOWN: Final = _Unknown.UNKNOWN
"""Nobody knows what the destination holds."""

Content = Digest | Literal[_Out.OUT]
"""What a call brings about: a member with these values, or nobody."""
Acknowledged = Content | Literal[_Unknown.UNKNOWN]


class Rest(Enum):
    """What is to become of an identity that no profile wants."""

    OUT = "OUT"
    """It leaves the target."""
    KEEP = "KEEP"
    """Its export takes nobody out: the destination keeps what it has."""
    HOLD = "HOLD"
    """A profile was turned away and may still want it: nothing is sent until a run has asked everybody."""


class Authority(NamedTuple):
    """In whose name a record is changed. Of two authorities over one target the later wins.

    `epoch` grows each time the target passes to another export. `settings` grows with each edit of the export: it is
    the time of the edit in milliseconds.
    """

    epoch: int = 0
    settings: int = 0
    export: str = ""


class Basis(NamedTuple):
    """What a digest was worked out from. The same basis gives the same digest, so nothing need be worked out again."""

    settings: int
    profile: int
    rules: int


class Wanted(NamedTuple):
    """Profiles want the identity in the target. The smallest is the winner: its values are sent.

    `digest` is None while the winner is new and has to be looked at; digest and basis belong to the winner.
    """

    by: tuple[str, ...]
    digest: Digest | None = None
    basis: Basis | None = None


class Unwanted(NamedTuple):
    """No profile wants the identity. `leaving` is whoever wanted it last, until that is settled."""

    rest: Rest = Rest.OUT
    leaving: str | None = None


NOBODY: Final = Unwanted()


class Call(NamedTuple):
    """Calls that may still take effect; all of them have the same content.

    `id` is the latest call's, None when that one is answered and only earlier ones are open. Nobody begins the call
    after `send_by`; it has no effect after `deadline`. `earlier` is the deadline of the calls before it.
    """

    id: str | None
    content: Content
    send_by: datetime
    deadline: datetime
    earlier: datetime | None = None


class Refused(NamedTuple):
    """The destination does not take this content: the code of the rejection, since when, and under which settings.

    `under` is a fingerprint of the settings of export and connection.
    """

    content: Content
    code: str
    at: datetime
    under: str


class Record(NamedTuple):
    """One identity at one target; the default is an identity nobody has ever named."""

    authority: Authority = Authority()
    desired: Wanted | Unwanted = NOBODY
    turned_away_at: datetime | None = None
    """When a profile was last turned away because `MOST_CLAIMANTS` were kept."""
    acknowledged: Acknowledged = OUT
    since: datetime | None = None
    """When the destination acknowledged that."""
    open: Call | None = None
    sent_at: datetime | None = None
    """The latest time sent with a call; never falls."""
    evidence: str | None = None
    """What the destination gave back with the last call that it took, for the next call."""
    refused: Refused | None = None
    last_refusal: str | None = None
    """The code under which the destination refused the identity last, until it takes something for it: for the next
    call, which may have to go another way."""
    last_call: str | None = None
    """The id of the last call that is over, as in the log."""

    @property
    def winner(self) -> str | None:
        """Return the profile whose values are sent."""
        return self.desired.by[0] if isinstance(self.desired, Wanted) else None

    @property
    def responsible(self) -> str | None:
        """Return the profile to look at when something is to be done."""
        return self.desired.by[0] if isinstance(self.desired, Wanted) else self.desired.leaving

    def names(self, profile: str) -> bool:
        """Return whether the record names a profile, so that its assignment has to name the record."""
        if isinstance(self.desired, Wanted):
            return profile in self.desired.by
        return self.desired.leaving == profile


class Do(Enum):
    """What is to be done about a record."""

    NOTHING = "nothing"
    LOOK = "look"
    """The winner is new: look at its profile."""
    SEND = "send"
    WAIT = "wait"


class Step(NamedTuple):
    """The next step; `until` is given with WAIT alone."""

    do: Do
    until: datetime | None = None


NOTHING: Final = Step(Do.NOTHING)
LOOK: Final = Step(Do.LOOK)
SEND: Final = Step(Do.SEND)


def wanted_content(record: Record) -> Content | None:
    """Return what the destination should hold; None while nothing is to be sent (a new winner, KEEP, HOLD)."""
    desired = record.desired
    if isinstance(desired, Wanted):
        return desired.digest
    return OUT if desired.rest is Rest.OUT else None


def next_step(record: Record, *, chance: bool = False) -> Step:
    """Return what is to be done about a record that has no lapsed call (see `lapse`).

    `chance` says that this look may try again what the destination has refused.
    """
    content = wanted_content(record)
    if content is None:
        return LOOK if isinstance(record.desired, Wanted) else NOTHING
    if record.open is not None and record.open.content != content:
        return Step(Do.WAIT, record.open.deadline)
    if record.acknowledged == content:
        return NOTHING
    if record.refused is not None and record.refused.content == content and not chance:
        return NOTHING
    return SEND


def agreed_since(record: Record, began: datetime | None) -> bool:
    """Return whether what is acknowledged was acknowledged since a run began."""
    return began is not None and record.since is not None and record.since >= began


def lapse(record: Record, now: datetime) -> Record:
    """End calls that can take no effect any more. What they did nobody knows, unless it is what was acknowledged."""
    if record.open is None or record.open.deadline > now:
        return record
    same = record.acknowledged == record.open.content
    acknowledged = record.acknowledged if same else UNKNOWN
    return record._replace(open=None, acknowledged=acknowledged, last_call=record.open.id or record.last_call)


def claim(record: Record, authority: Authority, profile: str, digest: Digest, basis: Basis, now: datetime) -> Record:
    """Return the record once a profile wants the identity with these values.

    The first claim under another owner of the target drops the former owner's claimants. A profile beyond
    `MOST_CLAIMANTS` is turned away: it is not named, and runs look at it again.
    """
    desired, turned_away_at = record.desired, record.turned_away_at
    if record.authority.epoch != authority.epoch:
        desired = NOBODY if isinstance(desired, Wanted) else desired
        turned_away_at = None
    record = record._replace(authority=authority, desired=desired, turned_away_at=turned_away_at)
    if isinstance(desired, Unwanted):
        # Whoever left without being taken out may have been removed by hand meanwhile: a return is sent again.
        acknowledged = UNKNOWN if desired.rest is Rest.KEEP else record.acknowledged
        return record._replace(desired=Wanted((profile,), digest, basis), acknowledged=acknowledged)
    if profile not in desired.by:
        if len(desired.by) >= MOST_CLAIMANTS:
            is_fresh = turned_away_at is not None and now - turned_away_at < REMEMBERED_FOR
            return record if is_fresh else record._replace(turned_away_at=now)
        desired = desired._replace(by=tuple(sorted((*desired.by, profile))))
    elif desired.by[0] == profile and desired.basis is not None and desired.basis > basis:
        return record
    if desired.by[0] == profile:
        desired = Wanted(desired.by, digest, basis)
    return record._replace(desired=desired)


def doubt(record: Record, profile: str) -> Record:
    """Return the record where the winner `profile` is to be sent once more, though the destination holds it as desired.

    Then everything goes as where nobody knows what the destination holds: open calls, refusals and evidence count.
    """
    is_held = record.winner == profile and record.acknowledged == wanted_content(record)
    return record._replace(acknowledged=UNKNOWN) if is_held else record


def release(
    record: Record, authority: Authority, profile: str, *, keep: bool, asked_since: datetime | None = None
) -> Record:
    """Return the record once a profile stands for the identity no more.

    To be called only when a run under these settings has let every member claim. `keep` says that the export takes
    nobody out. `asked_since` is the start of a run that removes: whoever was turned away before it has had the chance
    to claim.
    """
    if record.authority == Authority():
        return record
    turned_away_at = record.turned_away_at
    if record.authority.epoch != authority.epoch:
        # No profile of the present owner has claimed it.
        turned_away_at = None
    elif not record.names(profile):
        return record
    elif isinstance(record.desired, Wanted) and len(record.desired.by) > 1:
        rest = tuple(other for other in record.desired.by if other != profile)
        is_same_winner = rest[0] == record.desired.by[0]
        desired = record.desired._replace(by=rest) if is_same_winner else Wanted(rest)
        return record._replace(authority=authority, desired=desired)
    record = record._replace(authority=authority)
    lag = REMEMBERED_FOR + CLOCK_MARGIN
    if turned_away_at is not None and asked_since is not None and turned_away_at < asked_since - lag:
        turned_away_at = None
    state = Rest.KEEP if keep else Rest.OUT if turned_away_at is None else Rest.HOLD
    is_settled = state is Rest.KEEP or (state is Rest.OUT and _is_out(record))
    return record._replace(desired=Unwanted(state, None if is_settled else profile), turned_away_at=turned_away_at)


def is_released(record: Record, authority: Authority, profile: str) -> bool:
    """Return whether a profile that wants the identity no more has nothing left to release.

    What a former owner of the target has left behind is released by whoever was assigned it, whomever it names.
    """
    is_former = record.authority != Authority() and record.authority.epoch != authority.epoch
    return not is_former and not record.names(profile)


def forget(record: Record, profile: str) -> Record | None:
    """Return the record once a profile's export is gone for good, None when nobody is left: nothing is sent for it."""
    if not record.names(profile):
        return record
    desired = record.desired
    rest = tuple(other for other in desired.by if other != profile) if isinstance(desired, Wanted) else ()
    if not rest:
        return None
    return record._replace(desired=Wanted(rest))


def hand_over(record: Record, authority: Authority, alias: str, survivor: str) -> Record:
    """Return the record once two profiles have turned out to be one person: the survivor takes the alias' place."""
    if not record.names(alias):
        return record
    desired = record.desired
    if isinstance(desired, Unwanted):
        return record._replace(authority=authority, desired=desired._replace(leaving=survivor))
    by = tuple(sorted({survivor, *(other for other in desired.by if other != alias)}))
    is_same_winner = by[0] == desired.by[0]
    return record._replace(authority=authority, desired=desired._replace(by=by) if is_same_winner else Wanted(by))


def blank(record: Record) -> Record:
    """Return the record that nobody wants with nothing in it of whoever was forgotten.

    What the destination was told stays only where it is out, and why it was refused to let go. Elsewhere nobody knows:
    a return is sent again.
    """
    desired = record.desired
    rest = desired.rest if isinstance(desired, Unwanted) and desired.rest is Rest.KEEP else Rest.OUT
    return Record(
        record.authority,
        Unwanted(rest),
        turned_away_at=record.turned_away_at,
        acknowledged=OUT if record.acknowledged is OUT else UNKNOWN,
        open=record.open,
        sent_at=record.sent_at,
        refused=record.refused if record.refused is not None and record.refused.content is OUT else None,
    )


def begin(
    record: Record,
    call_id: str,
    *,
    send_by: datetime,
    bound: timedelta,
    at: datetime,
    content: Content | None = None,
) -> Record:
    """Return the record with a call open, before the call is made. Its next step must be SEND.

    `content` is what the call brings about where the record does not say so itself.

    The call leaves at `send_by` at the latest and takes effect within `bound` of that. `at` is the time of the change;
    the time that is sent (`sent_at` of the new record) is later than any sent before. A repeated call carries the time
    of the first, since nobody knows which of them arrives last. What was refused before is open again.
    """
    content = wanted_content(record) if content is None else content
    if content is None:
        raise ValueError("nothing is to be sent for this record")
    before = record.open
    deadline = send_by + bound + CLOCK_MARGIN
    earlier = None if before is None else before.deadline
    call = Call(call_id, content, send_by, deadline if earlier is None else max(deadline, earlier), earlier)
    sent_at = record.sent_at
    if sent_at is None:
        sent_at = at
    elif before is None:
        sent_at = max(at, sent_at + TURN)
    return record._replace(open=call, sent_at=sent_at, refused=None)


class Taken(NamedTuple):
    """The destination did what the call asked; `evidence` is for the next call."""

    evidence: str | None = None


class Rejected(NamedTuple):
    """The destination does not take the content, for the reason `code`.

    `is_certain` is False when nobody knows what it did with the call all the same. `may_come` says that the call may
    take effect until its deadline even so.
    """

    code: str
    under: str
    is_certain: bool = True
    may_come: bool = False


class NotTaken(NamedTuple):
    """The destination certainly did nothing."""


class Unclear(NamedTuple):
    """Nobody knows what the call did; it takes effect by `deadline` at the latest, so it is over when that is now."""

    deadline: datetime


Answer = Taken | Rejected | NotTaken | Unclear


def answered(record: Record, call_id: str, answer: Answer, now: datetime) -> Record:
    """Return the record after an answer to its latest call; an answer to another call changes nothing.

    Earlier calls with the same content may still be open then: the record stays open until their deadline. Those that
    have lapsed meanwhile leave open what they did.
    """
    call = record.open
    if call is None or call.id != call_id:
        return record
    if isinstance(answer, Unclear):
        deadline = answer.deadline if call.earlier is None else max(answer.deadline, call.earlier)
        is_sooner = deadline < call.deadline
        return lapse(record._replace(open=call._replace(deadline=deadline)) if is_sooner else record, now)
    if isinstance(answer, Rejected) and answer.may_come and call.deadline > now:
        rest = record._replace(open=call._replace(id=None, earlier=None))
    elif call.earlier is None:
        rest = record._replace(open=None)
    else:
        rest = lapse(record._replace(open=call._replace(id=None, deadline=call.earlier, earlier=None)), now)
    return _at_rest(_with_answer(rest._replace(last_call=call_id), call.content, answer, now))


def _with_answer(record: Record, content: Content, answer: Taken | Rejected | NotTaken, now: datetime) -> Record:
    if isinstance(answer, Taken):
        taken = record._replace(acknowledged=content, since=now, evidence=answer.evidence)
        return taken._replace(refused=None, last_refusal=None)
    if isinstance(answer, Rejected):
        acknowledged = record.acknowledged if answer.is_certain else UNKNOWN
        refused = Refused(content, answer.code, now, answer.under)
        return record._replace(acknowledged=acknowledged, refused=refused, last_refusal=answer.code)
    return record


def _is_out(record: Record) -> bool:
    return record.acknowledged is OUT and (record.open is None or record.open.content is OUT)


def _at_rest(record: Record) -> Record:
    """Name nobody as leaving any more once the identity is out, whatever call has shown that."""
    desired = record.desired
    is_settled = isinstance(desired, Unwanted) and desired.rest is Rest.OUT and _is_out(record)
    return record._replace(desired=NOBODY) if is_settled else record


def confirmed(record: Record, content: Content, now: datetime) -> Record:
    """Return the record once a look has shown that the destination holds a content whose call ended as unconfirmed."""
    refused = record.refused
    if record.open is not None or refused is None or refused.content != content:
        return record
    desired = NOBODY if isinstance(record.desired, Unwanted) and content is OUT else record.desired
    return record._replace(desired=desired, acknowledged=content, since=now, refused=None, last_refusal=None)
