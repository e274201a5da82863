"""The command `celadon`."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Literal

import click

from celadon.errors import CeladonError
from celadon.queues import POOLS


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        """Our own errors are told in a sentence, without a traceback."""
        try:
            return super().invoke(ctx)
        except CeladonError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
@click.version_option(package_name="celadon")
def main() -> None:
    """Background jobs that are neither lost nor done twice. Settings: environment, see docs/reference/settings.md."""
    # The operator's file stands in the folder the command is given in.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Write a minimal application that works at once: jobs, a web application, its tests, and how to run them."""
    from celadon import scaffold

    for name in scaffold.write(folder):
        click.echo(folder / name)
    click.echo(f"{folder / 'README.md'} says how to run it.")


@main.command()
def migrate() -> None:
    """Bring the ledger's database to the present schema."""
    from celadon.ledger.migrate import migrate as apply
    from celadon.queues import operators_file

    for package, told in apply(getattr(operators_file(), "migrations", ())).items():
        click.echo(f"{package}: {told}")


@main.command()
@click.argument("lane")
@click.option("--pool", type=click.Choice(POOLS), help="How jobs are run, instead of the lane's.")
@click.option("--concurrency", type=click.IntRange(1), help="Jobs at a time, instead of the lane's.")
@click.option("--grace", type=click.IntRange(5), metavar="SECONDS", help="What a stop may take, instead of the lane's.")
def worker(lane: str, pool: str | None, concurrency: int | None, grace: int | None) -> None:
    """Work one lane of celeryconfig.lanes."""
    from celadon.worker import run

    sys.exit(run(lane, pool=pool, concurrency=concurrency, grace_s=grace))


@main.command()
def beat() -> None:
    """Run the scheduler: what is due, lost, late or old. Any number may run."""
    from celadon.beat import run

    run()


@main.command()
@click.option("--bind", help="HOST:PORT, instead of WEB_BIND.")
@click.option("--workers", type=click.IntRange(1), help="Processes, instead of WEB_WORKERS.")
def web(bind: str | None, workers: int | None) -> None:
    """Serve the web application."""
    from celadon.serve import run

    run(bind, workers)


@main.command()
@click.argument("job_id")
def job(job_id: str) -> None:
    """Show a job with its attempts and steps, as JSON."""
    from celadon.errors import UnknownJobId
    from celadon.ledger.looking import find

    view = find(job_id)
    if view is None:
        raise UnknownJobId(f"There is no job {job_id!r}", job_id=job_id)
    click.echo(json.dumps(view.as_dict(), indent=2))


@main.command()
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


@main.command()
@click.argument("job_id")
def cancel(job_id: str) -> None:
    """Cancel a job; of a running one, at its next step."""
    from celadon.ledger.operating import cancel as apply

    click.echo(f"{job_id}: {_word(apply(job_id, actor='command'))}")


def _word(state: str) -> str:
    return "will be cancelled at its next step" if state == "running" else state


@main.command()
@click.argument("job_id")
def replay(job_id: str) -> None:
    """Put a dead job back, with its history; steps that are done stay done."""
    from celadon.ledger.operating import replay as apply

    apply(job_id, actor="command")
    click.echo(f"{job_id}: put back")


@main.command("run-now")
@click.argument("job_id")
def run_now(job_id: str) -> None:
    """Make a scheduled job due now: one that was to run later, or that backs off after an error."""
    from celadon.ledger.operating import run_now as apply

    apply(job_id, actor="command")
    click.echo(f"{job_id}: due now")


@main.command()
@click.argument("job_id")
@click.option("--at", "run_at", metavar="TIME", help="When it is due, with a zone: 2027-01-31T08:00:00Z.")
@click.option("--delay", metavar="SECONDS", type=float, help="In how many seconds it is due.")
def reschedule(job_id: str, run_at: str | None, delay: float | None) -> None:
    """Make a scheduled job due at another time."""
    from celadon.ledger.operating import reschedule as apply

    try:
        when = datetime.fromisoformat(run_at) if run_at is not None else None
    except ValueError as error:
        raise click.BadParameter("write it as 2027-01-31T08:00:00Z", param_hint="--at") from error
    due = apply(job_id, run_at=when, delay=delay, actor="command")
    click.echo(f"{job_id}: due {due:%Y-%m-%d %H:%M:%S} UTC")


@main.command()
@click.argument("kind", type=click.Choice(["queue", "job"]))
@click.argument("name")
@click.argument("position", type=click.Choice(["on", "off"]))
def switch(kind: Literal["queue", "job"], name: str, position: str) -> None:
    """Take a queue or a job name off the broker, or put it back. Off: jobs fall back, workers take them by relief."""
    from celadon.ledger import switches

    _check(kind, name)
    switches.turn(kind, name, use_broker=position == "on")
    click.echo(f"{kind} {name}: broker {position}")


@main.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(["queue", "job"]), default="queue", show_default=True)
@click.option("--reason", help="Shown to whoever looks at it.")
def pause(name: str, kind: Literal["queue", "job"], reason: str | None) -> None:
    """Hold a queue's jobs, or those of one name. What runs goes on."""
    from celadon.ledger import switches

    _check(kind, name)
    switches.turn(kind, name, paused=True, reason=reason)
    click.echo(f"{kind} {name}: paused")


@main.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(["queue", "job"]), default="queue", show_default=True)
def resume(name: str, kind: Literal["queue", "job"]) -> None:
    """Let held jobs go on."""
    from celadon.ledger import switches

    _check(kind, name)
    switches.turn(kind, name, paused=False, reason=None)
    click.echo(f"{kind} {name}: resumed")


@main.group()
def keys() -> None:
    """Keys of programs that use the API: make, list and revoke them."""


@keys.command("create")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, help="produce, read or operate; may be repeated.")
def create_key(name: str, scopes: tuple[str, ...]) -> None:
    """Make a key and print it. It can't be shown again: only its hash is kept."""
    from celadon.ledger import apikeys

    text, _ = apikeys.create(name, scopes, actor="command")
    click.echo(text)


@keys.command("list")
def list_keys() -> None:
    """List all keys with what they may do, also those revoked."""
    from celadon.ledger import apikeys

    for key in apikeys.every():
        used = f"used {key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
        ended = f"  revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        click.echo(f"{key.id}  {','.join(sorted(key.scopes))}  {key.name}  {used}{ended}")


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
def revoke_key(key_id: str) -> None:
    """End a key; it stops within a second. `celadon keys list` shows the ids."""
    from celadon.ledger import apikeys

    apikeys.revoke(key_id, actor="command")
    click.echo(f"{key_id}: revoked")


def _check(kind: str, name: str) -> None:
    """A misspelt name would be a switch that nothing obeys."""
    from celadon import app, queues, registry

    if kind == "queue":
        queues.lane_of(name)
    else:
        app.load()
        registry.get(name)


if __name__ == "__main__":
    main()
