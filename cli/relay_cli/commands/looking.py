"""Looking at the whole stack: its state, everything that is wrong, and what the codes mean."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated

from cyclopts import Parameter

from relay_cli import __version__
from relay_cli.failures import AwsRefused, Exit, Failure
from relay_cli.parts import Line
from relay_cli.relay import PROTOCOL, Answer, Function, Injected, Relay, unknown
from relay_cli.views import looking as view

CLOCK_SECONDS = 60
"""How far this machine's clock may be off: signatures of requests and webhooks fail beyond five minutes."""


def status(*, watch: bool = False, every: Annotated[float, Parameter(name="--every")] = 5.0, relay: Injected) -> int:
    """Show everything on one screen: sources, connections, exports, stops, queues, schedules, version.

    Exit code 3 when a person is needed (a stop, a run to confirm, consent), 1 when something else is wrong.

    Parameters
    ----------
    watch
        Go on showing it, until Ctrl-C.
    every
        Seconds between looks, with --watch.
    """
    if not watch:
        answer = relay.ask("status")
        relay.screen.show(answer, view.status(answer, relay.now()))
        return view.exit_of_status(answer)
    if relay.screen.is_terminal and not relay.screen.as_json:
        with relay.screen.terminal().replacing() as show:
            while True:
                show(list(view.status(relay.ask("status"), relay.now())))
                relay.sleep(every)
    while True:
        answer = relay.ask("status")
        relay.screen.show_list([answer], view.status(answer, relay.now()))
        relay.screen.out.flush()
        relay.sleep(every)


def check(connection: str | None = None, /, *, relay: Injected) -> int:
    """Look for everything that is wrong: who must act, in the order to mend. Exit code 1 when something is.

    It looks at the stack's version, your rights, the clock, sources, secrets, exports, schedules, destination accounts
    and queues.

    Parameters
    ----------
    connection
        Only this connection and what it depends on.
    """
    own = [] if connection is not None else list(_own_findings(relay))
    answer = relay.ask("check", connection=connection)
    findings = [*own, *answer["findings"]]
    levels = ["error", "warning", "note"]
    findings.sort(key=lambda one: levels.index(one["level"]))
    whole = {"well": not any(one["level"] == "error" for one in findings), "findings": findings}
    if relay.screen.is_terminal:
        relay.screen.show(whole, view.check(whole))
    else:
        relay.screen.show_list(findings, [view.findings(findings)] if findings else [Line("All is well.")])
    return Exit.WELL if whole["well"] else Exit.WRONG


def codes(code: str | None = None, /, *, relay: Injected) -> None:
    """Print what the codes of rejections, stops, refusals and warnings mean, who must act, and what then happens.

    Parameters
    ----------
    code
        Only this one.
    """
    found = relay.ask_list("codes", "codes")
    if code is not None:
        named = [one for one in found if one["code"] == code]
        if not named:
            raise unknown("code", code, [one["code"] for one in found], "relay codes")
        found = named
    relay.screen.show_list(found, view.codes(found))


def _own_findings(relay: Relay) -> Iterator[Answer]:
    """Look at what only this side knows: its own version, the caller's rights, this machine's clock."""
    stack = relay.ask("describe")["stack"]
    if stack["version"] != __version__:
        yield _warning(
            "command line",
            "other_version",
            f"this is version {__version__}, the stack is {stack['version']}",
            "pipx install the version of the stack",
        )
    aws_time = relay.door.aws_time()
    if aws_time is not None and abs((relay.now() - aws_time).total_seconds()) > CLOCK_SECONDS:
        off = abs((relay.now() - aws_time).total_seconds())
        yield _warning("this machine", "clock_off", f"its clock is off by {off:,.0f} seconds", "set the clock")
    missing = [f"{what} ({refused.why})" for what, refused in _refused_rights(relay)]
    if missing:
        # Most people are meant to lack some: each of the policies leaves others out.
        message = f"you may not {'; '.join(missing)}"
        yield {
            **_warning("your rights", "rights", message, "ask for the policy that has them, if you need them"),
            "level": "note",
            "who_must_act": None,
        }


def _refused_rights(relay: Relay) -> Iterator[tuple[str, AwsRefused]]:
    """Yield what the caller may not do, as far as trying it changes nothing."""
    anything = {"ask": "describe", "version": PROTOCOL}

    def read_a_source() -> None:
        for name in relay.door.secret_names("sources")[:1]:
            relay.door.secret("sources", name)

    tries: Mapping[str, Callable[[], object]] = {
        "start, confirm and cancel runs": lambda: relay.door.invoke(Function.OPERATE, anything),
        "forget people": lambda: relay.door.invoke(Function.FORGET, anything),
        "read sources and connections": read_a_source,
        "read exports": relay.door.export_keys,
        "list schedules": relay.door.schedule_names,
        "look at queues": lambda: relay.door.queue_depth("changes"),
    }
    for what, attempt in tries.items():
        try:
            attempt()
        except AwsRefused as refused:
            yield what, refused
        except Failure:
            # The right is there; what is wrong otherwise is no matter of rights.
            continue


def _warning(subject: str, code: str, message: str, command: str) -> Answer:
    return {
        "subject": subject,
        "level": "warning",
        "code": code,
        "message": message,
        "who_must_act": "administrator",
        "command": command,
    }
