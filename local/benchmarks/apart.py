"""Work in a process of its own, so that its memory and its CPU time are nobody else's."""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar, cast

_Found = TypeVar("_Found")


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


def _call(sending: Connection, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        try:
            sending.send(function(*arguments))
        except Exception:  # noqa: BLE001 - whatever it is, the other process can only say that there is no result
            traceback.print_exc()
        finally:
            sending.close()
