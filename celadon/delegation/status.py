"""What the fleet tells of itself: `/health` for whoever watches it, `/internal/status` of every queue."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from celadon import broker, queues
from celadon.deadline import within
from celadon.delegation import file, lookups, resolving, urls
from celadon.delegation.belonging import DELIVER
from celadon.delegation.entries import Entry, Table
from celadon.errors import LedgerUnavailable, TargetNotAllowed, Unresolved
from celadon.lanes import DELEGATED
from celadon.ledger import circuits
from celadon.ledger import fleet as rows
from celadon.ledger.circuits import Circuit
from celadon.ledger.db import clock, reading
from celadon.ledger.fleet import Fleet, Present
from celadon.settings import settings
from celadon.states import FINAL, State

_STARTED = time.monotonic()
_NONE: Mapping[State, int] = dict.fromkeys(State, 0)


# --- health -----------------------------------------------------------------------------------------------------------


def health() -> tuple[int, dict[str, Any]]:
    """The HTTP status and what is told: `ok`; `degraded` (200) when deliveries go on all the same; `down` (503).

    Without the broker, jobs are taken from the ledger; without the resolver, known addresses are used for a while; but
    without the ledger nothing is delivered.
    """
    failing = _failing(file.table())
    problems = {
        "ledger": _ledger_problem(),
        "broker": None if broker.reachable() else "it does not answer",
        "resolver": f"no answer for {', '.join(failing[:5])}" if failing else None,
    }
    status = "down" if problems["ledger"] else "degraded" if any(problems.values()) else "ok"
    told = {
        "status": status,
        "uptime_s": round(time.monotonic() - _STARTED, 3),
        "dependencies": {
            name: {"status": "up"} if problem is None else {"status": "down", "reason": problem}
            for name, problem in problems.items()
        },
    }
    return 503 if status == "down" else 200, told


def _failing(table: Table) -> list[str]:
    """Hosts of the table's services for which the resolver does not answer."""
    failing = lookups.shared.failing()
    if not failing:
        return []
    hosts = set()
    for service in {entry.service for entry in table.entries.values()}:
        with suppress(Unresolved, TargetNotAllowed):
            hosts.add(urls.parse(resolving.base_url(table, service), range(1, 65536)).host)
    return [host for host in failing if host in hosts]


def _ledger_problem() -> str | None:
    def ask(_: object) -> datetime:
        with reading() as connection:
            return clock(connection)

    try:
        within(settings().ledger_timeout_s, ask, job_id="")
    except LedgerUnavailable:
        return "it does not answer"  # Its own words may hold names of hosts and users.
    return None


# --- status -----------------------------------------------------------------------------------------------------------


def status() -> dict[str, Any]:
    """Every queue, the workers, and the registration file, as of now. Raises LedgerUnavailable."""
    table = file.table()
    fleet = rows.look(table.queues, DELEGATED, DELIVER)
    open_ones = circuits.troubled()
    consuming = [worker for worker in fleet.workers if worker.consumes]
    elsewhere = set(queues.names())
    return {
        "at": _moment(fleet.now),
        "registration": {"digest": table.digest, "queues": len(table.entries), "error": file.last_error()},
        "queues": [_queue(name, table, fleet, open_ones, consuming) for name in sorted(table.queues)],
        # Their jobs wait until the registration file has them again, or are cancelled.
        "removed": [
            {"name": name, "counts": _counts(of)}
            for name, of in sorted(fleet.counts.items())
            if name not in elsewhere and _unfinished(of)
        ],
        "workers": [_worker(worker) for worker in fleet.workers],
        "stalled": [worker.id for worker in fleet.workers if worker.stalled],
    }


def _queue(
    name: str, table: Table, fleet: Fleet, circuits: Mapping[str, Circuit], consuming: list[Present]
) -> dict[str, Any]:
    entry, counts = table.entries.get(name), fleet.counts.get(name, _NONE)
    workers = sum(name in worker.queues for worker in consuming)
    reason, until = fleet.pauses.get(name, (None, None))
    oldest, error = fleet.oldest.get(name), fleet.errors.get(name)
    return {
        "name": name,
        "service": entry.service if entry else None,
        "running": workers > 0,
        "workers": workers,
        "paused": name in fleet.pauses,
        "pause": {"reason": reason, "until": _moment(until)} if name in fleet.pauses else None,
        "circuit": _circuit(entry, circuits),
        "counts": _counts(counts),
        "in_flight": counts[State.RUNNING],
        "concurrency": next((one.concurrency for one in fleet.limits.get(name, ()) if one.concurrency), None),
        "oldest_s": round(max((fleet.now - oldest).total_seconds(), 0.0), 3) if oldest else 0.0,
        "rate": _rate(name, fleet),
        "last_error": {"at": _moment(error.at), "job_id": error.job_id, "message": error.message} if error else None,
        "drained_in_s": _drained_in_s(counts, fleet.pace.get(name, 0.0)),
    }


def _counts(of: Mapping[State, int]) -> dict[str, int]:
    return {state.value: of[state] for state in State}


def _unfinished(of: Mapping[State, int]) -> int:
    return sum(many for state, many in of.items() if state not in FINAL)


def _circuit(entry: Entry | None, circuits: Mapping[str, Circuit]) -> dict[str, Any] | None:
    """Of the endpoint; None: the queue has none of its own."""
    if entry is None:
        return None
    found = circuits.get(entry.service)
    if found is None or found.open_for_s is None:
        return {"state": "closed", "failures": found.failures if found else 0}
    state = "open" if found.open_for_s > 0 else "half-open"
    return {"state": state, "failures": found.failures, "reason": found.reason, "for_s": round(found.open_for_s, 3)}


def _rate(name: str, fleet: Fleet) -> dict[str, Any] | None:
    for rule in fleet.limits.get(name, ()):
        if rule.starts is not None:
            return {"starts": rule.starts, "per_s": rule.per_s, "used": fleet.starts.get(name, 0)}
    return None


def _drained_in_s(counts: Mapping[State, int], pace: float) -> float | None:
    """How long until all that is due has run, at the present pace; None: none of it has ended lately."""
    due = counts[State.WAITING] + counts[State.QUEUED] + counts[State.RUNNING]
    if not due:
        return 0.0
    return round(due / pace, 1) if pace else None


def _worker(worker: Present) -> dict[str, Any]:
    return {
        "id": worker.id,
        "host": worker.host,
        "concurrency": worker.concurrency,
        "queues": len(worker.queues),
        "silent_s": round(worker.silent_s, 1),
        "lost_slots": worker.lost_slots,
        "stopping": worker.stopping,
        "stalled": worker.stalled,
    }


def _moment(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
