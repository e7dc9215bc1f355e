"""Forgetting a person on request: it begins here, goes on by itself, and is asked about until it is done."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final, Literal

from pydantic import Field

from relay.clock import Clock
from relay.destinations.contract import Destination
from relay.domain import moments
from relay.domain.changes import Forget
from relay.domain.exports import Export
from relay.domain.problems import QuestionProblem
from relay.domain.profiles import Forgotten, Profile
from relay.reconcile import forgetting as ends
from relay.settings.settings import Settings
from relay.stores import forgettings
from relay.stores.database import Database
from relay.stores.forgettings import Forgetting as Kept
from relay.stores.identities import FORGOTTEN_AFTER
from relay.stores.imports import ROWS_KEPT
from relay.workers.forgetting import DEAD_LETTERS, LEFT_BEHIND, Forgetting, Progress
from relay.workers.operators.protocol import Answer, Question

BACKUPS_KEPT: Final = timedelta(days=35)
"""Point-in-time recovery. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Point-in-time-recovery.html"""

FILES_KEPT: Final = timedelta(days=30)
"""As the template says of the bucket."""

MESSAGES_KEPT: Final = timedelta(days=4)
DEAD_MESSAGES_KEPT: Final = timedelta(days=14)
"""As the template says of the Changes queue and its dead-letter queue."""

_MEANS: Final = {
    ends.LEFT: "the destination has let the identity go",
    ends.DELETED: "the contact or user was deleted",
    ends.KEPT: "left where it is: the export keeps leavers",
    ends.SHARED: "left where it is: another profile has the same identity",
    LEFT_BEHIND: "left where it is: the export was deleted, or did not work for weeks",
}

_WHERE: Final = {
    "index": "segment index",
    "set_aside": "profiles set aside",
    "dead_letters": DEAD_LETTERS,
    "traces": "traces",
}


class ForgetPerson(Question):
    """Forget a person. It goes on by itself. Asked again with `since` it says how far it is."""

    profile: str = Field(description="A profile id, `source:key`, `namespace:value`, or an identity.")
    at_destinations: bool = Field(
        False, description="Delete the contact or user at the destinations, too, where the vendor's API can."
    )
    since: str | None = Field(
        None, description="The `at` of the first answer: only that forgetting is meant, whoever came back since."
    )


class Removed(Answer):
    """What was removed from where."""

    where: str
    count: int


class Waiting(Answer):
    """An export that has the person still, and why. The address is kept until then: it is the way to take it out."""

    export: str
    why: str


class AtDestination(Answer):
    """What became of the person's identities at a destination."""

    export: str
    what: str
    count: int


class Remains(Answer):
    """What is left, and until when; None where it stays."""

    where: str
    what: str
    until: str | None


class ForgottenPerson(Answer):
    """How far a forgetting is. It is done when nothing of the person is left but what `remains` says."""

    profile: str = Field(description="The profile id: to be asked with from now on, since an address leads nowhere.")
    state: Literal["waiting", "done"]
    at: str = Field(description="What was known of the person by then is gone for good.")
    waiting: list[Waiting]
    removed: list[Removed]
    at_destinations: list[AtDestination]
    remains: list[Remains]


