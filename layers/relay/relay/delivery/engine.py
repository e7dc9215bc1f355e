"""The one step everything is made of: look at profiles, compare with what was told, claim, send, record.

Order of writes, and why a crash between any two does no harm:
1. the intent: claims with an open flight, and a delivery that no longer says what was told;
2. the call;
3. the record (`settling`), or the queued import that an import check settles.
A crash before 3 leaves an open flight; the redelivered message repeats the identical call, or waits for its bound.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from relay.clock import Clock
from relay.delivery.settling import Settling
from relay.delivery.wakeups import Wakeups
from relay.delivery.wishes import OUT, left_at, wish_of
from relay.destinations.contract import Account, Destination, Step
from relay.domain.claims import Claim, Decision, Do, Fate, RunTag, Wish, claimant_of, decide
from relay.domain.deliveries import MAPPING, Delivery, Difference, Refusal, Told, Want, compare
from relay.domain.exports import Export
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Conflict, Problem, Rejection, RejectionKind, StaleSettings, Transient
from relay.domain.profiles import Profile
from relay.domain.runs import Outcome
from relay.stores import claims as claim_store
from relay.stores import deliveries as delivery_store
from relay.stores import flights, profiles
from relay.stores.database import Database, Group, Write
from relay.stores.flights import Entry, QueuedImport

LOST_RACES = 12
"""How often cases are looked at again because others wrote meanwhile, before the message is put back."""

SECOND_CHANCE = timedelta(hours=24)
"""What the destination itself refused is tried again by runs, at most this often."""

FIRST_LOOK = timedelta(seconds=10)
"""When a queued import is looked at first: one contact alone was seen to take 6 s."""


@dataclass(frozen=True, slots=True)
class Job:
    """For whom the engine works: an export, its account, and the run whose ledger counts the outcomes, if any."""

    export: Export
    destination: Destination
    account: Account
    run: RunTag | None = None
    thorough: bool = False
    hold_leavers: bool = False
    """On the first pass of a run leavers are counted, not removed."""
    guarded: bool = True
    """Whether a run has passed the guard under these settings; until then nobody told under older ones is removed."""


@dataclass(frozen=True, slots=True)
class Case:
    """One profile as it stands: the difference between wish and delivery; `outcome` when nothing is to be done."""

    profile: str
    stored: Delivery
    delivery: Delivery
    """As stored, less the refusals that say nothing about today's wish."""
    difference: Difference
    left_at: Mapping[str, datetime]
    rejected: bool = False
    outcome: Outcome | None = None
    changed_at: datetime | None = None

    @property
    def reason(self) -> str | None:
        """The code of a standing rejection."""
        first = self.delivery.refusals.get(MAPPING) or next(iter(self.delivery.refusals.values()), None)
        return None if first is None else first.rejection.code

    @property
    def steps(self) -> int:
        """The most steps that sending it can take."""
        return 0 if self.outcome is not None else len(self.difference.joins) + len(self.difference.leaves)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a profile, and the code of its rejection."""

    outcome: Outcome
    reason: str | None = None


@dataclass(slots=True)
class _Plan:
    """What a case does in one round: decisions by claim key, and the delivery to write with them."""

    case: Case
    decisions: dict[str, Decision]
    told: dict[str, Told]
    counted: bool
    outcomes: list[Outcome] = field(default_factory=list)
    reason: str | None = None


@dataclass(slots=True)
class _Send:
    plan: _Plan
    entry: Entry


class Engine:
    """Delivers; AWS, HTTP and time are behind its collaborators."""

    def __init__(
        self,
        database: Database,
        keyed: KeyedHash,
        clock: Clock,
        wakeups: Wakeups,
        *,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._database = database
        self._keyed = keyed
        self._clock = clock
        self._wakeups = wakeups
        self._new_id = new_id
        self._settling = Settling(database, clock, wakeups)

    def survey(self, job: Job, profile_ids: Sequence[str]) -> list[Case]:
        """Compare wish and delivery of profiles, reading only.

        Raises StaleSettings when a delivery was written under newer settings than the job's.
        """
        stored = dict(zip(profile_ids, profiles.load(self._database, profile_ids), strict=True))
        deliveries = delivery_store.load(self._database, job.export.key, profile_ids)
        return [self._case(job, profile, stored[profile], deliveries[profile]) for profile in profile_ids]

    def deliver(self, job: Job, profile_ids: Sequence[str]) -> dict[str, Result]:
        """Look at profiles and make the destination agree; the outcome of each.

        Raises Transient, ConnectionProblem or ExportProblem when a call failed (what was answered is recorded),
        Conflict when others kept writing.
        """
        return self.perform(job, self.survey(job, profile_ids))

    def perform(self, job: Job, cases: Iterable[Case]) -> dict[str, Result]:
        """Do what surveyed cases need; as `deliver`."""
        results: dict[str, Result] = {}
        queue, lost_races = list(cases), 0
        while lost_races < LOST_RACES:
            settled = [case for case in queue if case.outcome is not None]
            self._tidy(job, settled)
            results.update((case.profile, Result(case.outcome, case.reason)) for case in settled if case.outcome)
            work = [case for case in queue if case.outcome is None]
            if not work:
                return results
            now_cases, later = _without_shared_claims(work)
            raced = self._round(job, now_cases, results)
            lost_races += bool(raced)
            queue = later + self.survey(job, raced)
        raise Conflict("contention", "other deliveries kept writing the same claims")

    def _case(self, job: Job, profile_id: str, profile: Profile | None, delivery: Delivery) -> Case:
        if delivery.settings > job.export.version:
            raise StaleSettings("settings", "a delivery was written under newer settings", version=delivery.settings)
        now = self._clock.now()
        wished = wish_of(job.export, job.destination, profile, self._keyed)
        difference = compare(wished.wanted, delivery, thorough=job.thorough)
        refusals = self._standing_refusals(wished.wanted, wished.rejection, delivery)
        stored, delivery = delivery, replace(delivery, refusals=refusals)
        held = {key for key in refusals if key != MAPPING and not self._due_again(job, refusals[key])}
        difference = Difference(
            {key: want for key, want in difference.joins.items() if key not in held},
            {key: told for key, told in difference.leaves.items() if key not in held},
        )
        rejected = bool(held) or wished.rejection is not None
        counted = job.run is not None and job.run.mark == delivery.counted_in
        outcome: Outcome | None = None
        if not difference:
            outcome = Outcome.OUTSTANDING if counted else _outcome_of_nothing(job, delivery, rejected, wished.wanted)
        elif difference.leaves and self._holds(job, stored) and job.destination.says_goodbye(job.export):
            outcome = Outcome.OUTSTANDING if counted else Outcome.HELD
        return Case(
            profile=profile_id,
            stored=stored,
            delivery=delivery,
            difference=difference,
            left_at={
                key: left_at(job.export, job.destination, profile, told.target, now)
                for key, told in difference.leaves.items()
            },
            rejected=rejected,
            outcome=outcome,
            changed_at=None if profile is None else profile.changed_at,
        )

    def _holds(self, job: Job, stored: Delivery) -> bool:
        """A slip in the settings empties no list: edited ones remove nobody before a run has counted who would go."""
        return job.hold_leavers or (not job.guarded and stored.settings < job.export.version)

    def _standing_refusals(
        self, wanted: Mapping[str, Want], rejection: Rejection | None, delivery: Delivery
    ) -> dict[str, Refusal]:
        """Return the refusals that still say something about today's wish."""
        wishes = {key: wanted[key].digest if key in wanted else OUT for key in {*wanted, *delivery.told}}
        standing = {key: refusal for key, refusal in delivery.refusals.items() if wishes.get(key) == refusal.digest}
        if rejection is not None:
            old = delivery.refusals.get(MAPPING)
            same = old is not None and old.rejection == rejection
            standing[MAPPING] = old if old is not None and same else Refusal(rejection, "", self._clock.now())
        return standing

    def _due_again(self, job: Job, refusal: Refusal) -> bool:
        return (
            refusal.rejection.kind is RejectionKind.DESTINATION
            and job.run is not None
            and self._clock.now() - refusal.at >= SECOND_CHANCE
        )

    def _tidy(self, job: Job, cases: Sequence[Case]) -> None:
        """Keep new reasons of rejection, drop old ones, and drop deliveries that say nothing any more."""
        groups: list[Group] = []
        for case in cases:
            if case.outcome is Outcome.ABSENT and case.stored.version > 0:
                kept = _without_dead_marks(case.delivery, job.run)
                if kept.is_empty or kept != case.stored:
                    groups.append([delivery_store.save(job.export.key, case.profile, kept)])
            elif case.delivery.refusals != case.stored.refusals and case.outcome is not Outcome.HELD:
                kept = replace(case.delivery, settings=job.export.version)
                groups.append([delivery_store.save(job.export.key, case.profile, kept)])
        if groups:
            self._database.write(groups)

    def _round(self, job: Job, cases: Sequence[Case], results: dict[str, Result]) -> list[str]:
        """Work on cases that share no claim; return the profiles whose intent lost a race."""
        keys = [key for case in cases for key in (*case.difference.joins, *case.difference.leaves)]
        claims = claim_store.load(self._database, keys)
        open_flights = {claim.flight.id for claim in claims.values() if claim.flight is not None}
        fates = flights.fates(self._database, job.export.connection, open_flights)
        plans = [self._plan(job, case, claims, fates) for case in cases]
        sends = [send for plan in plans for send in self._sends(plan)]
        calls = self._name_flights(job, sends)
        applied = self._write_intents(job, plans, claims)
        raced = [plan.case.profile for plan, ok in zip(plans, applied, strict=True) if not ok]
        ready = [plan for plan, ok in zip(plans, applied, strict=True) if ok]
        self._wake(job, ready)
        lost = set(raced)
        self._make_calls(
            job, {flight: [send for send in part if send.entry.profile not in lost] for flight, part in calls.items()}
        )
        results.update((plan.case.profile, _result(plan)) for plan in ready)
        return raced

    def _plan(self, job: Job, case: Case, claims: Mapping[str, Claim], fates: Mapping[str, Fate]) -> _Plan:
        counted = job.run is not None and job.run.mark == case.delivery.counted_in
        plan = _Plan(case, {}, dict(case.delivery.told), counted)
        run = None if counted else job.run
        for key, wish in self._wishes(job, case):
            claim = claims[key]
            decision = decide(
                claim,
                replace(wish, run=run),
                flight_id="",
                fate=Fate.UNKNOWN if claim.flight is None else fates[claim.flight.id],
                now=self._clock.now(),
                bound=job.destination.lost_answer_bound,
            )
            plan.decisions[key] = decision
            if decision.do in (Do.SEND, Do.PENDING):
                run = None
            outcome = _outcome_of(decision, claimant_of(job.export.name, case.profile), job.run)
            if outcome is not None:
                plan.outcomes.append(outcome)
            told = _told_after(decision, case, key)
            if told is None:
                plan.told.pop(key, None)
            else:
                plan.told[key] = told
        return plan

    def _wishes(self, job: Job, case: Case) -> Iterable[tuple[str, Wish]]:
        claimant = claimant_of(job.export.name, case.profile)
        for key, want in case.difference.joins.items():
            yield key, Wish(claimant, True, want.digest, want.at)
        goodbye = job.destination.says_goodbye(job.export)
        for key in case.difference.leaves:
            yield key, Wish(claimant, False, OUT, case.left_at[key], goodbye)

    def _sends(self, plan: _Plan) -> Iterable[_Send]:
        for key, decision in plan.decisions.items():
            flight = decision.claim.flight
            if decision.do is Do.SEND and flight is not None:
                want = plan.case.difference.joins.get(key)
                place = plan.told[key]
                values = {} if want is None else want.values
                yield _Send(
                    plan,
                    Entry(
                        plan.case.profile,
                        key,
                        place.target,
                        place.identity,
                        flight.joins,
                        flight.digest,
                        flight.at,
                        values,
                    ),
                )

    def _name_flights(self, job: Job, sends: Sequence[_Send]) -> dict[str, list[_Send]]:
        """Cut the steps into calls and write each call's flight id into the intents."""
        calls: dict[str, list[_Send]] = {}
        for indices in job.destination.calls(job.export, [_step(send.entry) for send in sends]) if sends else ():
            flight_id = self._new_id()
            calls[flight_id] = [sends[index] for index in indices]
            for send in calls[flight_id]:
                decision = send.plan.decisions[send.entry.claim]
                if decision.claim.flight is not None:
                    flight = replace(decision.claim.flight, id=flight_id)
                    send.plan.decisions[send.entry.claim] = replace(
                        decision, claim=replace(decision.claim, flight=flight)
                    )
        return calls

    def _write_intents(self, job: Job, plans: Sequence[_Plan], claims: Mapping[str, Claim]) -> list[bool]:
        groups = [self._intent(job, plan, claims) for plan in plans]
        applied = iter(self._database.write([group for group in groups if group]))
        return [next(applied) if group else True for group in groups]

    def _intent(self, job: Job, plan: _Plan, claims: Mapping[str, Claim]) -> Group:
        now = self._clock.now()
        writes: list[Write] = [
            claim_store.save(key, decision.claim, now)
            for key, decision in plan.decisions.items()
            if decision.claim != claims[key]
        ]
        delivery = replace(plan.case.delivery, told=plan.told)
        if delivery != plan.case.stored:
            delivery = replace(delivery, settings=job.export.version)
            writes.append(delivery_store.save(job.export.key, plan.case.profile, delivery))
        return writes

    def _wake(self, job: Job, plans: Sequence[_Plan]) -> None:
        """Pay the wake-ups that were found or made, and have ourselves woken where nobody else will."""
        owed = {key for plan in plans for key, decision in plan.decisions.items() if decision.claim.to_wake}
        if owed:
            self._settling.flush(job.export, sorted(owed))
            back = [plan.case.profile for plan in plans if any(told.gone for told in plan.told.values())]
            self._settling.drop_gone(job.export, back)
        later: dict[tuple[str, str | None], datetime] = {}
        for plan in plans:
            for decision in plan.decisions.values():
                if decision.due is not None:
                    waiting = _overall(plan) is Outcome.WAITING
                    run = job.run.run if job.run is not None and waiting else None
                    later[plan.case.profile, run] = decision.due
        self._wakeups.look_later(job.export, later)
        if job.thorough:
            self._recheck_imports(job, plans)

    def _recheck_imports(self, job: Job, plans: Sequence[_Plan]) -> None:
        """After a redelivery, make sure that the imports we wait for are being looked at."""
        open_flights = {
            decision.claim.flight.id
            for plan in plans
            for decision in plan.decisions.values()
            if decision.do is Do.PENDING and decision.claim.flight is not None
        }
        for flight in sorted(open_flights):
            self._wakeups.check_import(job.export.connection, job.export.name, flight, 0, FIRST_LOOK)

    def _make_calls(self, job: Job, calls: Mapping[str, Sequence[_Send]]) -> None:
        waiting = [(flight, sends) for flight, sends in calls.items() if sends]
        for position, (flight, sends) in enumerate(waiting):
            try:
                self._call(job, flight, sends)
            except Problem as problem:
                now = self._clock.now()
                untaken = waiting[position + 1 :]
                if not isinstance(problem, Transient) or problem.taken is False:
                    untaken = waiting[position:]
                for idle, _ in untaken:
                    flights.record_failure(self._database, job.export.connection, idle, now)
                raise

    def _call(self, job: Job, flight: str, sends: Sequence[_Send]) -> None:
        entries = [send.entry for send in sends]
        answer = job.destination.send(job.account, job.export, [_step(entry) for entry in entries])
        if answer.import_id is None:
            self._settling.settle(job.export, flight, entries, answer.refused, sent_in=job.run)
            outcome = Outcome.DELIVERED
        else:
            outcome = Outcome.OUTSTANDING
            self._record_import(job, flight, entries, answer.import_id, answer.queued, answer.refused)
        for index, send in enumerate(sends):
            refusal = answer.refused.get(index)
            send.plan.outcomes.append(outcome if refusal is None else Outcome.REJECTED)
            send.plan.reason = send.plan.reason if refusal is None else refusal.code

    def _record_import(
        self,
        job: Job,
        flight: str,
        entries: Sequence[Entry],
        import_id: str,
        queued: int | None,
        refused: Mapping[int, Rejection],
    ) -> None:
        """Refused rows are settled at once; the others when the import check says so."""
        if refused:
            rows = sorted(refused)
            self._settling.settle(
                job.export,
                flight,
                [entries[row] for row in rows],
                {place: refused[row] for place, row in enumerate(rows)},
                sent_in=job.run,
            )
        rest = [entry for row, entry in enumerate(entries) if row not in refused]
        now = self._clock.now()
        flights.record_import(
            self._database,
            QueuedImport(flight, job.export.connection, job.export.name, import_id, queued, now, now),
            rest,
        )
        self._wakeups.check_import(job.export.connection, job.export.name, flight, 0, FIRST_LOOK)


