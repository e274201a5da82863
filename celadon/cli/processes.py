"""Commands that begin an application, bring its database up to date, and run its processes."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from celadon.queues import POOLS


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Write a minimal application that works at once: jobs, a web application, its tests, and how to run them."""
    from celadon import scaffold

    for name in scaffold.write(folder):
        click.echo(folder / name)
    click.echo(f"{folder / 'README.md'} says how to run it.")


@click.command()
def migrate() -> None:
    """Bring the ledger's database to the present schema."""
    from celadon import limits
    from celadon.ledger import limits as rows
    from celadon.ledger.migrate import migrate as apply
    from celadon.queues import operators_file

    for package, told in apply(getattr(operators_file(), "migrations", ())).items():
        click.echo(f"{package}: {told}")
    declared = limits.declared()
    for gate in rows.sync(declared, limits.generation()):
        click.echo(f"limit of {gate}: that of a newer configuration stands")


@click.command()
@click.argument("lane")
@click.option("--pool", type=click.Choice(POOLS), help="How jobs are run, instead of the lane's.")
@click.option("--concurrency", type=click.IntRange(1), help="Jobs at a time, instead of the lane's.")
@click.option("--grace", type=click.IntRange(5), metavar="SECONDS", help="What a stop may take, instead of the lane's.")
def worker(lane: str, pool: str | None, concurrency: int | None, grace: int | None) -> None:
    """Work one lane of celeryconfig.lanes."""
    from celadon.worker import run

    sys.exit(run(lane, pool=pool, concurrency=concurrency, grace_s=grace))


@click.command()
def beat() -> None:
    """Run the scheduler: what is due, lost, late or old. Any number may run."""
    from celadon.beat import run

    run()


@click.command()
@click.option("--bind", help="HOST:PORT, instead of WEB_BIND.")
@click.option("--workers", type=click.IntRange(1), help="Processes, instead of WEB_WORKERS.")
def web(bind: str | None, workers: int | None) -> None:
    """Serve the web application."""
    from celadon.serve import run

    run(bind, workers)
