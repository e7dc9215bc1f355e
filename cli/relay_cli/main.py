"""The entry point: runs one command line and returns its exit code."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TextIO

from cyclopts.exceptions import CycloptsError

from relay_cli import files, stacks
from relay_cli.app import Options, build
from relay_cli.door import Door
from relay_cli.failures import Exit, Failure, UsageFailure
from relay_cli.relay import Relay
from relay_cli.screen import Person, Screen
from relay_cli.stacks import Stack


def _open_door(stack: Stack) -> Door:
    # boto3 takes longer to import than all the rest.
    from relay_cli.aws import Aws

    return Aws(stack)


@dataclass
class World:
    """All that a command line needs of the machine. Tests give their own."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    keys: TextIO = field(default_factory=lambda: sys.stdin)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    folder: Path = field(default_factory=Path.cwd)
    open_door: Callable[[Stack], Door] = _open_door
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    edit: Callable[[str], str] | None = None

    def relay(self, options: Options) -> Relay:
        """Return the world of one command."""

        def open_door() -> Door:
            return self.open_door(
                stacks.find(
                    self.folder,
                    self.environment,
                    stack=options.stack,
                    region=options.region,
                    profile=options.profile,
                    local=options.local,
                )
            )

        screen = Screen(self.out, self.err, as_json=options.as_json, environment=self.environment)
        edit = self._edit if self.edit is None else self.edit
        person = Person(self.keys, screen)
        parts = screen, person, self.now, self.sleep, edit, self._read, self._write
        return Relay(open_door, *parts, lambda names: files.found(self.folder, names))

    def _read(self, name: str) -> bytes:
        """Return what a file holds."""
        if name == "-":
            binary: IO[bytes] | None = getattr(self.keys, "buffer", None)
            return self.keys.read().encode() if binary is None else binary.read()
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise UsageFailure(f"{name} cannot be read.", error.strerror or "") from None

    def _write(self, name: str, text: str) -> None:
        """Write a file beside its place first, so that an interruption leaves none or the old one."""
        target = self.folder / name
        beside = target.with_name(f".{target.name}.part")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(target)
        except OSError as error:
            raise UsageFailure(f"{name} cannot be written.", error.strerror or "") from None
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def _edit(self, text: str) -> str:
        """Open the caller's editor with a text; it lies in a file that only the caller can read."""
        editor = self.environment.get("VISUAL") or self.environment.get("EDITOR") or "vi"
        descriptor, name = tempfile.mkstemp(suffix=".json")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            if subprocess.run([*editor.split(), name], check=False).returncode:  # noqa: S603 - the caller's own editor
                raise Failure(f"{editor} failed.", "Nothing was changed.", "set EDITOR")
            return Path(name).read_text(encoding="utf-8")
        finally:
            Path(name).unlink()


def main(arguments: Sequence[str], world: World | None = None) -> int:
    """Run a command line; return its exit code."""
    world = World() if world is None else world
    made: list[Relay] = []

    def make(options: Options) -> Relay:
        made.append(world.relay(options))
        return made[0]

    screen = Screen(world.out, world.err, as_json="--json" in arguments, environment=world.environment)
    try:
        code = build(make).meta(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        world.out.flush()
        return int(code or Exit.WELL)
    except CycloptsError as error:
        screen.failed(UsageFailure(str(error), helps=_help_of(error)))
        return Exit.USAGE
    except Failure as failure:
        screen.failed(failure)
        return failure.exit
    except KeyboardInterrupt:
        print("interrupted; nothing is half-done", file=world.err)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Who read has read enough. What is still buffered must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.WELL


def _help_of(error: CycloptsError) -> str:
    chain = " ".join(error.command_chain or ())
    return f"relay {chain} --help".replace("  ", " ")


def run() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        # A letter that the terminal does not know is no reason to fail.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
