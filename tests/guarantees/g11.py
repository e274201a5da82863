"""G11: 37 delegated queues keep their p95 within 1.2 times while the service of the 38th hangs.

One fleet with the project's own lanes delivers for 38 queues of 38 services. Jobs are submitted to all of them at
random moments, so many a second on average. A pair is two such times with the same moments, one with the 38th well and
one with it hanging, in turns the one and the other first; where it hangs, it has more jobs from the beginning than it
could let time out, and in the long form more than the lane has slots, so that it would take them all but for its limit.
What counts is from the submission to the end of the jobs of the 37, by the database's clock; and that of the 38th there
were never more at a time than its limit allows, which keeps the others' slots free.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from sqlalchemy import bindparam, select

from benchmarks.figures import Figures
from celadon import delegate, lanes
from celadon.delegation import file
from celadon.ledger.tables import attempts, jobs
from celadon.settings import overridden
from celadon.states import FINAL, State
from tests.eventually import eventually
from tests.guarantees.deployment import Deployment, deployment
from tests.servers import FeatureServer
from tests.servers.feature import hang, succeed
from tests.servers.process import free_port

CONFIG = "celeryconfig"
HEALTHY = [f"queue-{number:02}" for number in range(1, 38)]
HUNG = "queue-38"
AT_ONCE = 5  # Of each queue.
WITHIN = 1.2
# Of some dozens of jobs the 95th hundredth is the bad luck of one, on a busy machine, so the short form compares none.
# Whoever had to wait for the one that hangs would wait for its time-out, and that is tens of times as long.
SHORT_TIMEOUT_MS = 1_500
PACE_S = 0.05  # Between two jobs, on average: the machine of the proof is not to be its own bottleneck.


@dataclass(frozen=True, kw_only=True)
class Form:
    pairs: int
    seconds: float  # That each time of a pair takes.
    timeout_ms: int  # Of every queue; 30,000 if an entry says nothing.
    within: float | None  # The bar of the ratio.
    within_ms: float | None = None  # The bar of the 95th hundredth itself.
    floods: bool  # The queue that hangs has more jobs than the lane has slots.


LONG = Form(pairs=5, seconds=30.0, timeout_ms=10_000, within=WITHIN, floods=True)
SHORT = Form(
    pairs=2, seconds=1.5, timeout_ms=SHORT_TIMEOUT_MS, within=None, within_ms=SHORT_TIMEOUT_MS / 2, floods=False
)


def measure(figures: Figures, folder: Path, *, long: bool) -> None:
    form = LONG if long else SHORT
    registration = folder / "delegation.toml"
    with ExitStack() as stack:
        services = {queue: FeatureServer() for queue in (*HEALTHY, HUNG)}
        for service in services.values():
            service.start()
            stack.callback(service.stop)
        registration.write_text(_registered(services, form.timeout_ms))
        port = str(free_port())
        stack.enter_context(overridden(delegation_file=registration, port=port, ledger_timeout_s="10"))
        file.forget()
        stack.callback(file.forget)
        here = stack.enter_context(deployment(folder, "postgresql", CONFIG, durable=True))
        _begin(here)
        _measure(figures, here, services[HUNG], form)


def _registered(services: dict[str, FeatureServer], timeout_ms: int) -> str:
    lines = ["[services]", *(f'{queue} = "{service.url}"' for queue, service in services.items())]
    for queue in services:
        lines += [f"[queues.{queue}]", f'service = "{queue}"', f"concurrency = {AT_ONCE}", f"timeout = {timeout_ms}"]
        lines += ["attempts = 1", 'networks = ["loopback"]']
    return "\n".join(lines) + "\n"


def _begin(here: Deployment) -> None:
    here.start("beat", LOG_LEVEL="WARNING")
    here.start("worker", "delegated", LOG_LEVEL="WARNING")
    here.present("beat")
    here.present("delegated")
    # Once through all of it: connections are made, statements prepared, the limits of the file hold.
    warm = [delegate(queue, None).job_id for queue in (*HEALTHY, HUNG)]
    _until_ended(here, warm)


def _measure(figures: Figures, here: Deployment, hung: FeatureServer, form: Form) -> None:
    well: list[float] = []
    hanging: list[float] = []
    many = 0
    for number in range(form.pairs):
        for hangs in (False, True) if number % 2 == 0 else (True, False):
            times = _one(here, hung, form, hangs=hangs)
            (hanging if hangs else well).append(p95(times))
            many += len(times)
    ratios = [bad / good for good, bad in zip(well, hanging, strict=True)]
    figures.add("jobs", many)
    figures.add("pairs", len(ratios))
    figures.add("p95_ms_all_well", statistics.median(well) * 1000)
    figures.add("p95_ms_one_hangs", statistics.median(hanging) * 1000, at_most=form.within_ms)
    figures.add("p95_ratio_median", statistics.median(ratios), at_most=form.within)
    figures.add("hanging_at_once", _at_once(here), at_most=AT_ONCE)


def _one(here: Deployment, hung: FeatureServer, form: Form, *, hangs: bool) -> list[float]:
    """How long each job of the healthy queues took, in seconds, while the last queue's service is well or hangs."""
    hung.otherwise["POST"] = hang if hangs else succeed()
    others: list[str] = []
    arrivals = random.Random(38)  # The same at each time.
    if hangs:
        # As many as it can't come to an end of.
        many = AT_ONCE * (2 + form.seconds * 1000 / form.timeout_ms)
        if form.floods:
            many += lanes.declared()[lanes.DELEGATED].concurrency
        others = [delegate(HUNG, None).job_id for _ in range(int(many))]
        eventually("its slots are taken", lambda: _running(here) >= AT_ONCE)
    ids: list[str] = []
    due = time.monotonic()
    until = due + form.seconds
    while due < until:
        _wait_until(due)
        ids.append(delegate(HEALTHY[len(ids) % len(HEALTHY)], None).job_id)
        if len(ids) % len(HEALTHY) == 0:
            others.append(delegate(HUNG, None).job_id)
        due += arrivals.expovariate(1 / PACE_S)
    times = _until_ended(here, ids)
    if hangs:
        assert _running(here) > 0, "the hanging service has come to an end of its jobs, so nothing was shown"
    hung.otherwise["POST"] = succeed()
    _until_ended(here, others)
    return times


