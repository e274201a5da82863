"""A process that does what an operator does: makes the round's schedules, and pauses a gate for a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from celadon import schedules
from celadon.ledger import switches
from celadon.limits import Kind
from tests.fence import history
from tests.fence.jobs import HISTORY


def operate(what: str, *words: Any) -> None:
    acts: dict[str, Callable[..., None]] = {"schedules": make_schedules, "pause": pause}
    acts[what](*words)


def make_schedules(seed: int, wanted: Sequence[dict[str, Any]], ends: float) -> None:
    """Make each of them, due every second until `ends` (seconds since 1970)."""
    for facts in wanted:
        name = f"{seed}-{facts['name']}"
        view = schedules.add(
            name,
            "fence.tick",
            payload={"label": name, "lasts": facts["lasts"]},
            every=1,
            missed=facts["missed"],
            overlap=facts["overlap"],
            ends_at=datetime.fromtimestamp(ends, UTC),
            actor="fence",
        )
        assert view.next_due is not None, f"{name} ends before it begins"
        told = {
            "missed": facts["missed"],
            "overlap": facts["overlap"],
            "first": view.next_due.timestamp(),
            "ends": ends,
        }
        history.append(HISTORY, "scheduled", schedule=name, **told)


def pause(kind: Kind, name: str, seconds: float) -> None:
    """Pause it; by the ledger's clock it goes on by itself."""
    until = switches.pause(kind, name, for_s=seconds, reason="the fence suite", actor="fence")
    assert until is not None
    history.append(HISTORY, "paused", gate=[kind, name], until=until.timestamp())
