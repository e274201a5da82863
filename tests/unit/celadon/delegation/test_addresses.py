"""What may be connected to: by what the system's own resolver makes of a host, whatever way it is written."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from unittest.mock import Mock

import pytest

from celadon.delegation.addresses import check, permitted
from celadon.delegation.entries import Network
from celadon.delegation.lookups import Lookups
from celadon.errors import TargetNotAllowed, Unresolved

NONE: frozenset[Network] = frozenset()
BOTH: frozenset[Network] = frozenset({"loopback", "private"})

METADATA = [
    "169.254.169.254",  # AWS, Azure, Google, OpenStack
    "169.254.170.2",  # tasks of ECS
    "169.254.170.23",  # EKS pod identity
    "169.254.0.23",  # Tencent
    "169.254.42.42",  # Scaleway
    "169.254.0.0",
    "169.254.255.255",
    "100.100.100.200",  # Alibaba
    "168.63.129.16",  # Azure's host
    "192.0.0.192",  # Oracle, earlier
    "fd00:ec2::254",  # AWS
    "fd00:ec2::23",
    "fd20:ce::254",  # Google
    "fd00:42::42",  # Scaleway
    "fd00:100::100:200",  # Alibaba
    "fd00:c1::a9fe:a9fe",  # Oracle
    "fd00:a9fe:a9fe::1",  # Akamai
    "fe80::1",
    "fe80::a9fe:a9fe",  # OpenStack
    "febf::1",
]
# Each of these is the metadata address, or another that is never allowed, inside something else.
DISGUISED = [
    "::ffff:169.254.169.254",  # IPv4-mapped
    "::ffff:a9fe:a9fe",
    "::ffff:0:169.254.169.254",  # IPv4-translated
    "64:ff9b::169.254.169.254",  # NAT64
    "64:ff9b:1::169.254.169.254",  # NAT64 of one's own
    "2002:a9fe:a9fe::1",  # 6to4
    "2001:0:a9fe:a9fe::1",  # Teredo: its server
    "2001:0:808:808::5601:5601",  # Teredo: the host behind it, inverted
    "2a00:1450::5efe:169.254.169.254",  # ISATAP
    "2a00:1450::200:5efe:169.254.169.254",
    "fe80::5efe:8.8.8.8",
    "::169.254.169.254",  # IPv4-compatible
    "::ffff:0.0.0.0",
    "::ffff:100.100.100.200",
    "2002:e000:1::",  # 6to4 of a multicast address
]
NOWHERE = [
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "240.0.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "198.51.100.7",
    "203.0.113.9",
    "198.18.0.1",
    "192.88.99.1",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "2001:db8::1",
    "3fff::1",
    "2001:2::1",
    "2001:20::1",
    "5f00::1",
    "fec0::1",
    "4000::1",
    "::7f00:1",
]
LOOPBACK = ["127.0.0.1", "127.0.0.53", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
PRIVATE = [
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.254",
    "fd12:3456::1",
    "fc00::1",
    "::ffff:10.0.0.1",
    "::ffff:0:192.168.0.1",
    "64:ff9b::10.1.2.3",
    "2002:c0a8:101::1",
    "2a00:1450::5efe:10.0.0.1",
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.15.255.255",
    "172.32.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "169.253.255.255",
    "223.255.255.255",
    "2a00:1450:4001::200e",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]
# The same addresses as somebody writes them who wants a filter to read something else than the system does.
ODD_LOOPBACK = [
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.01",
    "127.0.0.1",
    "0:0:0:0:0:0:0:1",
    "::0001",
    "0000::1",
    "::ffff:7f00:1",
    "0:0:0:0:0:ffff:127.0.0.1",
]
ODD_METADATA = [
    "2852039166",
    "0xa9fea9fe",
    "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "025177524776",
    "169.254.43518",
    "169.16689662",
    "169.254.0xa9fe",
    "::ffff:a9fe:a9fe",
    "0:0:0:0:0:FFFF:A9FE:A9FE",
]


@pytest.mark.parametrize("ip", [*METADATA, *DISGUISED, *NOWHERE])
def test_some_addresses_are_refused_whatever_an_entry_says(ip: str) -> None:
    assert not permitted(ip, NONE)
    assert not permitted(ip, BOTH)
    with pytest.raises(TargetNotAllowed, match="is not allowed"):
        check(ip, 80, BOTH)


@pytest.mark.parametrize(
    ("ip", "network"), [*((ip, "loopback") for ip in LOOPBACK), *((ip, "private") for ip in PRIVATE)]
)
def test_an_inner_address_is_allowed_only_to_the_entry_that_says_so(ip: str, network: Network) -> None:
    (other,) = BOTH - {network}

    assert permitted(ip, {network})
    assert not permitted(ip, {other})
    with pytest.raises(TargetNotAllowed, match=f'if it is meant, add networks = \\["{network}"\\]'):
        check(ip, 80, NONE)


@pytest.mark.parametrize("ip", PUBLIC)
def test_a_public_address_is_allowed_to_all(ip: str) -> None:
    (found,) = check(ip, 80, NONE)
    assert ipaddress.ip_address(found) == ipaddress.ip_address(ip)


@pytest.mark.parametrize("host", ODD_LOOPBACK)
def test_an_odd_spelling_of_this_host_is_what_the_system_makes_of_it(host: str) -> None:
    with pytest.raises(TargetNotAllowed, match="loopback address"):
        check(host, 80, {"private"})
    (found,) = check(host, 80, {"loopback"})
    assert found in ("127.0.0.1", "::1", "::ffff:127.0.0.1")


@pytest.mark.parametrize("host", ODD_METADATA)
def test_an_odd_spelling_of_the_metadata_address_is_refused(host: str) -> None:
    with pytest.raises((TargetNotAllowed, Unresolved)):
        check(host, 80, BOTH)


@pytest.mark.parametrize(
    "what", ["", "localhost", "127.1", "0x7f000001", "256.1.1.1", "1.2.3.4/8", "::1%lo", "fe80::1%eth0"]
)
def test_what_is_no_address_is_not_permitted(what: str) -> None:
    assert not permitted(what, BOTH)


@pytest.mark.parametrize("host", ["", "a" * 64 + ".example", "x\x00.example", "no such host", "\udcff"])
def test_what_can_have_no_address_is_told_so(host: str) -> None:
    with pytest.raises(Unresolved):
        check(host, 80, BOTH)


def test_this_host_by_name_is_loopback() -> None:
    with pytest.raises(TargetNotAllowed, match="localhost \\((127.0.0.1|::1)\\):4010 is not allowed"):
        check("localhost", 4010, NONE)


def test_addresses_that_python_calls_not_global_are_never_taken_for_public() -> None:
    """A second opinion, from tables that are kept by others."""
    sample = [ipaddress.IPv4Address(number) for number in range(0, 2**32, 65_537 * 13)]

    assert [one for one in sample if not one.is_global and permitted(str(one), NONE)] == []
    assert [ip for ip in PUBLIC if ":" not in ip and not ipaddress.ip_address(ip).is_global] == []


# --- names, by a resolver that answers as told


class Script:
    """A resolver that gives one answer after the other, and the last for ever."""

    def __init__(self, *answers: Iterable[str]) -> None:
        self.answers = [tuple(answer) for answer in answers]
        self.asked: list[str] = []

    def __call__(self, host: str) -> tuple[str, ...]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_one_bad_address_among_good_ones_refuses_the_host() -> None:
    script = Script(["8.8.8.8", "2606:4700:4700::1111", "169.254.169.254"])

    with pytest.raises(TargetNotAllowed, match=r"mail.example \(169.254.169.254\):443 is not allowed: metadata"):
        check("mail.example", 443, BOTH, known=Lookups(script))


def test_all_good_addresses_are_returned_in_the_resolvers_order() -> None:
    script = Script(["2606:4700:4700::1111", "8.8.8.8", "1.1.1.1"])

    assert check("mail.example", 443, NONE, known=Lookups(script)) == ["2606:4700:4700::1111", "8.8.8.8", "1.1.1.1"]


def test_a_name_that_changes_between_two_looks_gains_nothing() -> None:
    """DNS rebinding: what is returned is what was judged, and each look is judged anew."""
    script = Script(["8.8.8.8"], ["127.0.0.1"], ["169.254.169.254"])
    known = Lookups(script)

    assert check("mail.example", 80, NONE, age_s=0, known=known) == ["8.8.8.8"]
    with pytest.raises(TargetNotAllowed, match="loopback"):
        check("mail.example", 80, NONE, age_s=0, known=known)
    with pytest.raises(TargetNotAllowed, match="metadata"):
        check("mail.example", 80, BOTH, age_s=0, known=known)
    assert script.asked == ["mail.example"] * 3  # Once for each: nothing between the judging and the connecting.


def test_an_answer_that_is_remembered_is_judged_for_each_entry_by_its_own_word() -> None:
    known = Lookups(Script(["10.0.0.7"]))

    assert check("mail.internal", 80, {"private"}, known=known) == ["10.0.0.7"]
    with pytest.raises(TargetNotAllowed, match="private"):
        check("mail.internal", 80, NONE, known=known)


def test_the_systems_resolver_is_asked_once_for_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    asking = Mock(wraps=socket.getaddrinfo)
    monkeypatch.setattr(socket, "getaddrinfo", asking)

    assert check("127.0.0.99", 80, {"loopback"}, age_s=0) == ["127.0.0.99"]
    assert [call.args[0] for call in asking.call_args_list] == ["127.0.0.99"]
