"""Memory at rest of web, workers and Beat, next to stock Celery's worker and Beat with the same pools.

Every process is started, does some work (so that what is made at the first use is there), and is measured when it
has been idle and no longer changes. RSS counts pages shared with other processes in each of them, PSS in parts, so
PSS is what a tree of processes really takes. Ours hold the whole shop (its services, PDF, mail) and the ledger on
PostgreSQL; stock holds an application of one empty task.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from benchmarks.figures import Figures
from benchmarks.ground import Ground, ground
from tests.eventually import eventually
from tests.servers.process import celadon, free_port, kill_group, spawn

JOBS = 100  # Work for each worker before it is measured.
REQUESTS = 50
SETTLED_LOOKS = 100  # Looks of 20 ms in a row with no change of more than SETTLED_MB.
SETTLED_MB = 0.2
PEERS = {
    "worker_default": "stock_worker_threads",
    "worker_data_sync": "stock_worker_prefork",
    "beat": "stock_beat",
}

_open = build_opener(ProxyHandler({})).open  # A proxy of the user's environment is not asked.


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in tree(int(child)))]


def megabytes(pids: Sequence[int], kind: str) -> float:
    """The sum of `Rss` or `Pss` over processes, in MB (10⁶ bytes)."""
    total = 0.0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) * 1024 / 1e6
    return total


def at_rest(processes: Sequence[Popen[bytes]]) -> None:
    """Wait until the memory of none of them changes any more."""
    before, quiet = [0.0] * len(processes), 0

    def settled() -> bool:
        nonlocal before, quiet
        now = [megabytes(tree(process.pid), "Rss") for process in processes]
        if max(abs(new - old) for new, old in zip(now, before, strict=True)) <= SETTLED_MB:
            quiet += 1
        else:
            before, quiet = now, 0
        return quiet >= SETTLED_LOOKS

    eventually("memory at rest", settled, within=60)


def answers(address: str) -> bool:
    try:
        with _open(address, timeout=10) as response:
            response.read()
    except (URLError, OSError):
        return False
    return True


def measure(here: Ground, figures: Figures) -> None:
    ledger, port = here.ledger("postgresql"), free_port()
    here.produce(ledger)
    from benchmarks import stock
    from celadon import find, submit
    from celadon.queues import lane

    threads, prefork = lane("default"), lane("data_sync")
    commands = {
        "web": celadon("web", "--workers", "1", "--bind", f"127.0.0.1:{port}"),
        "worker_default": celadon("worker", threads.name),
        "worker_data_sync": celadon("worker", prefork.name),
        "beat": celadon("beat"),
        "stock_worker_threads": stock.worker(threads.pool, threads.concurrency, threads.prefetch),
        "stock_worker_prefork": stock.worker(prefork.pool, prefork.concurrency, prefork.prefetch),
        "stock_beat": [*stock.CELERY, "beat", "--schedule", str(here.folder / "schedule")],
    }
    with ExitStack() as stack:
        started = {}
        for name, command in commands.items():
            process = spawn(command, here.folder / f"{name}.log", env=here.env(ledger), cwd=Path.cwd())
            stack.callback(process.wait, 10)
            stack.callback(kill_group, process)
            started[name] = process
        names = ["bench.noop", "bench.sync"] * JOBS
        jobs = [submit(name, stock.PAYLOAD).job_id for name in names]
        for _ in range(2 * JOBS):
            stock.send()
        eventually("the web answers", lambda: answers(f"http://127.0.0.1:{port}/ready"), within=60)
        for _ in range(REQUESTS):
            answers(f"http://127.0.0.1:{port}/")
        with here.redis.client() as client:
            eventually("stock's work is done", lambda: client.llen(stock.QUEUE) == 0, within=60)

        def unfinished() -> list[str]:
            return [job for job in jobs if (view := find(job)) is None or not view.finished]

        eventually("our work is done", lambda: not unfinished(), within=60)
        at_rest(list(started.values()))
        for name, process in started.items():
            pids = tree(process.pid)
            print(f"{name}: {len(pids)} processes")
            figures.add(f"{name}_rss_mb", megabytes(pids, "Rss"))
            figures.add(f"{name}_pss_mb", megabytes(pids, "Pss"))
    for ours, peer in PEERS.items():
        figures.add(f"{ours}_over_stock_pss_mb", figures[f"{ours}_pss_mb"] - figures[f"{peer}_pss_mb"])


def main() -> int:
    figures = Figures()
    with ground() as here:
        measure(here, figures)
    return figures.close()


if __name__ == "__main__":
    sys.exit(main())
