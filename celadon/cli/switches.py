"""What is turned per queue, job name or tenant: pauses, and whether the broker is used."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

import click

from celadon.cli.options import Moment, of_kind
from celadon.cli.output import line, moment

if TYPE_CHECKING:
    from celadon.ledger.limits import Gate
    from celadon.limits import Kind


@click.command()
@click.argument("name")
@of_kind
@click.option("--reason", help="Shown to whoever looks at it.")
@click.option("--for", "for_s", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="When it ends.")
@click.option("--until", type=Moment(), help="When it ends, with a zone: 2027-01-31T08:00:00Z.")
def pause(name: str, kind: Kind, reason: str | None, for_s: float | None, until: datetime | None) -> None:
    """Hold a queue's jobs, those of one name, or a tenant's. New ones are accepted and wait; what runs goes on."""
    from celadon import gates
    from celadon.ledger import switches

    if for_s is not None and until is not None:
        raise click.UsageError("--for and --until both say when the pause ends; give one")
    gates.known(kind, name)
    ends = switches.pause(kind, name, reason=reason, for_s=for_s, until=until, actor="command")
    click.echo(f"{kind} {name}: paused until {moment(ends, 'it is resumed')}")


@click.command()
@click.argument("name")
@of_kind
def resume(name: str, kind: Kind) -> None:
    """Let held jobs go on."""
    from celadon import gates
    from celadon.ledger import switches

    gates.turned(kind, name)
    ended = switches.resume(kind, name, actor="command")
    click.echo(f"{kind} {name}: {'resumed' if ended else 'not paused'}")


@click.command()
@click.argument("kind", type=click.Choice(["queue", "job"]))
@click.argument("name")
@click.argument("position", type=click.Choice(["on", "off"]))
def switch(kind: Literal["queue", "job"], name: str, position: str) -> None:
    """Take a queue or a job name off the broker, or put it back. Off: jobs fall back, workers take them by relief."""
    from celadon import gates
    from celadon.ledger import switches

    (gates.known if position == "off" else gates.turned)(kind, name)
    switches.turn(kind, name, use_broker=position == "on", actor="command")
    click.echo(f"{kind} {name}: broker {position}")


@click.command("switches")
def list_switches() -> None:
    """Show what is paused, until when, why and how many wait; and what is off the broker."""
    from celadon.ledger import limits

    for gate in limits.every():
        for told in _turned(gate):
            click.echo(line(f"{gate.kind} {gate.name}: {told}"))


def _turned(gate: Gate) -> list[str]:
    told = []
    if gate.paused:
        why = f": {gate.reason}" if gate.reason else ""
        told.append(f"paused until {moment(gate.until, 'it is resumed')}, {waiting(gate)} wait{why}")
    if not gate.use_broker:
        told.append("broker off")
    return told


def waiting(gate: Gate) -> str:
    """How many wait there."""
    from celadon.ledger.limits import WAITING_MOST

    return f"{gate.waiting} or more" if gate.waiting >= WAITING_MOST else str(gate.waiting)
