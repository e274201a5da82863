"""What one seed means: which submissions, which faults, and when. A pure function of the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.fence.faults import DAWDLE, FREEZE, FREEZE_WITH_PARENT, HALT, HANG, KILL, KILL_HOUSE, KILL_PARENT, TIME_OUT

SUBMISSIONS = 200
SUBMITTERS = 3
# Over how long a round's submissions are spread, in seconds.
SPREAD_S = 2.0
# Which of a round's jobs kills whatever runs it: early, so that it has been convicted when the round is over.
POISON_AT = 20

# Which effects a job that succeeded must have left, per job: committed with a step, and outside of the database.
COMMITTED = {
    "fence.plain": frozenset({"effect"}),
    "fence.deferred": frozenset({"effect"}),
    "fence.refused": frozenset({"effect"}),
    "fence.order": frozenset({"reserve", "mail", "invoice"}),
    "fence.sleepy": frozenset({"before", "after"}),
    "fence.flaky": frozenset({"fall", "rise"}),
    "fence.sync": frozenset({"load", "store"}),
    "fence.limited": frozenset({"effect"}),
    "fence.tenanted": frozenset({"effect"}),
    "fence.counted": frozenset({"effect"}),
    "fence.tick": frozenset({"begin", "end"}),
    "fence.poison": frozenset(),
}
OUTSIDE = {name: frozenset({"mail"} if name == "fence.order" else ()) for name in COMMITTED}

# Jobs that kill whatever runs them: of all jobs only they may be dead in the end.
POISON = frozenset({"fence.poison"})

# The schedules of each round: what is due at every full second, and how long each of its jobs takes, in seconds.
SCHEDULES: tuple[dict[str, Any], ...] = (
    {"name": "every", "missed": "all", "overlap": "allow", "lasts": 0.0},
    {"name": "latest", "missed": "latest", "overlap": "allow", "lasts": 0.2},
    {"name": "skipping", "missed": "latest", "overlap": "skip", "lasts": 1.2},
    {"name": "queueing", "missed": "all", "overlap": "queue", "lasts": 0.4},
    {"name": "replacing", "missed": "latest", "overlap": "replace", "lasts": 1.3},
)
# How long they are due, from the round's beginning on.
SCHEDULES_LAST_S = 3.2

FROZEN_IN_COMMIT = ("default.before_commit", FREEZE)
FROZEN_IN_FIRE = ("beat.before_insert", HALT)

# Faults that a process inflicts on itself: kind -> (edge, action) pairs, one of which is drawn.
AT_EDGES: dict[str, tuple[tuple[str, str], ...]] = {
    "submitter_killed_before_insert": (("submitter.before_insert", KILL),),
    "submitter_killed_before_publish": (("submitter.before_publish", KILL),),
    "submitter_killed_in_publish": (("submitter.during_publish", KILL),),
    "submitter_killed_after_publish": (("submitter.after_publish", KILL),),
    "submitter_killed_before_outer_commit": (("submitter.before_outer_commit", KILL),),
    "publish_timed_out_but_arrived": (("submitter.publish", TIME_OUT),),
    "inline_killed": tuple(
        (f"inline.{edge}", KILL)
        for edge in ("before_claim", "after_claim", "in_step", "before_commit", "after_commit", "before_finish")
    ),
    "worker_killed_before_claim": (("worker.before_claim", KILL),),
    "worker_killed_after_claim": (("default.after_claim", KILL), ("scheduled.after_claim", KILL)),
    "worker_killed_in_step": (("default.in_step", KILL), ("scheduled.in_step", KILL)),
    "worker_killed_before_commit": (("default.before_commit", KILL), ("scheduled.before_commit", KILL)),
    "worker_killed_after_commit": (("default.after_commit", KILL), ("scheduled.after_commit", KILL)),
    "worker_killed_in_outside_step": (("default.outside", KILL), ("default.after_outside", KILL)),
    "worker_killed_before_finish": (("default.before_finish", KILL), ("default.before_fail", KILL)),
    "worker_killed_after_finish": (("default.after_finish", KILL), ("default.after_sleep", KILL)),
    "worker_frozen": (("default.step_begun", FREEZE), FROZEN_IN_COMMIT),
    "worker_frozen_before_finish": (("default.before_finish", FREEZE),),
    "prefork_child_killed": (
        ("data_sync.in_step", KILL),
        ("data_sync.before_commit", KILL),
        ("data_sync.after_commit", KILL),
        ("data_sync.before_finish", KILL),
    ),
    "prefork_parent_killed": (("data_sync.step_begun", KILL_PARENT), ("data_sync.before_finish", KILL_PARENT)),
    "prefork_frozen": (("data_sync.step_begun", FREEZE_WITH_PARENT),),
    # The loop that asks for messages does nothing more, while the jobs' threads and the rest of the worker live.
    "consumer_hung": (("default.poll", HANG),),
    # With jobs that are limited: what holds a place dies, or stands still between its claim and its first line.
    "limited_killed": (
        ("limited.after_claim", KILL),
        ("limited.in_step", KILL),
        ("limited.before_finish", KILL),
        ("limited.after_finish", KILL),
    ),
    "limited_frozen": (("limited.step_begun", FREEZE),),
    "limited_late": (("limited.after_claim", FREEZE), ("limited.after_claim", DAWDLE)),
    # It has let jobs go, and nobody has been told of them.
    "releaser_killed": (
        ("submitter.after_release", KILL),
        ("worker.after_release", KILL),
        ("beat.after_release", KILL),
    ),
    # Between what it read of a schedule and what it writes, within the one transaction, and after it.
    "beat_killed_in_fire": (("beat.before_fire", KILL), ("beat.before_insert", KILL), ("beat.after_fire", KILL)),
    "beat_frozen_in_fire": (("beat.before_fire", HALT), ("beat.after_fire", HALT), FROZEN_IN_FIRE),
    # Jobs that a death has made suspects run alone, and everything is killed together.
    "suspects_killed_with_worker": (("solo.after_claim", KILL_HOUSE), ("solo.in_step", KILL_HOUSE)),
}

# The fence is what the suite is named after: every round has runs that come too late, and a scheduler.
EVERY_ROUND = ("worker_frozen", "prefork_frozen", "limited_late", "beat_frozen_in_fire")

# Faults that the conductor inflicts from outside. Those of Redis come one after the other.
ON_REDIS = ("redis_killed", "redis_frozen", "redis_slow", "redis_half_open", "redis_flushed", "redis_full")
ON_PROCESSES = ("worker_killed_at_random", "beat_killed", "beat_frozen", "worker_stopped_gently")
# What an operator does in the midst of it.
ON_GATES = ("gate_paused",)
PAUSABLE = (
    ("queue", "default"),
    ("queue", "limited"),
    ("queue", "scheduled"),
    ("job", "fence.order"),
    ("tenant", "small"),
)
# Nothing to inflict: it is what the other faults lead to, and it must have been seen.
SEEN = (
    "fallback_raced_workers",
    "stale_write_fenced",
    "limit_filled",
    "late_start_recorded_anew",
    "late_run_given_back",
    "beats_raced",
    "due_time_left_out",
    "poison_condemned",
    "hung_worker_began_anew",
)

KINDS = (*AT_EDGES, *ON_REDIS, *ON_PROCESSES, *ON_GATES, *SEEN)


@dataclass(frozen=True, order=True)
class Strike:
    """A fault at `at` seconds after the round's beginning."""

    at: float
    kind: str
    edge: str = ""
    action: str = ""
    lasts: float = 0.0
    gate: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Plan:
    """One round."""

    seed: int
    shares: list[list[dict[str, Any]]] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)


