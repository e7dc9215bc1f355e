"""Looking again at what ended as unconfirmed: what is found as wanted by then counts as told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from relay.clock import Clock
from relay.delivery.cases import Job
from relay.delivery.wishes import OUT, wish_of
from relay.destinations.contract import Step
from relay.domain.claims import UNSURE, Claim, shown
from relay.domain.deliveries import Delivery, Told, Want
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import UNCONFIRMED
from relay.stores import claims as claim_store
from relay.stores import deliveries as delivery_store
from relay.stores import profiles
from relay.stores.database import Database

LOOKS_AFTER = (timedelta(hours=1), timedelta(hours=4), timedelta(hours=12))
"""When what ended as unconfirmed is looked at again, from then on. After that only runs send it again."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a look has shown, by profile: how many were found as wanted, who was not, and who was not looked at yet."""

    found: int = 0
    missing: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Open:
    """One step that is unconfirmed still, with the claim as it was before the look."""

    profile: str
    key: str
    step: Step
    digest: str | None
    claim: Claim


class Confirming:
    """Looks, and records what was found; nothing is sent."""

    def __init__(self, database: Database, keyed: KeyedHash, clock: Clock) -> None:
        self._database = database
        self._keyed = keyed
        self._clock = clock

    def confirm(self, job: Job, profile_ids: Sequence[str]) -> Confirmation:
        """Ask the destination about profiles that are unconfirmed and unchanged; raises as `Destination.confirm`.

        Whoever was sent again, or changed, meanwhile is somebody else's business, and left out.
        """
        still_open = self._still_open(job, profile_ids)
        if not still_open:
            return Confirmation()
        seen = job.destination.confirm(job.account, job.export, [each.step for each in still_open])
        found = [still_open[index] for index, as_wanted in seen.items() if as_wanted]
        missing = {still_open[index].profile for index, as_wanted in seen.items() if not as_wanted}
        unseen = {each.profile for index, each in enumerate(still_open) if index not in seen}
        for each in found:
            self._record(job, each)
        return Confirmation(len(found), tuple(sorted(missing - unseen)), tuple(sorted(unseen)))

    def _still_open(self, job: Job, profile_ids: Sequence[str]) -> list[_Open]:
        stored = dict(zip(profile_ids, profiles.load(self._database, profile_ids), strict=True))
        deliveries = delivery_store.load(self._database, job.export.key, profile_ids)
        steps: list[tuple[str, str, Step, str | None]] = []
        for profile in profile_ids:
            wanted = wish_of(job.export, job.destination, stored[profile], self._keyed).wanted
            for key, refusal in deliveries[profile].refusals.items():
                step = self._step(key, refusal.digest, wanted, deliveries[profile])
                if refusal.rejection.code == UNCONFIRMED and step is not None:
                    steps.append((profile, key, step, refusal.digest if step.joins else None))
        claims = claim_store.load(self._database, [key for _, key, _, _ in steps])
        return [
            _Open(profile, key, step, digest, claims[key])
            for profile, key, step, digest in steps
            if claims[key].flight is None and claims[key].sent == UNSURE
        ]

    def _step(self, key: str, digest: str, wanted: Mapping[str, Want], delivery: Delivery) -> Step | None:
        """Return what was to be told, as long as it still is."""
        want, told = wanted.get(key), delivery.told.get(key)
        if want is not None and want.digest == digest:
            return Step(want.target, want.identity, True, want.at, want.values)
        if want is None and told is not None and digest == OUT:
            return Step(told.target, told.identity, False, self._clock.now())
        return None

    def _record(self, job: Job, each: _Open) -> None:
        """Write down that the destination holds what was wanted, unless somebody has written meanwhile."""
        delivery = delivery_store.load(self._database, job.export.key, [each.profile])[each.profile]
        refusal = delivery.refusals.get(each.key)
        if refusal is None or refusal.rejection.code != UNCONFIRMED or (refusal.digest != (each.digest or OUT)):
            return
        refusals = {key: other for key, other in delivery.refusals.items() if key != each.key}
        told = {key: other for key, other in delivery.told.items() if key != each.key}
        if each.digest is not None:
            told[each.key] = Told(each.step.target, each.step.identity, each.digest)
        now = self._clock.now()
        self._database.write(
            [
                [
                    claim_store.save(each.key, shown(each.claim, each.digest), now),
                    delivery_store.save(job.export.key, each.profile, replace(delivery, told=told, refusals=refusals)),
                ]
            ]
        )
