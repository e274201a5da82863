"""The parent's side of a prefork worker: what it makes of a child's death."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from celadon.keeper import Running
from celadon.queues import lane
from celadon.worker import children, post
from celadon.worker.children import Children
from celadon.worker.solo import Solos
from tests.contract.given import a_claim


@pytest.mark.parametrize(
    ("killed", "alone_beside", "in_company"),
    [
        (True, {"another"}, True),
        (True, set(), False),
        (False, {"another"}, False),
        # A process was begun for the very job that the child had meanwhile.
        (True, {"its own"}, False),
    ],
)
def test_a_child_that_was_killed_beside_a_job_that_runs_alone_was_in_company(
    killed, alone_beside, in_company, ledger, monkeypatch
):
    told: list[bool] = []
    monkeypatch.setattr(children, "release_dead", lambda _, *, in_company: told.append(in_company))
    monkeypatch.setattr(children, "holds", lambda _: False)
    solos = Solos()
    solos._ended_at = dict.fromkeys(alone_beside, time.monotonic())
    monkeypatch.setattr(children, "solos", solos)
    monkeypatch.setattr(post, "_post", post.Post(lane=lane("data_sync"), boot="host:boot"))
    parent = Children()
    parent.keeper.add(Running(claim=replace(a_claim(), job_id="its own"), lease_s=60, deadline=float("inf"), pid=7))

    parent._bury(7, killed=killed)

    assert told == [in_company]
    assert not parent.keeper.running()
