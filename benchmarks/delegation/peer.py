"""The peer's side: BullMQ in Node, one process that works all queues and one that adds."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.delegation.sides import CALLERS, KEY, TEXT, Job, queues
from benchmarks.ground import Ground
from tests.servers.process import die_with_parent, find_program, kill_group

HERE = Path(__file__).parent
_INSTALLED = HERE / "node_modules" / ".package-lock.json"


class Peer:
    name = "bullmq"

    def __init__(self, here: Ground, url: str, stack: ExitStack) -> None:
        self._redis = here.redis
        told = {"REDIS_PORT": str(here.redis.port), "QUEUES": json.dumps(queues()), "KEY": KEY}
        env = {**os.environ, **told, "URL": f"{url}/internal/process-job"}
        self._worker = node("bullmq.mjs", "work", env=env, log=here.folder / "bullmq-work.log", stack=stack)
        self._adder = node("bullmq.mjs", "add", env=env, log=here.folder / "bullmq-add.log", stack=stack)
        for process in (self._worker, self._adder):
            _line(process)  # It is ready.

    def submit(self, queues: Sequence[str], *, per_s: float = 0.0) -> tuple[list[Job], float]:
        assert self._adder.stdin is not None
        order = {"names": queues, "per_s": per_s, "callers": CALLERS, "text": TEXT}
        self._adder.stdin.write(json.dumps(order).encode() + b"\n")
        self._adder.stdin.flush()
        answer = json.loads(_line(self._adder))
        jobs = [Job(queue=queue, id=job_id, submitted_at=ms / 1000) for queue, job_id, ms in answer["jobs"]]
        return jobs, float(answer["took_s"])

    def finished_at(self, jobs: Sequence[Job]) -> dict[Job, float]:
        with self._redis.client() as client, client.pipeline(transaction=False) as pipeline:
            for job in jobs:
                pipeline.hmget(f"bull:{job.queue}:{job.id}", "finishedOn", "returnvalue")
            told = pipeline.execute()
        # A job that failed for good has no value.
        return {
            job: int(finished) / 1000
            for job, (finished, value) in zip(jobs, told, strict=True)
            if finished and value is not None
        }

    def workers(self) -> list[int]:
        return [self._worker.pid]

    def others(self) -> list[int]:
        return []


def install() -> str:
    """The packages that package-lock.json names, if they are not there; the version of Node."""
    version = subprocess.run([find_program("node"), "--version"], capture_output=True, text=True, check=True)
    lock = HERE / "package-lock.json"
    if not _INSTALLED.exists() or _INSTALLED.stat().st_mtime < lock.stat().st_mtime:
        command = [str(find_program("npm")), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=HERE, check=True)
        _INSTALLED.touch()
    return version.stdout.strip()


def node(script: str, *words: str, env: dict[str, str], log: Path, stack: ExitStack) -> subprocess.Popen[bytes]:
    """A process of Node that is talked to by lines, and ends with the stack."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [find_program("node"), HERE / script, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=env,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
    stack.callback(process.wait, 10)
    stack.callback(kill_group, process)
    return process


def _line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    assert line, f"the peer's process {process.pid} ended; its errors are above"
    return line