def _wait_until(due: float) -> None:
    left_s = due - time.monotonic()
    if left_s > 0:
        time.sleep(left_s)


def _running(here: Deployment) -> int:
    with here.engine.connect() as connection:
        running = select(jobs.c.id).where(jobs.c.queue == HUNG, jobs.c.state == State.RUNNING)
        return len(connection.execute(running).all())


def _at_once(here: Deployment) -> int:
    """The most runs of the queue that hangs that there were at one moment, by the ledger's own record of them."""
    runs = select(attempts.c.started_at, attempts.c.ended_at).join(jobs).where(jobs.c.queue == HUNG)
    with here.engine.connect() as connection:
        rows = connection.execute(runs).all()
    # Of the same moment, an end comes before a beginning.
    changes = sorted([*((row.started_at, 1) for row in rows), *((row.ended_at, -1) for row in rows)])
    return max(accumulate(change for _, change in changes))


_ENDED = select(jobs.c.created_at, jobs.c.finished_at, jobs.c.state).where(
    jobs.c.id.in_(bindparam("ids", expanding=True)), jobs.c.state.in_([state.value for state in FINAL])
)


def _until_ended(here: Deployment, ids: Sequence[str]) -> list[float]:
    """Wait for all of them; from submission to end, in seconds."""

    if not ids:
        return []

    def ended() -> list[float]:
        with here.engine.connect() as connection:
            rows = connection.execute(_ENDED, {"ids": ids}).all()
        return [(row.finished_at - row.created_at).total_seconds() for row in rows] if len(rows) == len(ids) else []

    return eventually(f"{len(ids)} jobs have ended", ended, within=120)


def p95(times: Sequence[float]) -> float:
    """The smallest that 95 % do not exceed."""
    return sorted(times)[max(0, -(-95 * len(times) // 100) - 1)]
