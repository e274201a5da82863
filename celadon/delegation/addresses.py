"""Which addresses may be connected to: a host is looked up once, every address is judged, and those are connected to.

What the name stands for at the next look is of no concern to a connection that is made to a judged address, so a name
that changes between two looks (DNS rebinding) gains nothing. A host in an odd spelling (`0x7f.1`, `2130706433`) is
judged by the address that the system makes of it, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from celadon.delegation import lookups
from celadon.delegation.entries import Network
from celadon.errors import TargetNotAllowed

_Address = IPv4Address | IPv6Address
_Net = IPv4Network | IPv6Network


def _nets(*texts: str) -> tuple[_Net, ...]:
    return tuple(ip_network(text) for text in texts)


# Refused whatever an entry says: what a machine asks there gives it the keys of its cloud account.
METADATA = _nets(
    "169.254.0.0/16",  # Link-local: AWS, Azure, Google, OpenStack, DigitalOcean, Oracle, Tencent, ECS tasks.
    "fe80::/10",  # Link-local: OpenStack, and whatever else listens on a link.
    "fd00:ec2::/32",  # AWS: metadata (::254), EKS pod identity (::23), name and time servers.
    "100.100.100.200/32",  # Alibaba, as the next.
    "fd00:100::100:200/128",
    "168.63.129.16/32",  # Azure's host, which hands out certificates and settings.
    "192.0.0.192/32",  # Oracle, earlier.
    "fd00:c1::a9fe:a9fe/128",  # Oracle.
    "fd20:ce::254/128",  # Google.
    "fd00:42::42/128",  # Scaleway.
    "fd00:a9fe:a9fe::1/128",  # Akamai (Linode).
)
# Refused too: nobody's service is there, or it can't be told whose.
NOWHERE = _nets(
    "0.0.0.0/8",  # "This network": on Linux, this host.
    "192.0.0.0/24",  # Protocol assignments.
    "192.0.2.0/24",  # Documentation, as the next two.
    "198.51.100.0/24",
    "203.0.113.0/24",
    "192.88.99.0/24",  # 6to4 relays, which are no more.
    "198.18.0.0/15",  # Benchmarks.
    "224.0.0.0/4",  # Multicast.
    "240.0.0.0/4",  # Reserved, and broadcast.
    "64:ff9b:1::/48",  # NAT64 of one's own: where in it the IPv4 address stands is known to its owner alone.
    "2001::/23",  # Protocol assignments; Teredo, which is in it, is judged by what it embeds.
    "2001:db8::/32",  # Documentation, as the next.
    "3fff::/20",
    "ff00::/8",  # Multicast.
)
ALLOWED_BY: tuple[tuple[Network, tuple[_Net, ...]], ...] = (
    ("loopback", _nets("127.0.0.0/8", "::1/128")),
    ("private", _nets("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")),
)
PUBLIC_V6 = IPv6Network("2000::/3")  # All that is given out to anybody.

_MAPPED, _TRANSLATED = IPv6Network("::ffff:0:0/96"), IPv6Network("::ffff:0:0:0/96")
_NAT64, _6TO4, _TEREDO = IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16"), IPv6Network("2001::/32")
_ISATAP = (0x00005EFE, 0x02005EFE)  # The upper half of an interface's number.


def check(
    host: str, port: int, networks: Iterable[Network], *, age_s: float = 30.0, known: lookups.Lookups | None = None
) -> list[str]:
    """The addresses that a connection to `host` may be made to: connect to one of them, and to no name.

    networks: kinds of addresses allowed beside public ones. age_s: an answer of the resolver is good for so long; take
    the table's `resolver.age`. known: the answers there are, for tests. Blocks for the look: call it in a thread.
    Raises TargetNotAllowed if a single one of the host's addresses is not allowed, Unresolved if it has none now.
    """
    allowed = frozenset(networks)
    found = (known or lookups.shared).addresses(host, age_s)
    for address in found:
        reason = why_not(address, allowed)
        if reason is not None:
            what = host if host == address else f"{host} ({address})"
            raise TargetNotAllowed(f"{what}:{port} is not allowed: {reason}", host=host)
    return list(found)


def permitted(ip: str, networks: Iterable[Network]) -> bool:
    """Whether a connection to this address (as the system writes it) is allowed. What is no address is not."""
    return why_not(ip, networks) is None


def why_not(ip: str, networks: Iterable[Network]) -> str | None:
    """Why no connection may be made to this address, with the cure if there is one; None: it may."""
    try:
        address = ip_address(ip)
    except ValueError:
        return "it is no address"
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "it is an address on one link"
    allowed = frozenset(networks)
    return next((reason for one in _ends(address) if (reason := _judge(one, allowed))), None)


def _ends(address: _Address) -> Iterator[_Address]:
    """Where traffic to this address goes in the end: there itself, or to the IPv4 address that it embeds."""
    if isinstance(address, IPv4Address):
        yield address
        return
    number = int(address)
    if any(address in net for net in (_MAPPED, _TRANSLATED, _NAT64)):
        yield _ipv4(number)
    elif address in _6TO4:
        yield _ipv4(number >> 80)
    elif address in _TEREDO:
        yield _ipv4(number >> 64)  # Its server.
        yield _ipv4(~number)  # The host behind it.
    else:
        yield address
        if number >> 32 & 0xFFFFFFFF in _ISATAP:
            yield _ipv4(number)


def _ipv4(number: int) -> IPv4Address:
    return IPv4Address(number & 0xFFFFFFFF)


def _judge(address: _Address, allowed: frozenset[Network]) -> str | None:
    if _within(address, METADATA):
        return "metadata of clouds and link-local addresses are never allowed"
    if _within(address, NOWHERE):
        return "it is an address of no service"
    for network, nets in ALLOWED_BY:
        if _within(address, nets):
            if network in allowed:
                return None
            return f'it is a {network} address; if it is meant, add networks = ["{network}"] to the queue\'s entry'
    if isinstance(address, IPv6Address) and address not in PUBLIC_V6:
        return "it is an address that was given to nobody"
    return None


def _within(address: _Address, nets: Iterable[_Net]) -> bool:
    return any(address.version == net.version and address in net for net in nets)
