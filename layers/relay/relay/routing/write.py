"""The fourth step: the segment catalogue and index, then profiles, then aliases. Each is one conditional write.

A profile becomes an alias only after another one holds all it knew. Dying in between leaves two profiles of which one
knows everything; the message comes back and makes the other one its alias. Somebody who writes to that one meanwhile
changes its version: it becomes an alias once that is merged, too.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from relay.clock import Clock
from relay.domain.problems import Conflict
from relay.domain.profiles import Profile
from relay.observability import Observability
from relay.routing.catalogue import Catalogue
from relay.routing.coalesce import Customer, by_profile
from relay.routing.merge import Draft, Room, draft
from relay.stores import profiles, segments, waits
from relay.stores.database import Database
from relay.stores.profiles import Saved
from relay.stores.waits import ForgetWait

TRIES: Final = 6
"""How often a profile is loaded and merged again when others keep writing it; then its messages come back."""


class Writer:
    """Stores what came for customers."""

    def __init__(
        self, database: Database, catalogue: Catalogue, clock: Clock, observability: Observability, room: Room
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._clock = clock
        self._observability = observability
        self._room = room

    def write(self, customers: Sequence[Customer], *, only: Callable[[Profile], bool] = lambda _: True) -> list[Draft]:
        """Merge and write; return what is in the store now.

        `only` says of a profile, as it is stored when it is written, whether it is to be written at all. Where it says
        no, the draft is returned as it was stored.
        Left out are the customers that others kept writing. There are fewer drafts than customers where several turn
        out to be one.
        """
        done = self._write(customers, only)
        self._see_to_forgotten(done)
        return done

    def _write(self, customers: Sequence[Customer], only: Callable[[Profile], bool]) -> list[Draft]:
        done: list[Draft] = []
        waiting = list(customers)
        for _ in range(TRIES):
            if not waiting:
                return done
            found = profiles.follow(self._database, {one for customer in waiting for one in customer.ids})
            # Not before it is read: so of two writes of a profile the later has the later time.
            now = self._clock.now()
            drafts = [draft(customer, found, self._room, now) for customer in by_profile(waiting, found)]
            for one in drafts:
                if not only(one.survivor):
                    one.reject()
            self._write_segments(drafts)
            waiting = self._save(drafts, now)
            done += [one for one in drafts if one.customer not in waiting]
        if waiting:
            trouble = Conflict("busy_profile", f"{len(waiting)} profiles kept changing")
            self._observability.problem("profiles not written", trouble)
        return done

    def _see_to_forgotten(self, drafts: Sequence[Draft]) -> None:
        """Have looked for what is left of the forgotten: of whoever is to be, and of whom an older change was late.

        An earlier try of that one may have written into the segment index.
        """
        now = self._clock.now()
        waits.put(
            self._database,
            [
                ForgetWait(now, one.customer.source, one.profile.id)
                for one in drafts
                if one.profile.is_tombstone or any(arrival.change.forget for arrival in one.customer.arrivals)
            ],
        )

    def _write_segments(self, drafts: Sequence[Draft]) -> None:
        self._catalogue.note(
            membership
            for one in drafts
            for arrival in one.customer.arrivals
            for membership in arrival.change.memberships
        )
        segments.add(
            self._database,
            [(segment, one.profile.id) for one in drafts if one.is_changed for segment in one.new_memberships()],
        )

    def _save(self, drafts: Sequence[Draft], now: datetime) -> list[Customer]:
        """Write profiles, then aliases; return the customers whose changes have to be merged again."""
        again: list[Customer] = []
        changed = [one for one in drafts if one.is_changed]
        limits = [self._room.most if one.customer.is_large else self._room.values for one in changed]
        saved = profiles.save(self._database, [one.profile for one in changed], now, limits)
        for one, outcome in zip(changed, saved, strict=True):
            if outcome is Saved.CONFLICT or (outcome is Saved.TOO_LARGE and not one.customer.is_large):
                again.append(one.customer)
            elif outcome is Saved.TOO_LARGE:
                one.reject()
            one.customer.is_large |= outcome is Saved.TOO_LARGE
        settled = [one for one in drafts if one.customer not in again] if again else drafts
        for one in settled:
            one.note_outcomes()
        return again + self._save_aliases(settled)

    def _save_aliases(self, drafts: Sequence[Draft]) -> list[Customer]:
        aliases = [(one, alias) for one in drafts for alias in one.aliases]
        written = profiles.save_aliases(self._database, [alias for _, alias in aliases])
        again: dict[Customer, None] = {}
        for (one, alias), is_written in zip(aliases, written, strict=True):
            if not is_written:
                again[one.customer] = None
            elif alias.version > 0:
                one.customer.given_up.add(alias.id)
        return list(again)
