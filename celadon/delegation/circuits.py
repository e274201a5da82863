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

        probe_s: how long it may take to connect, if so. Raises Postponed where the circuit is open; LedgerUnavailable.
        """
        service = entry.service
        self._look()
        if self._open(service) is None:
            return False
        # It may have been closed meanwhile, and whoever is held back now is so for as long as it was open.
        self._look(anew=True)
        stands = self._open(service)
        if stands is not None and stands[0] <= 0:
            if rows.elect(service, queues_of(table, service), probe_s=probe_s):
                return True
            self._look(anew=True)
            stands = self._open(service)
        if stands is None:
            return False
        left_s, reason = stands
        pause_s = max(left_s, AGAIN_S) * (1 + random.random() * SPREAD)
        raise Postponed(pause_s, f"the circuit of {service} is open: {reason}")

    def tell(self, table: Table, entry: Entry, outcome: Outcome | None, *, probe: bool) -> None:
        """What came of a request; None: there is a connection. Raises nothing: a failure is told by the next one too.

        What is wrong with this queue alone is not told: its neighbours may connect to the endpoint all the same.
        """
        if isinstance(outcome, NotConnected) and _is_its_own(table, entry, outcome):
            return
        try:
            self._tell(entry.service, queues_of(table, entry.service), outcome, probe)
        except LedgerUnavailable as away:
            log.warning("delivery.circuit_not_told", service=entry.service, reason=str(away))
        except Exception:  # A deadlock, say. What the endpoint has answered must not be lost for that.
            log.exception("delivery.circuit_not_told", service=entry.service)

    def _tell(self, service: str, queues: list[str], outcome: Outcome | None, probe: bool) -> None:
        if isinstance(outcome, NotConnected):
            open_s = rows.failed(service, outcome.reason, queues, probe=probe)
            if open_s is not None:
                telemetry.endpoint_circuit(service, open_for_s=open_s, reason=outcome.reason)
        elif probe or service in self._seen:
            if rows.connected(service, queues, probe=probe):
                telemetry.endpoint_circuit(service, open_for_s=None)
        else:
            return
        self._look(anew=True)

    def _open(self, service: str) -> tuple[float, str] | None:
        """For how many seconds more its circuit is open, and why; None: it is closed."""
        circuit = self._seen.get(service)
        if circuit is None or circuit.open_for_s is None:
            return None
        return circuit.open_for_s - (time.monotonic() - self._looked_at), circuit.reason

    def _look(self, *, anew: bool = False) -> None:
        """See what the ledger says, if the last look was long ago; anew: if none has begun since this call.

        Those who need none anew take what there is while another looks.
        """
        since = time.monotonic() - (0.0 if anew else LOOK_S)
        if self._looked_at >= since or not self._looking.acquire(blocking=anew):
            return
        try:
            if self._looked_at < since:
                asked_at = time.monotonic()
                self._seen = rows.troubled()
                self._looked_at = asked_at
        finally:
            self._looking.release()


def _is_its_own(table: Table, entry: Entry, outcome: NotConnected) -> bool:
    """Whether a queue's own entry may be why there was no connection: what it allows, or how little patience it has."""
    patience_s = max(one.connect_s for one in table.entries.values() if one.service == entry.service)
    return not outcome.tried or (outcome.timed_out and entry.connect_s < patience_s)


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
