"""Jobs that come round by themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import click

from celadon.cli.groups import Group
from celadon.cli.options import Moment, Payload
from celadon.cli.output import moment, table

if TYPE_CHECKING:
    from celadon.schedules import ScheduleView

F = TypeVar("F", bound=Callable[..., Any])

_RULE = (
    click.option("--crontab", metavar="'M H DAY MONTH WEEKDAY'", help="Due by the wall clock: '0 2 * * mon-fri'."),
    click.option("--every", type=float, metavar="SECONDS", help="Due at each multiple of so many seconds since 1970."),
    click.option("--at", type=Moment(), help="Due once, then: 2027-01-31T08:00:00+01:00."),
    click.option("--timezone", metavar="ZONE", help="Whose wall clock --crontab means: Europe/Berlin."),
)
_MORE = (
    click.option("--payload", type=Payload(), help="Of each job, as JSON: '{\"year\": 2026}'."),
    click.option("--queue", help="Instead of the job's own."),
    click.option("--missed", type=click.Choice(["skip", "latest", "all"]), help="Of what none was there to fire."),
    click.option("--missed-max", type=int, metavar="N", help="Of --missed all: the latest so many at most."),
    click.option(
        "--overlap",
        type=click.Choice(["allow", "skip", "queue", "replace"]),
        help="While the previous job has not ended: run beside it, leave this time out, wait for it, or cancel it.",
    ),
    click.option("--jitter", "jitter_s", type=float, metavar="SECONDS", help="Up to so many later, evenly spread."),
    click.option("--start", "starts_at", type=Moment(), help="Not before."),
    click.option("--end", "ends_at", type=Moment(), help="Not after."),
)
_TAKEN_BACK = {"queue": "queue", "start": "starts_at", "end": "ends_at"}


def _options(options: Iterable[Callable[[F], F]]) -> Callable[[F], F]:
    def give(command: F) -> F:
        for option in reversed(tuple(options)):
            command = option(command)
        return command

    return give


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Options that were given; the others are for `celadon.schedules` to know."""
    return {name: value for name, value in options.items() if value is not None}


@click.group(cls=Group)
def schedules() -> None:
    """Schedules: list, add, edit, pause, resume, run now, remove, and preview when they are due."""


@schedules.command("list")
def list_schedules() -> None:
    """List all schedules: when they are due, their state, where they come from, and their last job."""
    from celadon import schedules

    titles = ("NAME", "JOB", "DUE", "NEXT", "FROM", "LAST JOB", "STATE")
    rows = [
        (each.name, each.job, each.when, moment(each.next_due), _source(each), each.last_job or "-", _state(each))
        for each in schedules.every()
    ]
    table(titles, rows, none="No schedules. Those of celeryconfig come with the first `celadon beat`.")


@schedules.command()
@click.argument("name")
def show(name: str) -> None:
    """Show a schedule with its payload and policies, as JSON."""
    from celadon import schedules

    view = schedules.find(name)
    click.echo(json.dumps({**view.as_dict(), "payload": dict(view.payload)}, indent=2))


@schedules.command()
@click.argument("name")
@click.argument("job")
@_options((*_RULE, *_MORE))
def add(name: str, job: str, **options: Any) -> None:
    """Run JOB by a rule: one of --crontab, --every and --at. NAME is the schedule's own."""
    from celadon import schedules

    _tell(schedules.add(name, job, **_given(options), actor="command"))


@schedules.command()
@click.argument("name")
@click.option("--job", help="Another job.")
@_options((*_RULE, *_MORE))
@click.option("--without", "taken_back", type=click.Choice([*_TAKEN_BACK]), multiple=True, help="Take this back.")
def edit(name: str, taken_back: tuple[str, ...], **options: Any) -> None:
    """Change what is given; all else stays."""
    from celadon import schedules

    given = _given(options)
    if both := [what for what in taken_back if _TAKEN_BACK[what] in given]:
        raise click.UsageError(f"{', '.join(both)}: either given or taken back, not both")
    changes = given | {_TAKEN_BACK[what]: None for what in taken_back}
    if not changes:
        raise click.UsageError("nothing is to be changed; `celadon schedules edit --help` shows what may be")
    _tell(schedules.edit(name, **changes, actor="command"))


@schedules.command()
@click.argument("name")
@click.option("--reason", help="Shown to whoever looks at it.")
def pause(name: str, reason: str | None) -> None:
    """Fire nothing until it is resumed."""
    from celadon import schedules

    _tell(schedules.pause(name, reason=reason, actor="command"))


@schedules.command()
@click.argument("name")
def resume(name: str) -> None:
    """Go on with the next due time; what came due meanwhile was not missed."""
    from celadon import schedules

    _tell(schedules.resume(name, actor="command"))


@schedules.command("run-now")
@click.argument("name")
def run_now(name: str) -> None:
    """Run its job once, now, beside its due times; prints the job's id."""
    from celadon import schedules

    click.echo(schedules.run_now(name, actor="command"))


@schedules.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove it; jobs that it fired stay."""
    from celadon import schedules

    schedules.remove(name, actor="command")
    click.echo(f"{name}: removed")


@schedules.command()
@click.argument("name", required=False)
@_options(_RULE)
@click.option("--after", type=Moment(), help="Of a rule: from then on, instead of from now.")
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many.")
def preview(name: str | None, after: datetime | None, count: int, **options: Any) -> None:
    """Show the next due times, of the schedule NAME or of a rule, by its own clock and in UTC. Stores nothing.

    Without jitter; of a paused schedule those that it would have if it were resumed now.
    """
    from celadon import due, schedules

    given = _given(options)
    rule: Mapping[str, Any]
    if name is None:
        rule = schedules.rule_of(given)
        found = due.preview(rule, after or datetime.now(UTC), count)
    elif given:
        raise click.UsageError("give NAME, or a rule to try out (--crontab, --every, --at), not both")
    elif after:
        raise click.UsageError("--after is for a rule to try out; the due times of NAME are told from now on")
    else:
        rule, found = schedules.find(name).rule, schedules.preview(name, count)
    zone = ZoneInfo(rule.get("timezone", "UTC"))
    for each in found:
        local = each.astimezone(zone)
        click.echo(f"{local:%a %Y-%m-%d %H:%M:%S} {_offset(local)}   {moment(each)}")
    if not found:
        click.echo("No due time is left.")


def _offset(local: datetime) -> str:
    return local.isoformat()[-6:]


def _tell(view: ScheduleView) -> None:
    ahead = f"next due {moment(view.next_due)}" if view.status == "active" else _state(view)
    click.echo(f"{view.name}: {view.when}, {ahead}")


def _state(view: ScheduleView) -> str:
    return f"{view.status}: {view.reason}" if view.reason else view.status


def _source(view: ScheduleView) -> str:
    return "celeryconfig" if view.source == "config" else "added"
