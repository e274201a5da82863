"""What is turned per queue, job name or tenant: pauses, and whether the broker is used."""

from __future__ import annotations

from typing import Literal

import click


@click.command()
@click.argument("kind", type=click.Choice(["queue", "job"]))
@click.argument("name")
@click.argument("position", type=click.Choice(["on", "off"]))
def switch(kind: Literal["queue", "job"], name: str, position: str) -> None:
    """Take a queue or a job name off the broker, or put it back. Off: jobs fall back, workers take them by relief."""
    from celadon.ledger import switches

    _check(kind, name)
    switches.turn(kind, name, use_broker=position == "on")
    click.echo(f"{kind} {name}: broker {position}")


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(["queue", "job"]), default="queue", show_default=True)
@click.option("--reason", help="Shown to whoever looks at it.")
def pause(name: str, kind: Literal["queue", "job"], reason: str | None) -> None:
    """Hold a queue's jobs, or those of one name. What runs goes on."""
    from celadon.ledger import switches

    _check(kind, name)
    switches.turn(kind, name, paused=True, reason=reason)
    click.echo(f"{kind} {name}: paused")


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(["queue", "job"]), default="queue", show_default=True)
def resume(name: str, kind: Literal["queue", "job"]) -> None:
    """Let held jobs go on."""
    from celadon.ledger import switches

    _check(kind, name)
    switches.turn(kind, name, paused=False, reason=None)
    click.echo(f"{kind} {name}: resumed")


def _check(kind: str, name: str) -> None:
    """A misspelt name would be a switch that nothing obeys."""
    from celadon import app, queues, registry

    if kind == "queue":
        queues.lane_of(name)
    else:
        app.load()
        registry.get(name)
