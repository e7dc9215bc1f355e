"""Claims: who wants one destination identity at one target, and what is in flight for it.

The identity is what is contended: two profiles with one e-mail, in whatever shard they are, meet here. Everything
in this module is a pure transition; the engine writes the new claim only if nobody else wrote meanwhile.

- The smallest claimant (of the export that has the target) wins and is sent; the others are duplicates.
- The identity leaves the destination only when its last claimant leaves.
- While a flight is open nobody else sends: they leave their name in `look_again` and are woken when it ends.
- A claim names at most `MOST_CLAIMANTS` and `MOST_WAITERS`, so that ten thousand profiles with one placeholder address
  neither make it too large nor write it ten thousand times. Whoever is not named is looked at again by runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from relay.domain import moments

UNSURE = "?"
"""`Claim.sent` while nobody can say what the destination holds."""

AWAITED = 0
"""The pass of a flight whose profile a run waited for: neither pass' cursor counts it."""

MOST_CLAIMANTS = 16
"""How many claimants one claim names: the smallest. Others are turned away as duplicates, and `Claim.more` says so."""

MOST_WAITERS = 32
"""How many claimants wait in one claim to be woken; others are looked at again by the clock."""

REFRESHED_AFTER = timedelta(minutes=1)
"""`Claim.more` is not written again sooner than this: it may be so much older than the last turning-away."""

UNNAMED_LOOK = timedelta(minutes=10)
"""When those are looked at again who wait for a queued import and are not named in its claim."""

TURN = timedelta(milliseconds=1)
"""A change of direction is sent at least this much later than what was sent before: ties are undocumented."""


def claimant_of(export_name: str, profile: str) -> str:
    """Return how a profile is named in a claim: with its export, because a target may pass from one to another."""
    return f"{export_name}/{profile}"


def profile_of(claimant: str) -> tuple[str, str]:
    """Return (export name, profile) of a claimant."""
    export_name, _, profile = claimant.partition("/")
    return export_name, profile


@dataclass(frozen=True, slots=True)
class RunTag:
    """The run (with its pass) and shard in whose ledger a flight's profile is counted as outstanding."""

    run: str
    shard: int
    phase: int = 1

    @property
    def mark(self) -> str:
        """What a delivery remembers of having been counted."""
        return f"{self.run}#{self.phase}"


