"""Which queues, names of jobs and tenants can be limited, paused or taken off the broker."""

from __future__ import annotations

from celadon import queues, registry
from celadon.errors import InvalidOption
from celadon.limits import Kind


def known(kind: Kind, name: str) -> None:
    """Refuse a misspelt name: it would be a switch that nothing obeys.

    Tenants are declared nowhere, so any name may be one. Raises UnknownQueue, UnknownJob, InvalidOption.
    """
    if kind == "queue":
        queues.lane_of(name)
    elif kind == "job":
        registry.get(name)
    elif not registry.storable(name):
        raise InvalidOption(f"tenant={name[:40]!r}: 1 to 200 characters, none of them NUL", option="name")


def turned(kind: Kind, name: str) -> None:
    """As `known`, but one that the ledger has turned is good too: a queue that is gone can still be put back.

    Raises also LedgerUnavailable.
    """
    from celadon.ledger import limits

    gate = limits.find(kind, name)
    if not (gate.decided or gate.paused) and gate.use_broker:
        known(kind, name)
