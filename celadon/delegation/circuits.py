"""The circuits of endpoints as this process sees them: a look into the ledger now and then, and a word when one fails.

An endpoint that answers costs nothing but that look.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Mapping

from celadon import logs, telemetry
from celadon.delegation.client import NotConnected, Outcome
from celadon.delegation.entries import Entry, Table
from celadon.errors import LedgerUnavailable, Postponed
from celadon.ledger import circuits as rows
from celadon.ledger.circuits import Circuit

log = logs.get("celadon.delegation")

LOOK_S = 1.0  # Between two looks: so long a process may go on to an endpoint that others have found away.
SPREAD = 0.2  # Up to a fifth later, so that those that were held back together do not come back together.
AGAIN_S = 1.0  # When one comes back who was not elected.


class Circuits:
    """What is known of endpoints in trouble."""

    def __init__(self) -> None:
        self._seen: Mapping[str, Circuit] = {}
        self._looked_at = float("-inf")
        self._looking = threading.Lock()

    def admit(self, table: Table, entry: Entry, *, probe_s: float) -> bool:
        """Let a delivery through to its endpoint. Whether it was elected to try one whose circuit is open.

        probe_s: how long it may take, if so. Raises Postponed where the circuit is open; LedgerUnavailable.
        """
        self._look()
        circuit = self._seen.get(entry.service)
        if circuit is None or circuit.open_for_s is None:
            return False
        left_s = circuit.open_for_s - (time.monotonic() - self._looked_at)
        if left_s <= 0:
            if rows.elect(entry.service, queues_of(table, entry.service), probe_s=probe_s):
                return True
            self._look(anew=True)
            left_s = AGAIN_S
        pause_s = left_s * (1 + random.random() * SPREAD)
        raise Postponed(pause_s, f"the circuit of {entry.service} is open: {circuit.reason}")

    def tell(self, table: Table, entry: Entry, outcome: Outcome, *, probe: bool) -> None:
        """What came of a request. Raises nothing: a ledger that is away hears of the next failure."""
        queues = queues_of(table, entry.service)
        try:
            if isinstance(outcome, NotConnected):
                open_s = rows.failed(entry.service, outcome.reason, queues, probe=probe)
                if open_s is not None:
                    telemetry.endpoint_circuit(entry.service, open_for_s=open_s, reason=outcome.reason)
                self._look(anew=True)
            elif probe or entry.service in self._seen:
                if rows.connected(entry.service, queues, probe=probe):
                    telemetry.endpoint_circuit(entry.service, open_for_s=None)
                self._look(anew=True)
        except LedgerUnavailable as away:
            log.warning("delivery.circuit_not_told", service=entry.service, reason=str(away))

    def _look(self, *, anew: bool = False) -> None:
        """See what the ledger says, if the last look was long ago. Those who come meanwhile take what there is."""
        if not anew and time.monotonic() - self._looked_at < LOOK_S:
            return
        if not self._looking.acquire(blocking=anew):
            return
        try:
            asked_at = time.monotonic()
            self._seen = rows.troubled()
            self._looked_at = asked_at
        finally:
            self._looking.release()


def queues_of(table: Table, service: str) -> list[str]:
    """The queues whose jobs go to a service."""
    return [name for name, entry in table.entries.items() if entry.service == service]


shared = Circuits()
"""Those of this process."""


def forget() -> None:
    """Know nothing, as a process that has just begun."""
    global shared
    shared = Circuits()


# A thread of the parent's may have been looking.
os.register_at_fork(after_in_child=forget)
