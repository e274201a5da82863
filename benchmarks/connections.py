"""Connections of one fleet process to Redis and to the database, with 1, 38 and 1,000 delegated queues.

The process delivers the same jobs of all its queues at the same pace each time, and the most that it has open meanwhile
is told; also how long it takes from the start of the process until it consumes, and to answer `/internal/status`. Fails
if connections grow with the number of queues.
"""

from __future__ import annotations

import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import func, make_url, select

from benchmarks.figures import Figures, milliseconds
from benchmarks.ground import Ground, ground
from deploy.connections import to_port
from tests.eventually import eventually
from tests.servers import FeatureServer
from tests.servers.process import celadon, free_port, kill_group, spawn

CONFIG = "benchmarks.connections_config"
QUEUES = (1, 38, 1_000)
JOBS, PACE_S = 200, 0.1  # In all, and between two.
SAME = 3  # By chance one more may be open at a moment: of the pool's, or for a second message.


def measure(figures: Figures, here: Ground, feature: FeatureServer, many: int) -> None:
    names = [f"queue-{number:04}" for number in range(many)]
    file, ledger, port = here.folder / f"{many}.toml", here.ledger("postgresql"), free_port()
    file.write_text(_registration(feature.url, names))
    own = {"CELERY_CONFIG_MODULE": CONFIG, "DELEGATION_FILE": str(file), "PORT": str(port), "LOG_LEVEL": "WARNING"}
    with ExitStack() as stack:
        _produce(here, ledger, own)
        began = time.monotonic()
        pids = []
        for number, command in enumerate((celadon("worker", "delegated"), celadon("beat"))):
            process = spawn(command, here.folder / f"{many}-{number}.log", env=here.env(ledger, own), cwd=Path.cwd())
            stack.callback(process.wait, 10)
            stack.callback(kill_group, process)
            pids.append(process.pid)
        _wait_until_ready(names)
        figures.add(f"start_s_{many}", time.monotonic() - began)
        redis, database = _most_open(here, ledger, pids[0], names)
        figures.add(f"redis_{many}", redis, at_most=_bar(figures, "redis", many))
        figures.add(f"database_{many}", database, at_most=_bar(figures, "database", many))
        url = f"http://127.0.0.1:{port}/internal/status"
        figures.add(f"status_ms_{many}", min(_asked(url) for _ in range(3)), at_most=1_000)


def _bar(figures: Figures, what: str, many: int) -> float | None:
    return None if many == QUEUES[0] else figures[f"{what}_{QUEUES[0]}"] + SAME


def _registration(url: str, names: list[str]) -> str:
    lines = ["[services]", f'feature = "{url}"']
    for name in names:
        lines += [f"[queues.{name}]", 'service = "feature"', "concurrency = 1", 'networks = ["loopback"]']
    return "\n".join(lines) + "\n"


def _produce(here: Ground, ledger: str, own: dict[str, str]) -> None:
    from celadon import lanes
    from celadon.delegation import file
    from celadon.settings import override

    here.produce(ledger)
    # The ground's file of the operator has fewer slots than there are queues.
    override(**own, ledger_timeout_s=30)
    lanes.operators_file.cache_clear()
    lanes.declared.cache_clear()
    file.forget()


def _wait_until_ready(names: list[str]) -> None:
    from celadon.ledger import presence
    from celadon.ledger.db import reading
    from celadon.ledger.tables import switches

    def ready() -> bool:
        consumed = {queue for worker in presence.alive() for queue in worker.queues}
        with reading() as connection:
            limited = set(connection.execute(select(switches.c.name).where(switches.c.limits.is_not(None))).scalars())
        return consumed >= set(names) and limited >= set(names)

    eventually("the fleet consumes and its limits hold", ready, within=120)


def _most_open(here: Ground, ledger: str, pid: int, names: list[str]) -> tuple[int, int]:
    """The most connections to Redis and to the database while the jobs are delivered."""
    from celadon import delegate
    from celadon.ledger.db import reading
    from celadon.ledger.tables import jobs

    database = make_url(ledger).port or 5432
    ids: list[str] = []
    redis_most = database_most = 0

    def look() -> None:
        nonlocal redis_most, database_most
        redis_most = max(redis_most, to_port([pid], here.redis.port))
        database_most = max(database_most, to_port([pid], database))

    began = time.monotonic()
    for number in range(JOBS):
        ids.append(delegate(names[number * 7 % len(names)], None).job_id)
        look()
        time.sleep(max(0.0, began + len(ids) * PACE_S - time.monotonic()))

    def all_done() -> bool:
        look()
        with reading() as connection:
            return connection.execute(select(func.count()).where(jobs.c.finished_at.is_not(None))).scalar_one() == JOBS

    eventually("all are delivered", all_done, within=120)
    return redis_most, database_most


def _asked(url: str) -> float:
    """Milliseconds that an answer takes which is made anew."""
    time.sleep(1.1)  # What was told a second ago is told again.
    return milliseconds(lambda: urllib.request.urlopen(url, timeout=30).read())


def main() -> int:
    figures = Figures()
    feature = FeatureServer()
    feature.start()
    try:
        with ground() as here:
            for many in QUEUES:
                measure(figures, here, feature, many)
    finally:
        feature.stop()
    return figures.close()


if __name__ == "__main__":
    sys.exit(main())
