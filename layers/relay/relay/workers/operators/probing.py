"""Probing what is stopped when an operator asks, instead of in some minutes."""

from relay.breaker.prober import Prober
from relay.domain import moments
from relay.settings.settings import Settings
from relay.stores import breakers
from relay.stores.breakers import Breaker
from relay.stores.database import Database
from relay.workers.operators.protocol import Answer, Name, Question


class Probe(Question):
    """Probe what is stopped of a connection now; what is well goes on."""

    connection: Name


class StopPicture(Answer):
    """Why something is stopped now, who must act, and when it is probed next."""

    subject: str
    code: str
    reason: str
    who_must_act: str
    since: str | None
    next_probe: str


class Probed(Answer):
    """What goes on, and what still is stopped."""

    connection: str
    restarted: list[str]
    stopped: list[StopPicture]


class Probing:
    """Answers `probe`."""

    def __init__(self, database: Database, settings: Settings, prober: Prober) -> None:
        self._database = database
        self._settings = settings
        self._prober = prober

    def probe(self, question: Probe) -> Probed:
        """Probe all that is stopped of a connection."""
        connection = question.connection
        exports = {one.name: one for one in self._settings.exports().valid.values() if one.connection == connection}
        stopped = [breaker for breaker in breakers.load_all(self._database, connection) if breaker.stop is not None]
        if not stopped:
            # Says what is wrong with a name that nobody made.
            self._settings.connection(connection, fresh=True)
        restarted = []
        for breaker in stopped:
            is_whole = breaker.export is None
            concerned = [export for name, export in exports.items() if is_whole or name == breaker.export]
            if (concerned or is_whole) and self._prober.probe(breaker, concerned):
                restarted.append(breaker.subject)
        left = filter(None, map(stop_picture, breakers.load_all(self._database, connection)))
        return Probed(connection=connection, restarted=restarted, stopped=list(left))


def stop_picture(breaker: Breaker) -> StopPicture | None:
    """Return a stop as it is shown; None when it goes."""
    if breaker.stop is None:
        return None
    return StopPicture(
        subject=breaker.subject,
        code=breaker.stop.code,
        reason=breaker.stop.reason,
        who_must_act=breaker.stop.actor.value,
        since=None if breaker.since is None else moments.text(breaker.since),
        next_probe=moments.text(breaker.stop.probe_at),
    )
