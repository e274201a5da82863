"""Schedules under a fast clock: hours pass in seconds, and clocks are changed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, create_engine, select

from celadon import due
from celadon.ledger.db import at
from celadon.ledger.tables import jobs, schedules
from tests.conftest import need
from tests.eventually import eventually
from tests.ledgers import migrate
from tests.live.platform import Platform
from tests.servers import PostgresServer, RedisServer
from tests.servers.clock import fast_clock
from tests.servers.process import celadon, kill_group, spawn

CONFIG = "tests.live.clockconfig"
TIMES = 3600  # An hour in a second.
BEFORE, AFTER = timedelta(hours=2), timedelta(hours=1.5)  # Until the hour that comes twice is over.
SPRING, AUTUMN = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)  # Europe's changes.


class Years:
    """A ledger whose time a test chooses, and two Beats that are there before it.

    Their own clock is that of this machine: only the database's decides what is due.
    """

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self._server = server
        server.start()
        self.ledger = server.create_database("fast")
        migrate(self.ledger, CONFIG)
        more = {"CELERY_CONFIG_MODULE": CONFIG, "USE_BROKER": "false"}
        platform = Platform(folder, RedisServer(folder), self.ledger, more)
        platform.stop()
        server.stop()
        logs = [folder / f"beat-{number}.log" for number in range(2)]
        self._beats = [spawn(celadon("beat"), log, env=platform.env, cwd=folder) for log in logs]
        for log in logs:
            eventually("a Beat runs without its ledger", partial(tells, log, "ledger_away"), within=30)

    @contextmanager
    def passing(self, begin: datetime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
        """Time goes on from `begin`, fast, while the block runs."""
        with monkeypatch.context() as environment:
            for name, value in fast_clock(begin, TIMES).items():
                environment.setenv(name, value)
            self._server.start()
        engine = create_engine(self.ledger)
        yield engine
        engine.dispose()
        self._server.stop()

    def stop(self) -> None:
        for beat in self._beats:
            kill_group(beat)
            beat.wait(10)


def tells(log: Path, event: str) -> bool:
    return event in log.read_text()


@pytest.fixture
def years(tmp_path: Path) -> Iterator[Years]:
    need(lambda: fast_clock(SPRING, TIMES))
    server = need(PostgresServer)
    made = Years(tmp_path, server)
    yield made
    made.stop()
    server.remove()


def is_past(engine: Engine, end: datetime) -> bool:
    """Whether the time has come, and nothing that was due by then is still to be fired."""
    with engine.connect() as connection:
        pending = select(schedules.c.name).where(schedules.c.next_due <= end)
        return connection.execute(select(at())).scalar_one() > end and not connection.execute(pending).all()


def rules(engine: Engine) -> Mapping[str, Any]:
    with engine.connect() as connection:
        return {row.name: row.spec for row in connection.execute(select(schedules.c.name, schedules.c.spec))}


def fired(engine: Engine, name: str, begin: datetime, end: datetime) -> list[datetime]:
    """The due times between the two that have a job, in the order in which they were fired."""
    made = select(jobs.c.due).where(jobs.c.schedule == name, jobs.c.due.between(begin, end))
    with engine.connect() as connection:
        return list(connection.execute(made.order_by(jobs.c.created_at)).scalars())


def test_each_due_time_is_fired_once_and_in_order_while_clocks_are_changed(years, monkeypatch):
    night = {SPRING: "03:00+0200", AUTUMN: "02:30+0200"}
    for change in (SPRING, AUTUMN):
        begin, end = change - BEFORE, change + AFTER

        # When hours pass in seconds, from before a change of the clocks until well after it.
        with years.passing(begin, monkeypatch) as engine:
            eventually(f"it is past {end}, and what came due is fired", partial(is_past, engine, end), within=60)
            times = {name: fired(engine, name, begin, end) for name in rules(engine)}
            specs = rules(engine)

        # Then each due time was fired once, in order, and none was left out. (The first time the Beats see the
        # schedules only then; the second time they make up for what they have missed.)
        assert len(specs) == 5
        for name, moments in times.items():
            since = moments[0] if change is SPRING else begin
            assert moments == due.preview(specs[name], since - timedelta(milliseconds=1), 100, end), name
        assert times["interval"][0] < change
        shown = [moment.astimezone(ZoneInfo("Europe/Berlin")) for moment in times["in-the-night"]]
        assert [f"{moment:%H:%M%z}" for moment in shown] == [night[change]]
