"""Work in a process of its own, so that its memory and its CPU time are nobody else's."""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar, cast

_Found = TypeVar("_Found")

_PRELOADED = (
    "local.benchmarks.aws_apart",
    "local.benchmarks.worker",
    "relay.destinations.activecampaign",
    "relay.destinations.gainsight_px",
    "relay.workers.consumer",
    "relay.workers.import_checks",
)
"""What the processes of `started` need: it is imported once for all of them."""


class EndedEarlyError(Exception):
    """The process ended without a result; what went wrong there stands on standard error."""


def apart(function: Callable[..., _Found], *arguments: object) -> _Found:
    """Call a function of a module in a new process, which ends with this one at the latest; return what it returns.

    What it prints is dropped: standard output is for the figures, and the relay writes its metrics there.
    """
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_call, args=(sending, function, arguments), daemon=True)
    child.start()
    sending.close()
    try:
        return cast("_Found", receiving.recv())
    except EOFError:
        raise EndedEarlyError(f"{function.__module__}.{function.__name__} failed") from None
    finally:
        child.terminate()
        child.join()


def started(work: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
    """Call a function with its end of a pipe and arguments in a new process; return that and our end of the pipe."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _call(sending: Connection, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        try:
            sending.send(function(*arguments))
        except Exception:  # noqa: BLE001 - whatever it is, the other process can only say that there is no result
            traceback.print_exc()
        finally:
            sending.close()
