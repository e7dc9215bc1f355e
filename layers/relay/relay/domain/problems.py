"""The closed set of things that go wrong, each with what happened, who must act and what happens next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple, Self


class Actor(StrEnum):
    """Who must act on a problem."""

    ADMINISTRATOR = "administrator"
    WAIT = "wait"
    US = "us"


class Problem(Exception):  # noqa: N818 - the design's word
    """Base of the closed set. Texts never hold a secret or personal data: they are logged and recorded."""

    actor: Actor = Actor.US
    taken: bool | None = False
    """Whether the destination acted on a call that ended so: False for certainly not, None when nobody knows."""
    effect_within: timedelta | None = None
    """Where nobody knows whether the destination acted, but it did answer: how long after that it may still do so.

    None where there was no answer: then the destination's `lost_answer_bound` counts."""
    next_step: str = "The message is tried again and goes to the dead-letter queue after its receive limit."

    def __init__(self, code: str, what: str) -> None:
        super().__init__(f"{code}: {what}")
        self.code = code
        self.what = what

    def with_outcome(self, taken: bool | None, effect_within: timedelta | None = None) -> Self:
        """Return the same problem of the same kind, with what is known of its call."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__, taken=taken, effect_within=effect_within)
        return twin.with_traceback(self.__traceback__)


class Transient(Problem):
    """Network trouble, 429, 5xx, a time-out: tried again with backoff.

    `taken` is None unless the destination certainly did nothing (refused before processing).
    `retry_after` is the least wait the destination asked for. `effect_within` is as in Problem.
    """

    actor = Actor.WAIT
    next_step = "Tried again with growing pauses. After half an hour of nothing else the connection stops."

    def __init__(
        self,
        code: str,
        what: str,
        *,
        taken: bool | None = None,
        retry_after: timedelta | None = None,
        effect_within: timedelta | None = None,
    ) -> None:
        super().__init__(code, what)
        self.taken = taken
        self.retry_after = retry_after
        self.effect_within = effect_within


class Busy(Transient):
    """Our own side is at its limit for the moment (pace, throttling by AWS): nothing was sent because of it."""

    next_step = "Tried again as soon as there is room."

    def __init__(
        self,
        code: str,
        what: str,
        *,
        taken: bool | None = False,
        retry_after: timedelta | None = None,
        effect_within: timedelta | None = None,
    ) -> None:
        super().__init__(code, what, taken=taken, retry_after=retry_after, effect_within=effect_within)


class ConnectionProblem(Problem):
    """The account as a whole refuses us (bad key, unpaid): the connection stops until a probe passes."""

    actor = Actor.ADMINISTRATOR
    next_step = "The connection is probed every few minutes. When a probe passes, one run makes up for everything."


class ExportProblem(Problem):
    """One export cannot work (list gone, unknown segment): only it stops until its settings or the list are mended."""

    actor = Actor.ADMINISTRATOR
    next_step = "The export is probed every few minutes. When a probe passes, one run makes up for everything."


class Fault(NamedTuple):
    """One thing that is wrong with what somebody wrote.

    The field, what is wrong with it, and the known name that is nearest to an unknown one.
    """

    field: str
    what: str
    near: str | None = None


class InputProblem(Problem):
    """Something that a person wrote cannot be used. `faults` are all that is wrong; `field` is that of the first."""

    actor = Actor.ADMINISTRATOR

    def __init__(self, code: str, what: str, *, field: str, faults: Sequence[Fault] = ()) -> None:
        """`what` says what is wrong with `field`; `faults` (that one among them) are for whoever shows one by one."""
        super().__init__(code, f"{field}: {what}")
        self.field = field
        self.faults = tuple(faults) or (Fault(field, what),)


class SettingsProblem(InputProblem):
    """A source, connection or export is not usable as it is written; `field` names the setting."""

    next_step = "It is ignored until it is corrected; everything else goes on."


class Unexpected(Problem):
    """A defect was met. Its own text may hold personal data and is not repeated; the log says where it happened."""

    next_step = "The rest was done all the same; what met the defect is tried again the next time."


class RunProblem(Problem):
    """The last run of an export was refused, waits for somebody's word, or rejected too many."""

    actor = Actor.ADMINISTRATOR
    next_step = "It is shown until somebody acts and a later run goes well."


class ImportProblem(Problem):
    """The last import of a segment was refused, or waits for somebody's word."""

    actor = Actor.ADMINISTRATOR
    next_step = "It is shown until somebody acts or a later import of the segment is done; a refused one for a day."


class EventProblem(InputProblem):
    """A function was asked for something that it does not do; `field` names the part of the event that is wrong."""

    next_step = "Nothing was done. Correct the event, or the input of the schedule that sent it."


class QuestionProblem(InputProblem):
    """An operator's question cannot be answered as it was asked; `field` names the argument."""

    next_step = "Nothing was done. Correct what was asked for."


class StaleSettings(Problem):
    """A message or a record names newer settings (`version`) than were read."""

    actor = Actor.WAIT
    next_step = "The settings are read again in a moment."

    def __init__(self, code: str, what: str, *, version: int = 0) -> None:
        super().__init__(code, what)
        self.version = version


class Conflict(Problem):
    """A conditional write kept losing to others."""

    actor = Actor.WAIT
    next_step = "The message is tried again in a moment."


class RejectionKind(StrEnum):
    """Who found it: our own mapping (`data`), or the destination.

    What an answer of a destination refused is tried again by later runs, at most daily, whatever its kind: it may pass.
    """

    DATA = "data"
    DESTINATION = "destination"


DEFECT = "defect"
"""The code of a profile that was set aside because something went wrong in our own code."""

UNCONFIRMED = "unconfirmed"
"""The code of a rejection where the destination neither took nor refused: what it holds is open."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A profile a destination cannot take. `code` is from a closed set, `detail` says what to do; no personal data."""

    kind: RejectionKind
    code: str
    detail: str
    is_certain: bool = field(default=True, compare=False)
    """Whether the destination certainly took nothing of what was sent. Not kept: it only matters when a call ends."""
