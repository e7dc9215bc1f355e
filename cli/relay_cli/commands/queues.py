"""Queues: what waits, what lies in dead-letter queues and why, and putting it back."""

from collections.abc import Iterator, Sequence

from cyclopts import App

from relay_cli.commands.common import FLAGS, MESSAGES
from relay_cli.failures import AwsRefused, Failure
from relay_cli.parts import Cell, Line, Part, Table, Text, Tone, ago, at, listed, number, several
from relay_cli.relay import Answer, Injected, Relay, unknown
from relay_cli.views import looking

app = App(name="queues", help="Queues: list, redrive, purge.", group=MESSAGES, default_parameter=FLAGS)

MOST_SHOWN = 100
SAY_EVERY = 15.0


@app.command(name="list")
def list_(queue: str | None = None, /, *, relay: Injected) -> None:
    """List the queues; or what lies in one dead-letter queue, and why.

    Parameters
    ----------
    queue
        A dead-letter queue, as the list names it.
    """
    found = relay.ask("status")["queues"]
    if queue is None:
        relay.screen.show_list(found, [looking.queues(found)])
        return
    name = _dead_letters(relay, queue, found)
    messages = _messages(relay, name)
    rows: list[Sequence[Text]] = [
        [
            one["message"],
            ago(one["sent_at"], relay.now()),
            number(one["receive_count"]),
            Cell(str(one["error"] or "not recorded"), Tone.BAD),
            at(one["at"]),
            listed(one["places"][-1:]),
        ]
        for one in messages
    ]
    depth = next(one for one in found if one["name"] == f"{relay.door.prefix}-{name}")
    table = Table(("message", "sent", "receives", "error", "last try", "place in the code"), rows, title=name)
    parts: list[Part] = [table] if rows else []
    left = list(_not_shown(len(rows), depth))
    relay.screen.show_list(messages, parts if rows or left else [Line(f"Nothing lies in {name}.")])
    for said in left:
        relay.screen.note(said, Tone.WARN)


@app.command
def redrive(queue: str, /, *, yes: bool = False, relay: Injected) -> None:
    """Put the messages of a dead-letter queue back into its queue. Do it after the cause is mended.

    Messages only say who is to be looked at, so any order will do, and one that comes twice does no harm.

    Parameters
    ----------
    queue
        The dead-letter queue, as relay queues list names it.
    yes
        Do not ask.
    """
    name = _dead_letters(relay, queue, relay.ask("status")["queues"])
    target = name.replace("-dlq", "", 1)
    if name == "export-dlq":
        raise Failure(
            "These are events of schedules, which have no queue to go back to.",
            "Correct the schedule, start the export by hand if it must not wait, and purge this queue.",
            "relay run EXPORT",
        )
    depth = relay.door.queue_depth(name)
    question = f"Put {several(depth, 'message', 'messages')} of {name} back?"
    relay.person.agrees(question, said_before=yes, helps=f"relay queues redrive {name} --yes")
    moved = 0
    with relay.screen.progress(name, relay.now, SAY_EVERY) as move:
        for moved in relay.door.redrive(name, target):
            move(moved / depth if depth else None, f"{number(moved)} put back")
    said = f"{several(moved, 'message is', 'messages are')} back in {target}."
    relay.screen.show({"queue": name, "moved": moved}, [Line(Cell(said, Tone.GOOD))])


@app.command
def purge(queue: str, /, *, yes: bool = False, relay: Injected) -> None:
    """Delete all messages of a dead-letter queue. The next run makes up for what they were about.

    Changes in changes-dlq are lost with it: they are what platforms sent.

    Parameters
    ----------
    queue
        The dead-letter queue, as relay queues list names it.
    yes
        Do not ask.
    """
    name = _dead_letters(relay, queue, relay.ask("status")["queues"])
    depth = relay.door.queue_depth(name)
    relay.person.agrees(
        f"Delete {several(depth, 'message', 'messages')} of {name} for good?",
        said_before=yes,
        helps=f"relay queues purge {name} --yes",
    )
    relay.door.purge(name)
    relay.screen.show({"queue": name, "purged": depth}, [Line(Cell(f"{name} is empty.", Tone.GOOD))])


def _not_shown(shown: int, depth: Answer) -> Iterator[str]:
    """Yield what is said of messages that lie in a queue and did not show themselves."""
    hidden, more = depth["in_flight"], depth["messages"] + depth["in_flight"] - shown
    if more <= 0:
        return
    yield f"About {several(more, 'more message lies', 'more messages lie')} there."
    if hidden:
        yield f"{number(hidden)} of them are hidden: somebody looks at them, or puts them back. Look again in a minute."


def _dead_letters(relay: Relay, queue: str, found: Sequence[Answer]) -> str:
    """Return the name of a dead-letter queue without the prefix."""
    begin = f"{relay.door.prefix}-"
    names = [one["name"].removeprefix(begin) for one in found if one["kind"] == "dlq"]
    name = queue.removeprefix(begin)
    if name not in names:
        raise unknown("dead-letter queue", queue, names, "relay queues list")
    return name


def _messages(relay: Relay, name: str) -> list[Answer]:
    """Return what lies in a dead-letter queue, each message with the reason that was recorded for it."""
    reasons = {
        one["message"]: one
        for one in relay.ask_list("attempts", "attempts", queue=f"{relay.door.prefix}-{name.replace('-dlq', '', 1)}")
    }
    try:
        lying = relay.door.messages(name, MOST_SHOWN)
    except AwsRefused as refused:
        relay.screen.note(f"You may not look into the queue ({refused.why}); these are the recorded reasons.")
        return [{**one, "sent_at": None} for one in reasons.values()]
    found = []
    for one in lying:
        reason = reasons.get(one.id) or reasons.get(one.first_id or "", {})
        found.append(
            {
                "message": one.id,
                "sent_at": None if one.sent_at is None else one.sent_at.isoformat(),
                "receive_count": reason.get("receive_count", one.received),
                "error": reason.get("error"),
                "at": reason.get("at"),
                "places": list(reason.get("places") or ()),
            }
        )
    return found
