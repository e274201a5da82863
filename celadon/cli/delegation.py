"""The commands for jobs that other services run: submitting one, and how their queues do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from celadon.cli.options import Json, Moment
from celadon.cli.output import table

WIDEST_ERROR = 60


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


@click.command()
@click.argument("queues", nargs=-1, metavar="[QUEUE]...")
@click.option("--json", "as_json", is_flag=True, help="All there is to tell, of all queues, as /internal/status does.")
def fleet(queues: tuple[str, ...], as_json: bool) -> None:
    """Show how the delegated queues do, these or all: who works them, what is due, dead, and went wrong last.

    DUE are those that could run, LATER those that back off or are to run at a time of their own. OLDEST says for how
    long the first of the due ones waits, DRAINED in how long they are done at the pace of the last minute.
    """
    from celadon.delegation.belonging import entry_of
    from celadon.delegation.status import status

    for queue in queues:
        entry_of(queue)  # Raises UnknownQueue.
    told = status()
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    titles = ("QUEUE", "SERVICE", "STATE", "UNDER WAY", "DUE", "LATER", "DEAD", "OLDEST", "DRAINED", "LAST ERROR")
    rows = [_of_queue(queue) for queue in told["queues"] if not queues or queue["name"] in queues]
    table(titles, rows, none="No queue is delegated.")
    workers, stalled = len(told["workers"]), told["stalled"]
    click.echo(f"workers: {workers}" + (f"; stalled: {', '.join(stalled)}" if stalled else ""), err=True)
    if told["removed"]:
        names = ", ".join(queue["name"] for queue in told["removed"])
        click.echo(f"no longer in the registration file, and with jobs left: {names}", err=True)
    if told["registration"]["error"]:
        click.echo(f"the registration file can't be used as it stands: {told['registration']['error']}", err=True)


def _of_queue(queue: Mapping[str, Any]) -> tuple[str, ...]:
    counts, most, error = queue["counts"], queue["concurrency"], queue["last_error"]
    due = counts["waiting"] + counts["queued"]
    drained_s = queue["drained_in_s"]
    return (
        queue["name"],
        queue["service"] or "-",
        _state(queue),
        f"{queue['in_flight']}" + (f" of {most}" if most else ""),
        str(due),
        str(counts["scheduled"]),
        str(counts["dead"]),
        f"{queue['oldest_s']:.0f} s" if due else "-",
        "-" if drained_s is None else f"{drained_s:.0f} s",
        error["message"][:WIDEST_ERROR] if error else "-",
    )


def _state(queue: Mapping[str, Any]) -> str:
    circuit = queue["circuit"] or {"state": "closed"}
    if circuit["state"] != "closed":
        return f"circuit {circuit['state']}"
    if queue["paused"]:
        return "paused"
    return "runs" if queue["running"] else "not consumed"
