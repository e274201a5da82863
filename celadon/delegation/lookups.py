"""Asking the system's resolver for a host's addresses, and remembering the answer for a while.

Failure policy: an answer is good for as long as the caller says. When the resolver fails after that, the old answer is
used for STALE_S more, which is logged once, and the resolver is asked again every RETRY_S. A name that the resolver
says has no address is gone at once: its old addresses may be somebody else's by now.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from celadon import logs
from celadon.errors import Unresolved

log = logs.get("celadon.delegation")

STALE_S = 300.0  # A resolver that is away longer is an outage that somebody should see.
RETRY_S = 1.0
MOST = 2_000  # Hosts remembered; there are as many as services, which a file has some dozens of.
GONE = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


@dataclass(slots=True)
class _Known:
    """What is known of a host. The lock is held by the one thread that asks."""

    asking: threading.Lock = field(default_factory=threading.Lock)
    addresses: tuple[str, ...] = ()
    at: float = 0.0  # When that was the answer.
    failed_at: float | None = None  # Since then the resolver fails.
    retry_at: float = 0.0


class Lookups:
    """Answers of one resolver, by host. Any thread may ask; of those that ask for one host, one waits for it."""

    def __init__(self, ask: Callable[[str], tuple[str, ...]], now: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._now = now
        self._hosts: dict[str, _Known] = {}

    def addresses(self, host: str, age_s: float) -> tuple[str, ...]:
        """The host's addresses as of at most `age_s` ago, or older ones while the resolver fails. Raises Unresolved."""
        known = self._of(host)
        if self._good(known, age_s):
            return known.addresses
        # Whoever has an old answer does not wait for the one who asks for a new one.
        if not known.asking.acquire(blocking=not self._usable(known, age_s)):
            return known.addresses
        try:
            if not self._good(known, age_s):
                self._renew(host, known, age_s)
            return known.addresses
        finally:
            known.asking.release()

    def failing(self) -> list[str]:
        """Hosts for which the resolver does not answer, by the last look at each."""
        return sorted(host for host, known in list(self._hosts.items()) if known.failed_at is not None)

    def _of(self, host: str) -> _Known:
        if host not in self._hosts and len(self._hosts) >= MOST:
            self._hosts = {}
        return self._hosts.setdefault(host, _Known())

    def _good(self, known: _Known, age_s: float) -> bool:
        """Whether the answer may be given without asking."""
        now = self._now()
        if not known.addresses:
            return False
        return now < known.at + age_s or (now < known.retry_at and self._usable(known, age_s))

    def _usable(self, known: _Known, age_s: float) -> bool:
        return bool(known.addresses) and self._now() < known.at + age_s + STALE_S

    def _renew(self, host: str, known: _Known, age_s: float) -> None:
        try:
            addresses = self._ask(host)
        except Unresolved:
            known.addresses, known.failed_at = (), None
            raise
        except OSError as error:
            first = known.failed_at is None
            known.failed_at = self._now() if known.failed_at is None else known.failed_at
            if not self._usable(known, age_s):
                raise Unresolved(f"the resolver does not answer for {host!r}: {error}", host=host) from error
            if first:
                log.warning("delegation.resolver_fails", host=host, error=str(error), used_for_s=STALE_S)
            known.retry_at = self._now() + RETRY_S
            return
        if known.failed_at is not None:
            log.info("delegation.resolver_answers", host=host, after_s=round(self._now() - known.failed_at, 1))
        known.addresses, known.at, known.failed_at, known.retry_at = addresses, self._now(), None, 0.0


def ask_the_system(host: str) -> tuple[str, ...]:
    """What the system says now; for an address in any spelling it knows, that address. Raises Unresolved, OSError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except socket.gaierror as error:
        if error.errno in GONE:
            raise Unresolved(f"{host!r} has no address: {error.strerror}", host=host) from error
        raise
    except (UnicodeError, ValueError) as error:  # A label that is too long, or a NUL.
        raise Unresolved(f"{host[:80]!r} is no name that can have an address: {error}", host=host) from error
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def literal(host: str) -> tuple[str, ...]:
    """The address that a host stands for without asking anybody, in any spelling; none for a name."""
    if host == "localhost" or host.endswith(".localhost"):
        return ("127.0.0.1",)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError, ValueError):
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def _new() -> Lookups:
    return Lookups(lambda host: ask_the_system(host))


shared = _new()
"""Those of this process."""


def _after_fork() -> None:
    # A thread of the parent's may have held a lock.
    global shared
    shared = _new()


os.register_at_fork(after_in_child=_after_fork)
