"""Cases: how a profile stands between what is wished and what was told. Reading only."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, SecretStr

from relay.clock import Clock
from relay.delivery.wishes import OUT, left_at, wish_of
from relay.destinations.contract import Account, Destination
from relay.domain.claims import RunTag
from relay.domain.deliveries import MAPPING, Delivery, Difference, Refusal, Told, Want, compare
from relay.domain.exports import Export
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import DEFECT, UNCONFIRMED, Rejection, StaleSettings
from relay.domain.profiles import Alias, Profile
from relay.domain.runs import RETRY_ALL, Outcome, Run, warning_column
from relay.stores import deliveries as delivery_store
from relay.stores import profiles
from relay.stores.database import Database
from relay.stores.profiles import Stored

SECOND_CHANCE = timedelta(hours=20)
"""What the destination itself refused is tried again by runs, at most this often: daily, by a schedule too whose runs
begin and end a little earlier on one day than on another."""


@dataclass(frozen=True, slots=True)
class Retry:
    """What a run tries again of what was refused before it began.

    `code` is the code that an operator asked for (or `RETRY_ALL`), if any.
    """

    before: datetime
    code: str | None = None

    @classmethod
    def of(cls, run: Run) -> "Retry":
        """Return what a run tries again."""
        return cls(run.started_at, run.retry)

    def includes(self, refusal: Refusal, now: datetime) -> bool:
        """Return whether a refusal is meant: what was tried again and refused once more is not.

        What an operator asked for is, and what nobody knows the outcome of, whenever that was; anything else daily.
        """
        code = refusal.rejection.code
        if refusal.at >= self.before:
            return False
        return self.code in (RETRY_ALL, code) or code == UNCONFIRMED or now - refusal.at >= SECOND_CHANCE


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
    until: datetime | None = None
    """When no new call may begin any more."""
    tries: int = 0
    """How often the profiles were sent before in imports that came to nothing."""
    retry: Retry | None = None
    """What the run tries again."""
    asked: datetime | None = None
    """On the second pass of a run: since when every member has had the chance to claim its identities."""
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
    warnings: tuple[str, ...] = ()
    """Codes of what is left out of its values."""
    outcome: Outcome | None = None
    changed_at: datetime | None = None
    survivor: str | None = None
    """Where this id is an alias now: the profile that takes over what it was told, if it was told anything."""
    defect: bool = False
    """It could not be compared: a defect of ours concerns the profile, and nothing is known of it here."""
    set_aside: bool = False
    """It is on record that a defect concerned the profile before."""

    @classmethod
    def with_defect(cls, profile: str, outcome: Outcome) -> "Case":
        """Return what stands for a profile that could not be compared."""
        nothing = Delivery()
        return cls(profile, nothing, nothing, Difference({}, {}), {}, rejected=True, outcome=outcome, defect=True)

    @property
    def reason(self) -> str | None:
        """The code of a standing rejection."""
        if self.defect:
            return DEFECT
        first = self.delivery.refusals.get(MAPPING) or next(iter(self.delivery.refusals.values()), None)
        return None if first is None else first.rejection.code

    def after(self, stored: Delivery) -> "Case":
        """Return the case as it goes on when a part of it was worked on, with the delivery as it is now."""
        given_up = self.stored.refusals.keys() - self.delivery.refusals.keys()
        standing = {
            key: refusal
            for key, refusal in stored.refusals.items()
            if key not in given_up or refusal != self.stored.refusals[key]
        }
        return replace(self, stored=stored, delivery=replace(stored, refusals=standing))

    @property
    def joins(self) -> Mapping[str, Want]:
        """What may have to be sent for it, by claim key."""
        return {} if self.outcome is not None else self.difference.joins

    @property
    def leaves(self) -> Mapping[str, Told]:
        """What may have to be taken back for it, by claim key."""
        return {} if self.outcome is not None else self.difference.leaves


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a profile, the code of its rejection, and the codes of warnings."""

    outcome: Outcome
    reason: str | None = None
    warnings: tuple[str, ...] = ()


def tally(results: Iterable[Result]) -> Counter[str]:
    """Count profiles by outcome, and by the column of each warning."""
    counts: Counter[str] = Counter()
    for result in results:
        counts[result.outcome.value] += 1
        counts.update(map(warning_column, result.warnings))
    return counts


