"""Working an export's mapping out on a sample of its members: what finds nothing in any of them is misspelt.

Findings name the field, the expression, and the keys that exist where it looks. A key may be personal data, where a
platform keys by person: only those are shown that look like names of a schema and, of three profiles and more, are not
one profile's alone.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from typing import Any

from relay.destinations.contract import Destination, Finding, Level
from relay.domain.exports import Export
from relay.domain.expressions import Expression, Unfit, compiled
from relay.domain.keyed_hash import BUCKETS
from relay.domain.problems import DEFECT, Actor, Problem, Rejection
from relay.domain.profiles import Profile
from relay.observability import places
from relay.reconcile.desired import UNFIT_EXPRESSION, belongs
from relay.stores import profiles as profile_store
from relay.stores import segments as segment_store
from relay.stores.database import Database

MOST_PROFILES = 200
MOST_QUERIES = BUCKETS
"""Queries of the segment index for one export: a single small segment is seen whole."""
MOST_SECONDS = 10.0
"""For all exports of a connection together."""

NOT_TRIED = "mapping_not_tried"
YIELDS_NOTHING = "mapping_yields_nothing"

_A_QUERY = 10
_AT_ONCE = 20
"""Profiles in memory at a time; each may be 400 KB."""
_MOST_KEYS = 1_000
_SHOWN_KEYS = 12
_SHARE = 0.1
"""Of the profiles that have anything at a place, so many must have a key for it to be shown."""
_SHOWN_TEXT = 200
_DEEPEST = 8
"""Names of a path that are looked at."""
_NOTHING = "nothing"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")

Path = tuple[str, ...]


def look_at(
    database: Database,
    destinations: Callable[[str], Destination],
    exports: Sequence[Export],
    now: Callable[[], float] = time.monotonic,
    *,
    names_only: bool = False,
) -> list[Finding]:
    """Try the mappings of exports of one connection; trouble is a finding too, never an exception.

    With `names_only` it is told which names no profile has, and nothing that depends on values: whoever may choose the
    expressions could ask for values with them.
    A defect of ours that one profile meets leaves out that profile alone.
    """
    until = now() + MOST_SECONDS
    found: list[Finding] = []
    for export in exports:
        if now() >= until:
            found.append(Finding(export.key, Level.OK, "its mapping was not tried on profiles: no time was left"))
            continue
        trial = Trial(export, destinations(export.destination), names_only=names_only)
        failed: list[Exception] = []
        try:
            for profile in islice(_members(database, export, lambda: now() < until, failed), MOST_PROFILES):
                try:
                    trial.add(profile)
                except Exception as error:  # noqa: BLE001 - a defect concerns the profile alone
                    failed.append(error)
                if now() >= until:
                    break
        except Problem as problem:
            message = f"the mapping could not be tried on a sample of profiles: {problem}"
            found.append(Finding(export.key, Level.WARNING, message, problem.actor, NOT_TRIED))
        found += trial.findings()
        found += _of_defects(export, failed)
    return found


def _of_defects(export: Export, failed: Sequence[Exception]) -> Iterator[Finding]:
    """Yield one finding for the profiles that could not be tried; no text of an exception, which may be personal."""
    if failed:
        number = f"{len(failed)} profile{'' if len(failed) == 1 else 's'}"
        where = " < ".join(reversed(places(failed[0])))
        message = (
            f"the mapping could not be tried on {number} because of a defect of ours, first "
            f"{type(failed[0]).__name__} at {where}: report it"
        )
        yield Finding(export.key, Level.ERROR, message, Actor.US, DEFECT)


@dataclass(slots=True)
class _Seen:
    """What one field's expression came to in the sample."""

    expression: Expression
    unfit: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    """Rejections, of the identity."""
    usable: int = 0


@dataclass(slots=True)
class _Place:
    """What lies at a place of the profiles."""

    objects: int = 0
    keys: Counter[str] = field(default_factory=Counter)


