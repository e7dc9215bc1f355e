"""Plans: what each case does in one round, decided from the claims that were read. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from relay.delivery.cases import Case, Job, Result
from relay.delivery.wishes import OUT
from relay.domain.claims import Claim, Decision, Do, Fate, RunTag, Wish, claimant_of, decide
from relay.domain.deliveries import Told
from relay.domain.runs import Outcome
from relay.stores.flights import Entry


@dataclass(slots=True)
class Plan:
    """What a case does in one round: decisions by claim key, and what the delivery says once they are written.

    `outcomes` and `reason` are filled up by the calls the plan leads to.
    """

    case: Case
    decisions: dict[str, Decision]
    told: dict[str, Told]
    counted: bool
    """The run's ledger counts this profile already, by an import that was queued before."""
    outcomes: list[Outcome] = field(default_factory=list)
    reason: str | None = None

    @property
    def due(self) -> datetime | None:
        """When the first call that nobody answered, and that something waits for, can have no effect any more."""
        return min((decision.due for decision in self.decisions.values() if decision.due is not None), default=None)

    @property
    def sends(self) -> bool:
        """Whether a call is to be made."""
        return any(decision.do is Do.SEND for decision in self.decisions.values())

    @property
    def outcome(self) -> Outcome:
        """One profile, one column: what is open first, then what was refused, then what was done."""
        outcomes = set(self.outcomes)
        if self.counted:
            outcomes.add(Outcome.OUTSTANDING)
        if self.case.rejected:
            outcomes.add(Outcome.REJECTED)
        outcome = next((outcome for outcome in _WORST_FIRST if outcome in outcomes), Outcome.UNCHANGED)
        # An alias that has handed over is nobody any more: its survivor is counted.
        return Outcome.ABSENT if outcome is Outcome.UNCHANGED and self.case.survivor is not None else outcome

    @property
    def result(self) -> Result:
        """The outcome, with the code of a rejection."""
        outcome = self.outcome
        reason = (self.reason or self.case.reason) if outcome is Outcome.REJECTED else None
        return Result(outcome, reason, self.case.warnings)


@dataclass(slots=True)
class Send:
    """One step of a call, and the plan it belongs to."""

    plan: Plan
    entry: Entry

    def moves_ledger_of(self, run: RunTag | None) -> bool:
        """Whether the end of an import of it is counted by a run; always so where there is none."""
        flight = self.plan.decisions[self.entry.claim].claim.flight
        return run is None or self.plan.counted or (flight is not None and run in flight.runs)


_WORST_FIRST = (
    Outcome.OUTSTANDING,
    Outcome.WAITING,
    Outcome.REJECTED,
    Outcome.DELIVERED,
    Outcome.DUPLICATE,
    Outcome.UNCHANGED,
)


def without_shared_claims(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """Split cases into those that share no claim with an earlier one, and the rest."""
    taken: set[str] = set()
    now: list[Case] = []
    later: list[Case] = []
    for case in sorted(cases, key=lambda case: case.profile):
        keys = {*case.difference.joins, *case.difference.leaves}
        (later if keys & taken else now).append(case)
        taken |= keys
    return now, later


def plan_of(
    job: Job,
    case: Case,
    claims: Mapping[str, Claim],
    fates: Mapping[str, Fate],
    now: datetime,
    cleared: datetime | None = None,
) -> Plan:
    """Decide about every claim of a case. At most one flight of a profile moves the run's ledger."""
    counted = job.run is not None and job.run.mark == case.delivery.counted_in
    plan = Plan(case, {}, dict(case.delivery.told), counted)
    run = None if counted else job.run
    tags_flight = True
    for key, wish in _wishes(job, case, now):
        claim = claims[key]
        fate = Fate.UNKNOWN if claim.flight is None else fates[claim.flight.id]
        decision = decide(
            claim,
            replace(wish, run=run, tags_flight=tags_flight),
            flight_id="",
            fate=fate,
            now=now,
            bound=job.destination.lost_answer_bound,
            cleared=cleared,
        )
        plan.decisions[key] = decision
        if decision.do in (Do.SEND, Do.PENDING):
            tags_flight = False
        outcome = _outcome_of(decision, wish.claimant, job.run, fate)
        if outcome is not None:
            plan.outcomes.append(outcome)
        told = _told_after(decision, case, key)
        if told is None:
            plan.told.pop(key, None)
        else:
            plan.told[key] = told
    return plan


def sends_of(plan: Plan) -> Iterable[Send]:
    """Yield the steps a plan sends."""
    for key, decision in plan.decisions.items():
        flight = decision.claim.flight
        if decision.do is Do.SEND and flight is not None:
            want, place = plan.case.difference.joins.get(key), plan.told[key]
            yield Send(
                plan,
                Entry(
                    profile=plan.case.profile,
                    claim=key,
                    target=place.target,
                    identity=place.identity,
                    joins=flight.joins,
                    digest=flight.digest,
                    at=flight.at,
                    values={} if want is None else want.values,
                    memo=decision.claim.memo,
                ),
            )


def name_flight(send: Send, flight_id: str) -> None:
    """Write the id of the call a step goes out with into the step's intent."""
    decision = send.plan.decisions[send.entry.claim]
    if decision.claim.flight is not None:
        claim = replace(decision.claim, flight=replace(decision.claim.flight, id=flight_id))
        send.plan.decisions[send.entry.claim] = replace(decision, claim=claim)


def _wishes(job: Job, case: Case, now: datetime) -> Iterable[tuple[str, Wish]]:
    """Yield what the case wants of each claim. A source's clock may run ahead; a time that is sent never does."""
    claimant = claimant_of(job.export.name, case.profile)
    for key, want in case.difference.joins.items():
        yield key, Wish(claimant, True, want.digest, min(want.at, now))
    goodbye = job.destination.says_goodbye(job.export)
    for key in case.difference.leaves:
        yield key, Wish(claimant, False, OUT, min(case.left_at[key], now), goodbye)


def _outcome_of(decision: Decision, claimant: str, run: RunTag | None, fate: Fate) -> Outcome | None:
    """Return the outcome of a decision that needs no call of ours; None for a SEND."""
    match decision.do:
        case Do.SEND:
            return None
        case Do.PENDING:
            return Outcome.OUTSTANDING
        case Do.WAIT | Do.LATER:
            return Outcome.OUTSTANDING if decision.claim.counts(claimant, run, fate) else Outcome.WAITING
        case Do.DUPLICATE:
            return Outcome.DUPLICATE
        case Do.SETTLED | Do.RELEASED:
            return Outcome.UNCHANGED


def _told_after(decision: Decision, case: Case, key: str) -> Told | None:
    """Return what the delivery says about a claim once the decision is written; None to drop it."""
    want, told = case.difference.joins.get(key), case.difference.leaves.get(key)
    if want is not None:
        return Told(want.target, want.identity, want.digest if decision.do is Do.SETTLED else None)
    if told is None or (decision.do is Do.RELEASED and not decision.claim.to_wake):
        return None
    return replace(told, digest=None, gone=decision.do is Do.RELEASED)
