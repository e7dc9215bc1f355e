"""What a body is read into, and what all dialects read alike.

Every profile is read by itself, and every part of a profile. What cannot be read is left out and shown; what that means
for its profile is decided here (`Parts.incoming`):

- A profile with a membership that is understood is taken: its membership must not be lost for a mistake beside it.
- One without is taken if something else of it can be read, and nothing is wrong that may have been what it is about: a
  membership, a key that the dialect does not know, a time.
- Everything else is refused as a whole, with the reasons. A body in which nothing is taken is refused (422).

A snapshot from which an identity or attribute is left out that may have had a value is taken as a patch: what is not
named in it is not gone for a mistake.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from relay.domain import moments
from relay.domain.changes import MAX_SEGMENT_BYTES, Forget, Json, MembershipChange
from relay.domain.closed_sets import SetPage
from relay.domain.values import id_of, whole
from relay.problem_details import MAX_ERRORS, InputError, pointer, too_large, wrong_shape
from relay.sources.json_body import MAX_KEYS, flaw_of
from relay.sources.recognising import sender_of

MAX_PROFILES = 5_000
"""The most profiles one request may hold: what is parsed and queued well inside the strictest sender's 2 seconds
(Adobe: https://experienceleague.adobe.com/en/docs/experience-platform/destinations/catalog/streaming/http-destination).
Adobe sends up to 10, Twilio Segment up to 4,000."""

MAX_IDENTITY = 1_024
"""The most characters of an identity. The longest that any destination takes have a quarter of that."""

MAX_SEGMENT = 256
"""The most characters of a platform's segment id, as an export may name it."""

MAX_NAME = 512
"""The most characters kept of a segment's display name."""

UNKNOWN_KEY = "unknown_key"
UNFIT_IDENTITY = "unfit_identity"
UNFIT_ATTRIBUTE = "unfit_attribute"
UNFIT_MEMBERSHIP = "unfit_membership"
UNFIT_TIME = "unfit_time"
UNFIT_SNAPSHOT = "unfit_snapshot"
TOO_LARGE = "too_large"
"""The codes of what is left out."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FLAGS = {"true": True, "false": False}
_ABOUT_THE_WHOLE = frozenset({UNKNOWN_KEY, UNFIT_MEMBERSHIP, UNFIT_TIME, UNFIT_SNAPSHOT})
"""What may have been what the profile is about."""

Place = tuple[str | int, ...]
"""Where something stands in a body, as parts of a JSON Pointer."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part that was not taken, of a profile or a body that was: what kind it is, and why and where."""

    code: str
    error: InputError


@dataclass(frozen=True, slots=True)
class Incoming:
    """One profile as a dialect read it; `at`, `snapshot` and None as a value mean what they do in a `Change`.

    `raw` is the profile as it came (an object), `place` where it stands in the body. `left_out` are the first parts
    that could not be read, `left_out_counts` how many there are of each code.
    """

    raw: Mapping[str, Json]
    place: Place
    snapshot: bool
    identities: Mapping[str, Sequence[str] | None]
    attributes: Mapping[str, Json]
    memberships: Sequence[MembershipChange]
    at: datetime | None = None
    ignored_memberships: int = 0
    """How many of its memberships are none of this source's business."""
    left_out: Sequence[LeftOut] = ()
    left_out_counts: Mapping[str, int] = field(default_factory=dict)
    forget: Forget | None = None
    """The person is to be forgotten: then the rest only says who that is. A dialect reads a deletion notice as this."""
    webhook_id: str | None = None
    """The sender's own id of the message that brought it, where the body has one; None leaves it to the headers."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The profiles of a body that could be read, and for each of the others the first thing wrong with it.

    There are no others without at least one profile: a body that is wrong throughout is refused. `left_out` is what
    could not be read of the body around the profiles.
    """

    profiles: Sequence[Incoming]
    misshapen: Sequence[InputError] = ()
    left_out: Sequence[LeftOut] = ()
    page: SetPage | None = None
    """The profiles are a page of all members of a segment: who is in none of its pages has left."""
    ignored: Mapping[str, int] = field(default_factory=Counter)
    """How much of the body is none of our business, by a code for each kind."""
    reply: Mapping[str, Json] = field(default_factory=dict)
    """What of the body the dialect's answer repeats."""


class Misshapen(Exception):  # noqa: N818 - as Refusal: an answer to a sender, not an error of ours
    """A profile does not have the dialect's shape: `errors`, at least one."""

    def __init__(self, errors: Sequence[InputError]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


class Parts:
    """Reads the parts of one profile, and keeps what is wrong with them instead of stopping at the first error."""

    def __init__(self, source: str, place: Place, raw: Mapping[str, Json]) -> None:
        self._source = source
        self._place = place
        self._raw = raw
        self._left_out: list[LeftOut] = []
        self._counts: Counter[str] = Counter()
        self._is_full_snapshot = True

    def leave_out(self, code: str, detail: str, *inner: str | int) -> None:
        """Tell of a part (at `inner`, inside the profile) that cannot be read."""
        self._counts[code] += 1
        # No more are kept than are shown.
        if len(self._left_out) < MAX_ERRORS:
            self._left_out.append(LeftOut(code, InputError(detail, pointer((*self._place, *inner)))))

    def leave_out_value(self, code: str, detail: str, *inner: str | int) -> None:
        """Tell of an identity or attribute that has a value, though it cannot be read."""
        self._is_full_snapshot = False
        self.leave_out(code, detail, *inner)

    def attributes(self, given: Mapping[str, Json], *inner: str | int) -> dict[str, Json]:
        """Return the attributes that every later step can carry."""
        if flaw_of(given) is None:
            return dict(given)
        if len(given) > MAX_KEYS:
            self.leave_out_value(UNFIT_ATTRIBUTE, f"holds more than {MAX_KEYS} attributes", *inner)
            return {}
        fit: dict[str, Json] = {}
        for name, value in given.items():
            flaw = flaw_of([name, value])
            if flaw is None:
                fit[name] = value
            else:
                self.leave_out_value(UNFIT_ATTRIBUTE, flaw, *inner, name)
        return fit

    def identity(self, given: Any, *inner: str | int) -> str | None:
        """Return an identity as text; None when it is none."""
        text = id_of(given)
        if text is None:
            is_nothing = given is None or isinstance(given, str)
            detail = "must be a text that is not empty, or a whole number"
            (self.leave_out if is_nothing else self.leave_out_value)(UNFIT_IDENTITY, detail, *inner)
            return None
        flaw = f"is longer than {MAX_IDENTITY} characters" if len(text) > MAX_IDENTITY else _flaw_of_text(text)
        if flaw is not None:
            self.leave_out_value(UNFIT_IDENTITY, flaw, *inner)
            return None
        return text

    def identities(self, given: Iterable[tuple[Place, Any]]) -> list[str]:
        """Return identities, each once, in their order."""
        found = (self.identity(value, *inner) for inner, value in given)
        return list(dict.fromkeys(text for text in found if text is not None))

    def namespace(self, given: str, *inner: str | int) -> bool:
        """Return whether a name can stand for identities."""
        flaw = _flaw_of_text(given)
        if flaw is not None:
            self.leave_out_value(UNFIT_IDENTITY, flaw, *inner, given)
        return flaw is None

    def entries(self, code: str, given: Any, *inner: str) -> list[tuple[str, Any]]:
        """Return the entries of an object that may be missing."""
        if given is None:
            return []
        if not isinstance(given, dict):
            self.leave_out_value(code, "must be an object", *inner)
            return []
        return list(given.items())

    def add_identity(self, found: dict[str, list[str]], namespace: str, given: Any, place: Place, key: str) -> None:
        """Add an identity, which stands at `key` of `place`, to those of its namespace; once, if it is one."""
        text = self.identity(given, *place, key)
        if text is not None and self.namespace(namespace, *place):
            found[namespace] = list(dict.fromkeys([*found.get(namespace, ()), text]))

    def segment(self, given: Any, *inner: str | int) -> str | None:
        """Return the reference `source/segment` of a platform's segment id; None when it is none."""
        text = id_of(given)
        reference = f"{self._source}/{text}"
        flaw = "must be a text that is not empty" if text is None else _flaw_of_text(text)
        if flaw is None and (len(text or "") > MAX_SEGMENT or len(reference.encode()) > MAX_SEGMENT_BYTES):
            flaw = f"is longer than {MAX_SEGMENT} characters or {MAX_SEGMENT_BYTES} bytes"
        if flaw is not None:
            self.leave_out(UNFIT_MEMBERSHIP, flaw, *inner)
            return None
        return reference

    def moment(self, code: str, given: Any, *inner: str | int, zoned: bool) -> datetime | None:
        """Return a time (see `moment_of`); None when it is none."""
        try:
            return moment_of(given, zoned=zoned)
        except ValueError as error:
            self.leave_out(code, str(error), *inner)
            return None

    def incoming(
        self,
        *,
        identities: Mapping[str, Sequence[str] | None],
        attributes: Mapping[str, Json],
        memberships: Sequence[MembershipChange],
        snapshot: bool,
        at: datetime | None = None,
        ignored_memberships: int = 0,
        forget: Forget | None = None,
        webhook_id: str | None = None,
    ) -> Incoming:
        """Return the profile made of what could be read; raises Misshapen when it is not to be taken."""
        self._require_enough(identities, attributes, bool(memberships) or ignored_memberships > 0)
        return Incoming(
            raw=self._raw,
            place=self._place,
            snapshot=snapshot and self._is_full_snapshot,
            identities=identities,
            attributes=attributes,
            memberships=memberships,
            at=at,
            ignored_memberships=ignored_memberships,
            left_out=self._left_out,
            left_out_counts=self._counts,
            forget=forget,
            webhook_id=webhook_id,
        )

    def _require_enough(
        self, identities: Mapping[str, Any], attributes: Mapping[str, Any], has_memberships: bool
    ) -> None:
        if has_memberships:
            return
        if not self._counts:
            if not identities and not attributes:
                self.refuse("holds no identities, no attributes and no memberships")
        elif not attributes or not _ABOUT_THE_WHOLE.isdisjoint(self._counts):
            raise Misshapen([part.error for part in self._left_out])

    def refuse(self, detail: str) -> None:
        """Refuse the whole profile; raises Misshapen."""
        raise Misshapen([InputError(detail, pointer(self._place)), *(part.error for part in self._left_out)])


def _flaw_of_text(text: str) -> str | None:
    # Most are plain, and there are many.
    return None if text.isascii() else flaw_of(text)


def name_of(given: Any) -> str | None:
    """Return a segment's display name, None where there is none that can be shown."""
    if not isinstance(given, str) or not given:
        return None
    return given[:MAX_NAME].encode(errors="replace").decode()


def flag_of(given: Any) -> bool | None:
    """Return true or false, which some platforms write as a text; None when it is neither."""
    if isinstance(given, bool):
        return given
    return _FLAGS.get(given.strip().lower()) if isinstance(given, str) else None


def read_each(
    body: Any,
    given: Iterable[tuple[Place, Any]],
    read_one: Callable[[Place, Any], Incoming],
    left_out: Sequence[LeftOut] = (),
    *,
    dialect: str,
) -> Reading:
    """Read every profile of a body by itself, so that one of a wrong shape harms no other; `read_one` raises Misshapen.

    `left_out` is what could not be read around them; `dialect` is the source's. Raises Refusal: 413 when there are more
    than MAX_PROFILES, 422 when something is wrong and nothing can be taken.
    """
    profiles: list[Incoming] = []
    misshapen: list[InputError] = []
    errors: list[InputError] = [part.error for part in left_out]
    for number, (place, value) in enumerate(given):
        if number == MAX_PROFILES:
            raise too_large(f"A request holds at most {MAX_PROFILES} profiles.")
        try:
            profiles.append(read_one(place, value))
        except Misshapen as wrong:
            misshapen.append(wrong.errors[0])
            errors.extend(wrong.errors[: max(MAX_ERRORS - len(errors), 0)])
    if errors and not profiles:
        raise wrong_shape(errors, sender_of(body, dialect))
    return Reading(profiles, misshapen, left_out)


def moment_of(value: Any, *, zoned: bool) -> datetime:
    """Read a time of a body (`relay.domain.moments`); ValueError (with a text that can be shown) when it is none.

    `zoned` demands `Z` or an offset of a text that is no UNIX time; otherwise a time without one is UTC. Times before
    1970 are refused: no platform means them.
    """
    number = whole(value)
    try:
        if isinstance(number, int) and not isinstance(number, bool):
            return moments.from_unix(number)
        written = moments.as_written(value) if isinstance(value, str) else None
        moment = None if written is None else moments.in_utc(written)
    except ValueError:
        written = moment = None
    if written is None or moment is None:
        raise ValueError("must be a time such as 2026-04-30T09:30:00Z, or UNIX seconds or milliseconds")
    if zoned and written.tzinfo is None:
        raise ValueError("must be a time with Z or an offset")
    if moment < _EPOCH:
        raise ValueError("must not be before 1970")
    return moment
