"""Which network addresses a URL may lead to: the public ones only.

Knows how private addresses hide: mapped into IPv6, behind NAT64 or 6to4, as odd spellings that only the resolver
understands. Every address a name has must pass, and the one that passed is the one that is connected to.
"""

from __future__ import annotations

import ipaddress
import socket

from indexer.errors import PictureError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
_6TO4 = ipaddress.ip_network("2002::/16")
_SHARED = ipaddress.ip_network("100.64.0.0/10")


def is_public(address: Address) -> bool:
    """Tell whether an address is one that anybody on the internet could reach."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        if address in _LOCAL_NAT64 or address.teredo or address.is_site_local:
            return False
    elif address in _SHARED:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Give the IPv4 address that an IPv6 address stands for, if it does."""
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour if address in _6TO4 else None


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Resolve a host once and give its addresses; raises ``PictureError`` when any of them is not public."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise PictureError(
            "unresolvable",
            f"The host {host} has no known address ({getattr(error, 'strerror', None) or error})",
            "check the URL and the network",
            transient=True,
        ) from None
    addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    for address in addresses:
        if not allow_private and not is_public(ipaddress.ip_address(address.partition("%")[0])):
            raise PictureError(
                "forbidden-address",
                f"The host {host} is at {address}, and only public addresses are fetched from",
                "allow private addresses if this network is yours (--allow-private)",
            )
    return addresses
