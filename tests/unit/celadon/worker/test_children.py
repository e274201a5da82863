"""The parent's side of a prefork worker: what it makes of a child's death."""

from __future__ import annotations

import pytest

from celadon.queues import lane
from celadon.worker import children, post
from celadon.worker.children import Children


@pytest.mark.parametrize(
    ("killed", "solo_beside", "in_company"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_child_that_was_killed_beside_a_job_that_runs_alone_was_in_company(
    killed, solo_beside, in_company, monkeypatch
):
    told: list[bool] = []
    monkeypatch.setattr(children, "release_dead", lambda _, *, in_company: told.append(in_company))
    monkeypatch.setattr(children, "holds", lambda _: False)
    monkeypatch.setattr(children.solos, "lately", lambda: solo_beside)
    monkeypatch.setattr(post, "_post", post.Post(lane=lane("data_sync"), boot="host:boot"))

    Children()._bury(7, killed=killed)

    assert told == [in_company]
