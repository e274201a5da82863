"""G10: a schedule fires once per due time, however many schedulers run, and what was missed follows its policy.

Three real Beats on one ledger. One is killed at random times and started anew, one is stopped for longer than its
presence counts and then goes on, and meanwhile the configuration is rolled: a rule changes, a schedule is added and one
removed, while schedulers of the old version still run. At the end none runs for a while. The jobs' (schedule, due) rows
are then compared with the due times that the pure functions tell (tests/guarantees/g10_checker.py).
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Select, select

from benchmarks.figures import Figures
from celadon import due
from celadon.ledger.db import at
from celadon.ledger.tables import schedules, workers
from tests.eventually import eventually
from tests.freezing import freeze
from tests.guarantees.deployment import Deployment, Started, deployment
from tests.guarantees.g10_checker import Run, check, fired_again, made
from tests.servers.process import kill_group

CONFIG = "tests.guarantees.g10_config"
PLACES = ("killed", "stopped", "calm")
QUICK = {"PRESENCE_S": "1.2", "LEASE_S": "1.2", "RENEW_S": "0.4"}  # A stop of 1.6 s is longer than a presence.


@dataclass(frozen=True, kw_only=True)
class Form:
    """How long a run takes; its times in seconds."""

    rounds: int  # In each a Beat is stopped and goes on.
    stopped_s: float  # Longer than PRESENCE_S.
    kill_every_s: float  # On average, while the other is stopped.
    roll_in: int  # The round in which the configuration is rolled.
    replaced: tuple[str, ...]  # Then, beside `killed`; who is not goes on with the old configuration.
    outage_s: float | None  # None: until a due time of `skipped` is more than a minute old.
    back: tuple[str, ...]  # After the outage.
    env: Mapping[str, str] = field(default_factory=dict)


LONG = Form(rounds=6, stopped_s=20, kill_every_s=6, roll_in=3, replaced=("calm", "stopped"), outage_s=None, back=PLACES)
# The one that was killed is of the new version, the others of the old one, until the outage ends them.
SHORT = Form(rounds=1, stopped_s=1.6, kill_every_s=1.6, roll_in=0, replaced=(), outage_s=1, back=("calm",), env=QUICK)


def measure(figures: Figures, folder: Path, *, long: bool) -> None:
    for kind in ("postgresql", "sqlite") if long else ("postgresql",):
        below = folder / kind
        below.mkdir()
        with deployment(below, kind, CONFIG) as here:
            run = _run(here, LONG if long else SHORT)
            check(figures, f"{kind}_" if long else "", made(here.engine), run)


def _run(here: Deployment, form: Form) -> Run:
    beats = Beats(here, form)
    with beats.rolling() as rolled:
        beats.start(*PLACES)
        beats.wait_for(*PLACES)
        begin = now(here.engine)
        beats.disturb()
        eventually("the new version's schedules are there", lambda: rolled, within=30)
    outage = beats.outage()
    end = now(here.engine)
    eventually("all that is due is fired", lambda: nothing_is_due(here.engine, end), within=30)
    return Run(
        begin=begin,
        rolled=(rolled[0], rolled[1]),
        outage=outage,
        end=end,
        kills=beats.kills,
        stops=beats.stops,
        again=fired_again(here.folder.glob("beat-*.log")),
    )


class Beats:
    """Three Beats, each in a place of its own."""

    def __init__(self, here: Deployment, form: Form) -> None:
        self._here, self._form = here, form
        self._generation = dict.fromkeys(PLACES, 1)
        self._running: dict[str, Started] = {}
        self._chance = random.Random(10)
        self.kills = self.stops = 0

    def start(self, *places: str) -> None:
        for place in places:
            # Nothing is sent: without a broker the chores leave the machine to the schedules.
            more = {"USE_BROKER": "false", "BEAT_GENERATION": str(self._generation[place]), **self._form.env}
            self._running[place] = self._here.start("beat", name=f"beat-{place}", **more)

    def wait_for(self, *places: str) -> None:
        """Return when they are at work."""
        for place in places:
            there = select(workers.c.id).where(workers.c.pid == self._running[place].pid)
            eventually(f"the Beat {place} is at work", partial(some, self._here.engine, there), within=30)

    def kill(self, *places: str) -> None:
        for place in places:
            kill_group(self._running[place])
        for place in places:
            self._running[place].wait(10)
            self.kills += 1

    def disturb(self) -> None:
        """Kill one again and again while another is stopped; in one of the rounds, all come to be of a new version."""
        for number in range(self._form.rounds):
            with self._one_stopped():
                until = time.monotonic() + self._form.stopped_s
                while time.monotonic() < until:
                    time.sleep(self._chance.uniform(0.2, 1.8) * self._form.kill_every_s)
                    if number == self._form.roll_in:
                        self._generation["killed"] = 2  # It comes back as the first of the new version.
                    self.kill("killed")
                    self.start("killed")
            if number == self._form.roll_in:
                for place in self._form.replaced:
                    self._replace(place)
                    self.wait_for(place)

    def outage(self) -> tuple[datetime, datetime]:
        """Let none run for a while; from when to when."""
        engine = self._here.engine
        if self._form.outage_s is None:
            missed = due.following({"every_s": 70.0}, now(engine))
            assert missed is not None
            eventually(f"{missed} is near", lambda: now(engine) > missed - timedelta(seconds=1), within=90)
            until = missed + timedelta(seconds=61)
        else:
            until = now(engine) + timedelta(seconds=self._form.outage_s)
        self.kill(*PLACES)
        began = now(engine)
        eventually("the outage is over", lambda: now(engine) > until, within=90)
        ended = now(engine)
        self._generation = dict.fromkeys(PLACES, 2)
        self.start(*self._form.back)
        eventually("what was missed is dealt with", lambda: nothing_is_due(engine, ended), within=30)
        return began, ended

    @contextmanager
    def rolling(self) -> Iterator[list[datetime]]:
        """The last look at which the new version's schedules were not there, and the first at which they were."""
        over, looks = threading.Event(), list[datetime]()
        onlooker = threading.Thread(target=_watch_for_the_new, args=(self._here.engine, looks, over))
        onlooker.start()
        try:
            yield looks
        finally:
            over.set()
            onlooker.join()

    def _replace(self, place: str) -> None:
        self._generation[place] = 2
        self._running[place].terminate()
        self._running[place].wait(20)
        self.start(place)

    @contextmanager
    def _one_stopped(self) -> Iterator[None]:
        process = self._running["stopped"]
        freeze(process.pid, self._here.engine)
        self.stops += 1
        yield
        process.send_signal(signal.SIGCONT)


def _watch_for_the_new(engine: Engine, looks: list[datetime], over: threading.Event) -> None:
    look = select(at().label("now"), schedules.c.removed).where(schedules.c.name == "added")
    before = now(engine)
    while not over.wait(0.02):
        asked = now(engine)
        with engine.connect() as connection:
            row = connection.execute(look).one_or_none()
        if row is not None:
            looks += [before, row.now]
            return
        before = asked


def now(engine: Engine) -> datetime:
    with engine.connect() as connection:
        moment: datetime = connection.execute(select(at())).scalar_one()
    return moment


def some(engine: Engine, query: Select[Any]) -> bool:
    with engine.connect() as connection:
        return connection.execute(query).first() is not None


def nothing_is_due(engine: Engine, moment: datetime) -> bool:
    pending = select(schedules.c.name).where(schedules.c.removed.is_(False), schedules.c.next_due <= moment)
    return not some(engine, pending)
