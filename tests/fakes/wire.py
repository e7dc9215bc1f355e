"""A wire to a WSGI application in this process, on which any request can be interfered with.

It takes the place of a `requests.Session`. Nothing is prepared as `requests` would, so a request costs a fraction of a
millisecond and thousands of conversations can be had.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from types import TracebackType
from typing import Any
from urllib.parse import unquote_to_bytes, urlencode, urlsplit

import requests

WsgiApp = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it went out."""

    method: str
    path_url: str
    """Path and query, as they are quoted."""
    headers: Mapping[str, str]
    body: bytes
    address: str = ""
    """Scheme and host."""

    @property
    def path(self) -> str:
        """Return the path alone."""
        return self.path_url.partition("?")[0]

    @property
    def place(self) -> tuple[str, str]:
        """Return method and path."""
        return self.method, self.path


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it comes in."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Act = Callable[[], Answered]
"""Has the application act on the request, and returns its answer."""

Interference = Callable[[Sent, Act], Answered]
"""Answers in the application's place, or raises as `requests` does; may have the application act or not."""


class Response:
    """What `HttpCaller` needs of a `requests.Response`."""

    def __init__(self, answered: Answered) -> None:
        self.status_code = answered.status
        self.headers = answered.headers
        self._body = answered.body

    def iter_content(self, size: int) -> Iterator[bytes]:
        """Yield the body in pieces."""
        for start in range(0, len(self._body), size):
            yield self._body[start : start + size]

    def __enter__(self) -> Response:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing is open."""


class Wire(requests.Session):
    """Hands requests to an application, and remembers them in `requests`.

    `interfere` answers in the application's place. `now` is the (virtual) time: a request during which more of it
    passes than the read time-out allows is acted on, and then times out.
    """

    def __init__(self, app: WsgiApp, now: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self._app = app
        self._now = now
        self.interfere: Interference = lambda sent, act: act()
        self.requests: list[Sent] = []

    def json_bodies(self) -> list[Any]:
        """Return the JSON bodies that were sent, parsed."""
        return [
            json.loads(sent.body) for sent in self.requests if sent.headers.get("Content-Type", "").endswith("json")
        ]

    def request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, Any] | None = None,
        data: bytes | Mapping[str, str] | None = None,
        timeout: tuple[float, float] = (0, 0),
        **_: Any,
    ) -> Response:
        """Make a request."""
        address = urlsplit(url)
        query = "&".join(part for part in (address.query, urlencode(params or {}, doseq=True)) if part)
        sent_headers = dict(headers)
        if isinstance(data, Mapping):
            sent_headers["Content-Type"] = "application/x-www-form-urlencoded"
            data = urlencode(data).encode()
        path_url = address.path + (f"?{query}" if query else "")
        sent = Sent(method, path_url, sent_headers, data or b"", f"{address.scheme}://{address.netloc}")
        self.requests.append(sent)
        started = self._now()
        try:
            answered = self.interfere(sent, lambda: self.act(sent))
        except ConnectionAbortedError:
            raise requests.ConnectionError("Connection aborted.") from None
        if self._now() - started > timeout[1]:
            raise requests.ReadTimeout(f"{url} timed out")
        return Response(answered)

    def act(self, sent: Sent) -> Answered:
        """Have the application act on a request, past all interference."""
        begun: list[Any] = []
        path, _, query = sent.path_url.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": sent.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "sandbox.invalid",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": sent.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(sent.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(sent.body),
            "wsgi.errors": BytesIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in sent.headers.items():
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        parts = self._app(environ, lambda status, headers, *_: begun.append((status, headers)))
        try:
            body = b"".join(parts)
        finally:
            parts.close()
        [(status, headers)] = begun
        return Answered(int(status.partition(" ")[0]), dict(headers), body)
