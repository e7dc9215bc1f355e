"""Ending flights: record what a destination took or refused, move the ledger, wake those who waited."""

import random
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from relay.clock import Clock
from relay.delivery.confirming import LOOKS_AFTER
from relay.delivery.wakeups import Wakeups
from relay.domain.claims import AWAITED, Claim, Fate, RunTag, claimant_of, land, without
from relay.domain.deliveries import Delivery, Refusal, Told
from relay.domain.exports import Export
from relay.domain.problems import UNCONFIRMED, Busy, Problem, Rejection
from relay.stores import claims as claim_store
from relay.stores import deliveries as delivery_store
from relay.stores import flights, runs
from relay.stores.database import Database, Write
from relay.stores.flights import Entry

CHUNK = 90
"""Claims and deliveries that are settled in one transaction, together with the counters of the runs concerned."""

RELEASED = 20
"""Entries whose flight ends without an outcome in one transaction: a claim, a delivery and waits of runs each."""

ATTEMPTS = 40

MOST_WOKEN = 1_000
"""How many claims are remembered whose waiters were woken."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    entry: Entry
    rejection: Rejection | None
    memo: str | None

    @property
    def taken(self) -> bool | None:
        """What the destination did with the entry; None when that is open."""
        if self.rejection is None:
            return True
        return False if self.rejection.is_certain else None


class Settling:
    """Settles the entries of a flight, each exactly once, however often it is asked to."""

    def __init__(self, database: Database, clock: Clock, wakeups: Wakeups) -> None:
        self._database = database
        self._clock = clock
        self._wakeups = wakeups
        self._woken: OrderedDict[str, int] = OrderedDict()
        """The versions of claims whose waiters were woken by this process."""

    def settle(
        self,
        export: Export,
        flight: str,
        entries: Sequence[Entry],
        refused: Mapping[int, Rejection],
        *,
        settings: str,
        memos: Mapping[int, str] | None = None,
        sent_in: RunTag | None = None,
        ledger: bool = False,
        lasts: bool = False,
    ) -> set[str]:
        """Record the end of a flight's entries (`refused` and `memos` by index); return the runs concerned.

        Whoever waited is woken, and who ended as unconfirmed is looked at again later.
        `settings` are those the flight was sent under, as `Refusal.settings`.
        With `ledger` (an import that ended) the profiles move from `outstanding` to their column in the runs the
        flight was tagged with; without it the caller's cursor counts them, and `sent_in` remembers for which run.
        `lasts`: whether the flight may take effect all the same; then another payload waits for its bound.
        """
        concerned: set[str] = set()
        for part in _chunks(entries):
            verdicts = [_Verdict(entries[index], refused.get(index), (memos or {}).get(index)) for index in part]
            runs_moved, owed = self._settle_part(export, flight, verdicts, settings, sent_in, ledger, lasts)
            concerned |= runs_moved
            if owed:
                self.flush(export, sorted(owed))
            leavers = [verdict.entry.profile for verdict in verdicts if not verdict.entry.joins]
            if leavers:
                self.drop_gone(export, leavers)
        unconfirmed = {entries[index].profile for index, rejection in refused.items() if rejection.code == UNCONFIRMED}
        if unconfirmed:
            due = self._clock.now() + LOOKS_AFTER[0]
            self._wakeups.confirm(export, sorted(unconfirmed), due, 0)
        return concerned

    def release(self, export: Export, flight: str, entries: Sequence[Entry]) -> None:
        """End a flight of an import that came to nothing, without an outcome: its profiles are to be sent again.

        The runs that count them as outstanding go on waiting for them.
        """
        for start in range(0, len(entries), RELEASED):
            owed = self._release_part(export, flight, entries[start : start + RELEASED])
            if owed:
                self.flush(export, sorted(owed))

    def _release_part(self, export: Export, flight: str, entries: Sequence[Entry]) -> set[str]:
        """End a chunk of a flight in one transaction; return the claims that owe wake-ups."""
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            claims = claim_store.load(self._database, [entry.claim for entry in entries])
            deliveries = delivery_store.load(self._database, export.key, sorted({entry.profile for entry in entries}))
            writes: dict[tuple[str, str], Write] = {}
            waits: set[tuple[str, str]] = set()
            owed: set[str] = set()
            for entry in entries:
                claim = claims[entry.claim]
                if claim.flight is None or claim.flight.id != flight:
                    continue
                landed = land(claim, taken=None)
                if landed.to_wake:
                    owed.add(entry.claim)
                writes["claim", entry.claim] = claim_store.save(entry.claim, landed, now)
                for tag in claim.flight.runs:
                    waits.add((tag.run, entry.profile))
                    if tag.phase != AWAITED:
                        # A page that died before its cursor moved counts them as outstanding all the same.
                        counted = replace(deliveries[entry.profile], counted_in=tag.mark)
                        writes["delivery", entry.profile] = delivery_store.save(export.key, entry.profile, counted)
            group = [*writes.values(), *runs.wait_once_more(self._database, waits, now)]
            if not group or self._database.write([group])[0]:
                return owed
            self._clock.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret
        raise Busy("contention", "a flight could not be ended")

    def _settle_part(
        self,
        export: Export,
        flight: str,
        verdicts: Sequence[_Verdict],
        settings: str,
        sent_in: RunTag | None,
        ledger: bool,
        lasts: bool,
    ) -> tuple[set[str], set[str]]:
        """Settle a chunk in one transaction; return the runs it moved and the claims that owe wake-ups."""
        for _ in range(ATTEMPTS):
            claims = claim_store.load(self._database, [verdict.entry.claim for verdict in verdicts])
            deliveries = delivery_store.load(self._database, export.key, sorted({v.entry.profile for v in verdicts}))
            changed: dict[str, Delivery] = {}
            moves: dict[RunTag, Counter[str]] = {}
            writes: list[Write] = []
            owed = {key for key, claim in claims.items() if claim.to_wake}
            for verdict in verdicts:
                entry, rejection = verdict.entry, verdict.rejection
                claim = claims[entry.claim]
                if claim.flight is None or claim.flight.id != flight:
                    continue
                landed = land(
                    claim,
                    taken=verdict.taken,
                    memo=verdict.memo,
                    rejected=verdict.rejection is not None,
                    lasts=lasts,
                )
                if landed.to_wake:
                    owed.add(entry.claim)
                writes.append(claim_store.save(entry.claim, landed, self._clock.now()))
                tags = claim.flight.runs if ledger else ()
                delivery = changed.get(entry.profile, deliveries[entry.profile])
                refusal = None if rejection is None else Refusal(rejection, entry.digest, self._clock.now(), settings)
                delivery = _told(delivery, entry, refusal, landed)
                marks = {tag.mark for tag in tags}
                changed[entry.profile] = replace(
                    delivery,
                    sent_in=sent_in.mark if sent_in is not None else delivery.sent_in,
                    counted_in=max(marks) if marks else delivery.counted_in,
                )
                for tag in tags:
                    moves.setdefault(tag, Counter()).update(_from_outstanding(rejection))
            if not writes:
                return set(), owed
            writes += [delivery_store.save(export.key, profile, delivery) for profile, delivery in changed.items()]
            writes += [runs.count(tag.run, tag.shard, counts) for tag, counts in _by_shard(moves).items()]
            if self._database.write([writes])[0]:
                return {tag.run for tag in moves}, owed
            self._clock.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret
        # Not a Conflict: the call was made, and whoever made it must not take it for one that never took off.
        raise Busy("contention", "a flight could not be settled")

    def set_aside(self, export: Export, flight: str, entry: Entry) -> None:
        """End a row of an import that ended but cannot be settled: count it, once, and let others have its identity."""
        now = self._clock.now()
        ledger: list[Write] = [flights.set_row_aside(flight, entry.claim, now)]
        if entry.run is not None:
            ledger.append(runs.count_aside(entry.run.run, entry.run.shard))
        try:
            claim = claim_store.load(self._database, [entry.claim])[entry.claim]
            if claim.flight is None or claim.flight.id != flight:
                return
            landed = without(land(claim, taken=None), claim.flight.claimant)
            if self._database.write([[claim_store.save(entry.claim, landed, now), *ledger]])[0]:
                self.flush(export, [entry.claim])
                return
        except Problem:
            raise
        except Exception:  # noqa: BLE001, S110 - the claim may be what went wrong; the run must not wait for it
            pass
        self._database.write([ledger])

    def withdraw(self, export: Export, profile: str) -> None:
        """Take a profile that was set aside off the claims that it began a call for, so that others have them.

        A queued import will be settled as any other.
        """
        told = delivery_store.load(self._database, export.key, [profile])[profile].told
        claimant = claimant_of(export.name, profile)
        claims = claim_store.load(self._database, sorted(told))
        own = {
            key: claim.flight.id
            for key, claim in claims.items()
            if claim.flight is not None and claim.flight.claimant == claimant and claimant in claim.claimants
        }
        known = flights.known(self._database, export.connection, set(own.values()))
        begun = {
            key: without(claims[key], claimant) for key, flight in own.items() if known[flight].fate is not Fate.QUEUED
        }
        self._database.write([[claim_store.save(key, claim, self._clock.now())] for key, claim in begun.items()])
        waiting = {waiter for claim in begun.values() for waiter in claim.look_again}
        self._wakeups.wake(export, waiting)

    def flush(self, export: Export, keys: Sequence[str]) -> None:
        """Wake everybody who waits at claims with no flight, then forget that they waited."""
        owed = {key: claim for key, claim in claim_store.load(self._database, keys).items() if claim.to_wake}
        # Where it cannot be forgotten that they waited, whoever looks at the claim would wake all of them again, and so
        # would each of them.
        not_woken = {key: claim for key, claim in owed.items() if self._woken.get(key) != claim.version}
        self._wakeups.wake(export, {waiter for claim in not_woken.values() for waiter in claim.look_again})
        for key, claim in not_woken.items():
            self._woken[key] = claim.version
            while len(self._woken) > MOST_WOKEN:
                self._woken.popitem(last=False)
        for key, claim in owed.items():
            self._forget_waiters(key, claim)

    def _forget_waiters(self, key: str, woken: Claim) -> None:
        claim = woken
        for _ in range(ATTEMPTS):
            rest = replace(claim, look_again=claim.look_again - woken.look_again)
            if self._database.write([[claim_store.save(key, rest, self._clock.now())]])[0]:
                return
            claim = claim_store.load(self._database, [key])[key]
            if not claim.look_again & woken.look_again:
                return

    def drop_gone(self, export: Export, profile_ids: Sequence[str]) -> None:
        """Drop claims given back from deliveries, now that their heirs are woken."""
        ids = sorted(set(profile_ids))
        for profile, delivery in delivery_store.load(self._database, export.key, ids).items():
            gone = {key for key, told in delivery.told.items() if told.gone}
            if gone:
                told = {key: told for key, told in delivery.told.items() if key not in gone}
                self._database.write([[delivery_store.save(export.key, profile, replace(delivery, told=told))]])


def _chunks(entries: Sequence[Entry]) -> Iterator[range]:
    """Yield ranges of entries whose claims and deliveries fit into one transaction."""
    start, profiles = 0, set[str]()
    for index, entry in enumerate(entries):
        profiles.add(entry.profile)
        if index + 1 - start + len(profiles) > CHUNK:
            yield range(start, index)
            start, profiles = index, {entry.profile}
    if entries:
        yield range(start, len(entries))


def _told(delivery: Delivery, entry: Entry, refusal: Refusal | None, landed: Claim) -> Delivery:
    told, refusals = dict(delivery.told), dict(delivery.refusals)
    if refusal is not None:
        refusals[entry.claim] = refusal
        return replace(delivery, refusals=refusals)
    refusals.pop(entry.claim, None)
    if entry.joins:
        told[entry.claim] = Told(entry.target, entry.identity, entry.digest)
    elif landed.to_wake:
        told[entry.claim] = Told(entry.target, entry.identity, gone=True)
    else:
        told.pop(entry.claim, None)
    return replace(delivery, told=told, refusals=refusals)


def _from_outstanding(rejection: Rejection | None) -> dict[str, int]:
    if rejection is None:
        return {"outstanding": -1, "delivered": 1}
    return {"outstanding": -1, "rejected": 1, f"rejected:{rejection.code}": 1}


def _by_shard(moves: Mapping[RunTag, Counter[str]]) -> dict[RunTag, Counter[str]]:
    """Merge the passes of a run: they share one record per shard."""
    merged: dict[RunTag, Counter[str]] = {}
    for tag, counts in moves.items():
        merged.setdefault(RunTag(tag.run, tag.shard), Counter()).update(counts)
    return merged
