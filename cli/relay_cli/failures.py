"""How a command ends: the exit codes, and the failures that say what, why, and which command helps."""

from enum import IntEnum
from typing import Any, ClassVar


class Exit(IntEnum):
    """The exit codes of every command."""

    WELL = 0
    WRONG = 1
    USAGE = 2
    PERSON = 3
    REFUSED = 4
    TIMEOUT = 5
    CHANGES = 10
    INTERRUPTED = 130


class Failure(Exception):  # noqa: N818 - most of them are no errors of this program
    """A command cannot go on. `what` happened, `why`, and `helps`: the command or step to take next."""

    exit: ClassVar[Exit] = Exit.WRONG

    def __init__(
        self, what: str, why: str = "", helps: str = "", *, errors: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.helps = helps
        self.errors = [] if errors is None else errors
        """One for each field that is wrong: `field`, `what`, and the nearest known name as `near` (or None)."""


class UsageFailure(Failure):
    """The command line asks for something that there is not."""

    exit = Exit.USAGE


class PersonNeeded(Failure):
    """Somebody has to decide first."""

    exit = Exit.PERSON


class BeingDeleted(Failure):
    """A source or a connection was removed, and can be brought back until its last day."""


class AwsRefused(Failure):
    """AWS does not let the caller do this: no credentials, expired ones, or a right that is missing."""

    exit = Exit.REFUSED


class Interrupted(Failure):
    """Somebody interrupted what had begun to change something."""

    exit = Exit.INTERRUPTED


class TimedOut(Failure):
    """What was waited for did not happen in time. It goes on all the same."""

    exit = Exit.TIMEOUT
