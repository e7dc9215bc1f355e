"""Serving a sandbox over HTTP/1.1 with connections that stay open, one thread per connection."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from sandboxes.scripted_faults import DroppedConnectionError

if TYPE_CHECKING:
    from flask import Flask

_IDLE_SECONDS = 120.0


class _KeepAliveHandler(WSGIRequestHandler):
    """Werkzeug's own handler closes every connection after one answer; clients under test should reuse theirs."""

    protocol_version = "HTTP/1.1"
    # Head and body leave in one write; without this, an answer in two writes waits for a delayed ACK.
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        # A client that went away in the middle of an answer is no news in a sandbox.
        with contextlib.suppress(ConnectionError):
            super().finish()

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        length = environ.get("CONTENT_LENGTH")
        body = b""
        if length:
            body = self.rfile.read(int(length))
        elif environ.get("wsgi.input_terminated"):
            body = environ["wsgi.input"].read()
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> Any:
            head[:] = [status, headers]

        try:
            parts = self.server.app(environ, start_response)
            content = b"".join(parts)
        except DroppedConnectionError:
            self.close_connection = True
            return
        except BaseException:
            self.close_connection = True
            raise
        status, headers = head
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        if int(code) not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay silent: the first line on standard output must be the address, and counters show the rest."""


class _Server(ThreadedWSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, app: Flask) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(host, port, app, _KeepAliveHandler)

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.server_address[1]}"

    def close_all(self) -> None:
        """Stop listening and cut open connections, so that a stopped sandbox really looks like an outage."""
        self.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def serve(app: Flask, port: int = 0) -> Iterator[str]:
    """Serve `app` on localhost in a background thread; yield its address `http://127.0.0.1:PORT` (0 = a free port)."""
    server = _Server("127.0.0.1", port, app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.address
    finally:
        server.shutdown()
        server.close_all()
        thread.join()


def serve_forever(app: Flask, host: str, port: int) -> None:
    """Serve `app` until interrupted; print `listening on http://HOST:PORT` first, also when `port` is 0."""
    server = _Server(host, port, app)
    print(f"listening on {server.address}", flush=True)
    try:
        server.serve_forever()
    finally:
        server.close_all()
