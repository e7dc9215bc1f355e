"""The HTTP door: every call to a destination goes out here, paced, time-limited and logged once."""

import json as jsonlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectTimeout, InvalidHeader, InvalidURL, ReadTimeout, RequestException
from urllib3.exceptions import NewConnectionError, ReadTimeoutError

from relay.destinations.contract import Params, Quota, Reply
from relay.destinations.error_table import retry_after
from relay.destinations.public_addresses import PrivateAddressError, PublicAddressesAdapter
from relay.domain.problems import ConnectionProblem, Problem, Transient
from relay.version import USER_AGENT

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
"""The longest silence of a destination."""
ANSWER_SECONDS = 60.0
"""The longest a whole answer may take to arrive, however steadily it drips."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""After decompression. The largest answer we ask for, a page of 100 records, stays far below."""

CONNECTIONS = 50
"""How many connections to a host are kept open: a worker may make so many calls at the same time."""

SLOW_DOWN = frozenset({429, 503})
"""The statuses whose `Retry-After` asks for a rest. https://www.rfc-editor.org/rfc/rfc9110#field.retry-after"""

_PLAIN_SEGMENT = re.compile(r"[A-Za-z_]+|v\d+")


# One encoder for all: `json.dumps` with options makes a new one each time.
_encode = jsonlib.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def encode_json(value: Any) -> bytes:
    """Encode a body exactly as the door sends it: compact UTF-8. ValueError on NaN and infinities.

    Half a surrogate pair (a platform cut an emoji in two) becomes `?`, so that one profile cannot spoil a whole call.
    """
    return _encode(value).encode(errors="replace")


@cache
def shared_session() -> requests.Session:
    """Return the session of this process: connections are reused, nothing else is remembered between calls.

    Over https it reaches public addresses only.
    """
    session = requests.Session()
    # Proxies, .netrc and CA overrides of the environment would change who gets the credentials.
    session.trust_env = False
    # One account's cookies must never reach another account at the same host.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = USER_AGENT
    # Plain http stays open: only a sandbox of the local environment has such an address; production calls https only.
    session.mount("https://", PublicAddressesAdapter(pool_maxsize=CONNECTIONS))
    session.mount("http://", HTTPAdapter(pool_maxsize=CONNECTIONS))
    return session


class HttpCaller:
    """The `Caller` of one connection. Safe for threads.

    `pace` is called before every attempt and may wait or raise Transient. `hold` gets how long an answer asks us to
    rest, so that everybody else who talks to the account does, too, under whatever quota; it raises nothing.
    `log` is called once after every attempt as `log("destination call", connection=, operation=, method=, path=,
    status=, milliseconds=, bytes=)`; `status` is 0 when there was no answer, and then `problem` holds the code.
    Headers, bodies, queries and ids in paths are left out.
    """

    counts: Counter[tuple[str, int]]
    """Attempts made by this caller, by (quota name, status)."""

    def __init__(
        self,
        connection: str,
        *,
        pace: Callable[[Quota], None],
        log: Callable[..., None],
        hold: Callable[[timedelta], None] = lambda wait: None,  # noqa: ARG005 - says what it takes
        session: requests.Session | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._pace = pace
        self._log = log
        self._hold = hold
        self._session = shared_session() if session is None else session
        self._monotonic = monotonic
        self.counts = Counter()
        self._counting = threading.Lock()

    def __call__(
        self,
        method: str,
        url: str,
        *,
        quota: Quota,
        headers: Mapping[str, str] | None = None,
        params: Params | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make one attempt; see `Caller`. Raises Transient (`network`, `timeout`, `answer_too_large`).

        Raises ConnectionProblem for a request that cannot be made (`unusable_settings`, `private_address`).
        """
        body: bytes | Mapping[str, str] | None = form
        sent_headers = {"Accept": "application/json", **(headers or {})}
        if json is not None:
            body = encode_json(json)
            sent_headers["Content-Type"] = "application/json"
        self._pace(quota)
        started = self._monotonic()
        outcome = self._attempt(method, url, sent_headers, params, body, started + ANSWER_SECONDS)
        if isinstance(outcome, Reply):
            status, size, problem = outcome.status, outcome.size, {}
        else:
            status, size, problem = 0, 0, {"problem": outcome.code}
        with self._counting:
            self.counts[quota.name, status] += 1
        self._log(
            "destination call",
            connection=self._connection,
            operation=quota.name,
            method=method,
            path=loggable_path(url),
            status=status,
            milliseconds=round((self._monotonic() - started) * 1000),
            bytes=size,
            **problem,
        )
        if isinstance(outcome, Problem):
            raise outcome
        rest = retry_after(outcome) if outcome.status in SLOW_DOWN else None
        if rest is not None:
            self._hold(rest)
        return outcome

    def _attempt(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        params: Params | None,
        body: bytes | Mapping[str, str] | None,
        deadline: float,
    ) -> Reply | Problem:
        # Problems are returned, not raised here: an exception raised in the handler would carry the original one, whose
        # text holds the URL with its query, into every traceback.
        try:
            with self._session.request(
                method,
                url,
                headers=headers,
                params=params,
                data=body,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                verify=True,
                stream=True,
            ) as response:
                received = bytearray()
                for piece in response.iter_content(65_536):
                    received += piece
                    if len(received) > MAX_ANSWER_BYTES:
                        return Transient("answer_too_large", f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
                    if self._monotonic() > deadline:
                        return Transient("timeout", "the answer took too long to arrive")
                answer_headers = {name.lower(): value for name, value in response.headers.items()}
                return Reply(
                    status=response.status_code,
                    headers=answer_headers,
                    body=_json_or_none(answer_headers.get("content-type", ""), bytes(received)),
                    size=len(received),
                )
        except RequestException as error:
            return _problem_of(error)


def _json_or_none(content_type: str, received: bytes) -> Any:
    kind = content_type.split(";", 1)[0].strip().lower()
    if kind not in ("application/json", "text/json") and not kind.endswith("+json"):
        return None
    try:
        value = jsonlib.loads(received)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _problem_of(error: RequestException) -> Problem:
    if isinstance(error, InvalidURL | InvalidHeader):
        return ConnectionProblem(
            "unusable_settings", "the address or the key of the connection cannot be used in a request"
        )
    if isinstance(error, ConnectTimeout):
        return Transient("timeout", "the connection could not be made in time", taken=False)
    cause: object = error.args[0] if error.args else None
    cause = getattr(cause, "reason", cause)
    if isinstance(cause, PrivateAddressError):
        return ConnectionProblem(
            "private_address",
            "the host of the connection resolves to an address that is not public: correct the host name "
            "(administrator)",
        )
    if isinstance(cause, NewConnectionError):
        return Transient("network", "the connection could not be made", taken=False)
    if isinstance(error, ReadTimeout) or isinstance(cause, ReadTimeoutError):
        return Transient("timeout", "no answer arrived in time")
    return Transient("network", f"the connection failed before the answer was complete ({type(error).__name__})")


def loggable_path(url: str) -> str:
    """Return the path of an address without ids: they may be identities."""
    segments = urlsplit(url).path.split("/")
    kept = [
        segment if not segment or _PLAIN_SEGMENT.fullmatch(segment) or before == "api" else "*"
        for before, segment in zip(["", *segments], segments, strict=False)
    ]
    return "/".join(kept)
