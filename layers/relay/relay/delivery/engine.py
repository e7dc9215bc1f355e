"""The one step everything is made of: look at profiles, compare with what was told, claim, send, record.

Order of writes, and why a crash between any two does no harm:
1. the intent: claims with an open flight, and a delivery that no longer says what was told;
2. the call;
3. the record (`settling`), or the queued import that an import check settles.
A crash before 3 leaves an open flight; the redelivered message repeats the identical call, or waits for its bound.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from relay.clock import Clock
from relay.delivery.cases import Case, Job, Result, Surveyor
from relay.delivery.confirming import Confirmation, Confirming
from relay.delivery.handing_over import HandingOver
from relay.delivery.planning import Plan, Send, name_flight, part_of, plan_of, sends_of, without_shared_changes
from relay.delivery.setting_aside import SettingAside
from relay.delivery.settling import Settling
from relay.delivery.time_limits import out_of_time, within
from relay.delivery.wakeups import LONGEST_DELAY, Wakeups
from relay.destinations.contract import Step
from relay.domain.claims import AWAITED, Claim, Fate, RunTag
from relay.domain.deliveries import Delivery
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import DEFECT, Conflict, Problem, Rejection, Transient
from relay.domain.runs import Outcome
from relay.stores import claims as claim_store
from relay.stores import deliveries as delivery_store
from relay.stores import flights, gates
from relay.stores.database import Database, Group, Write
from relay.stores.flights import Entry, Known, QueuedImport

LOST_RACES = 12
"""How often cases are looked at again because others wrote meanwhile, before the message is put back."""

FIRST_LOOK = timedelta(seconds=10)
"""When a queued import is looked at first: one contact alone was seen to take 6 s."""


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
        aside: SettingAside | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._wakeups = wakeups
        self._new_id = new_id
        self._surveyor = Surveyor(database, keyed, clock)
        self._settling = Settling(database, clock, wakeups)
        self._confirming = Confirming(database, keyed, clock)
        self._handing_over = HandingOver(database, clock, self._settling, wakeups)
        self.aside = SettingAside(database, clock) if aside is None else aside

    def survey(self, job: Job, profile_ids: Sequence[str]) -> list[Case]:
        """Compare wish and delivery of profiles (`Surveyor.survey`); one that a defect concerns is set aside."""
        known = self.aside.known(job.export, profile_ids)
        cases: dict[str, Case] = {}

        def compare(part: Sequence[str]) -> None:
            for case in self._surveyor.survey(job, part):
                cases[case.profile] = replace(case, set_aside=case.profile in known)

        failed = self.aside.by_parts("compare", profile_ids, compare, alone=known)
        for profile in failed:
            outcome = self.aside.outcome(job.export, job.run, profile)
            cases[profile] = replace(Case.with_defect(profile, outcome), set_aside=profile in known)
        self.aside.note(job.export, failed)
        return [cases[profile] for profile in profile_ids]

    def confirm(self, job: Job, profile_ids: Sequence[str]) -> Confirmation:
        """Look whether profiles that ended as unconfirmed are as wanted by now (`Confirming.confirm`).

        One that a defect concerns is left out.
        """
        seen: list[Confirmation] = []

        def look(part: Sequence[str]) -> None:
            seen.append(self._confirming.confirm(job, part))

        self.aside.note(job.export, self.aside.by_parts("confirm", profile_ids, look))
        return Confirmation(
            sum(each.found for each in seen),
            tuple(profile for each in seen for profile in each.missing),
            tuple(profile for each in seen for profile in each.unseen),
        )

    def deliver(self, job: Job, profile_ids: Sequence[str]) -> dict[str, Result]:
        """Look at profiles and make the destination agree; the outcome of each.

        A defect of ours sets aside the profile that it concerns, as rejected; only what cannot be attributed is raised.
        Raises Transient, ConnectionProblem or ExportProblem when a call failed (what was answered is recorded),
        Conflict when others kept writing.
        """
        return self.perform(job, self.survey(job, profile_ids))

    def perform(self, job: Job, cases: Iterable[Case]) -> dict[str, Result]:
        """Do what surveyed cases need; as `deliver`."""
        results: dict[str, Result] = {}
        surveyed: dict[str, Case] = {}
        for case in cases:
            if case.defect and case.outcome is not None:
                results[case.profile] = Result(case.outcome, case.reason)
            else:
                surveyed[case.profile] = case
        begun: set[str] = set()

        def work(part: Sequence[str]) -> None:
            """Work as a redelivered message would on those it is not the first try for."""
            again = begun.intersection(part)
            begun.update(part)
            fresh = [surveyed[profile] for profile in part if profile not in again]
            once_more = self._surveyor.survey(replace(job, thorough=True), sorted(again)) if again else []
            results.update(self._perform(job, fresh + once_more))

        known = {profile for profile, case in surveyed.items() if case.set_aside}
        failed = self.aside.by_parts("deliver", surveyed, work, alone=known)
        for profile in failed:
            outcome = self.aside.outcome(job.export, job.run, profile)
            results[profile] = Result(outcome, DEFECT if outcome is Outcome.REJECTED else None)
            self._withdraw(job, profile)
        self.aside.note(job.export, failed)
        self.aside.forget(job.export, known - failed.keys())
        return results

    def _withdraw(self, job: Job, profile: str) -> None:
        try:
            self._settling.withdraw(job.export, profile)
        except Problem:
            raise
        except Exception:  # noqa: BLE001, S110 - its claims may be what went wrong; then others wait for the next run
            pass

    def _perform(self, job: Job, cases: Sequence[Case]) -> dict[str, Result]:
        results: dict[str, Result] = {}
        carried_out: dict[str, Plan] = {}
        aliases = self._handing_over.hand_over(job, cases)
        queue = [case for case in cases if case.profile not in aliases]
        queue += self._surveyor.survey(job, sorted(aliases)) if aliases else []
        lost_races = 0
        while lost_races < LOST_RACES:
            settled = [case for case in queue if case.outcome is not None and case.profile not in carried_out]
            self._tidy(job, settled)
            results.update(
                (case.profile, Result(case.outcome, case.reason, case.warnings)) for case in settled if case.outcome
            )
            parts = [part_of(case, carried_out.get(case.profile)) for case in queue if case.outcome is None]
            work = [part for part in parts if part.difference]
            if not work:
                return results
            done, later, raced = self._round(job, work, carried_out)
            carried_out.update((plan.case.profile, plan) for plan in done)
            results.update((plan.case.profile, plan.result) for plan in done)
            lost_races += bool(raced)
            whole = {case.profile: case for case in queue}
            queue = [whole[plan.case.profile] for plan in later]
            queue += self._rest(job, [case for plan in done if not plan.covers(case := whole[plan.case.profile])])
            queue += self._surveyor.survey(job, [plan.case.profile for plan in raced])
        raise Conflict("contention", "other deliveries kept writing the same claims")

    def _rest(self, job: Job, cases: Sequence[Case]) -> list[Case]:
        """Return cases of which a part was carried out, with their deliveries as they are now."""
        stored = delivery_store.load(self._database, job.export.key, [case.profile for case in cases])
        return [case.after(stored[case.profile]) for case in cases]

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

    def _round(
        self, job: Job, cases: Sequence[Case], before: Mapping[str, Plan]
    ) -> tuple[list[Plan], list[Plan], list[Plan]]:
        """Carry out what can be done together, after what was done `before` for the same profiles.

        Returns the plans that were carried out, those put off to the next round, and those whose intent lost a race.
        """
        keys = [key for case in cases for key in (*case.difference.joins, *case.difference.leaves)]
        claims = claim_store.load(self._database, keys)
        open_flights = {claim.flight.id for claim in claims.values() if claim.flight is not None}
        known = flights.known(self._database, job.export.connection, open_flights)
        claims = {key: _with_known_bound(claim, known) for key, claim in claims.items()}
        fates = {flight: each.fate for flight, each in known.items()}
        plans = self._plans(job, cases, claims, fates, before)
        if any(plan.due is not None for plan in plans) and (cleared := self._cleared_before(job)) is not None:
            plans = self._plans(job, cases, claims, fates, before, cleared)
        plans, later = without_shared_changes(plans, claims)
        sends = [send for plan in plans for send in sends_of(plan)]
        calls = self._name_flights(job, sends)
        applied = self._write_intents(job, plans, claims)
        raced = [plan for plan, ok in zip(plans, applied, strict=True) if not ok]
        ready = [plan for plan, ok in zip(plans, applied, strict=True) if ok]
        self._wake(job, ready)
        lost = {plan.case.profile for plan in raced}
        self._make_calls(
            job, {flight: [send for send in part if send.entry.profile not in lost] for flight, part in calls.items()}
        )
        return ready, later, raced

    def _cleared_before(self, job: Job) -> datetime | None:
        """Ask what is over. While that cannot be had whoever waits waits on, and the others need not."""
        try:
            return job.destination.cleared_before(job.account, self._clock.now())
        except Transient:
            return None

    def _plans(
        self,
        job: Job,
        cases: Sequence[Case],
        claims: Mapping[str, Claim],
        fates: Mapping[str, Fate],
        before: Mapping[str, Plan],
        cleared: datetime | None = None,
    ) -> list[Plan]:
        now = self._clock.now()
        return [plan_of(job, case, claims, fates, now, cleared, before.get(case.profile)) for case in cases]

    def _name_flights(self, job: Job, sends: Sequence[Send]) -> dict[str, list[Send]]:
        """Cut the steps into calls and write each call's flight id into the intents."""
        calls: dict[str, list[Send]] = {}
        steps = [_step(send.entry) for send in sends]
        for indices in job.destination.calls(job.account, job.export, steps) if steps else ():
            flight_id = self._new_id()
            calls[flight_id] = [sends[index] for index in indices]
            for send in calls[flight_id]:
                name_flight(send, flight_id)
        return calls

    def _write_intents(self, job: Job, plans: Sequence[Plan], claims: Mapping[str, Claim]) -> list[bool]:
        groups = [self._intent(job, plan, claims) for plan in plans]
        applied = iter(self._database.write([group for group in groups if group]))
        return [next(applied) if group else True for group in groups]

    def _intent(self, job: Job, plan: Plan, claims: Mapping[str, Claim]) -> Group:
        now = self._clock.now()
        writes: list[Write] = [
            claim_store.save(key, decision.claim, now)
            for key, decision in plan.decisions.items()
            if decision.claim != claims[key]
        ]
        stored = plan.case.stored
        begun_in = job.run.mark if job.run is not None and plan.sends else stored.begun_in
        delivery = replace(plan.case.delivery, told=plan.told, begun_in=begun_in, new_in=_new_in(job, stored))
        if delivery != plan.case.stored:
            delivery = replace(delivery, settings=job.export.version)
            writes.append(delivery_store.save(job.export.key, plan.case.profile, delivery))
        return writes

    def _wake(self, job: Job, plans: Sequence[Plan]) -> None:
        """Pay the wake-ups that were found or made, and have ourselves woken where nobody else will.

        Where the last who claimed an identity leaves, a run asks those who were turned away from it.
        """
        if any(decision.claim.wants_asking for plan in plans for decision in plan.decisions.values()):
            gates.owe_always(self._database, job.export.connection, job.export.name)
        owed = {key for plan in plans for key, decision in plan.decisions.items() if decision.claim.to_wake}
        if owed:
            self._settling.flush(job.export, sorted(owed))
            back = [plan.case.profile for plan in plans if any(told.gone for told in plan.told.values())]
            self._settling.drop_gone(job.export, back)
        later: dict[tuple[str, str | None], datetime] = {}
        for plan in plans:
            if plan.due is not None and not self._is_nudged_before(plan, job.run):
                run = job.run.run if job.run is not None and plan.outcome is Outcome.WAITING else None
                later[plan.case.profile, run] = plan.due
        self._wakeups.look_later(job.export, later)

    def _is_nudged_before(self, plan: Plan, run: RunTag | None) -> bool:
        """Whether a run goes on waiting for somebody it was waiting for, and looks again before the wake-up would.

        A run that stalls does so every quarter of an hour; one more wake-up for each such look would multiply them.
        """
        goes_on = run is not None and run.phase == AWAITED and plan.outcome is Outcome.WAITING and not plan.sends
        return goes_on and plan.due is not None and plan.due - self._clock.now() > LONGEST_DELAY

    def _make_calls(self, job: Job, calls: Mapping[str, Sequence[Send]]) -> None:
        waiting = [(flight, sends) for flight, sends in calls.items() if sends]
        for position, (flight, sends) in enumerate(waiting):
            try:
                if not self._is_time_left(job):
                    raise out_of_time()
                self._call(job, flight, sends)
            except Exception as error:
                # Whether a call was made that ended in a defect, nobody knows.
                problem = error if isinstance(error, Problem) else None
                never_made = problem is not None and problem.taken is False
                ids = [flight for flight, _ in waiting[position if never_made else position + 1 :]]
                now = self._clock.now()
                flights.record_failures(self._database, job.export.connection, ids, now)
                if problem is not None and problem.taken is None and problem.effect_within is not None:
                    until = now + problem.effect_within
                    flights.record_answer(self._database, job.export.connection, flight, until, now)
                raise

    def _is_time_left(self, job: Job) -> bool:
        return job.until is None or self._clock.now() < job.until

    def _call(self, job: Job, flight: str, sends: Sequence[Send]) -> None:
        entries = [send.entry for send in sends]
        settings = self._surveyor.settings_of(job)
        account = within(job.account, lambda: self._is_time_left(job))
        answer = job.destination.send(account, job.export, [_step(entry) for entry in entries])
        if answer.import_id is None:
            self._settling.settle(
                job.export, flight, entries, answer.refused, settings=settings, memos=answer.memos, sent_in=job.run
            )
        else:
            self._record_import(job, flight, entries, answer.import_id, answer.queued, answer.refused, settings)
        for index, send in enumerate(sends):
            refusal = answer.refused.get(index)
            # Of a profile with several calls one moves the ledger: the profile is outstanding only while that one is.
            is_open = answer.import_id is not None and send.moves_ledger_of(job.run)
            taken = Outcome.OUTSTANDING if is_open else Outcome.DELIVERED
            send.plan.outcomes.append(taken if refusal is None else Outcome.REJECTED)
            send.plan.reason = send.plan.reason if refusal is None else refusal.code

    def _record_import(
        self,
        job: Job,
        flight: str,
        entries: Sequence[Entry],
        import_id: str,
        queued: int | None,
        refused: Mapping[int, Rejection],
        settings: str,
    ) -> None:
        """Refused rows are settled at once; the others when the import check says so."""
        if refused:
            rows = sorted(refused)
            self._settling.settle(
                job.export,
                flight,
                [entries[row] for row in rows],
                {place: refused[row] for place, row in enumerate(rows)},
                settings=settings,
                sent_in=job.run,
            )
        rest = [entry for row, entry in enumerate(entries) if row not in refused]
        now = self._clock.now()
        flights.record_import(
            self._database,
            QueuedImport(
                flight,
                job.export.connection,
                job.export.name,
                import_id,
                queued,
                now,
                now,
                settings=settings,
                tries=job.tries,
            ),
            rest,
        )
        self._wakeups.check_import(job.export.connection, job.export.name, flight, 0, FIRST_LOOK)


def _with_known_bound(claim: Claim, known: Mapping[str, Known]) -> Claim:
    """Return a claim whose open flight lasts no longer than is known of its call."""
    flight = claim.flight
    until = None if flight is None else known[flight.id].until
    if flight is None or until is None or until >= flight.until:
        return claim
    return replace(claim, flight=replace(flight, until=until))


def _without_dead_marks(delivery: Delivery, run: RunTag | None) -> Delivery:
    """Drop the marks of runs that are over. Only a run knows: while it is active, all marks but its own are old."""
    if run is None:
        return delivery
    own = f"{run.run}#"
    sent_in, counted_in = (
        mark if mark and mark.startswith(own) else None for mark in (delivery.sent_in, delivery.counted_in)
    )
    return replace(delivery, sent_in=sent_in, counted_in=counted_in)


def _new_in(job: Job, stored: Delivery) -> str | None:
    """Return the job's run when it is the one that began to tell of a profile."""
    run = None if job.run is None else job.run.run
    return run if not stored.told or stored.new_in == run else None


def _step(entry: Entry) -> Step:
    return Step(entry.target, entry.identity, entry.joins, entry.at, entry.values, entry.memo)
