"""How much may run at a time, and how much may start in a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import click

from celadon.cli.groups import Group
from celadon.cli.options import KINDS
from celadon.cli.output import table
from celadon.cli.switches import waiting
from celadon.limits import Each, Kind, Limit

if TYPE_CHECKING:
    from celadon.ledger.limits import Gate, Use


@click.group(cls=Group)
def limits() -> None:
    """Limits of queues, jobs of a name and tenants: list with their present use, set, put back to the configuration."""


@limits.command("list")
def list_limits() -> None:
    """Show each limit with its present use.

    Of the jobs that it counts: how many run, how many are RESERVED (released, and about to run), how many STARTS the
    window holds, and for how many more is ROOM. A limit for each tenant has a line for each tenant that has jobs now,
    those with the least room first; one for each worker is told for all workers together. WAITING are all jobs that
    wait there, held by this limit, another or a pause. FROM says who decided it: with "no limit", that an operator took
    away what celeryconfig may say of it, until `celadon limits reset`.
    """
    from celadon.ledger import limits

    titles = ("LIMITED", "LIMIT", "WHOSE", "RUNNING", "RESERVED", "STARTS", "ROOM", "WAITING", "FROM")
    rows = [
        (f"{gate.kind} {gate.name}", *told, _waiting(gate), _source(gate))
        for gate in limits.every()
        if gate.decided
        for told in _told(gate)
    ]
    table(titles, rows, none="No limits. `celadon limits set` makes one.")


def _told(gate: Gate) -> list[tuple[str, ...]]:
    """LIMIT to ROOM, of each rule and whom it is counted for."""
    if not gate.rules:
        return [("no limit", *["-"] * 5)]
    return [
        (str(rule), *used)
        for rule in gate.rules
        for used in [_used(use) for use in gate.uses if use.rule == rule] or [("nobody", *["-"] * 4)]
    ]


def _used(use: Use) -> tuple[str, ...]:
    whose = use.key or {"all": "all", "tenant": "no tenant", "worker": "all workers"}[use.rule.each]
    starts = "-" if use.rule.starts is None else str(use.starts)
    return whose, str(use.running), str(use.reserved), starts, str(use.room)


def _waiting(gate: Gate) -> str:
    return waiting(gate) + (" (paused)" if gate.paused else "")


def _source(gate: Gate) -> str:
    return {"config": "celeryconfig", "file": "registration file"}.get(gate.source or "", "set")


@limits.command("set")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option("--concurrency", type=int, metavar="N", help="At most so many at a time.")
@click.option("--starts", type=int, metavar="N", help="At most so many starts in any window; needs --per.")
@click.option("--per", "per_s", type=float, metavar="SECONDS", help="How long that window is.")
@click.option("--each", type=click.Choice(get_args(Each)), help="For whom it is counted; all together by default.")
@click.option("--add", is_flag=True, help="Beside the limits there are, instead of in their place.")
@click.option("--none", is_flag=True, help="No limit, whatever celeryconfig says.")
def set_limit(
    kind: Kind,
    name: str,
    concurrency: int | None,
    starts: int | None,
    per_s: float | None,
    each: Each | None,
    add: bool,
    none: bool,
) -> None:
    """Limit a queue, the jobs of one name, or a tenant, from now on and until `celadon limits reset`.

    It takes the place of the limits there are; for several, give the first without --add and the others with it.
    """
    from celadon import gates
    from celadon.ledger import limits

    if none and (add or (concurrency, starts, per_s, each) != (None,) * 4):
        raise click.UsageError("--none takes every limit away; give it alone")
    rules = [] if none else [Limit(concurrency=concurrency, starts=starts, per_s=per_s, each=each or "all")]
    gates.known(kind, name)
    if add:
        rules = [*limits.add(kind, name, *rules, actor="command")]
    else:
        limits.set_limits(kind, name, rules, actor="command")
    click.echo(f"{kind} {name}: {_words(rules)}")


@limits.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
def reset(kind: Kind, name: str) -> None:
    """Put the limits back to what celeryconfig.limits says of it, which may be nothing."""
    from celadon import gates
    from celadon.ledger import limits

    gates.turned(kind, name)
    click.echo(f"{kind} {name}: {_words(limits.reset(kind, name, actor='command'))}")


def _words(rules: Sequence[Limit]) -> str:
    return "; ".join(map(str, rules)) or "no limit"
