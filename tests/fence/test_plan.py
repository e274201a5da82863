"""What a seed means, and how finished rounds are kept."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.fence import figures
from tests.fence.checker.evidence import Verdict
from tests.fence.plan import AT_EDGES, COMMITTED, KINDS, ON_GATES, ON_PROCESSES, ON_REDIS, SEEN, plan
from tests.fence.round import Played


@pytest.mark.parametrize("seed", [1, 2, 77])
@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_a_seed_is_always_the_same_round_of_200_submissions(seed: int, ledger: str) -> None:
    first, again = plan(seed, ledger), plan(seed, ledger)
    assert (first.shares, first.strikes) == (again.shares, again.strikes)
    assert sum(map(len, first.shares)) == 200
    assert {item["kind"] for share in first.shares for item in share} <= set(COMMITTED)


@pytest.mark.parametrize("seed", [0, 2, 400])
def test_two_neighbours_have_every_kind_of_fault_between_them(seed: int) -> None:
    kinds = {strike.kind for part in (seed, seed + 1) for strike in plan(part, "sqlite").strikes}
    assert kinds == {*AT_EDGES, *ON_REDIS, *ON_PROCESSES, *ON_GATES}


def test_nobody_is_frozen_in_a_commit_that_holds_the_only_write_lock() -> None:
    struck = {(s.edge, s.action) for seed in range(100) for s in plan(seed, "sqlite").strikes}
    assert ("default.before_commit", "freeze") not in struck
    assert ("default.before_commit", "kill") in struck


def played(lost: int = 0) -> Played:
    return Played(Verdict(submissions=200, lost=lost), Counter(dict.fromkeys(KINDS, 1)), 0, 5.0)


def test_finished_rounds_are_remembered_for_the_version_that_played_them(tmp_path: Path) -> None:
    kept = figures.Finished(tmp_path / "rounds.jsonl", version="a")
    kept.add(3, "sqlite", played())
    kept.add(4, "postgresql", played(lost=1))
    assert set(kept.seeds()) == {3, 4}
    assert figures.Finished(tmp_path / "rounds.jsonl", version="b").seeds() == {}
    totals = figures.total(kept.seeds().values())
    assert not figures.clean(totals)
    told = figures.lines(totals)
    assert {"rounds=2", "rounds_sqlite=1", "submissions=400", "lost=1", "doubled=0", "seconds=10"} <= set(told)


def test_a_run_in_which_a_kind_of_fault_never_happened_says_so() -> None:
    totals = figures.total([])
    assert set(figures.never_happened(totals)) == set(KINDS)
    assert SEEN[0] in figures.never_happened(totals)