def plan(seed: int, ledger: str, submissions: int = SUBMISSIONS) -> Plan:
    """The round of `seed`. Two seeds that follow one another, an even one first, have all kinds of faults.

    ledger: `sqlite` or `postgresql`. A process that is frozen in a transaction holds SQLite's only write lock, so
    nobody could take its claim away; there it is frozen outside of transactions only.
    """
    dice = random.Random(seed)
    strikes = _strikes(dice, seed, frozen_in_commit=ledger == "postgresql")
    return Plan(seed, _shares(dice, seed, submissions), sorted(strikes))


def _shares(dice: random.Random, seed: int, submissions: int) -> list[list[dict[str, Any]]]:
    shares: list[list[dict[str, Any]]] = [[] for _ in range(SUBMITTERS)]
    number = 0
    while (so_far := sum(map(len, shares))) < submissions:
        number += 1
        what = {"kind": "fence.poison", "how": "call"} if number == POISON_AT else _what(dice)
        if what["how"] == "keyed" and so_far == submissions - 1:
            continue  # It would be one too many.
        item = {"label": f"{seed}-{number:03}", "at": round(SPREAD_S * so_far / submissions, 3), **what}
        if item["how"] == "keyed":
            # The same work under the same key by two processes at the same time.
            item["key"] = f"key-{item['label']}"
            for share in dice.sample(shares, 2):
                share.append(item)
        else:
            min(shares, key=len).append(item)
    return shares