class Trial:
    """Works an export's mapping out for one profile after the other, and says what it found. Pure."""

    def __init__(self, export: Export, destination: Destination, *, names_only: bool = False) -> None:
        self._names_only = names_only
        self._export = export
        self._destination = destination
        self._tried = 0
        self._seen = {field: _Seen(compiled(text)) for field, text in export.mapping.items()}
        self._only_if = None if export.only_if is None else _Seen(compiled(export.only_if))
        every = [*self._seen.values(), *([] if self._only_if is None else [self._only_if])]
        paths = {path for seen in every for path in seen.expression.paths if len(path) <= _DEEPEST}
        self._places: dict[Path, _Place] = {path[:-1]: _Place() for path in paths}

    def add(self, profile: Profile) -> None:
        """Try a member of the export's segments; one with which a defect of ours is met counts for nothing."""
        view = profile.view()
        codes = {field: self._trouble_of(field, seen.expression, view) for field, seen in self._seen.items()}
        self._tried += 1
        if self._only_if is not None:
            says = belongs(self._export, view)
            self._only_if.usable += says is True
            self._only_if.unfit += says is None
        for name, code in codes.items():
            seen = self._seen[name]
            if code is None:
                seen.usable += 1
            elif code == UNFIT_EXPRESSION:
                seen.unfit += 1
            else:
                seen.codes[code] += 1
        for place, held in self._places.items():
            _note_keys(held, _at(view, place))

    def findings(self) -> list[Finding]:
        """Return what is wrong with the mapping as far as the sample shows; nothing without a sample."""
        if self._tried == 0:
            return []
        found = (
            list(self._findings_of_names())
            if self._names_only
            else [self._finding_of_only_if(), *(self._finding(field, seen) for field, seen in self._seen.items())]
        )
        return [finding for finding in found if finding is not None]

    def _findings_of_names(self) -> Iterator[Finding | None]:
        """Yield what is wrong with names. A path with a name that nobody has finds nothing in anybody: that is told."""
        every = [("only_if", self._only_if), *((f"mapping.{name}", seen) for name, seen in self._seen.items())]
        for name, seen in every:
            missing = None if seen is None else self._missing_of(seen)
            if seen is None or missing is None:
                continue
            if seen.expression.is_path:
                yield (
                    self._finding_of_only_if() if seen is self._only_if else self._finding(name.split(".", 1)[1], seen)
                )
            else:
                tried = f"{self._tried} profile{'' if self._tried == 1 else 's'}"
                message = f"{name}: {seen.expression.text[:_SHOWN_TEXT]} was tried on {tried}: {missing}"
                yield Finding(self._export.key, Level.WARNING, message, Actor.ADMINISTRATOR, YIELDS_NOTHING)

    def _trouble_of(self, field: str, expression: Expression, view: Mapping[str, Any]) -> str | None:
        """Return why what an expression yields is of no use; None when it is."""
        try:
            value = expression.value(view)
        except Unfit:
            return UNFIT_EXPRESSION
        if field != self._destination.identity:
            return None if self._destination.encode(field, value) is not None else _NOTHING
        identities = self._destination.identity_of(value, self._export)
        return identities.code if isinstance(identities, Rejection) else None

    def _finding(self, field: str, seen: _Seen) -> Finding | None:
        is_identity = field == self._destination.identity
        then = "they are rejected" if is_identity else "they go without it"
        tried = f"{self._tried} profile{'' if self._tried == 1 else 's'}"
        what = f"mapping.{field}: {seen.expression.text[:_SHOWN_TEXT]}"
        if seen.usable == 0:
            code, level = YIELDS_NOTHING, Level.ERROR if is_identity else Level.WARNING
            message = f"{what} yields nothing for any of {tried} tried{self._why(seen)}"
        elif seen.unfit:
            code, level = UNFIT_EXPRESSION, Level.WARNING
            message = f"{what} cannot be worked out for {seen.unfit} of {tried}: {then} (unfit_expression)"
        else:
            return None
        return Finding(self._export.key, level, message, Actor.ADMINISTRATOR, code)

    def _finding_of_only_if(self) -> Finding | None:
        seen = self._only_if
        if seen is None or (seen.usable and not seen.unfit):
            return None
        tried = f"{self._tried} profile{'' if self._tried == 1 else 's'}"
        what = f"only_if: {seen.expression.text[:_SHOWN_TEXT]}"
        if seen.unfit:
            unfit = "is neither true nor false for"
            message = f"{what} {unfit} {seen.unfit} of {tried}: they neither join nor leave (unfit_only_if)"
        else:
            why = self._missing_of(seen)
            message = f"{what} is true for none of {tried} tried{'' if why is None else f': {why}'}"
        return Finding(self._export.key, Level.WARNING, message, Actor.ADMINISTRATOR)

    def _missing_of(self, seen: _Seen) -> str | None:
        """Return which name of an expression no profile of the sample has, and what is there instead."""
        for path in seen.expression.paths:
            place = self._places.get(path[:-1], _Place())
            if place.objects and not place.keys[path[-1]]:
                return _missing(path, place)
        return None

    def _why(self, seen: _Seen) -> str:
        missing = self._missing_of(seen)
        if missing is not None:
            return f": {missing}"
        codes = [f"{code} {number}" for code, number in sorted(seen.codes.items()) if code != _NOTHING]
        if seen.unfit:
            codes.append(f"unfit_expression {seen.unfit}")
        return f" ({', '.join(codes)})" if codes else ": what it finds is empty, or no text, number or list of these"


