"""What G10's run has made, against the due times that the pure functions tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine, select

from benchmarks.figures import Figures, p50, p99
from celadon import due
from celadon.ledger.tables import jobs
from tests.guarantees import g10_config

# Between a scheduler's look at the clock and the end of its transaction, and between those of the onlooker.
SLACK = timedelta(milliseconds=100)
SECOND = timedelta(seconds=1)
BEFORE = timedelta(minutes=1)  # The Beats were there for a while when the run begins.
# What came due so shortly before the last scheduler was killed, or before the schedule was removed, may not have been
# fired by then. (A tick takes 0.25 s, and the machine may be busy.)
JUST_DUE = timedelta(seconds=2)
# A look fires up to ten due times of each schedule that is due; it may be so old when it comes to the last of them.
LOOK = timedelta(seconds=3)
# Starting a Beat, and its first look.
STARTING = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True)
class Run:
    """When what was done, by the database's clock."""

    begin: datetime  # The schedules were there.
    rolled: tuple[datetime, datetime]  # Between the two the new version's schedules came.
    outage: tuple[datetime, datetime]  # Between the two no scheduler ran.
    end: datetime  # What was due by then has been fired.
    kills: int
    stops: int
    again: int  # Second firings of a due time: the ledger refuses the job, and the scheduler's log tells of it.


class Made(NamedTuple):
    """A job of a schedule."""

    schedule: str
    due: datetime
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Span:
    """While a rule stood: every due time from `since` until `until` must have a job; around them one may."""

    rule: due.Rule
    since: datetime
    until: datetime
    before: timedelta = timedelta(0)
    after: timedelta = timedelta(0)

    def must(self) -> set[datetime]:
        return set(due.preview(self.rule, self.since, 100_000, self.until))

    def may(self) -> set[datetime]:
        return set(due.preview(self.rule, self.since - self.before, 100_000, self.until + self.after))


def made(engine: Engine) -> list[Made]:
    """The jobs of schedules that are in the ledger."""
    rows = select(jobs.c.schedule, jobs.c.due, jobs.c.created_at).where(jobs.c.due.is_not(None))
    with engine.connect() as connection:
        return [Made(*row) for row in connection.execute(rows)]


def fired_again(logs: Iterable[Path]) -> int:
    """How often a scheduler found that a due time which it took for unfired had its job."""
    return sum('"schedule.fired_before"' in line for log in logs for line in log.read_text().splitlines())


def check(figures: Figures, prefix: str, rows: Sequence[Made], run: Run) -> None:
    """Add the run's figures and their bars."""
    rows = [row for row in rows if row.due <= run.end]
    missed = foreign = left_out = 0
    spans = dict(_spans(run))
    for name, stood in spans.items():
        fired = {row.due: row.created_at for row in rows if row.schedule == name}
        must = set[datetime]().union(*(span.must() for span in stood))
        may = set[datetime]().union(*(span.may() for span in stood))
        allowed = _left_out_by_policy(name, stood[-1].rule, fired, must, run)
        without = must - fired.keys() - allowed
        not_due = (fired.keys() - may) | (fired.keys() & allowed)  # Under `skip`, too late is not due.
        for moment in sorted(without | not_due):
            print(f"{name}: {moment} {'was not due' if moment in not_due else 'has no job'}")
        missed += len(without)
        foreign += len(not_due)
        left_out += len(allowed)
    doubles = sum(times - 1 for times in Counter((row.schedule, row.due) for row in rows).values())
    began, ended = run.outage
    late = [(row.created_at - row.due) / SECOND for row in rows if not began - JUST_DUE < row.due < ended + STARTING]
    figures.add(f"{prefix}schedules", len(spans))
    figures.add(f"{prefix}seconds", (run.end - run.begin) / SECOND)
    figures.add(f"{prefix}fired", len(rows), at_least=1)
    figures.add(f"{prefix}double", doubles + run.again, at_most=0)
    figures.add(f"{prefix}missed", missed, at_most=0)
    figures.add(f"{prefix}not_due", foreign + len({row.schedule for row in rows} - spans.keys()), at_most=0)
    figures.add(f"{prefix}left_out_by_policy", left_out)
    figures.add(f"{prefix}kills", run.kills)
    figures.add(f"{prefix}stops", run.stops)
    figures.add(f"{prefix}late_s_p50", p50(late))
    figures.add(f"{prefix}late_s_p99", p99(late))


def _spans(run: Run) -> Iterator[tuple[str, list[Span]]]:
    """The rules of each schedule and when they stood. About the moment of a change both the old and the new may be."""
    last_old, first_new = run.rolled
    for name, entry in g10_config.beat_schedule.items():
        rule = {"every_s": float(entry["schedule"])}
        if name == "removed":
            until = last_old - JUST_DUE
            yield name, [Span(rule=rule, since=run.begin, until=until, before=BEFORE, after=JUST_DUE + SECOND)]
        elif name == "changed":
            new = {"every_s": 3.0}
            yield (
                name,
                [
                    Span(rule=rule, since=run.begin, until=last_old - SLACK, before=BEFORE, after=SECOND),
                    Span(rule=new, since=first_new, until=run.end, before=SECOND),
                ],
            )
        else:
            yield name, [Span(rule=rule, since=run.begin, until=run.end, before=BEFORE)]
    yield "added", [Span(rule={"every_s": 1.0}, since=first_new, until=run.end, before=SECOND)]


def _left_out_by_policy(
    name: str, rule: Any, fired: dict[datetime, datetime], must: set[datetime], run: Run
) -> set[datetime]:
    """What the outage made a schedule miss and its policy does not make up for."""
    began, ended = run.outage
    policy = g10_config.beat_schedule.get(name, {}).get("missed", "all")
    if policy == "all":
        return set()
    if policy == "skip":
        return {moment for moment in must if began < moment and ended - moment > timedelta(minutes=1)}
    made_up = [moment for moment, created in fired.items() if moment > began - JUST_DUE and created > ended]
    if not made_up or _came_before(rule, fired[min(made_up)] - LOOK, min(made_up)):
        return set()  # What was made up for was not the latest.
    return {moment for moment in must if began - JUST_DUE < moment < min(made_up)} - fired.keys()


def _came_before(rule: due.Rule, moment: datetime, made_up: datetime) -> bool:
    """Whether another due time than the one made up for had come by then."""
    latest = due.latest(rule, moment)
    return latest is not None and latest > made_up
