"""An AWS service on a real socket: answers as it is told to, and keeps what it was sent."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What to answer: a status, a body (made JSON unless it is bytes), headers; or `silent`, or `hang_up`."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False
    """Read the request and say nothing until the client gives up."""
    hang_up: bool = False
    """Read the request and close the connection."""
    then_close: bool = False
    """Answer, and close the connection without having said so."""


@dataclass(frozen=True)
class Asked:
    """One request as it came; `connection` counts connections from 1."""

    connection: int
    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class AwsServer(ThreadingHTTPServer):
    """Gives the answers in their order, and then the last one for ever."""

    daemon_threads = True

    def __init__(self, answers: Sequence[Answer], context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.connections = 0
        self.is_over = threading.Event()
        self.ended = threading.Event()
        """Set when the server has closed a connection."""
        self._context = context

    @property
    def url(self) -> str:
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://localhost:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections += 1
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AwsServer

    def setup(self) -> None:
        super().setup()
        self._number = self.server.connections

    def finish(self) -> None:
        super().finish()
        self.server.ended.set()

    def do_POST(self) -> None:
        self._take()

    def do_GET(self) -> None:
        self._take()

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append(Asked(self._number, self.command, self.path, headers, body))
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        if answer.silent:
            self.server.is_over.wait(10)
        if answer.silent or answer.hang_up:
            self.close_connection = True
            return
        text = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/x-amz-json-1.1", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        self.close_connection = answer.then_close

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def serving(*answers: Answer, context: ssl.SSLContext | None = None) -> Iterator[AwsServer]:
    """Serve on a free port of this machine."""
    server = AwsServer(answers or [Answer()], context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.is_over.set()
        server.shutdown()
        server.server_close()
        thread.join()