def _missing(path: Path, place: _Place) -> str:
    *before, key = path
    where = f"in {'.'.join(before)[:_SHOWN_TEXT]}" if before else "at the top"
    least = max(min(2, place.objects - 1), math.ceil(place.objects * _SHARE))
    shown = [name for name, number in place.keys.most_common() if number >= least and _NAME.fullmatch(name)]
    near = get_close_matches(key.lower(), [name.lower() for name in shown], n=1)
    meant = next((name for name in shown if near and name.lower() == near[0]), None)
    hint = "" if meant is None else f", did you mean {meant}?"
    there = f" There are {', '.join(sorted(shown[:_SHOWN_KEYS]))}" if shown else " No key is there"
    more = f" and {len(shown) - _SHOWN_KEYS} more" if len(shown) > _SHOWN_KEYS else ""
    return f"there is no {key[:_SHOWN_TEXT]} {where}{hint or '.'}{there}{more}"


def _note_keys(place: _Place, value: Any) -> None:
    if not isinstance(value, Mapping):
        return
    place.objects += 1
    for key in value:
        if key in place.keys or len(place.keys) < _MOST_KEYS:
            place.keys[key] += 1


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _members(
    database: Database, export: Export, is_time_left: Callable[[], bool], failed: list[Exception]
) -> Iterator[Profile]:
    """Yield members of an export's segments, from all over the index, within the bounds of queries and time.

    What kept single ones from being read is added to `failed`.
    """
    waiting: list[str] = []
    seen: set[str] = set()
    for segment, bucket in islice(_listings(export.segments), MOST_QUERIES):
        if not is_time_left():
            break
        listed = segment_store.listing(database, segment, bucket, limit=_A_QUERY)
        waiting += [profile for profile in listed if profile not in seen]
        seen.update(listed)
        while len(waiting) >= _AT_ONCE:
            yield from _loaded(database, export, waiting[:_AT_ONCE], failed)
            waiting = waiting[_AT_ONCE:]
    yield from _loaded(database, export, waiting, failed)


def _loaded(
    database: Database, export: Export, profile_ids: Sequence[str], failed: list[Exception]
) -> Iterator[Profile]:
    found: list[Profile | None] = []
    try:
        found = profile_store.load(database, profile_ids)
    except Problem:
        raise
    except Exception as error:  # noqa: BLE001 - a defect concerns one profile alone: the others are read without it
        if len(profile_ids) > 1:
            for one in profile_ids:
                yield from _loaded(database, export, [one], failed)
        else:
            failed.append(error)
    for profile in found:
        memberships = {} if profile is None else profile.memberships
        if profile is not None and any(s in memberships and memberships[s].realized for s in export.segments):
            yield profile


def _listings(segments: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield every segment and bucket, the segments in turn, the buckets far from one another."""
    # 97 and 256 have no common divisor, so each bucket comes once.
    for step in range(BUCKETS):
        for segment in segments:
            yield segment, step * 97 % BUCKETS
