"""Which addresses may be connected to: a host is looked up once, every address is judged, and those are connected to.

What the name stands for at the next look is of no concern to a connection that is made to a judged address, so a name
that changes between two looks (DNS rebinding) gains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from celadon.delegation.entries import Network


def check(host: str, port: int, networks: Iterable[Network], *, age_s: float = 30.0) -> list[str]:
    """The addresses that a connection to `host` may be made to: connect to one of them, and to no name.

    networks: kinds of addresses allowed beside public ones. age_s: an answer of the resolver is good for so long; take
    the table's `resolver.age`. Blocks for the look: call it in a thread. Raises TargetNotAllowed if a single one
    of the host's addresses is not allowed, Unresolved if it has none now.
    """
    raise NotImplementedError


def permitted(ip: str, networks: Iterable[Network]) -> bool:
    """Whether a connection to this address (as the OS writes it) is allowed. What is no address is not."""
    raise NotImplementedError
