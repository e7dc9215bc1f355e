"""AWS on a socket of this machine: answers as a test wants, and keeps what it was sent. For tests and benchmarks."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


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
        """The body, read as JSON."""
        return json.loads(self.body)


class AwsServer(ThreadingHTTPServer):
    """Answers every request as `answer` says, and `keeps` what it was asked."""

    daemon_threads = True
    # With the default of 5 the system would drop some of the connections that come at the same time.
    request_queue_size = 128

    def __init__(
        self, answer: Callable[[Asked], Answer], context: ssl.SSLContext | None = None, *, keeps: bool = True
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[Asked] = []
        self.keeps = keeps
        self.may_be_silent = False
        """Whether one of the answers leaves the client to give up."""
        self.connections = 0
        self.is_over = threading.Event()
        self.ended = threading.Event()
        """Set when the server has closed a connection."""
        self._context = context

    @property
    def url(self) -> str:
        """Where it listens."""
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://localhost:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take the next connection."""
        connection, address = super().get_request()
        self.connections += 1
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: AwsServer

    def setup(self) -> None:
        """Begin a connection."""
        super().setup()
        self._number = self.server.connections

    def finish(self) -> None:
        """End a connection."""
        super().finish()
        self.server.ended.set()

    def do_POST(self) -> None:
        """Answer a call."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self._number, self.command, self.path, headers, body)
        if self.server.keeps:
            self.server.asked.append(asked)
        answer = self.server.answer(asked)
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

    # Credentials of a container are asked for so.
    do_GET = do_POST  # noqa: N815 - named by http.server

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def serving(*answers: Answer, context: ssl.SSLContext | None = None) -> Iterator[AwsServer]:
    """Serve on a free port of this machine: the answers in their order, and then the last one for ever."""
    waiting = list(answers) or [Answer()]
    with serving_as(lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0], context) as server:
        server.may_be_silent = any(answer.silent for answer in answers)
        yield server


@contextmanager
def serving_as(
    answer: Callable[[Asked], Answer], context: ssl.SSLContext | None = None, *, keeps: bool = True
) -> Iterator[AwsServer]:
    """Serve on a free port of this machine; with a `context` by TLS."""
    server = AwsServer(answer, context, keeps=keeps)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.is_over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def certificate(folder: Path) -> Path:
    """Return a file with a certificate for localhost, signed by itself and good for a day, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        # Python 3.13 and later insist on these.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_usage(), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "localhost.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def by_tls(file: Path) -> ssl.SSLContext:
    """Return what serves by TLS with the certificate of a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
