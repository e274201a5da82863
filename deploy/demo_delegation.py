"""`make demo-delegation`: 2,000 jobs of 38 queues are delivered to six services, four of which have their troubles.

Prints what became of each queue. Exit 0 only if every job came to the end that is right for it, no work was done twice,
nobody waited for the service that hung, and the fleet held a handful of connections.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain, zip_longest
from urllib.request import ProxyHandler, build_opener

from celadon.ledger import limits, presence
from deploy import connections
from deploy import demo_delegation_evidence as evidence
from deploy.demo_delegation_features import ASK, LATE_S, LATE_TIMEOUT_S, SLOW_S, noted
from deploy.demo_delegation_producer import Producer
from deploy.demo_delegation_registration import (
    ATTEMPTS,
    ORDINARY,
    SERVICES,
    SPECIAL,
    Registration,
    node,
    ordinary,
    queues,
    service_of,
)
from deploy.demo_delegation_report import DATABASE_MOST, HEADING, REDIS_MOST, Findings, judge_pace, lines
from deploy.demo_signals import DELEGATION_FOLDER
from deploy.demo_stage import Stage, play
from deploy.stack import HOST
from deploy.supervision import free_ports, listening, until

JOBS = 2_000
OF_SPECIAL = {"mail": 100, "slow": 30, "failing": 50, "late": 30, "hung": 84}
PAIRS = 5  # Of rounds: in one of them the hung service is well, in the other it is not.
EACH = 2  # Jobs of each ordinary queue in a round,
PER_S = 25.0  # submitted at this pace, which leaves room on two processors.
HUNG_EACH = 6  # Of the hung queue: as many as may be under way at once, and some that wait behind them.
WORKERS = 2
WITHIN_S = 70.0  # For the backlog. Two quiet processors take a third of it.
PROGRAMS = ("redis", "beat", "worker-delegated", "worker-delegated-2", *(f"feature-{name}" for name in SERVICES))
# A busy machine is no reason to refuse a submission.
PATIENT = {"LEDGER_TIMEOUT_S": "30"}


class Story:
    """The story, a method per chapter."""

    def __init__(self, stage: Stage, registration: Registration, fleet_port: int) -> None:
        self.stage, self.supervisor, self.home = stage, stage.supervisor, registration.folder
        self.registration, self.fleet_port = registration, fleet_port
        self.producer = Producer(stage.stack.logs / "producer.log")
        self.findings = Findings()
        self.submitted: dict[str, str] = {}  # The queue of each job.
        self.rounds: dict[bool, list[list[str]]] = {False: [], True: []}  # Jobs of each, by whether one service hung.
        self.chapter = 0

    def tell(self) -> bool:
        with self.told(f"everything starts: Redis, Beat, a fleet of {WORKERS} processes, six services"):
            self.begin()
            self.introduce()
        with self.told(f"{PAIRS} times: jobs for the {len(ordinary())} ordinary queues, and the same while one hangs"):
            for number in range(PAIRS):
                for hangs in (False, True) if number % 2 == 0 else (True, False):
                    self.round(hangs=hangs)
        with self.hangs():
            backlog = self.backlog()
            with self.told(f"it hangs again, and {len(backlog)} jobs more come to all queues as fast as can be"):
                half = len(backlog) // 2
                self.submit(backlog[:half])
                self.count_connections()
                self.ask_the_fleet()
                self.submit(backlog[half:])
                self.until_ended("all but those of the hung service", but=SPECIAL["hung"])
        with self.told("the hung service goes on"):
            self.until_ended("all")
        return self.report()

    # --- the beginning

    def begin(self) -> None:
        ports = self.registration.ports.values()

        def ready() -> bool:
            self.supervisor.check()
            lanes = [worker.lane for worker in presence.alive()]
            limited = {gate.name for gate in limits.every() if gate.rules}
            return lanes.count("delegated") == WORKERS and limited >= queues().keys() and all(map(listening, ports))

        until("the fleet and the services are there", ready, within_s=60)
        # Once through all of it: every queue is consumed, connections are made. It counts for no round.
        self.submit(list(ordinary()))
        self.until_ended("a job for each ordinary queue")

    def introduce(self) -> None:
        runs = f"in Node {node()}" if node() else "in Python, for there is no Node here that is new enough"
        told = {
            ORDINARY: f"{len(ordinary())} ordinary queues, in Python with the kit, as are the others",
            "mail": f"examples/feature/feature.mjs, {runs}",
            "slow": f"takes {SLOW_S:g} s for a job, and few at a time",
            "failing": "fails at every try",
            "late": f"takes {LATE_S:g} s, and its queue's time-out is {LATE_TIMEOUT_S:g} s",
            "hung": "stops in the midst (SIGSTOP): it takes connections, and never answers",
        }
        for service, what in told.items():
            print(f"      {service:<8} {SPECIAL.get(service, ''):<16} {what}")

    # --- submitting

    def submit(self, names: Sequence[str], *, per_s: float = 0.0) -> list[str]:
        ids = self.producer.submit(names, per_s=per_s)
        self.submitted.update(zip(ids, names, strict=True))
        return ids

    def round(self, *, hangs: bool) -> None:
        """Jobs for the ordinary queues at an even pace; beside them some for the one that may hang."""
        with self.hangs() if hangs else nullcontext():
            self.submit([SPECIAL["hung"]] * HUNG_EACH)
            made = self.submit(list(ordinary()) * EACH, per_s=PER_S)
            self.until_ended("the round", but=SPECIAL["hung"])
        self.until_ended("what it hung with")
        self.rounds[hangs].append(made)
        print(f"      {'one hangs' if hangs else 'all well':<10} {len(made)} jobs", flush=True)

    def backlog(self) -> list[str]:
        """The queues of the jobs that are still to come, mixed."""
        there = Counter(self.submitted.values())
        special = {SPECIAL[service]: count for service, count in OF_SPECIAL.items()}
        rest, names = JOBS - sum(special.values()), ordinary()
        wanted = {name: rest // len(names) + (n < rest % len(names)) for n, name in enumerate(names)} | special
        each = [[name] * (count - there[name]) for name, count in wanted.items()]
        return [name for name in chain(*zip_longest(*each)) if name is not None]

    @contextmanager
    def hangs(self) -> Iterator[None]:
        """While the block lasts, the hung service's processes stand still: they take connections, and never answer."""
        group = self.supervisor.pid("feature-hung")
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)

    # --- watching

    def until_ended(self, what: str, but: str | None = None) -> None:
        of = sum(queue != but for queue in self.submitted.values())
        until(f"{what} have ended", lambda: evidence.unended(of, but=but) == 0, within_s=WITHIN_S)

    def count_connections(self) -> None:
        """Of the fleet, in the midst of its work."""
        if not connections.counted():
            print("      (connections are not counted: this system does not tell)")
            return
        fleet = [self.supervisor.pid(name) for name in PROGRAMS if name.startswith("worker-")]
        redis = connections.to_port(fleet, self.stage.stack.ports.redis)
        database = connections.to_file(fleet, self.home / "celadon.db")
        self.findings.add("queues", len(queues()), exactly=38)
        self.findings.add("fleet_processes", len(fleet), exactly=WORKERS)
        self.findings.add("fleet_redis_connections", redis, at_most=REDIS_MOST * WORKERS)
        self.findings.add("fleet_database_connections", database, at_most=DATABASE_MOST * WORKERS)

    def ask_the_fleet(self) -> None:
        """What it says of itself meanwhile."""
        url = f"http://{HOST}:{self.fleet_port}/internal/status"
        with build_opener(ProxyHandler({})).open(url, timeout=10) as answer:
            told = {queue["name"]: queue for queue in json.load(answer)["queues"]}
        print(f"      {url} says:")
        for name in SPECIAL.values():
            one = told[name]
            waiting = one["counts"]["waiting"] + one["counts"]["queued"] + one["counts"]["scheduled"]
            error = (one["last_error"] or {"message": "none"})["message"]
            flight = f"{one['in_flight']} of {one['concurrency']} under way, {waiting} wait"
            print(f"      {name:<16} {flight:<30} last error: {error[:60]}", flush=True)
        hung = told[SPECIAL["hung"]]
        self.findings.add("hung_under_way", hung["in_flight"], at_most=hung["concurrency"])

    @contextmanager
    def told(self, title: str) -> Iterator[None]:
        self.chapter += 1
        print(f"  {self.chapter}.  {title}", flush=True)
        begun = time.monotonic()
        yield
        print(f"      {time.monotonic() - begun:.1f} s", flush=True)

    # --- the end

    def report(self) -> bool:
        ended = evidence.ended()
        effects = evidence.effects(self.home, SERVICES, self.registration.journal)
        told = lines(ended, {queue: service_of(queue) for queue in queues()}, effects)
        print("\n" + HEADING)
        print("\n".join(map(str, told)) + "\n")
        of, found = {line.service: line for line in told if line.service != ORDINARY}, self.findings
        failing, late = of["failing"], of["late"]
        found.add("jobs", len(ended), exactly=JOBS)
        found.add("succeeded", sum(line.states["succeeded"] for line in told), exactly=JOBS - failing.jobs)
        found.add("succeeded_with_one_effect", sum(line.once for line in told), exactly=JOBS - failing.jobs)
        found.add("effects_doubled", sum(line.doubled for line in told), exactly=0)
        found.add("dead_of_the_failing_one", failing.states["dead"], exactly=failing.jobs)
        found.add("tries_of_the_failing_one", failing.failed, exactly=ATTEMPTS * failing.jobs)
        asked = noted(self.home, "late", ASK)
        found.add("late_in_doubt_and_asked_after", len(asked), exactly=late.jobs)
        found.add("late_done_with_one_effect", min(late.states["succeeded"], late.once), exactly=late.jobs)
        seconds = {job.id: job.seconds or 0.0 for job in ended}
        calm, hung = ([[seconds[job_id] for job_id in made] for made in self.rounds[hangs]] for hangs in (False, True))
        judge_pace(found, calm, hung)
        if not node():
            found.not_shown.append("a service in Node; there is none here that is new enough")
        print(found.told())
        return not found.wrong


def main() -> None:
    fleet_port, *ports = free_ports(1 + len(SERVICES))
    registration = Registration(folder=DELEGATION_FOLDER, ports=dict(zip(SERVICES, ports, strict=True)))
    play(
        DELEGATION_FOLDER,
        lambda stage: Story(stage, registration, fleet_port).tell(),
        prepare=registration.write,
        only=PROGRAMS,
        settings={**PATIENT, "DELEGATION_FILE": str(registration.file), "PORT": str(fleet_port)},
        copies={"delegated": WORKERS},
        more=registration.programs,
        next_=[
            "delegation.toml   the registration of the 38 queues",
            "docs/guides/write-the-features-side.md   what a service does with its jobs",
            "make guarantee-G11   by how much neighbours are slower while one hangs, of thousands of jobs",
        ],
    )


if __name__ == "__main__":
    main()
