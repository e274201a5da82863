"""What limits cost: a claim of a limited job, a claim beside limits of other queues, and releases from long lines.

Then how near real workers come to 500 and to 100 starts in a second, beside stock Celery's `rate_limit` over two
workers, which is kept by each for itself. Samples that are compared alternate. `python -m benchmarks.limits sqlite`
measures one database only, and no workers.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from sqlalchemy import delete, insert, update

from benchmarks.figures import Figures, milliseconds, p50, p99
from benchmarks.ground import Ground, ground
from tests.eventually import eventually
from tests.guarantees import g08
from tests.guarantees.deployment import deployment
from tests.servers.process import kill_group, spawn

PAIRS = 300
RELEASES = 60
STARTS = 5_000  # Through real workers.
PEERS_STARTS = 2_500
LIMITED, FREE = "bench.sync", "bench.noop"


def measure(kind: str, here: Ground, figures: Figures) -> None:
    here.produce(here.ledger(kind))
    _claims(kind, figures)
    _beside_others(kind, figures)
    few = _releases(kind, figures, "100_waiting", jobs=100, tenants=1)
    many = _releases(kind, figures, "100000_waiting", jobs=100_000, tenants=1)
    _releases(kind, figures, "1000_tenants", jobs=10_000, tenants=1_000)
    figures.add(f"release_from_100000_over_100_waiting_ratio_{kind}", many / few, at_most=3)


def _claims(kind: str, figures: Figures) -> None:
    """A claim that uses a place and records its start, against one that nothing limits."""
    _limit(LIMITED, starts=100_000, per_s=1)
    limited: list[float] = []
    free: list[float] = []
    for number in range(PAIRS):
        ids = {LIMITED: _released(), FREE: _stored(FREE)}
        for name in (LIMITED, FREE) if number % 2 else (FREE, LIMITED):
            (limited if name == LIMITED else free).append(_claim_and_finish(ids[name]))
    figures.add(f"claim_unlimited_p50_ms_{kind}", p50(free))
    figures.add(f"claim_limited_p50_ms_{kind}", p50(limited))
    figures.add(f"claim_limited_over_unlimited_ratio_{kind}", p50(limited) / p50(free), at_most=3)
    figures.add(f"claim_limited_over_unlimited_ms_{kind}", p50(limited) - p50(free))


def _beside_others(kind: str, figures: Figures) -> None:
    """The claim of a job that nothing limits, with twenty limits on other names and with none anywhere."""
    from celadon.ledger.db import begin
    from celadon.ledger.tables import switches

    samples: dict[int, list[float]] = {0: [], 20: []}
    rows = [{"kind": "job", "name": f"other.{n}", "limits": [{"concurrency": 1}]} for n in range(20)]
    for number in range(PAIRS // 5):
        for limits in (0, 20) if number % 2 else (20, 0):
            with begin() as connection:
                connection.execute(delete(switches))
                if limits:
                    connection.execute(insert(switches), rows)
            ids = [_stored(FREE) for _ in range(5)]
            samples[limits] += [_claim_and_finish(job_id) for job_id in ids]
    ratio = p50(samples[20]) / p50(samples[0])
    figures.add(f"claim_beside_20_limits_over_none_ratio_{kind}", ratio, at_most=1.15)


def _releases(kind: str, figures: Figures, what: str, *, jobs: int, tenants: int) -> float:
    """One place becomes free again and again: what it takes to give it to the next in line. The median, ms."""
    from celadon.ledger import limits

    _limit(LIMITED, concurrency=1)
    _wait_in_line(jobs, tenants)
    samples: list[float] = []
    taken: list[float] = []
    released: list[str] = []

    def release() -> None:
        released[:] = [job.job_id for job in limits.release()]

    release()
    in_vain: list[float] = []
    for _ in range(RELEASES):
        (job_id,) = released
        in_vain.append(milliseconds(release))  # Nothing is free.
        assert not released
        taken.append(_claim_and_finish(job_id))
        samples.append(milliseconds(release))
    figures.add(f"release_{what}_p50_ms_{kind}", p50(samples))
    figures.add(f"release_{what}_p99_ms_{kind}", p99(samples))
    figures.add(f"release_{what}_over_claim_ratio_{kind}", p50(samples) / p50(taken), at_most=8)
    figures.add(f"release_in_vain_{what}_p50_ms_{kind}", p50(in_vain))
    return p50(samples)


def _limit(name: str, **rule: float) -> None:
    from celadon.ledger import limits
    from celadon.ledger.db import begin
    from celadon.ledger.tables import jobs, starts, switches
    from celadon.limits import parse

    with begin() as connection:
        for table in (jobs, starts, switches):
            connection.execute(delete(table))
    limits.set_limits("job", name, [parse(rule)], actor="benchmark")


def _stored(name: str) -> str:
    from celadon.ids import new_id
    from celadon.jobs import NewJob
    from celadon.ledger.db import begin
    from celadon.ledger.writing import insert_job

    new = NewJob(id=new_id(), name=name, queue="default", payload={}, size=2, max_attempts=5)
    with begin() as connection:
        return insert_job(connection, new)[0]


def _released() -> str:
    from celadon.ledger import limits

    _stored(LIMITED)
    (job,) = limits.release()
    return job.job_id


def _claim_and_finish(job_id: str) -> float:
    """How long the claim takes, ms."""
    from celadon.jobs import Claim
    from celadon.ledger import claims

    found: list[Claim | None] = []
    took = milliseconds(lambda: found.append(claims.claim(job_id, worker="bench:1", engine="worker", lease_s=60)))
    assert found[0] is not None
    claims.finish(found[0], None)
    return took


def _wait_in_line(many: int, tenants: int) -> None:
    from celadon.ids import new_id
    from celadon.ledger.db import at, begin
    from celadon.ledger.tables import jobs

    facts = {"name": LIMITED, "queue": "default", "state": "waiting", "payload": {}, "max_attempts": 5}
    with begin() as connection:
        for first in range(0, many, 5_000):
            rows = [
                {"id": new_id(), "tenant": f"t{number % tenants:04}", **facts}
                for number in range(first, min(many, first + 5_000))
            ]
            connection.execute(insert(jobs).values(created_at=at()), rows)
        connection.execute(update(jobs).values(queued_at=at()))


# --- with real workers ------------------------------------------------------------------------------------------------


def starts(figures: Figures, folder: Path) -> None:
    """How near two schedulers and three workers come to a limit, and that they never go beyond."""
    from celadon.ledger import limits
    from celadon.limits import Limit

    for most, many, share in ((500, STARTS, None), (100, STARTS // 4, 0.7)):
        here_in = folder / str(most)
        here_in.mkdir()
        with deployment(here_in, "postgresql", g08.CONFIG, durable=True) as here:
            limits.set_limits("job", g08.JOB, [Limit(starts=most, per_s=1)], actor="benchmark")
            times = g08.run(here, many)
        figures.add(f"starts_per_s_of_{most}", g08.per_s(times))
        figures.add(f"share_of_{most}_reached", g08.per_s(times) / most, at_least=share)
        figures.add(f"most_starts_in_a_second_of_{most}", g08.most_in_a_window(times), at_most=most)


def peers_starts(here: Ground, figures: Figures) -> None:
    """The same of two stock workers whose tasks say half the rate, one of which came late."""
    from benchmarks import rated, stock

    file = here.folder / "rated"
    env = here.env("sqlite://", {"RATED_FILE": str(file)})
    rated.app.conf.broker_url = here.redis.url
    for _ in range(PEERS_STARTS):
        rated.app.send_task("rated.start", queue=rated.QUEUE)
    command = [word if word != "benchmarks.stock" else "benchmarks.rated" for word in stock.worker("threads", 12, 4)]
    processes = []

    def begun() -> int:
        return file.read_bytes().count(b"\n") if file.exists() else 0

    try:
        for number in range(2):
            words = [*command, "--queues", rated.QUEUE, "--hostname", f"rated{number}@%h"]
            processes.append(spawn(words, here.folder / f"rated{number}.log", env=env))
        eventually("all have begun", lambda: begun() >= PEERS_STARTS, within=60)
    finally:
        for process in processes:
            kill_group(process)
            process.wait(10)
    times = sorted(map(int, file.read_text().split()))
    figures.add("starts_per_s_stock", g08.per_s(times))
    figures.add("most_starts_in_a_second_stock", g08.most_in_a_window(times))


def main() -> int:
    figures = Figures()
    kinds = sys.argv[1:]
    with ground() as here:
        for kind in kinds or ("sqlite", "postgresql"):
            measure(kind, here, figures)
        if not kinds:
            peers_starts(here, figures)
    if not kinds:
        with tempfile.TemporaryDirectory(prefix="celadon-bench-") as folder:
            starts(figures, Path(folder))
    return figures.close()


if __name__ == "__main__":
    sys.exit(main())