@dataclass(frozen=True, slots=True)
class Flight:
    """One call whose outcome is not recorded yet: the intent, written before the call.

    `before` is what the destination held before it; `until` is when its effect can no longer arrive.
    `echo_until` and `echo` remember an earlier lost answer with the payload digest `echo`.
    """

    id: str
    claimant: str
    joins: bool
    digest: str
    at: datetime
    until: datetime
    before: str | None = None
    echo: str | None = None
    echo_until: datetime | None = None
    runs: tuple[RunTag, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiter:
    """A claimant to look at again when the flight ends; `run` when a run waits for its outcome."""

    claimant: str
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The state of one (connection, target, identity).

    `more` is when somebody who wants the identity was last turned away: then it must not be taken out when the last
    claimant leaves, until a run has given everybody the chance to claim.
    `sent` is the digest of what the destination holds: None for nothing, `UNSURE` when a lost answer left it open.
    A lost answer with digest `echo` may still arrive until `echo_until`; until then nothing else is sent.
    `memo` is what the destination asked to remember when it last took a step for the identity.
    """

    claimants: frozenset[str] = frozenset()
    flight: Flight | None = None
    look_again: frozenset[Waiter] = frozenset()
    sent: str | None = None
    sent_at: datetime | None = None
    echo: str | None = None
    echo_until: datetime | None = None
    memo: str | None = None
    more: datetime | None = None
    version: int = 0

    @property
    def wants_asking(self) -> bool:
        """Nobody is known to want the identity, but somebody who was turned away may: only a run can ask."""
        return self.more is not None and not self.claimants

    @property
    def to_wake(self) -> bool:
        """Somebody waits and nothing is in flight: the wake-ups are owed."""
        return bool(self.look_again) and self.flight is None

    def counts(self, claimant: str, run: RunTag | None, fate: "Fate") -> bool:
        """Whether the open flight is this claimant's and moves this run's ledger when it ends.

        Only a queued import does: the end of a call without an answer is seen by nobody.
        """
        flight = self.flight
        return fate is Fate.QUEUED and flight is not None and flight.claimant == claimant and run in flight.runs


class Fate(Enum):
    """What is known of a flight beyond the claim: nothing, that it never took off, or that an import is queued."""

    UNKNOWN = "unknown"
    FAILED = "failed"
    QUEUED = "queued"


class Do(Enum):
    """What a profile does about a claim now."""

    SEND = "send"
    PENDING = "pending"
    WAIT = "wait"
    LATER = "later"
    DUPLICATE = "duplicate"
    SETTLED = "settled"
    RELEASED = "released"
    HOLD = "hold"
    """Nobody known wants the identity, but somebody who was turned away may: nothing is told until a run has asked."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What one claimant wants of a claim."""

    claimant: str
    joins: bool
    digest: str
    at: datetime
    goodbye: bool = True
    """Whether leaving is told to the destination."""
    run: RunTag | None = None
    tags_flight: bool = True
    """Whether a call for it moves the run's ledger: of a profile with several claims one does."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and the claim to write first (the same object when nothing changes)."""

    do: Do
    claim: Claim
    due: datetime | None = None
    """With LATER, and with WAIT where it cannot be relied on that somebody wakes us: when to look again."""


def decide(
    claim: Claim,
    wish: Wish,
    *,
    flight_id: str,
    fate: Fate,
    now: datetime,
    bound: timedelta,
    cleared: datetime | None = None,
    asked: datetime | None = None,
) -> Decision:
    """Decide for one profile; a SEND carries the claim with the new flight `flight_id` open until now + bound.

    What was opened at or before `cleared` and is not queued is known to be over, whatever its bound. Since `asked` all
    who may want an identity had the chance to claim it: who was turned away before that need not be thought of.
    """
    takeoff = _Takeoff(flight_id, fate, now, now + bound, None if cleared is None else cleared + bound, asked)
    claim = _without_old_echo(_without_stale_flight(claim, takeoff), takeoff)
    return (_join if wish.joins else _leave)(claim, wish, takeoff)


@dataclass(frozen=True, slots=True)
class _Takeoff:
    flight_id: str
    fate: Fate
    now: datetime
    until: datetime
    cleared_until: datetime | None
    asked: datetime | None

    def is_over(self, until: datetime) -> bool:
        """Whether a call that may arrive until then cannot any more."""
        return self.now >= until or (self.cleared_until is not None and until <= self.cleared_until)


def _without_stale_flight(claim: Claim, takeoff: _Takeoff) -> Claim:
    """Drop a flight that can no longer change anything: it never took off, or its bound is over."""
    flight = claim.flight
    if flight is None or takeoff.fate is Fate.QUEUED:
        return claim
    if takeoff.fate is Fate.FAILED:
        return land(claim, taken=False)
    return land(claim, taken=None) if takeoff.is_over(flight.until) else claim


def _without_old_echo(claim: Claim, takeoff: _Takeoff) -> Claim:
    """Forget a lost call that cannot arrive any more, so that nobody has to find that out again."""
    if claim.echo_until is None or not takeoff.is_over(claim.echo_until):
        return claim
    return replace(claim, echo=None, echo_until=None)


def _join(claim: Claim, wish: Wish, takeoff: _Takeoff) -> Decision:
    claim = _with_claimant(claim, wish.claimant, takeoff.now)
    wins = _winner(claim.claimants, wish.claimant) == wish.claimant
    flight = claim.flight
    if flight is not None and flight.claimant == wish.claimant:
        return _own_flight(claim, flight, wish, takeoff)
    if flight is not None and (wins or not flight.joins):
        return _wait(claim, flight, wish, takeoff)
    if not wins:
        return Decision(Do.DUPLICATE, claim)
    if claim.sent == wish.digest and not _echoes(claim, wish):
        return Decision(Do.SETTLED, claim)
    return _send(claim, wish, takeoff)


def _leave(claim: Claim, wish: Wish, takeoff: _Takeoff) -> Decision:
    is_owed = not claim.claimants and claim.sent is not None
    if wish.claimant not in claim.claimants and not is_owed:
        return Decision(Do.RELEASED, claim)
    others = claim.claimants - {wish.claimant}
    flight = claim.flight
    if flight is not None and flight.claimant == wish.claimant:
        return _own_flight(claim, flight, wish, takeoff)
    if flight is not None and not (flight.joins and others):
        return _wait(claim, flight, wish, takeoff)
    if others:
        next_one = _winner(others, wish.claimant)
        heir = {Waiter(next_one)} if flight is None and not next_one < wish.claimant else set()
        return Decision(Do.RELEASED, replace(claim, claimants=others, look_again=claim.look_again | heir))
    if not wish.goodbye:
        return Decision(Do.RELEASED, replace(claim, claimants=others, sent=None))
    if claim.sent is None and not _echoes(claim, wish):
        return Decision(Do.RELEASED, replace(claim, claimants=others))
    if claim.more is not None and (takeoff.asked is None or claim.more >= takeoff.asked):
        return Decision(Do.HOLD, replace(claim, claimants=others))
    return _send(replace(claim, more=None), wish, takeoff)


def _own_flight(claim: Claim, flight: Flight, wish: Wish, takeoff: _Takeoff) -> Decision:
    """Our own call is open: the same again is repeated (or its import awaited); anything else waits for its end."""
    same = flight.joins == wish.joins and flight.digest == wish.digest
    queued = takeoff.fate is Fate.QUEUED
    if same and queued and (wish.run is None or wish.run in flight.runs):
        return Decision(Do.PENDING, claim)
    if same and not queued:
        return _send(claim, wish, takeoff)
    return _wait(claim, flight, wish, takeoff)


def _wait(claim: Claim, flight: Flight, wish: Wish, takeoff: _Takeoff) -> Decision:
    """Wait for the end of a flight. Whoever made the call may never come back: then its bound ends the wait."""
    waiting = _with_waiter(claim, wish, takeoff)
    if takeoff.fate is not Fate.QUEUED:
        return Decision(Do.WAIT, waiting, flight.until)
    named = any(waiter.claimant == wish.claimant for waiter in waiting.look_again)
    return Decision(Do.WAIT, waiting, None if named else takeoff.now + UNNAMED_LOOK)


def _send(claim: Claim, wish: Wish, takeoff: _Takeoff) -> Decision:
    """Open a flight, unless a lost answer with another payload may still arrive.

    A flight that is still there is our own lost call with the same payload: it is repeated with its time, and its
    echo is remembered beyond the end of the repetition.
    """
    if _echoes(claim, wish):
        return Decision(Do.LATER, claim, claim.echo_until)
    lost = claim.flight
    flight = Flight(
        id=takeoff.flight_id,
        claimant=wish.claimant,
        joins=wish.joins,
        digest=wish.digest,
        at=_time_to_send(claim, wish) if lost is None else lost.at,
        until=takeoff.until,
        before=claim.sent if lost is None else UNSURE,
        echo=None if lost is None else lost.digest,
        echo_until=None if lost is None else _latest(lost.until, lost.echo_until),
        runs=() if wish.run is None or not wish.tags_flight else (wish.run,),
    )
    return Decision(Do.SEND, replace(claim, flight=flight, sent=UNSURE))


def _time_to_send(claim: Claim, wish: Wish) -> datetime:
    """A time sent never goes backwards; the next thing told of an identity is told as later."""
    return wish.at if claim.sent_at is None else max(wish.at, claim.sent_at + TURN)


def _echoes(claim: Claim, wish: Wish) -> bool:
    return claim.echo_until is not None and claim.echo != wish.digest


def _latest(*moments_or_none: datetime | None) -> datetime | None:
    return max((moment for moment in moments_or_none if moment is not None), default=None)


def _with_claimant(claim: Claim, claimant: str, now: datetime) -> Claim:
    """Add a claimant; the winner it supersedes is woken, because what it was told no longer holds.

    The same profile's claim for another export ends: the target has passed from that export to this one. Where there
    are too many, the last are turned away; one whose call is open stays, and does not count.
    """
    if claimant in claim.claimants:
        return claim
    _, profile = profile_of(claimant)
    kept = frozenset(other for other in claim.claimants if profile_of(other)[1] != profile)
    winner = _winner(kept | {claimant}, claimant)
    old = _winner(kept, claimant) if kept else claimant
    claimants = _first(kept | {claimant}, claimant, claim.flight)
    if len(claimants) <= len(kept):
        claim = _with_more(claim, now)
    if claimant not in claimants:
        return claim
    claim = replace(claim, claimants=claimants)
    if winner != claimant or old == claimant:
        return claim
    # Without a flight the old winner may believe itself told, and nobody else would make it look again.
    return _with_name(claim, Waiter(old), at_most=None if claim.flight is None else MOST_WAITERS)


def _with_more(claim: Claim, now: datetime) -> Claim:
    return claim if claim.more is not None and now - claim.more < REFRESHED_AFTER else replace(claim, more=now)


def _first(claimants: frozenset[str], like: str, flight: Flight | None) -> frozenset[str]:
    """Return the smallest claimants, those of the same export as `like` first, and the one whose call is open.

    A claim for another export is on its way out: the target has passed from that export to this one.
    """
    export_name, _ = profile_of(like)
    calling = claimants & ({flight.claimant} if flight is not None else set())
    in_order = sorted(claimants - calling, key=lambda claimant: (profile_of(claimant)[0] != export_name, claimant))
    return calling | frozenset(in_order[:MOST_CLAIMANTS])


def handed_over(claim: Claim, claimant: str, survivor: str, now: datetime) -> Claim:
    """Replace a claimant by another, so that the identity is never without one.

    A claimant whose own call is open stays beside it until that ends.
    """
    if claim.flight is None or claim.flight.claimant != claimant:
        claim = replace(claim, claimants=claim.claimants - {claimant})
    return _with_claimant(claim, survivor, now)


def _winner(claimants: frozenset[str], like: str) -> str:
    """Return the smallest claimant of the same export as `like`; of any export when that has none."""
    export_name, _ = profile_of(like)
    return min({other for other in claimants if profile_of(other)[0] == export_name} or claimants)


def _with_waiter(claim: Claim, wish: Wish, takeoff: _Takeoff) -> Claim:
    counted = wish.run is None or claim.counts(wish.claimant, wish.run, takeoff.fate)
    waiter = Waiter(wish.claimant, None if counted or wish.run is None else wish.run.run)
    return _with_name(claim, waiter, at_most=MOST_WAITERS)


def _with_name(claim: Claim, waiter: Waiter, *, at_most: int | None) -> Claim:
    """Name somebody to be woken, unless there are too many."""
    if waiter in claim.look_again or (at_most is not None and len(claim.look_again) >= at_most):
        return claim
    return replace(claim, look_again=claim.look_again | {waiter})


def land(
    claim: Claim, *, taken: bool | None, memo: str | None = None, rejected: bool = False, lasts: bool = False
) -> Claim:
    """End the claim's flight: `taken` when the destination took it, False when it refused it, None when that is open.

    `lasts`: whether it may take effect (once more) all the same, until its bound.
    What was taken replaces the memo. The loser of a change of winner is left in `look_again` beside those who waited.
    Who leaves and is `rejected` claims no longer, so as to keep nobody else out; while nobody else claims, the goodbye
    is still owed, and said when the destination has its second chance.
    """
    flight = claim.flight
    if flight is None:
        return claim
    claimants, look_again, sent, sent_at = claim.claimants, claim.look_again, flight.before, claim.sent_at
    if taken is None:
        sent, sent_at = UNSURE, _latest(sent_at, flight.at)
    elif not taken and flight.echo is not None:
        sent_at = _latest(sent_at, flight.at)  # the lost call it repeated had the same time, and may have arrived
    elif taken:
        sent = flight.digest if flight.joins else None
        sent_at = _latest(sent_at, flight.at)
        if not flight.joins:
            claimants -= {flight.claimant}
            if claimants:
                look_again |= {Waiter(_winner(claimants, flight.claimant))}
        elif claimants and (winner := _winner(claimants, flight.claimant)) != flight.claimant:
            look_again |= {Waiter(flight.claimant), Waiter(winner)}
    if rejected and not flight.joins:
        claimants -= {flight.claimant}
        if claimants:
            look_again |= {Waiter(_winner(claimants, flight.claimant))}
    echo = claim.echo if flight.echo_until is None else flight.echo
    return replace(
        claim,
        claimants=claimants,
        look_again=look_again,
        sent=sent,
        sent_at=sent_at,
        flight=None,
        echo=flight.digest if lasts else echo,
        echo_until=_latest(flight.until if lasts else None, flight.echo_until, claim.echo_until),
        memo=memo if taken else claim.memo,
    )


def without(claim: Claim, claimant: str) -> Claim:
    """Return the claim without a claimant that cannot be worked on, nor be woken; the next is left in `look_again`."""
    claimants = claim.claimants - {claimant}
    next_one = {Waiter(_winner(claimants, claimant))} if claimants else set()
    waiters = {waiter for waiter in claim.look_again if waiter.claimant != claimant}
    return replace(claim, claimants=claimants, look_again=frozenset(waiters | next_one))


def shown(claim: Claim, digest: str | None) -> Claim:
    """Note what a look at the destination has shown: the payload it holds, or None for nothing."""
    return replace(claim, sent=digest)


def to_json(claim: Claim) -> dict[str, Any]:
    """Return the stored form of a claim (without its version)."""
    flight = claim.flight
    body: dict[str, Any] = {"claimants": sorted(claim.claimants)}
    if claim.more is not None:
        body["more"] = moments.text(claim.more)
    if flight is not None:
        body["flight"] = {
            "id": flight.id,
            "claimant": flight.claimant,
            "joins": flight.joins,
            "digest": flight.digest,
            "at": moments.text(flight.at),
            "until": moments.text(flight.until),
            "before": flight.before,
            "echo": flight.echo,
            "echo_until": None if flight.echo_until is None else moments.text(flight.echo_until),
            "runs": [[tag.run, tag.shard, tag.phase] for tag in flight.runs],
        }
    if claim.look_again:
        body["look_again"] = sorted([waiter.claimant, waiter.run or ""] for waiter in claim.look_again)
    if claim.sent is not None:
        body["sent"] = claim.sent
    if claim.sent_at is not None:
        body["sent_at"] = moments.text(claim.sent_at)
    if claim.echo_until is not None:
        body["echo"], body["echo_until"] = claim.echo, moments.text(claim.echo_until)
    if claim.memo is not None:
        body["memo"] = claim.memo
    return body


def from_json(body: Mapping[str, Any], version: int) -> Claim:
    """Read the stored form of a claim."""
    flight = body.get("flight")
    return Claim(
        claimants=frozenset(body["claimants"]),
        more=moments.parse(body["more"]) if "more" in body else None,
        flight=None
        if flight is None
        else Flight(
            id=flight["id"],
            claimant=flight["claimant"],
            joins=flight["joins"],
            digest=flight["digest"],
            at=moments.parse(flight["at"]),
            until=moments.parse(flight["until"]),
            before=flight["before"],
            echo=flight["echo"],
            echo_until=None if flight["echo_until"] is None else moments.parse(flight["echo_until"]),
            runs=tuple(RunTag(*tag) for tag in flight["runs"]),
        ),
        look_again=frozenset(Waiter(claimant, run or None) for claimant, run in body.get("look_again", ())),
        sent=body.get("sent"),
        sent_at=moments.parse(body["sent_at"]) if "sent_at" in body else None,
        echo=body.get("echo"),
        echo_until=moments.parse(body["echo_until"]) if "echo_until" in body else None,
        memo=body.get("memo"),
        version=version,
    )
