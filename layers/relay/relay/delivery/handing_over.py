"""Handing over: a profile that became an alias of another one leaves what it was told to that one.

In one transaction the survivor's delivery gets the entries, their claims another claimant, and the alias' own entries
are marked as given back. So the identity is never without a claimant, and never leaves the destination on the way. What
the survivor does not want leaves afterwards as ever. A call of the alias that is still open ends first; until then both
claim. Dying in between is made up for by the message that comes again: as long as the alias has entries, the survivor
is woken.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from relay.clock import Clock
from relay.delivery.cases import Case, Job
from relay.delivery.settling import Settling
from relay.delivery.wakeups import Wakeups
from relay.domain.claims import claimant_of, handed_over
from relay.domain.deliveries import Delivery, Told
from relay.domain.problems import Conflict, StaleSettings
from relay.stores import claims, deliveries
from relay.stores.database import Database, Write

AT_ONCE = 40
"""Claims that pass to the survivor in one transaction."""

TRIES = 12
"""How often it is tried again because others wrote meanwhile."""


class HandingOver:
    """Lets survivors take over from aliases."""

    def __init__(self, database: Database, clock: Clock, settling: Settling, wakeups: Wakeups) -> None:
        self._database = database
        self._clock = clock
        self._settling = settling
        self._wakeups = wakeups

    def hand_over(self, job: Job, cases: Iterable[Case]) -> set[str]:
        """Hand over what the aliases among the cases were told, and wake the survivors; return the aliases' ids.

        Raises StaleSettings when a survivor's delivery was written under newer settings, Conflict when others kept
        writing.
        """
        survivors: dict[str, str] = {}
        claims_of_all: set[str] = set()
        for case in cases:
            if case.survivor is None or not case.stored.told:
                continue
            keys = sorted(case.stored.told)
            for start in range(0, len(keys), AT_ONCE):
                self._pass_on(job, case.profile, case.survivor, keys[start : start + AT_ONCE])
            survivors[case.profile] = case.survivor
            claims_of_all.update(keys)
        if survivors:
            self._settling.flush(job.export, sorted(claims_of_all))
            self._wakeups.look_again(job.export, set(survivors.values()))
        return set(survivors)

    def _pass_on(self, job: Job, alias: str, survivor: str, keys: Sequence[str]) -> None:
        export, now = job.export, self._clock.now()
        old_claimant, new_claimant = claimant_of(export.name, alias), claimant_of(export.name, survivor)
        for _ in range(TRIES):
            both = deliveries.load(self._database, export.key, [alias, survivor])
            old, new = both[alias], both[survivor]
            if new.settings > export.version:
                raise StaleSettings("settings", "a delivery was written under newer settings", version=new.settings)
            passed = {key: told for key in keys if (told := old.told.get(key)) is not None and not told.gone}
            if not passed:
                return
            before = claims.load(self._database, list(passed))
            after = {key: handed_over(claim, old_claimant, new_claimant) for key, claim in before.items()}
            back = {key: told for key, told in passed.items() if old_claimant not in after[key].claimants}
            writes: list[Write] = [
                deliveries.save(export.key, profile, delivery)
                for profile, delivery in ((survivor, _with(new, passed, old)), (alias, _without(old, back)))
                if delivery != both[profile]
            ]
            writes += [claims.save(key, claim, now) for key, claim in after.items() if claim != before[key]]
            if not writes or self._database.write([writes])[0]:
                return
        raise Conflict("contention", "others kept writing what an alias hands over")


def _with(delivery: Delivery, passed: dict[str, Told], old: Delivery) -> Delivery:
    """Return the survivor's delivery with the entries of the alias' `old` one; what it says of them is open.

    Under which settings they were told goes along, so that the guard of edited settings holds for the survivor, too.
    """
    told = {key: replace(one, digest=None) for key, one in passed.items()} | dict(delivery.told)
    if not delivery.told:
        return replace(delivery, told=told, settings=old.settings, new_in=old.new_in)
    return replace(delivery, told=told, settings=min(delivery.settings, old.settings))


def _without(delivery: Delivery, back: dict[str, Told]) -> Delivery:
    given_back = {key: replace(one, digest=None, gone=True) for key, one in back.items()}
    return replace(delivery, told={**delivery.told, **given_back}, refusals={})
