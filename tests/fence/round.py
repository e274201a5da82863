"""One round: submissions under faults, until everything has come to rest; then the verdict."""

from __future__ import annotations

import random
import signal
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select, text

from celadon.ledger import tables
from celadon.states import FINAL, State
from tests.fence import history, observer
from tests.fence.checker import judge
from tests.fence.checker.evidence import Verdict
from tests.fence.collect import collect
from tests.fence.faults import HANG
from tests.fence.history import Event
from tests.fence.plan import AT_EDGES, SCHEDULES, SCHEDULES_LAST_S, Plan, Strike
from tests.fence.world import World
from tests.fence.zygote import Child

# When no job has gone from one state to another for so long, those that have not ended are lost.
SETTLE_S = 40.0
# The submitters of a round that takes longer are starved; they need two seconds.
SUBMITTED_S = 60.0
LOOK_S = 0.02
# A process stopped for so long is continued whatever became of its claim.
GHOST_S = 4.0
# And one that has the only write lock after so long.
HOLD_UP_S = 0.5
# Slow enough that a producer's time-out (0.15 s) is over before an answer comes, or just not.
SLOW_S = (0.02, 0.05, 0.12)
# What a Redis that is full still takes: nothing, or a few messages more.
ROOM_BYTES = (0, 20_000)


@dataclass
class Played:
    """What came of a round."""

    verdict: Verdict
    faults: Counter[str]
    fenced: int
    seconds: float
    events: list[Event] = field(default_factory=list)


class ShownLittle(RuntimeError):
    """Not all was submitted, or less than three quarters of it was accepted: the host was too busy for a round."""