class Surveyor:
    """Compares the wishes of profiles with what was told about them."""

    def __init__(self, database: Database, keyed: KeyedHash, clock: Clock) -> None:
        self._database = database
        self._keyed = keyed
        self._clock = clock

    def survey(self, job: Job, profile_ids: Sequence[str]) -> list[Case]:
        """Compare wish and delivery of profiles, reading only.

        Raises StaleSettings when a delivery was written under newer settings than the job's.
        """
        found = profiles.read(self._database, profile_ids)
        deliveries = delivery_store.load(self._database, job.export.key, profile_ids)
        # Who takes over is asked only where there is something to take over.
        if aliases := [one for one in profile_ids if isinstance(found[one], Alias) and deliveries[one].told]:
            found |= profiles.follow(self._database, aliases)
        settings = self.settings_of(job)
        return [self._case(job, settings, profile, found, deliveries[profile]) for profile in profile_ids]

    def settings_of(self, job: Job) -> str:
        """Return what names the settings of a job's export and connection; as a keyed hash it gives no secret away."""
        return self._keyed("settings", str(job.export.version), json.dumps(_plain(job.account.connection.settings)))

    def _case(self, job: Job, settings: str, profile_id: str, found: Mapping[str, Stored], delivery: Delivery) -> Case:
        stored_as = found[profile_id]
        profile = stored_as if isinstance(stored_as, Profile) else None
        survivor = None
        if isinstance(stored_as, Alias):
            survivor = profiles.root_of(profile_id, found) if delivery.told else stored_as.of
        if delivery.settings > job.export.version:
            raise StaleSettings("settings", "a delivery was written under newer settings", version=delivery.settings)
        now = self._clock.now()
        wished = wish_of(job.export, job.destination, profile, self._keyed)
        difference = compare(wished.wanted, delivery, thorough=job.thorough)
        refusals = self._standing_refusals(wished.wanted, wished.rejection, delivery, settings)
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
            # An alias leaves nothing: it hands over.
            outcome = None if survivor is not None else Outcome.OUTSTANDING if counted else Outcome.HELD
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
            warnings=wished.warnings,
            outcome=outcome,
            changed_at=None if stored_as is None else stored_as.changed_at,
            survivor=survivor,
        )

    def _holds(self, job: Job, stored: Delivery) -> bool:
        """A slip in the settings empties no list: edited ones remove nobody before a run has counted who would go."""
        return job.hold_leavers or (not job.guarded and stored.settings < job.export.version)

    def _standing_refusals(
        self, wanted: Mapping[str, Want], rejection: Rejection | None, delivery: Delivery, settings: str
    ) -> dict[str, Refusal]:
        """Return the refusals that still say something about today's wish, under today's settings."""
        wishes = {key: wanted[key].digest if key in wanted else OUT for key in {*wanted, *delivery.told}}
        standing = {
            key: refusal
            for key, refusal in delivery.refusals.items()
            if (wishes.get(key), settings) == (refusal.digest, refusal.settings)
        }
        if rejection is not None:
            old = delivery.refusals.get(MAPPING)
            same = old is not None and old.rejection == rejection
            standing[MAPPING] = old if old is not None and same else Refusal(rejection, "", self._clock.now())
        return standing

    def _due_again(self, job: Job, refusal: Refusal) -> bool:
        """Whether a run tries again what was refused and may be taken by now."""
        return job.retry is not None and job.retry.includes(refusal, self._clock.now())


def _plain(value: Any) -> Any:
    """Return settings as JSON can hold them, those that are kept from logs included."""
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in sorted(type(value).model_fields)}
    return value.get_secret_value() if isinstance(value, SecretStr) else repr(value)


def _outcome_of_nothing(job: Job, delivery: Delivery, rejected: bool, wanted: Mapping[str, Want]) -> Outcome:
    if rejected:
        return Outcome.REJECTED
    if job.run is not None and job.run.mark == delivery.sent_in:
        return Outcome.DELIVERED
    return Outcome.UNCHANGED if wanted or delivery.told else Outcome.ABSENT