class ForgettingOnRequest:
    """Answers `forget`.

    `find` returns the profiles that a text stands for.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        destinations: Callable[[str], Destination],
        forgetting: Forgetting,
        find: Callable[[str], Sequence[Profile]],
        clock: Clock,
    ) -> None:
        self._database = database
        self._settings = settings
        self._destinations = destinations
        self._forgetting = forgetting
        self._find = find
        self._clock = clock

    def forget(self, asked: ForgetPerson) -> ForgottenPerson:
        """Forget a person, or go on with it. Raises QuestionProblem when nobody, or more than one, is meant."""
        profile = self._one(asked.profile)
        if asked.since is None:
            self._forgetting.begin(profile.id, Forget.AT_DESTINATIONS if asked.at_destinations else Forget.HERE)
        elif profile.forgotten is None or moments.text(profile.forgotten.at) != asked.since:
            raise QuestionProblem("unknown_forgetting", "nobody was forgotten then", field="since")
        listing = self._settings.exports()
        progress = self._forgetting.step(profile.id, listing)
        if progress is None:
            raise QuestionProblem("unknown_profile", "nobody is stored under it any more", field="profile")
        stored, forgotten = progress.profile, progress.forgotten
        kept = forgettings.load(self._database, stored.id, forgotten)
        return ForgottenPerson(
            profile=stored.id,
            state="done" if progress.is_done else "waiting",
            at=moments.text(forgotten.at),
            waiting=[Waiting(export=export, why=why) for export, why in sorted(progress.waiting.items())],
            removed=list(_removed(progress, kept)),
            at_destinations=list(_at_destinations(kept)),
            remains=list(self._remains(progress, kept, listing.valid.values())),
        )

    def _one(self, asked: str) -> Profile:
        found = self._find(asked)
        if not found:
            raise QuestionProblem("unknown_profile", "nobody is stored under it", field="profile")
        if len(found) > 1:
            ids = ", ".join(one.id for one in found[:10])
            what = f"stands for {len(found)} profiles: ask with the id of one of {ids}"
            raise QuestionProblem("several_profiles", what, field="profile")
        return found[0]

    def _remains(self, progress: Progress, kept: Kept, exports: Iterable[Export]) -> Iterator[Remains]:
        # Until the end something of it may still be stored, and is in each day's backup.
        at = self._clock.now() if kept.ended_at is None else kept.ended_at

        def until(span: timedelta) -> str:
            return moments.text(at + span)

        tombstone = "its ids, which are keyed hashes, and the time: they keep older messages from bringing it back"
        yield Remains(where="profiles table", what=tombstone, until=None)
        yield Remains(where="identities table", what="keyed hashes and times of calls", until=until(FORGOTTEN_AFTER))
        yield Remains(where="record of this forgetting", what="the counts shown here", until=until(forgettings.KEPT))
        yield Remains(where="rows of imports", what="identities and values", until=until(ROWS_KEPT))
        hashes = "keyed hashes of whom they have seen, until they end"
        yield Remains(where="imports of segments", what=hashes, until=until(FILES_KEPT))
        yield Remains(where="Changes queue", what="changes, dropped when they come", until=until(MESSAGES_KEPT))
        if not progress.is_queue_seen:
            what = "changes, perhaps: it was not looked through to the end"
            yield Remains(where=DEAD_LETTERS, what=what, until=until(DEAD_MESSAGES_KEPT))
        yield Remains(where="segment files", what="whatever the platform wrote", until=until(FILES_KEPT))
        yield Remains(where="backups of the tables", what="all that was stored", until=until(BACKUPS_KEPT))
        if progress.is_done and not progress.profile.is_tombstone:
            yield from (_left_to_the_newcomer(key, progress.forgotten) for key in progress.assigned_before)
        for export in sorted(exports, key=lambda one: one.key):
            how_long = self._destinations(export.destination).kept_after_delete
            if (export.key, ends.DELETED) in kept.departures and how_long is not None:
                what = "the vendor can bring the contact or user back"
                yield Remains(where=export.key, what=what, until=until(how_long))
            elif progress.forgotten.at_destinations and (export.key, ends.LEFT) in kept.departures:
                what = "the contact or user: the vendor's API deletes nobody; delete it there"
                yield Remains(where=export.key, what=what, until=None)


def _left_to_the_newcomer(export: str, forgotten: Forgotten) -> Remains:
    what = "identities that it has assigned, until it works and looks at whoever came back"
    if forgotten.at_destinations:
        what += "; the contact or user was not deleted, because it did not work for 28 days: delete it there"
    return Remains(where=export, what=what, until=None)


def _removed(progress: Progress, kept: Kept) -> Iterator[Removed]:
    yield Removed(where="profile", count=1 + len(progress.profile.joined))
    for name, count in sorted(kept.removed.items()):
        yield Removed(where=_WHERE[name], count=count)
    assigned = sum(kept.departures.values())
    if assigned:
        yield Removed(where="assigned identities", count=assigned)


def _at_destinations(kept: Kept) -> Iterator[AtDestination]:
    for (export, how), count in sorted(kept.departures.items()):
        refused = how.removeprefix(ends.REFUSED)
        yield AtDestination(export=export, what=_MEANS.get(how, f"left where it is: refused ({refused})"), count=count)
