"""A short, seeded part of the fence suite; `make fence` plays hundreds of rounds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import need
from tests.fence.plan import KINDS, plan
from tests.fence.round import patiently
from tests.fence.world import World, world
from tests.servers import PostgresServer

# Two neighbours have every kind of fault armed between them, but who passes an edge in so few rounds is chance:
# what must be asked of two rounds is that most struck. A long run asks for all.
PAIR = {"sqlite": 2, "postgresql": 3}
MOST = len(KINDS) * 2 // 3


@pytest.mark.timeout(150)
def test_a_round_under_faults_on_each_database_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    need(PostgresServer).remove()
    struck: Counter[str] = Counter()
    for ledger, seed in PAIR.items():
        with world(tmp_path / ledger, ledger) as made:
            played = patiently(made, plan(seed, ledger))
        struck += played.faults
        assert played.verdict.findings == []
        assert played.verdict.submissions == 200
    assert len(struck) >= MOST, f"only {sorted(struck)} struck"


def counts_that_objected(made: World, seeds: tuple[int, ...], wanted: set[str]) -> set[str]:
    """Play until the judge objects to all that it should, at most all seeds."""
    seen: set[str] = set()
    for seed in seeds:
        verdict = patiently(made, plan(seed, made.kind), settle_s=8).verdict
        seen |= {count for count in wanted if getattr(verdict, count)}
        if seen == wanted:
            break
    return seen


# Two defects at a time, of parts that have nothing to do with one another: a world takes seconds to make.
@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    ("defects", "counts"),
    [
        ("unfenced forgets_places", {"stale_commits", "over_limit"}),
        ("no_reaper fires_in_two", {"lost", "missed"}),
    ],
)
def test_a_platform_with_a_defect_does_not_pass(defects: str, counts: set[str], tmp_path: Path) -> None:
    with world(tmp_path, "sqlite", sabotage=defects) as made:
        assert counts_that_objected(made, (2, 3, 4), counts) == counts
