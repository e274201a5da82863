"""What a round leaves behind, read once everything has come to rest: history, rows and what the triggers saw."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from celadon.ledger import tables
from tests.fence import celeryconfig, history, observer
from tests.fence.checker.evidence import Arrow, Effect, Evidence, Job, Limit, Schedule
from tests.fence.plan import COMMITTED, OUTSIDE, POISON
from tests.fence.world import World

LIMITS = [
    Limit(kind=kind, name=name, **rule)
    for gate, rules in celeryconfig.limits.items()
    for kind, name in (gate.split(" ", 1),)
    for rule in rules
]


def collect(world: World, seed: int) -> Evidence:
    """The evidence of the round of `seed`."""
    with world.engine.connect() as connection:
        jobs = connection.execute(select(tables.jobs)).all()
        effects = connection.execute(select(observer.effects).order_by(observer.effects.c.id)).all()
        arrows = connection.execute(select(observer.arrows).order_by(observer.arrows.c.id)).all()
        marks = connection.execute(select(observer.marks)).all()
        notes = connection.execute(select(observer.notes.c.label)).scalars().all()
    events = history.read(world.history)
    return Evidence(
        seed=seed,
        committed=COMMITTED,
        outside=OUTSIDE,
        poison=POISON,
        events=events,
        jobs=[_job(row) for row in jobs],
        effects=[_fields(Effect, row) for row in effects],
        arrows=[_fields(Arrow, row) for row in arrows],
        marks=[(row.scope, row.step) for row in marks],
        notes=notes,
        limits=LIMITS,
        schedules=[
            Schedule(name=event["schedule"], **{name: event[name] for name in ("missed", "overlap", "first", "ends")})
            for event in events
            if event["event"] == "scheduled"
        ],
    )


def _job(row: Any) -> Job:
    label = row.payload["label"]
    return Job(
        id=row.id,
        kind=row.name,
        label=f"{label}@{row.id}" if row.schedule else label,
        queue=row.queue,
        tenant=row.tenant,
        schedule=row.schedule,
        due=row.due.timestamp() if row.due else None,
        state=row.state,
        epoch=row.epoch,
        result_epoch=(row.result or {}).get("epoch"),
        reason=f"{row.error_kind}: {row.error_message}; crashes {row.crashes}, tries {row.attempt}",
    )


def _fields(kind: Any, row: Any) -> Any:
    return kind(**{name: getattr(row, name) for name in kind.__dataclass_fields__})
