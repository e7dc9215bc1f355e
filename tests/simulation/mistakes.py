"""Plausible mistakes in the relay, each planted while schedules are played: the simulation must notice every one.

Each replaces one part of the library by what a hasty hand would have written, and names a schedule that is known to
notice it. Changes of the code move these; `python -m tests.simulation --mistakes` finds others.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

from relay.domain import identity, merging
from relay.domain.identity import Do, Record, Step, Taken, Unwanted, Wanted
from relay.queues import Message
from relay.reconcile import forgetting, job, reconciler, recorder, survey, visit
from relay.reconcile.enqueue import Enqueuer
from relay.reconcile.handover import Handover
from relay.reconcile.job import Job
from relay.reconcile.reconciler import Reconciler
from relay.reconcile.recorder import Recorder
from relay.routing.ask import Asker
from relay.routing.count import Counting
from relay.routing.write import Writer
from relay.runs.pages import Pages
from relay.runs.settlement import Settlement
from relay.stores import assignments, forgettings, identities, outstanding, owners, runs, waits
from relay.stores.database import Update
from relay.stores.waits import IdentityWait
from relay.workers import retention
from relay.workers.forgetting import Forgetting
from relay.workers.tick import Ticker
from tests.fakes.simulated_queue import SimQueue
from tests.simulation.crowded_world import CrowdedWorld
from tests.simulation.flawed_world import FlawedWorld
from tests.simulation.importing_mistakes import IMPORTING
from tests.simulation.planting import Mistake
from tests.simulation.planting import instead as _instead
from tests.simulation.planting import now as _now
from tests.simulation.playing import play
from tests.simulation.promises import BrokenPromise
from tests.simulation.retention_world import RetentionWorld
from tests.simulation.wider_world import WiderWorld

# What the rules say.


def _impatient(right: Callable[..., Step], record: Record, **more: Any) -> Step:
    same = record.open is None or record.open.content == identity.wanted_content(record)
    return right(record if same else record._replace(open=None), **more)


def _begin_beside(right: Callable[..., Record], record: Record, call_id: str, **more: Any) -> Record:
    same = record.open is None or record.open.content == identity.wanted_content(record)
    return right(record if same else record._replace(open=None), call_id, **more)


def _forgets_earlier(right: Callable[..., Record], record: Record, *more: Any) -> Record:
    call = record.open
    return right(record if call is None else record._replace(open=call._replace(earlier=None)), *more)


def _old_answers(right: Callable[..., Record], record: Record, call_id: str, *more: Any) -> Record:
    call = record.open
    return right(record, call_id if call is None or call.id is None else call.id, *more)


def _lapses_as_done(right: Callable[..., Record], record: Record, now: datetime) -> Record:
    call, lapsed = record.open, right(record, now)
    return lapsed if lapsed is record or call is None else lapsed._replace(acknowledged=call.content)


def _lapses_as_before(right: Callable[..., Record], record: Record, now: datetime) -> Record:
    lapsed = right(record, now)
    return lapsed if lapsed is record else lapsed._replace(acknowledged=record.acknowledged)


def _loses_evidence(right: Callable[..., Record], record: Record, now: datetime) -> Record:
    lapsed = right(record, now)
    return lapsed if lapsed is record else lapsed._replace(evidence=None)


def _repeats_with_a_new_time(right: Callable[..., Record], record: Record, call_id: str, **more: Any) -> Record:
    begun = right(record, call_id, **more)
    return begun._replace(sent_at=more["at"])


def _turns_away_without_a_mark(right: Callable[..., Record], record: Record, *more: Any) -> Record:
    return right(record, *more)._replace(turned_away_at=record.turned_away_at)


def _takes_out_who_may_be_wanted(right: Callable[..., Record], record: Record, *more: Any, **named: Any) -> Record:
    return right(record._replace(turned_away_at=None), *more, **named)


def _clears_fresh_marks(right: Callable[..., Record], record: Record, *more: Any, **named: Any) -> Record:
    old = record.turned_away_at
    fresh = old is not None and named.get("asked_since") is not None
    return right(record._replace(turned_away_at=None) if fresh else record, *more, **named)


def _next_winner_unasked(right: Callable[..., Record], record: Record, *more: Any, **named: Any) -> Record:
    """The next in line gets the values of whoever has left."""
    released = right(record, *more, **named)
    before, after = record.desired, released.desired
    if isinstance(before, Wanted) and isinstance(after, Wanted) and after.digest is None:
        return released._replace(desired=after._replace(digest=before.digest))
    return released


def _forgets_who_left(right: Callable[..., Record], *more: Any, **named: Any) -> Record:
    released = right(*more, **named)
    desired = released.desired
    return released._replace(desired=desired._replace(leaving=None)) if isinstance(desired, Unwanted) else released


def _returns_unsent(right: Callable[..., Record], record: Record, *more: Any) -> Record:
    """Whoever comes back to an export that keeps is taken to be there still."""
    return right(record, *more)._replace(acknowledged=record.acknowledged)


# What the engine does.


def _acknowledges_what_is_queued(
    right: Any, self: Reconciler, a_job: Job, a_survey: Any, call: Any, answer: Any
) -> None:
    right(self, a_job, a_survey, call, answer)
    if answer.import_id is not None:
        taken = {row: Taken() for row in range(len(call.rows)) if row not in answer.refused}
        self._record(a_job, a_survey, call, taken)


def _assigns_late(right: Any, self: Reconciler, a_job: Job, a_survey: Any) -> None:
    with patch.object(self, "_assign", lambda *_: None):
        right(self, a_job, a_survey)
    Reconciler._assign(self, a_job, a_survey)


def _reduces_first(right: Any, self: Reconciler, a_job: Job, a_survey: Any) -> None:
    """Whoever leaves is assigned no more before its records say so."""
    if a_job.removes:
        for case in a_survey.cases:
            gone = {leaver.pair for leaver in case.unwanted.values()}
            rest = case.assigned.assignment._replace(pairs=case.assigned.assignment.pairs - gone)
            if rest != case.assigned.assignment:
                export, version = a_job.export.key, case.assigned.version
                [done] = self._database.write([assignments.save(export, case.profile, rest, version)])
                case.assigned = assignments.Stored(rest, version + 1 if done and not rest.is_empty else 0)
    right(self, a_job, a_survey)


def _counts_apart(right: Any, self: Pages, run: Any, shard: Any, read: Any, records: Any) -> None:
    """The counts are written first, the cursor moves then."""
    counts = read.counts
    if counts:
        named = [outstanding.add(record, self._clock.now()) for record in records]
        self._database.transact([runs.count(run.id, shard.phase, shard.index, counts), *named])
        read.counts = Counter()
    right(self, run, shard, read, [])
    read.counts = counts


def _settles_without_a_version(right: Any, database: Any, record: Any, rest: Any, counts: Any) -> bool:
    """Whoever has read the outstanding profiles moves them, whether or not somebody else has meanwhile."""

    class Careless:
        def transact(self, writes: Sequence[Any]) -> bool:
            return bool(database.transact([replace(write, expect={}) for write in writes]))

    moved: bool = right(Careless(), record, rest, counts)
    return moved


def _wakes_nobody(right: Any, self: Recorder, *more: Any, **named: Any) -> None:
    return


def _only_waits(right: Any, self: Recorder, connection: str, records: Mapping[str, Record], **named: Any) -> None:
    """Whoever has to look now is not asked to."""
    waiting = {key: one for key, one in records.items() if identity.next_step(one).do is Do.WAIT}
    right(self, connection, waiting, **named)


def _forgets_waits(right: Any, database: Any, found: Iterable[Any]) -> None:
    right(database, [wait for wait in found if not isinstance(wait, IdentityWait)])


def _waits_too_short(right: Any, database: Any, found: Iterable[Any]) -> None:
    early = [w._replace(due=min(w.due, datetime.fromtimestamp(0, w.due.tzinfo))) for w in found]
    right(database, early)


def _never_checks(right: Any, self: Any, *more: Any) -> None:
    return


def _any_time(right: Any, account: Any, is_time_left: Any) -> Any:
    return account


def _all_is_over(right: Any, a_job: Job, found: Any, cleared: datetime) -> Any:
    return right(a_job, found, cleared.replace(year=cleared.year + 1))


def _hands_nothing_over(right: Any, self: Handover, a_job: Job, cases: Any) -> dict[str, Any]:
    """Whoever became an alias is assigned nothing any more."""
    for case in cases:
        if case.survivor is not None and case.assigned.version > 0:
            rest = assignments.NONE.assignment
            self.database.write([assignments.save(a_job.export.key, case.profile, rest, case.assigned.version)])
    return {}


def _wakes_no_survivor(right: Any, self: Handover, *more: Any) -> Any:
    with patch.object(Enqueuer, "look", lambda *_: None):
        return right(self, *more)


def _nobody_left_behind(right: Any, *more: Any) -> dict[str, Any]:
    return {}


def _overlooks_newer_settings(
    right: Any, a_job: Job, key: str, pair: Any, visitors: Any, stored: Record, *more: Any
) -> Any:
    authority = a_job.authority(pair.target)
    if authority is not None and stored.authority > authority:
        stored = stored._replace(authority=authority)
    return right(a_job, key, pair, visitors, stored, *more)


def _unchanged_under_any_settings(right: Any, a_job: Job, case: Any, *more: Any) -> Any:
    assigned = case.assigned
    case.assigned = assigned._replace(assignment=assigned.assignment._replace(settings=a_job.export.version))
    try:
        return right(a_job, case, *more)
    finally:
        case.assigned = assigned


def _basis_of_any_settings(right: Any, self: Job, profile_version: int) -> Any:
    return right(self, profile_version)._replace(settings=0)


def _overwrites(right: Any, key: str, record: Record, version: int, now: datetime) -> Any:
    """A record is written whatever somebody else has written meanwhile."""
    written = right(key, record, version, now)
    return replace(written, expect={}) if isinstance(written, Update) else written


# What is around it.


def _asks_for_no_alias(right: Any, self: Asker, drafts: Sequence[Any], *more: Any) -> Any:
    for one in drafts:
        one.customer.given_up = set()
        one.written_since = set()
    return right(self, drafts, *more)


def _counts_what_comes_back(right: Any, self: Counting, source: str, messages: Sequence[Any]) -> None:
    """Only the first message of each batch is counted."""
    right(self, source, messages[:1])


def _loses_looks(right: Any, self: SimQueue, messages: Sequence[Message]) -> None:
    right(self, [one for one in messages if one.body.get("kind") != "look" or self.chance.random() < 0.5])


def _sets_nobody_aside(right: Any, self: Settlement, run: Any, record: Any, known: Any, aside: Any) -> None:
    right(self, run, record, known, ())


def _forgets_no_time(right: Any, profile: Any, other: Any) -> Any:
    """A tombstone says nothing of what is older."""
    with patch.object(merging, "_since", lambda one, _: one):
        joined = right(profile, other)
    if other.forgotten is None or (profile.forgotten is not None and profile.forgotten >= other.forgotten):
        return joined
    return replace(joined, identities={}, attributes={}, memberships={})


def _forgets_at_once(right: Any, self: Forgetting, key: str, forgotten: Any) -> bool:
    """Nobody waits for an export: what it has assigned goes, and the identity stays where it is."""
    return True


def _leaves_the_index(right: Any, self: Forgetting, profile: Any, forgotten: Any, ids: Any) -> bool:
    """Entries of the segment index stay."""
    return True


def _sees_to_nobody(right: Any, self: Writer, drafts: Any) -> None:
    """Nobody goes on with a change that forgets."""


def _deletes_beside(right: Any, record: Record, call_id: str, **more: Any) -> Record:
    """Nobody knows of a deletion that is under way."""
    begun = right(record, call_id, **more)
    return record if more.get("content") is identity.OUT else begun


def _deletes_nobody_who_came_back(right: Any, *more: Any) -> set[str]:
    """Something newer makes a deletion at the destinations needless."""
    return set()


def _names_nobody(right: Any, *more: Any) -> bool:
    """Whoever is in a segment of an export is named by nobody."""
    return False


MISTAKES: Mapping[str, Mistake] = {
    "names-nobody": Mistake(
        "profiles are forgotten that an export names",
        _now("_is_in", retention, _names_nobody),
        world=RetentionWorld,
        seed=0,
    ),
    "deletes-nobody-who-came-back": Mistake(
        "a deletion that was asked for is lost when something newer comes",
        _now("to_be_deleted", forgettings, _deletes_nobody_who_came_back),
        seed=2,
    ),
    "forgets-no-time": Mistake(
        "older changes bring a forgotten person back", _now("join", merging, _forgets_no_time), seed=1
    ),
    "forgets-at-once": Mistake(
        "what is assigned goes before the person has left", _now("_is_over", Forgetting, _forgets_at_once), seed=1
    ),
    "leaves-the-index": Mistake(
        "a forgotten person stays in the segment index",
        _now("_is_out_of_the_index", Forgetting, _leaves_the_index),
        seed=0,
    ),
    "sees-to-nobody": Mistake(
        "nobody goes on with a change that forgets", _now("_see_to_forgotten", Writer, _sees_to_nobody), seed=0
    ),
    "deletes-beside": Mistake(
        "a deletion is begun that no record knows", _now("begin", forgetting, _deletes_beside), seed=7
    ),
    "sends-without-waiting": Mistake(
        "a call with other content is begun while one is open",
        lambda: [_instead(visit, "next_step", _impatient), _instead(reconciler, "begin", _begin_beside)],
        seed=7,
    ),
    "forgets-earlier-calls": Mistake(
        "an answer to the latest call ends the calls before it", _now("answered", recorder, _forgets_earlier), seed=26
    ),
    "takes-any-answer": Mistake(
        "the answer to an old call is taken for the latest call's", _now("answered", recorder, _old_answers), seed=126
    ),
    "lapses-as-done": Mistake("a lost call counts as done", _now("lapse", visit, _lapses_as_done), seed=2),
    "lapses-as-before": Mistake("a lost call counts as not done", _now("lapse", visit, _lapses_as_before), seed=1),
    "loses-evidence": Mistake("a lost call takes the evidence with it", _now("lapse", visit, _loses_evidence), seed=20),
    "repeats-with-a-new-time": Mistake(
        "a repeated call carries a time of its own", _now("begin", reconciler, _repeats_with_a_new_time), seed=3
    ),
    "turns-away-without-a-mark": Mistake(
        "nobody knows that somebody was turned away",
        _now("claim", identity, _turns_away_without_a_mark),
        CrowdedWorld,
        seed=1,
    ),
    "takes-out-who-may-be-wanted": Mistake(
        "an identity is taken out though somebody was turned away",
        _now("release", identity, _takes_out_who_may_be_wanted),
        CrowdedWorld,
        seed=1,
    ),
    "clears-fresh-marks": Mistake(
        "a run clears marks that were set since it began",
        _now("release", identity, _clears_fresh_marks),
        CrowdedWorld,
        seed=3,
    ),
    "next-winner-unasked": Mistake(
        "the next winner is sent with the values of the last", _now("release", identity, _next_winner_unasked), seed=87
    ),
    "forgets-who-left": Mistake(
        "nobody is to be looked at for an identity that leaves", _now("release", identity, _forgets_who_left), seed=1
    ),
    "acknowledges-too-early": Mistake(
        "what is queued as an import counts as done", _now("_take", Reconciler, _acknowledges_what_is_queued), seed=0
    ),
    "assigns-late": Mistake(
        "records name profiles before they are assigned", _now("reconcile", Reconciler, _assigns_late), seed=0
    ),
    "drops-the-assignment-first": Mistake(
        "a leaver's assignment goes before its record", _now("reconcile", Reconciler, _reduces_first), seed=0
    ),
    "counts-twice": Mistake(
        "a page counts first and moves its cursor then", _now("_move", Pages, _counts_apart), seed=0
    ),
    "settles-twice": Mistake(
        "outstanding profiles are moved by whoever has read them",
        _now("settle", outstanding, _settles_without_a_version),
        seed=18,
    ),
    "forgets-to-wake": Mistake("nobody is asked to go on", _now("see_to", Recorder, _wakes_nobody), seed=2),
    "forgets-to-look": Mistake("nobody is asked to look now", _now("see_to", Recorder, _only_waits), seed=2),
    "forgets-waits": Mistake("nobody looks when a wait is over", _now("put", waits, _forgets_waits), seed=9),
    "never-checks-imports": Mistake(
        "nobody looks at an import",
        lambda: [_instead(Enqueuer, "check_import", _never_checks), _instead(Ticker, "_imports", _never_checks)],
        seed=0,
    ),
    "begins-at-any-time": Mistake(
        "a call begins after the last moment at which it may", _now("within", reconciler, _any_time), seed=1
    ),
    "ends-calls-too-early": Mistake(
        "what the destination shows to be over counts for every call", _now("ended", reconciler, _all_is_over), seed=14
    ),
    "never-tries-again": Mistake(
        "what was refused once is never sent again",
        _now("grants_chance", Job, lambda right, self, refused: False),
        seed=39,
    ),
    "always-tries-again": Mistake(
        "what was refused is sent again by every run",
        _now("grants_chance", Job, lambda right, self, refused: refused is not None and self.run is not None),
        seed=1,
    ),
    "hands-nothing-over": Mistake(
        "an alias is forgotten with all that it stood for", _now("hand_over", Handover, _hands_nothing_over), seed=4
    ),
    "wakes-no-survivor": Mistake(
        "nobody looks at who took over from an alias", _now("hand_over", Handover, _wakes_no_survivor), seed=41
    ),
    "adopts-nothing": Mistake(
        "what a former owner of a target had assigned is forgotten",
        _now("to_adopt", owners, _nobody_left_behind),
        WiderWorld,
        seed=8,
    ),
    "overlooks-newer-settings": Mistake(
        "a decision under older settings replaces one under newer",
        _now("visit", reconciler, _overlooks_newer_settings),
        seed=124,
    ),
    "unchanged-under-any-settings": Mistake(
        "an edit leaves unchanged profiles as they are",
        lambda: [
            _instead(survey, "_verdict_if_unchanged", _unchanged_under_any_settings),
            _instead(Job, "basis", _basis_of_any_settings),
        ],
        seed=8,
    ),
    "overwrites-records": Mistake(
        "a record is written whatever was written meanwhile", _now("save", identities, _overwrites), seed=3
    ),
    "removes-before-a-run": Mistake(
        "leavers are taken out before a run has let every member claim",
        lambda: [patch.object(job.Job, "removes", property(lambda self: self.run is None or self.asked_since))],
        seed=1,
    ),
    "asks-for-no-alias": Mistake(
        "nobody looks at a profile that became an alias", _now("ask", Asker, _asks_for_no_alias), seed=4
    ),
    "counts-less": Mistake("some changes are not counted", _now("count", Counting, _counts_what_comes_back), seed=0),
    "loses-looks": Mistake("half of the looks are lost", _now("send", SimQueue, _loses_looks), seed=0),
    **IMPORTING,
    "sets-nobody-aside": Mistake(
        "who met a defect stays outstanding", _now("_settle", Settlement, _sets_nobody_aside), FlawedWorld, seed=36
    ),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Make a mistake while this lasts."""
    with ExitStack() as stack:
        for one in MISTAKES[name].patches():
            stack.enter_context(one)
        yield


def notice(name: str, seed: int, schedules: int) -> tuple[str, int | None, str]:
    """Return the first schedule from a seed on that notices a mistake, and which promise it saw broken.

    A part that only trips over the mistake is no proof; what it tripped over is raised.
    """
    mistake = MISTAKES[name]
    with planted(name):
        for number in range(seed, seed + schedules):
            try:
                play(number, make=mistake.world)
            except BrokenPromise as broken:
                return name, number, str(broken)[:100]
    return name, None, ""