def _outcome_of_nothing(job: Job, delivery: Delivery, rejected: bool, wanted: Mapping[str, Want]) -> Outcome:
    if rejected:
        return Outcome.REJECTED
    if job.run is not None and job.run.mark == delivery.sent_in:
        return Outcome.DELIVERED
    return Outcome.UNCHANGED if wanted or delivery.told else Outcome.ABSENT


def _without_dead_marks(delivery: Delivery, run: RunTag | None) -> Delivery:
    """Drop the marks of runs that are over. Only a run knows: while it is active, all marks but its own are old."""
    if run is None:
        return delivery
    own = f"{run.run}#"
    sent_in, counted_in = (
        mark if mark and mark.startswith(own) else None for mark in (delivery.sent_in, delivery.counted_in)
    )
    return replace(delivery, sent_in=sent_in, counted_in=counted_in)


def _step(entry: Entry) -> Step:
    return Step(entry.target, entry.identity, entry.joins, entry.at, entry.values)


def _without_shared_claims(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """Split cases into those that share no claim with an earlier one, and the rest."""
    taken: set[str] = set()
    now: list[Case] = []
    later: list[Case] = []
    for case in sorted(cases, key=lambda case: case.profile):
        keys = {*case.difference.joins, *case.difference.leaves}
        (later if keys & taken else now).append(case)
        taken |= keys
    return now, later


def _outcome_of(decision: Decision, claimant: str, run: RunTag | None) -> Outcome | None:
    """The outcome of a decision that needs no call of ours; None for a SEND."""
    match decision.do:
        case Do.SEND:
            return None
        case Do.PENDING:
            return Outcome.OUTSTANDING
        case Do.WAIT | Do.LATER:
            return Outcome.OUTSTANDING if decision.claim.counts(claimant, run) else Outcome.WAITING
        case Do.DUPLICATE:
            return Outcome.DUPLICATE
        case Do.SETTLED | Do.RELEASED:
            return Outcome.UNCHANGED


def _told_after(decision: Decision, case: Case, key: str) -> Told | None:
    """What the delivery says about a claim once the decision is written; None to drop it."""
    want, told = case.difference.joins.get(key), case.difference.leaves.get(key)
    if want is not None:
        return Told(want.target, want.identity, want.digest if decision.do is Do.SETTLED else None)
    if told is None or (decision.do is Do.RELEASED and not decision.claim.to_wake):
        return None
    return replace(told, digest=None, gone=decision.do is Do.RELEASED)


def _result(plan: _Plan) -> Result:
    outcome = _overall(plan)
    return Result(outcome, (plan.reason or plan.case.reason) if outcome is Outcome.REJECTED else None)


_WORST_FIRST = (
    Outcome.OUTSTANDING,
    Outcome.WAITING,
    Outcome.REJECTED,
    Outcome.DELIVERED,
    Outcome.DUPLICATE,
    Outcome.UNCHANGED,
)


def _overall(plan: _Plan) -> Outcome:
    """One profile, one column: what is open first, then what was refused, then what was done."""
    outcomes = set(plan.outcomes)
    if plan.counted:
        outcomes.add(Outcome.OUTSTANDING)
    if plan.case.rejected:
        outcomes.add(Outcome.REJECTED)
    return next((outcome for outcome in _WORST_FIRST if outcome in outcomes), Outcome.UNCHANGED)
