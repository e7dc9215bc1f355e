import logging
import traceback
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from urllib3.connection import HTTPSConnection
from urllib3.poolmanager import PoolManager
from urllib3.util import connection

from relay.destinations.calling import HttpCaller, shared_session
from relay.destinations.contract import Quota
from relay.destinations.public_addresses import PublicAddressesAdapter, is_public
from relay.domain.problems import Actor, ConnectionProblem, Problem, Transient
from tests.examples import example

QUOTA = Quota("rest", 5, timedelta(seconds=1))
HOST = "acme.api-us1.com"
PLANTED = "anna@example.com"


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "2606:4700::1",
        "::ffff:93.184.216.34",
        "2002:5db8:d822::",
        "64:ff9b::93.184.216.34",
    ],
)
def test_public(address: str) -> None:
    assert is_public(address)


def test_not_public() -> None:
    table: list[str] = [
        "0.0.0.0",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.0.9",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::10.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:224.0.0.1",
        "2002:0a00:0001::",
        "2002:7f00:0001::1",
        "64:ff9b::a00:1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::a00:1",
        "2001:db8::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "",
        "localhost",
        "/run/socket",
    ]
    for address in table:
        with example(address):
            assert not is_public(address)


class Listener:
    """Who listens at an address, as the socket connected to it: unit tests open no real ones.

    TLS begins with a question about the kind of socket; there the peer hangs up.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address
        self.sees_tls = False
        self.is_closed = False

    def getpeername(self) -> tuple[str, int]:
        if self._address is None:
            raise OSError("not connected")
        return self._address, 443

    def getsockopt(self, *_: int) -> NoReturn:
        assert not self.is_closed
        self.sees_tls = True
        raise ConnectionResetError

    def close(self) -> None:
        self.is_closed = True


class World:
    """A caller with the session of production, in a world where every name leads to one listener."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connected: list[tuple[str, int]] = []
        self.lines: list[dict[str, Any]] = []
        self.listener = Listener("93.184.216.34")
        monkeypatch.setattr(connection, "create_connection", self._connect)
        shared_session.cache_clear()
        self._call = HttpCaller("acme", pace=lambda _: None, log=lambda message, **fields: self.lines.append(fields))

    def _connect(self, address: tuple[str, int], *_: Any, **__: Any) -> Listener:
        self.connected.append(address)
        return self.listener

    def reach(self, listener: Listener, url: str = f"https://{HOST}/api/3/users/me") -> Problem:
        self.listener = listener
        with pytest.raises(Problem) as caught:
            self._call("GET", url, quota=QUOTA, params={"email": PLANTED})
        return caught.value


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1"])
def test_a_name_that_leads_to_a_private_address_stops_the_connection_before_tls(world: World, address: str) -> None:
    listener = Listener(address)
    problem = world.reach(listener)
    assert isinstance(problem, ConnectionProblem)
    assert (problem.code, problem.actor, problem.taken) == ("private_address", Actor.ADMINISTRATOR, False)
    assert (listener.sees_tls, listener.is_closed) == (False, True)
    assert world.connected == [(HOST, 443)]
    assert world.lines[0]["problem"] == "private_address"


def test_a_name_that_leads_to_a_public_address_gets_as_far_as_tls(world: World) -> None:
    listener = Listener("93.184.216.34")
    assert isinstance(world.reach(listener), Transient)
    assert listener.sees_tls


def test_a_name_that_changes_its_address_is_looked_at_again(world: World) -> None:
    world.reach(Listener("93.184.216.34"))
    listener = Listener("127.0.0.1")
    assert world.reach(listener).code == "private_address"
    assert not listener.sees_tls


@pytest.mark.parametrize("url", ["https://169.254.169.254/", "https://[::1]/", "HTTPS://localhost:8443/"])
def test_an_address_in_place_of_a_name_is_refused_too(world: World, url: str) -> None:
    assert world.reach(Listener("::1" if "[" in url else "127.0.0.1"), url).code == "private_address"


def test_a_peer_that_is_gone_at_once_was_certainly_not_told_anything(world: World) -> None:
    listener = Listener(None)
    problem = world.reach(listener)
    assert (problem.code, problem.taken) == ("network", False)
    assert (listener.sees_tls, listener.is_closed) == (False, True)


def test_no_text_holds_the_address_or_the_url(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    problem = world.reach(Listener("10.11.12.13"))
    texts = f"{problem!r} {traceback.format_exception(problem)} {world.lines} {caplog.text}"
    assert [word for word in ("10.11.12.13", HOST, "https:", PLANTED) if word in texts] == []
    assert (problem.__cause__, problem.__context__) == (None, None)


def test_the_shared_session_has_the_guard_for_https_only() -> None:
    session = shared_session()
    assert isinstance(session.get_adapter(f"https://{HOST}/"), PublicAddressesAdapter)
    assert not isinstance(session.get_adapter("http://127.0.0.1:8080/"), PublicAddressesAdapter)
    assert session.trust_env is False


def test_the_guard_leaves_the_rest_of_the_process_alone() -> None:
    PublicAddressesAdapter()
    assert PoolManager().connection_from_url(f"https://{HOST}").ConnectionCls is HTTPSConnection
