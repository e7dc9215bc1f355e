"""Processes of the local stack: started in groups of their own, remembered in a file, stopped even after a crash."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

_POLL_SECONDS = 0.05
_STOP_SECONDS = 5.0

Found = TypeVar("Found")


class LocalStackError(Exception):
    """The local stack could not be started or is not there; the text says why and where to look."""


def wait_for(what: str, seconds: float, look: Callable[[], Found | None], *, every: float = _POLL_SECONDS) -> Found:
    """Return what `look` finds, as soon as it finds something; raise after `seconds`."""
    end = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > end:
            raise LocalStackError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
    return found


def _birth(pid: int) -> str | None:
    """When process `pid` started, in the kernel's ticks; None if there is no such process (a zombie is none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


class Processes:
    """The processes of one stack, by name. The file outlives this program, so another one can stop them."""

    def __init__(self, folder: Path) -> None:
        """Keep logs and the file of processes in `folder`."""
        self._folder = folder
        self._file = folder / "processes.json"
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> None:
        """Start `command` in `folder`, its output in `NAME.log`."""
        log = self.log(name)
        with log.open("wb") as output:
            child = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C in the terminal reaches this program, which then stops the group.
                start_new_session=True,
            )
        self._children[name] = child
        known = self._known()
        known[name] = {"pid": child.pid, "birth": _birth(child.pid)}
        self._file.write_text(json.dumps(known), encoding="utf-8")

    def finish(self, name: str, seconds: float) -> int:
        """Wait until process `name` ends; return its status."""
        status = wait_for(f"the end of {name}", seconds, self._children[name].poll)
        del self._children[name]
        return status

    def log(self, name: str) -> Path:
        """Where the output of process `name` is."""
        return self._folder / f"{name}.log"

    def wait(self, name: str, what: str, seconds: float, look: Callable[[], Found | None]) -> Found:
        """Wait as `wait_for` does, but give up at once if process `name` ends."""

        def look_at_both() -> Found | None:
            child = self._children[name]
            if child.poll() is not None:
                raise LocalStackError(f"{name} ended with status {child.returncode}:\n{tail(self.log(name))}")
            return look()

        return wait_for(what, seconds, look_at_both)

    def pids(self) -> dict[str, int]:
        """The processes that still run."""
        return {name: int(str(entry["pid"])) for name, entry in self._known().items() if self._runs(entry)}

    def stop_all(self) -> list[str]:
        """Stop everything that was ever started in this folder and still runs; return the names."""
        running = self.pids()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in running.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, number)
            # What this program started itself has to be collected, or it stays as a zombie.
            with contextlib.suppress(LocalStackError):
                wait_for("the end of the local stack's processes", _STOP_SECONDS, self._all_ended)
                break
        self._children.clear()
        self._file.unlink(missing_ok=True)
        return list(running)

    def _all_ended(self) -> bool | None:
        for child in self._children.values():
            child.poll()
        return None if self.pids() else True

    def _known(self) -> dict[str, dict[str, str | int | None]]:
        try:
            known: dict[str, dict[str, str | int | None]] = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return known

    @staticmethod
    def _runs(entry: Mapping[str, str | int | None]) -> bool:
        # Process ids are given out again, after a restart of the machine for sure; with the birth they are unique.
        return entry["birth"] is not None and _birth(int(str(entry["pid"]))) == entry["birth"]


def tail(log: Path, *, around: str = "", lines: int = 40) -> str:
    """Return the end of a log, or what is from the first mention of `around` on, if that is there."""
    try:
        written = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    first = next((number for number, line in enumerate(written) if around and around in line), None)
    return "\n".join(written[-lines:] if first is None else written[first : first + lines])
