"""Calls over https reach public addresses only: a host name of a connection must not lead into our own network."""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPSConnectionPool
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import NewConnectionError

_NAT64 = IPv6Network("64:ff9b::/96")
"""https://www.rfc-editor.org/rfc/rfc6052#section-2.1"""
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""https://www.iana.org/assignments/ipv6-address-space"""


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet; anything that is not an IP address does not.

    An IPv6 address that only carries an IPv4 address (mapped, 6to4, NAT64) is judged by that one.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        carried = _carried(ip)
        # Python calls some addresses global that nobody was given: site-local (fec0::/10), ::a.b.c.d, 64:ff9b:1::/48.
        if carried is None and ip not in _GLOBAL_UNICAST:
            return False
        ip = carried or ip
    return ip.is_global and not ip.is_multicast


def _carried(ip: IPv6Address) -> IPv4Address | None:
    if ip in _NAT64:
        return IPv4Address(ip.packed[-4:])
    return ip.ipv4_mapped or ip.sixtofour


class PrivateAddressError(NewConnectionError):
    """The connection was closed right after it was made, before anything was sent: its peer is not public.

    A NewConnectionError, so that urllib3 and requests treat it as one: the pool stays usable and the reason is kept.
    """


class PublicAddressesAdapter(HTTPAdapter):
    """The `requests` adapter for https that refuses peers without a public address.

    The address is read from the connected socket, so no second name resolution can differ from the one that is used.
    Whoever enters a host name can still make us open (and at once close) a TCP connection to any address. Only direct
    connections are looked at: through a proxy, the peer would be the proxy.
    """

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools of this adapter guarded ones; called by HTTPAdapter."""
        super().init_poolmanager(*arguments, **options)
        # Assigned, not changed in place: the mapping is shared with every other PoolManager of the process.
        self.poolmanager.pool_classes_by_scheme = {"https": _PublicPool}


class _PublicConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        # TLS starts after this returns, and every connection comes from here, also when a pool reconnects.
        connected = super()._new_conn()
        try:
            peer = connected.getpeername()[0]
        except OSError:
            connected.close()
            raise NewConnectionError(self, "the peer was gone at once") from None
        if not is_public(peer):
            connected.close()
            raise PrivateAddressError(self, "the address is not public")
        return connected


class _PublicPool(HTTPSConnectionPool):
    ConnectionCls = _PublicConnection
