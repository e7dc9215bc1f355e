"""Faults of a vendor and of the network, as they are played at any request.

Most answers say nothing about what the vendor did: they are played with and without its having acted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import requests
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from tests.fakes.wire import Act, Answered, Interference, Sent

PAGE = "<!DOCTYPE html><html><head><title>Log in</title></head><body>Log in</body></html>"
JSON = {"Content-Type": "application/json"}
RETRY_AFTER = 17


class Kind(Enum):
    """What a fault says, and so what may come of it."""

    OUTAGE = "it is the vendor's or the network's, and passes"
    SLOW_DOWN = "we are too fast"
    ACCOUNT = "it is the account's, whatever was sent"
    ADDRESS = "what was asked for is not there"
    CONTENT = "something that was sent is refused"
    PAGE = "a success that is no JSON"
    SHAPE = "a success whose JSON is another"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request.

    `acts`: whether the vendor acts on the request all the same. `is_certain`: whether it shows that it did not.
    `by_proxy`: whether the answer, if any, does not come from the vendor itself, which may act later.
    `lasts`: whether the same request is answered so from then on.
    """

    name: str
    kind: Kind
    answer: Callable[[Sent, str], Answered]
    acts: bool = False
    is_certain: bool = False
    by_proxy: bool = False
    lasts: bool = False

    def interference(self, text: str) -> Interference:
        """Return how a request is answered; error texts repeat `text`."""

        def interfere(sent: Sent, act: Act) -> Answered:
            if self.acts:
                act()
            return self.answer(sent, text)

        return interfere


def _raises(error: Callable[[Sent], Exception]) -> Callable[[Sent, str], Answered]:
    def answer(sent: Sent, _: str) -> Answered:
        raise error(sent)

    return answer


def _refused(_: Sent) -> Exception:
    host = "sandbox.invalid"
    reason = NewConnectionError(HTTPConnection(host), "refused")
    return requests.ConnectionError(MaxRetryError(HTTPConnectionPool(host), "/", reason))


def _says(status: int, headers: Mapping[str, str] | None = None) -> Callable[[Sent, str], Answered]:
    """Return an error as vendors write them, which repeats what was sent."""

    def answer(_: Sent, text: str) -> Answered:
        said = {"message": text, "error": text, "errors": [{"title": text, "detail": text}]}
        return Answered(status, {**JSON, **(headers or {})}, json.dumps(said).encode())

    return answer


def _with(status: int, body: str, kind: str) -> Callable[[Sent, str], Answered]:
    return lambda sent, text: Answered(status, {"Content-Type": kind}, body.encode())


def _both(name: str, kind: Kind, answer: Callable[[Sent, str], Answered], *, by_proxy: bool = False) -> list[Fault]:
    return [
        Fault(f"{name}, {'done' if acts else 'not done'}", kind, answer, acts, by_proxy=by_proxy)
        for acts in (True, False)
    ]


TIMED_OUT = _raises(lambda sent: requests.ReadTimeout("read timed out"))
DROPPED = _raises(lambda sent: requests.ConnectionError(ProtocolError("Connection aborted.")))

UNTIL_IT_PASSES: tuple[Fault, ...] = (
    Fault("connection refused", Kind.OUTAGE, _raises(_refused), is_certain=True),
    Fault("no connection in time", Kind.OUTAGE, _raises(lambda _: requests.ConnectTimeout("slow")), is_certain=True),
    *_both("no answer in time", Kind.OUTAGE, TIMED_OUT, by_proxy=True),
    *_both("connection lost", Kind.OUTAGE, DROPPED, by_proxy=True),
    *_both("500", Kind.OUTAGE, _says(500)),
    *_both("503", Kind.OUTAGE, _says(503)),
    Fault("502", Kind.OUTAGE, _says(502), acts=True, by_proxy=True),
    Fault("504", Kind.OUTAGE, _with(504, PAGE, "text/html"), acts=True, by_proxy=True),
    Fault("520", Kind.OUTAGE, _with(520, PAGE, "text/html"), by_proxy=True),
    Fault("408", Kind.OUTAGE, _says(408)),
    Fault("429", Kind.SLOW_DOWN, _says(429), is_certain=True),
    Fault("429 with a rest", Kind.SLOW_DOWN, _says(429, {"Retry-After": str(RETRY_AFTER)}), is_certain=True),
    Fault("503 with a rest", Kind.SLOW_DOWN, _says(503, {"Retry-After": str(RETRY_AFTER)}), acts=True),
    *_both("a page", Kind.PAGE, _with(200, PAGE, "text/html")),
    *_both("half an answer", Kind.PAGE, _with(200, '{"a": {"b":', "application/json")),
    *_both("an empty answer", Kind.PAGE, _with(200, "", "text/plain")),
    Fault("400", Kind.CONTENT, _says(400), is_certain=True),
    Fault("413", Kind.CONTENT, _says(413), is_certain=True),
    Fault("422", Kind.CONTENT, _says(422), is_certain=True),
)

AS_LONG_AS_IT_LASTS: tuple[Fault, ...] = (
    *(
        Fault(f"{status} for long", Kind.ACCOUNT, _says(status), is_certain=True, lasts=True)
        for status in (401, 402, 403)
    ),
    Fault("404 for long", Kind.ADDRESS, _says(404), is_certain=True, lasts=True),
    Fault("a page for long", Kind.PAGE, _with(200, PAGE, "text/html"), lasts=True),
    Fault("500 for long", Kind.OUTAGE, _says(500), lasts=True),
)

FAULTS = (*UNTIL_IT_PASSES, *AS_LONG_AS_IT_LASTS)

# JSON of another shape.

OTHER_SHAPES: tuple[Any, ...] = ([], {}, {"ok": True}, [{"ok": True}], [None], {"errors": [{"title": "no"}]})


def shapes(good: bytes, *, acts: bool) -> list[Fault]:
    """Return successes whose JSON is wholly another than a good one; of a list of records, none is not another."""
    others = [text for text in map(json.dumps, OTHER_SHAPES) if text != "[]" or not good.startswith(b"[")]
    return [
        Fault(f"{text}{'' if acts else ', not done'}", Kind.SHAPE, _with(200, text, "application/json"), acts)
        for text in others
    ]


def deviations(good: bytes, depth: int = 3) -> list[Deviation]:
    """Return what one place of a good answer can be instead; of a list its first item only."""
    try:
        return list(_deviations_in(json.loads(good), depth))
    except ValueError:
        return []


@dataclass(frozen=True, slots=True)
class Deviation:
    """A good answer with another value at one place."""

    at: tuple[str | int, ...]
    wrong: Any
    name: str = ""
    kind = Kind.SHAPE
    acts = True
    is_certain = by_proxy = lasts = False

    def interference(self, text: str) -> Interference:
        """Return how a request is answered."""

        def interfere(sent: Sent, act: Act) -> Answered:
            good = act()
            body = json.loads(good.body)
            holder = body
            for key in self.at[:-1]:
                holder = holder[key]
            holder[self.at[-1]] = self.wrong
            return Answered(good.status, good.headers, json.dumps(body).encode())

        return interfere


def _deviations_in(value: Any, depth: int, at: tuple[str | int, ...] = ()) -> Iterator[Deviation]:
    if not depth:
        return
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, held in inner:
        for wrong in (None, "odd" if isinstance(held, dict | list) else {"odd": 1}):
            yield Deviation((*at, key), wrong, f"{'.'.join(map(str, (*at, key)))} is {json.dumps(wrong)}")
        yield from _deviations_in(held, depth - 1, (*at, key))