def _what(dice: random.Random) -> dict[str, Any]:
    """One submission of the mixture; the weights add up to 100."""
    mixture: list[tuple[int, dict[str, Any]]] = [
        (18, {"kind": "fence.plain", "how": "call"}),
        (7, {"kind": "fence.plain", "how": "call", "confirm": True}),
        (14, {"kind": "fence.order", "how": "call"}),
        (4, {"kind": "fence.order", "how": "call", "confirm": True}),
        (4, {"kind": "fence.sleepy", "how": "call"}),
        (5, {"kind": "fence.flaky", "how": "call"}),
        (7, {"kind": "fence.order", "how": "keyed"}),
        (8, {"kind": "fence.plain", "how": "session"}),
        (3, {"kind": "fence.plain", "how": "session", "rollback": True}),
        (4, {"kind": "fence.plain", "how": "call", "delay": 0.2}),
        (3, {"kind": "fence.deferred", "how": "call"}),
        (3, {"kind": "fence.refused", "how": "call"}),
        (6, {"kind": "fence.sync", "how": "call"}),
        (2, {"kind": "fence.limited", "how": "call"}),
        (1, {"kind": "fence.limited", "how": "call", "confirm": True}),
        (1, {"kind": "fence.limited", "how": "session", "tenant": "small"}),
        (2, {"kind": "fence.tenanted", "how": "call"}),
        (2, {"kind": "fence.tenanted", "how": "call", "tenant": "large"}),
        (3, {"kind": "fence.tenanted", "how": "call", "tenant": "small"}),
        (3, {"kind": "fence.counted", "how": "call"}),
    ]
    weights, items = zip(*mixture, strict=True)
    return dict(dice.choices(items, weights)[0])


def _strikes(dice: random.Random, seed: int, *, frozen_in_commit: bool) -> list[Strike]:
    """Half of the kinds, the other half for the seed's neighbour; both halves are drawn by the pair."""
    pair = random.Random(f"pair {seed // 2}")
    edges, redis = list(AT_EDGES), list(ON_REDIS)
    pair.shuffle(edges)
    pair.shuffle(redis)
    mine = redis[:3] if seed % 2 == 0 else redis[3:]
    strikes = []
    for kind in dict.fromkeys((*edges[seed % 2 :: 2], *EVERY_ROUND)):
        locks = () if frozen_in_commit else (FROZEN_IN_COMMIT, FROZEN_IN_FIRE)
        choices = [choice for choice in AT_EDGES[kind] if choice not in locks]
        strikes.append(Strike(_time(dice, kind), kind, *dice.choice(choices)))
    strikes += [
        Strike(at + dice.uniform(0, 0.15), kind, lasts=dice.uniform(0.2, 0.4))
        for at, kind in zip((0.5, 1.0, 1.5), mine, strict=True)
    ]
    others = ("worker_killed_at_random", "worker_stopped_gently")[seed % 2]
    strikes += [Strike(dice.uniform(0.2, SPREAD_S), kind) for kind in (others, "beat_killed")]
    strikes.append(Strike(dice.uniform(0.2, SPREAD_S), "beat_frozen", lasts=dice.uniform(0.6, 1.6)))
    gate, lasts = dice.choice(PAUSABLE), dice.uniform(0.4, 0.9)
    strikes.append(Strike(dice.uniform(0.2, SPREAD_S * 0.8), "gate_paused", lasts=lasts, gate=gate))
    return strikes


def _time(dice: random.Random, kind: str) -> float:
    """Faults of a publish strike while the broker is still there; what takes time to come right again, early."""
    if any(word in kind for word in ("publish", "frozen", "parent", "hung", "limited")):
        return dice.uniform(0.0, 0.4)
    return dice.uniform(0.0, SPREAD_S * 0.8)
