"""What the tests of limits begin with: a limit set, jobs let go, and time that passes for recorded starts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update

from celadon.jobs import Claim
from celadon.ledger import claims, limits
from celadon.ledger.db import at, begin
from celadon.ledger.tables import starts
from celadon.limits import Kind, Limit
from tests.contract.given import NAME, a_claim, a_job, row


def limit(kind: Kind = "job", name: str = NAME, *more: Limit, **rule: Any) -> None:
    """Set a limit: of the contract's job unless said otherwise."""
    limits.set_limits(kind, name, [Limit(**rule), *more], actor="test")


def some(many: int, name: str = NAME, **facts: Any) -> list[str]:
    """Ids of so many new jobs, in their order."""
    return [a_job(name, **facts) for _ in range(many)]


def let_go(**options: Any) -> list[str]:
    """Release; the ids, in the order of their turns."""
    return [job.job_id for job in limits.release(**options)]


def begun(many: int | None = None) -> list[Claim]:
    """Release, and claim what was let go."""
    return [a_claim(job_id) for job_id in let_go(**({} if many is None else {"most": many}))]


def end(claim: Claim) -> None:
    claims.finish(claim, None)


def states(ids: list[str]) -> list[str]:
    return [row(job_id).state for job_id in ids]


def let_the_starts_age(seconds: float) -> None:
    """Let so much time pass for what the windows count."""
    with begin() as connection:
        connection.execute(update(starts).values(at=at(-seconds)))
