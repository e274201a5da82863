"""The command that submits jobs which other services run."""

from __future__ import annotations

from datetime import datetime

import click

from celadon.cli.options import Json, Moment


@click.command()
@click.argument("queue")
@click.argument("data", type=Json(), metavar="JSON")
@click.option("--key", help="Idempotency key: the same again in this queue gives the first job back.")
@click.option("--at", "run_at", type=Moment(), help="When it is due, with a zone: 2027-01-31T08:00:00Z.")
@click.option("--delay", metavar="SECONDS", type=float, help="In how many seconds it is due.")
@click.option("--expires-in", metavar="SECONDS", type=float, help="Not run unless begun by then.")
@click.option("--priority", type=int, help="-9 to 9; higher goes first.")
@click.option("--tenant", help="For whom it is done.")
@click.option("--callback", metavar="URL", help="Is told how the job has ended.")
def delegate(
    queue: str,
    data: object,
    key: str | None,
    run_at: datetime | None,
    delay: float | None,
    expires_in: float | None,
    priority: int | None,
    tenant: str | None,
    callback: str | None,
) -> None:
    """Submit a job to a delegated queue; prints its id, and what became of it."""
    from celadon.delegation.submitting import delegate as apply

    receipt = apply(
        queue,
        data,
        key=key,
        run_at=run_at,
        delay=delay,
        expires_in=expires_in,
        priority=priority,
        tenant=tenant,
        callback=callback,
    )
    click.echo(f"{receipt.job_id}: {receipt.outcome}" + (f" ({receipt.reason})" if receipt.reason else ""))