class Round:
    """Plays one plan in a world.

    settle_s: how long, in seconds, to wait for the next thing to happen to any job. Jobs that have not ended when
        nothing happens any more, or when four times that is over, are lost.
    """

    def __init__(self, world: World, plan: Plan, settle_s: float = SETTLE_S) -> None:
        self.settle_s = settle_s
        self.world = world
        self.plan = plan
        self.dice = random.Random(f"round {plan.seed}")
        self.struck: Counter[str] = Counter()
        self.shares = plan.shares
        self.submitters: dict[int, Child] = {}
        self.operators: list[Child] = []
        self.redis_heals_at: float | None = None
        self.began = 0.0

    def play(self) -> Played:
        """Raises ShownLittle."""
        began = time.monotonic()
        self.prepare()
        self.submit_under_faults()
        self.world.faults.disarm()
        self.settle()
        evidence = collect(self.world, self.plan.seed)
        verdict = judge(evidence)
        if not self.world.sabotage:  # There the judge is to object, to however little.
            self.prove_work(verdict)
        fenced = sum(event["event"] == "fenced" for event in evidence.events)
        self.count_faults(evidence.events, verdict)
        return Played(verdict, self.struck, fenced, time.monotonic() - began, list(evidence.events))

    def prove_work(self, verdict: Verdict) -> None:
        """A round in which little was submitted has shown little.

        Raises:
            ShownLittle: not all was submitted, or less than three quarters of it was accepted.
        """
        planned = sum(map(len, self.plan.shares))
        told = verdict.acknowledged + verdict.refused
        if verdict.submissions != planned or told < planned * 3 / 4 or verdict.due_times < len(SCHEDULES):
            raise ShownLittle(
                f"round {self.plan.seed}: of {planned} submissions {verdict.submissions} were made, {told} answered, "
                f"and {verdict.due_times} due times came; see the logs in {self.world.folder}"
            )

    # --- the parts of a round

    def prepare(self) -> None:
        world = self.world
        world.faults.prepare()
        history.clear(world.history)
        with world.engine.begin() as connection:
            observer.empty(connection)
        world.tend()
        self.operate("schedules", self.plan.seed, SCHEDULES, time.time() + SCHEDULES_LAST_S)
        self.operators[0].wait(10)
        self.began = time.monotonic() + 0.1
        self.shares = [[{**item, "at": self.began + item["at"]} for item in share] for share in self.plan.shares]
        for number, share in enumerate(self.shares):
            self.submitters[number] = world.submitter(number, share)

    def operate(self, *words: Any) -> None:
        """Do something as an operator would, and go on; what came of it stands in the history."""
        self.operators.append(self.world.operator(*words))

    def submit_under_faults(self) -> None:
        waiting = list(self.plan.strikes)
        while waiting or self.submitters or self.redis_heals_at is not None:
            now = time.monotonic()
            while waiting and self.began + waiting[0].at <= now and self.may_strike(waiting[0]):
                self.strike(waiting.pop(0))
            self.tend(now)
            if now > self.began + SUBMITTED_S:
                for child in self.submitters.values():
                    child.kill_group()
                raise ShownLittle(f"round {self.plan.seed}: the submitters do not come to an end")
            time.sleep(LOOK_S)

    def settle(self) -> None:
        """Wait until every job and every schedule has ended, and no process is frozen, hangs or is in a run."""
        began = moved_at = time.monotonic()
        last = 0
        while (now := time.monotonic()) < min(moved_at + self.settle_s, began + 4 * self.settle_s):
            self.tend(now)
            if (arrow := self.last_arrow()) != last:
                last, moved_at = arrow, now
            if not (self.world.faults.asleep() or not self.all_final() or self.under_way() or self.hung()):
                break
            time.sleep(LOOK_S * 2)
        self.tend(time.monotonic())  # Who has gone since is told of.
        for child in self.operators:
            child.close()

    def tend(self, now: float) -> None:
        """Continue what was frozen, heal Redis, replace the dead, and let dead submitters' work go on."""
        world = self.world
        self.awake_ghosts(now)
        if self.redis_heals_at is not None and now >= self.redis_heals_at:
            self.heal_redis()
        for pid in world.tend():
            history.append(world.history, "gone", who=pid)
        for number, child in list(self.submitters.items()):
            if not child.alive:
                child.close()
                rest = self.rest_of(number)
                if rest:
                    self.submitters[number] = world.submitter(number, rest)
                else:
                    del self.submitters[number]

    def rest_of(self, number: int) -> list[dict[str, Any]]:
        """What a dead submitter had not begun. What it had begun is in doubt and is not repeated."""
        events = history.read(self.world.history)
        begun = sum(event["event"] == "calling" and event["by"] == number for event in events)
        return self.shares[number][begun:]

    def awake_ghosts(self, now: float) -> None:
        """Continue processes whose claim is gone: some at once, some when the job runs again elsewhere."""
        sleepers = self.world.faults.asleep()
        if not sleepers:
            return
        told = select(tables.jobs.c.epoch, tables.jobs.c.state)
        for pid, word in sleepers:
            held_up = now > word["since"] + HOLD_UP_S and self.world.holds_up(pid)
            if word["job_id"] is None:
                if held_up or now > word["until"]:
                    history.append(self.world.history, "awoken", sleeper=pid, **word)
                    self.world.faults.awake(pid)
                continue
            with self.world.engine.connect() as connection:
                row = connection.execute(told.where(tables.jobs.c.id == word["job_id"])).one_or_none()
            if row is None:  # A job of the last round, which had been given up.
                self.world.faults.awake(pid)
                continue
            lost = row.epoch > word["epoch"]
            # By the id's hash, not by chance: a parent and its child wake at the same event.
            patient = word["rival"] and zlib.crc32(word["job_id"].encode()) % 2
            if patient and row.state not in (State.RUNNING, *FINAL):
                lost = False
            if lost or held_up or now > word["since"] + GHOST_S:
                history.append(self.world.history, "awoken", sleeper=pid, lost=lost, state=row.state, **word)
                self.world.faults.awake(pid)

    # --- faults from outside

    def may_strike(self, strike: Strike) -> bool:
        return not (strike.kind.startswith("redis") and self.redis_heals_at is not None)

    def strike(self, strike: Strike) -> None:
        if strike.edge:
            self.world.faults.arm(strike.edge, strike.action)
            return
        acts: dict[str, Callable[[], None]] = {
            "redis_killed": self.world.redis.kill,
            "redis_frozen": self.world.redis.freeze,
            "redis_slow": lambda: self.world.proxy.delay(self.dice.choice(SLOW_S)),
            "redis_half_open": self.world.proxy.half_open,
            "redis_flushed": self.world.redis.wipe,
            "redis_full": lambda: self.world.redis.fill(self.dice.choice(ROOM_BYTES)),
            "worker_killed_at_random": lambda: self.fleet("default", "scheduled", "data_sync").kill_group(),
            "worker_stopped_gently": lambda: self.fleet("default", "scheduled").signal(signal.SIGTERM),
            "beat_killed": lambda: self.fleet("beat").kill_group(),
            "beat_frozen": lambda: self.freeze(self.fleet("beat"), strike.lasts),
            "gate_paused": lambda: self.operate("pause", *strike.gate, strike.lasts),
        }
        acts[strike.kind]()
        self.struck[strike.kind] += 1
        if strike.kind.startswith("redis"):
            self.redis_heals_at = time.monotonic() + strike.lasts

    def freeze(self, child: Child, seconds: float) -> None:
        self.world.faults.halt(child.pid, seconds, lambda: child.signal(signal.SIGSTOP))

    def fleet(self, *kinds: str) -> Child:
        names = [name for name in self.world.fleet if name.startswith(kinds)]
        return self.world.fleet[self.dice.choice(names)]

    def heal_redis(self) -> None:
        world = self.world
        self.redis_heals_at = None
        if not world.redis.alive:
            world.redis.start()
        world.redis.thaw()
        world.redis.make_room()
        world.proxy.clear()

    # --- coming to rest

    def last_arrow(self) -> int:
        """The number of the last change of any job's state."""
        with self.world.engine.connect() as connection:
            return int(connection.execute(select(func.coalesce(func.max(observer.arrows.c.id), 0))).scalar_one())

    def all_final(self) -> bool:
        final = ", ".join(f"'{state}'" for state in sorted(FINAL))
        with self.world.engine.connect() as connection:
            schedules = connection.execute(text("SELECT 1 FROM schedules WHERE next_due IS NOT NULL LIMIT 1")).first()
            jobs = connection.execute(text(f"SELECT 1 FROM jobs WHERE state NOT IN ({final}) LIMIT 1")).first()
        return not schedules and not jobs

    def hung(self) -> bool:
        """Whether a process that hangs is still there."""
        events = history.read(self.world.history)
        return any(is_alive(e["pid"]) for e in events if e["event"] == "fault" and e["action"] == HANG)

    def under_way(self) -> bool:
        """Whether a living process is still in a run that it has begun."""
        open_runs: Counter[tuple[int, str]] = Counter()
        for event in history.read(self.world.history):
            if event["event"] in ("claimed", "left"):
                open_runs[event["pid"], event["job_id"]] += 1 if event["event"] == "claimed" else -1
        return any(count > 0 and is_alive(pid) for (pid, _), count in open_runs.items())

    # --- what happened

    def count_faults(self, events: Sequence[Event], verdict: Verdict) -> None:
        """Faults at edges count when they struck; races and fenced writes when the history has them."""
        kind_of = {choice: kind for kind, choices in AT_EDGES.items() for choice in choices}
        for choice in self.world.faults.taken():
            self.struck[kind_of[choice]] += 1
        rivals: dict[str, set[str]] = defaultdict(set)
        for event in events:
            if event["event"] in ("claimed", "beaten"):
                rivals[event["job_id"]].add(event["by"])
        self.struck["fallback_raced_workers"] += sum(len(engines) > 1 for engines in rivals.values())
        happened = Counter(event["event"] for event in events)
        self.struck["stale_write_fenced"] += happened["fenced"]
        self.struck["late_start_recorded_anew"] += happened["start_moved"]
        self.struck["late_run_given_back"] += happened["too_late"]
        self.struck["beats_raced"] += sum(bool(e["outrun"]) for e in events if e["event"] == "looked")
        self.struck["limit_filled"] += verdict.limits_filled
        self.struck["due_time_left_out"] += verdict.due_times_left_out
        self.struck["hung_worker_began_anew"] += happened["anew"]
        self.struck["poison_condemned"] += verdict.condemned


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def patiently(world: World, plan: Plan, settle_s: float = SETTLE_S) -> Played:
    """Play a round, and once more if the host was too busy for it. Raises ShownLittle if it was so again."""
    try:
        return Round(world, plan, settle_s).play()
    except ShownLittle as little:
        print(f"played again: {little}", flush=True)
        return Round(world, plan, settle_s).play()
