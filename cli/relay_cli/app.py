"""The tree of commands, and what all of them take: which stack is meant, and how its answers are shown."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from relay_cli import __version__
from relay_cli.commands import (
    connections,
    explaining,
    exports,
    forgetting,
    looking,
    planning,
    queues,
    rejected,
    runs,
    segments,
    sending,
    sources,
    tracing,
)
from relay_cli.commands.common import FLAGS, LOOK, MESSAGES, PEOPLE, RUN
from relay_cli.relay import Relay

EVERYWHERE = Group("Stack and output, of every command", sort_key=9)

HELP = (
    "Operates Audience Relay: the stack in your AWS account that keeps your tools in step with your segments.\n\n"
    "Credentials, region and profile come from the ordinary AWS chain. Results go to standard output: as tables on a "
    "terminal, as text with tabs in a pipe, as JSON with --json. Everything else goes to standard error.\n\n"
    "Exit codes: 0 well, 1 something is wrong, 2 the command line is wrong, 3 a person is needed, 4 AWS refuses, 5 it "
    "takes too long, 10 a plan has changes (plan --exit-code)."
)


@dataclass(frozen=True, slots=True)
class Options:
    """What stands beside every command."""

    stack: str | None
    region: str | None
    profile: str | None
    local: bool
    as_json: bool


def build(make: Callable[[Options], Relay]) -> App:
    """Return the commands; `make` makes the world of one from what stands beside it."""
    app = App(
        name="relay",
        help=HELP,
        version=__version__,
        default_parameter=FLAGS,
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    app.meta.group_parameters = EVERYWHERE
    app.meta.suppress_keyboard_interrupt = False
    _register(app)
    app.register_install_completion_command(help="Let your shell complete commands and options.", add_to_startup=False)

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        stack: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        local: bool = False,
        as_json: Annotated[bool, Parameter(name="--json")] = False,
    ) -> Any:
        """Run a command.

        Parameters
        ----------
        stack
            The stack's name. By default RELAY_STACK, or the one in samconfig.toml.
        region
            The AWS region, if it is not the one of the profile.
        profile
            The AWS profile, if it is not the default one.
        local
            The stack on this machine (make up).
        as_json
            Print JSON; lists as one object a line.
        """
        command, bound, injected = app.parse_args(tokens, exit_on_error=False, print_error=False)
        relay = make(Options(stack, region, profile, local, as_json))
        return command(*bound.args, **bound.kwargs, **dict.fromkeys(injected, relay))

    return app


def _register(app: App) -> None:
    app.command(looking.status, group=LOOK)
    app.command(looking.check, group=LOOK)
    app.command(looking.codes, group=LOOK)
    app.command(segments.app)
    app.command(planning.plan, group=RUN)
    app.command(runs.run, group=RUN)
    app.command(runs.app)
    app.command(explaining.explain, group=PEOPLE)
    app.command(rejected.rejected, group=PEOPLE)
    app.command(tracing.try_, name="test", group=PEOPLE)
    app.command(tracing.trace, group=PEOPLE)
    app.command(forgetting.forget, group=PEOPLE)
    app.command(sources.app)
    app.command(connections.app)
    app.command(exports.app)
    app.command(sending.send, group=MESSAGES)
    app.command(queues.app)
