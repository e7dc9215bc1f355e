"""A `requests` session whose every call goes to a WSGI application in this process: no sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse
from urllib3.connection import HTTPConnection
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError
from werkzeug.test import Client

WsgiApp = Callable[..., Any]


class WsgiAdapter(BaseAdapter):
    """Hands requests to an application and remembers them.

    `refuses_connections` makes every call fail as if nobody listened. `now` is the (virtual) time: a call during
    which more of it passes than the read timeout allows was processed, and then times out.
    """

    def __init__(self, app: WsgiApp, now: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self._client = Client(app)
        self._now = now
        self.refuses_connections = False
        self.requests: list[requests.PreparedRequest] = []

    def json_bodies(self) -> list[Any]:
        """Return the JSON bodies that were sent, parsed."""
        is_json = "application/json"
        return [
            json.loads(sent.body or b"null") for sent in self.requests if sent.headers.get("Content-Type") == is_json
        ]

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Run the application and answer as the network would."""
        if self.refuses_connections:
            connection = HTTPConnection("sandbox.invalid")
            reason = NewConnectionError(connection, "refused")
            pool = HTTPConnectionPool("sandbox.invalid")
            raise requests.ConnectionError(MaxRetryError(pool, str(request.url), reason), request=request)
        self.requests.append(request)
        started = self._now()
        try:
            answer = self._client.open(
                path=str(request.path_url).partition("?")[0],
                query_string=str(request.path_url).partition("?")[2],
                method=request.method or "GET",
                headers=list(request.headers.items()),
                data=request.body or b"",
            )
        except ConnectionAbortedError as error:
            raise requests.ConnectionError(ProtocolError("Connection aborted.", error), request=request) from None
        if timeout is not None and self._now() - started > timeout[1]:
            raise requests.ReadTimeout(f"{request.url} timed out", request=request)
        response = requests.Response()
        response.status_code = answer.status_code
        response.headers = requests.structures.CaseInsensitiveDict(answer.headers.items())
        response.raw = HTTPResponse(BytesIO(answer.get_data()), preload_content=False)
        response.url = str(request.url)
        response.request = request
        return response

    def close(self) -> None:
        """Nothing is open."""


def wsgi_session(adapter: WsgiAdapter) -> requests.Session:
    """Return a session that reaches nothing but the adapter's application."""
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
