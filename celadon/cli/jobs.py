"""Commands that look at jobs and steer them one by one."""

from __future__ import annotations

import json
from datetime import datetime

import click

from celadon.cli.options import Moment


@click.command()
@click.argument("job_id")
@click.option("--payload", is_flag=True, help="With its payload, and with the request that its last delivery sent.")
def job(job_id: str, payload: bool) -> None:
    """Show a job with its attempts, steps and last failed delivery, as JSON."""
    from celadon.errors import UnknownJobId
    from celadon.ledger.looking import find

    view = find(job_id)
    if view is None:
        raise UnknownJobId(f"There is no job {job_id!r}", job_id=job_id)
    click.echo(json.dumps(view.as_dict(payload=payload), indent=2))


@click.command()
@click.option("--state", "states", multiple=True, help="Jobs in this state; may be repeated.")
@click.option("--name", help="Jobs of this name.")
@click.option("--queue", help="Jobs of this queue.")
@click.option("--tenant", help="Jobs of this tenant.")
@click.option("--limit", default=50, show_default=True, help="At most so many, up to 200.")
def jobs(states: tuple[str, ...], name: str | None, queue: str | None, tenant: str | None, limit: int) -> None:
    """List jobs, the newest first: id, state, name, when it was stored, and its error."""
    from celadon.ledger.listing import list_jobs

    for job in list_jobs(states=states, name=name, queue=queue, tenant=tenant, limit=limit).jobs:
        error = f"  {job.error['kind']}: {job.error['message']}".partition("\n")[0] if job.error else ""
        click.echo(f"{job.id}  {job.state:9}  {job.name}  {job.created_at:%Y-%m-%d %H:%M:%S}{error}")


@click.command()
@click.argument("job_id")
def cancel(job_id: str) -> None:
    """Cancel a job; of a running one, at its next step."""
    from celadon.ledger.operating import cancel as apply

    click.echo(f"{job_id}: {_word(apply(job_id, actor='command'))}")


def _word(state: str) -> str:
    return "will be cancelled at its next step" if state == "running" else state


@click.command()
@click.argument("job_id")
def replay(job_id: str) -> None:
    """Put a dead job back, with its history; steps that are done stay done."""
    from celadon.ledger.operating import replay as apply

    apply(job_id, actor="command")
    click.echo(f"{job_id}: put back")


@click.command("run-now")
@click.argument("job_id")
def run_now(job_id: str) -> None:
    """Make a scheduled job due now: one that was to run later, or that backs off after an error."""
    from celadon.ledger.operating import run_now as apply

    apply(job_id, actor="command")
    click.echo(f"{job_id}: due now")


@click.command()
@click.argument("job_id")
@click.option("--at", "run_at", type=Moment(), help="When it is due, with a zone: 2027-01-31T08:00:00Z.")
@click.option("--delay", metavar="SECONDS", type=float, help="In how many seconds it is due.")
def reschedule(job_id: str, run_at: datetime | None, delay: float | None) -> None:
    """Make a scheduled job due at another time."""
    from celadon.ledger.operating import reschedule as apply

    due = apply(job_id, run_at=run_at, delay=delay, actor="command")
    click.echo(f"{job_id}: due {due:%Y-%m-%d %H:%M:%S} UTC")
