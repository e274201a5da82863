"""What `make demo-delegation` counts, and what it takes for wrong."""

from __future__ import annotations

import pytest

from deploy.demo_delegation_report import Ended, Findings, judge_pace, lines, p95_ms

SERVICES = {"email": "mail", "crm-sync": "failing"}


def job(job_id: str, queue: str, state: str = "succeeded", failed: int = 0) -> Ended:
    return Ended(id=job_id, queue=queue, state=state, failed=failed, seconds=0.1)


def test_a_line_counts_what_became_of_a_queues_jobs_and_what_they_did() -> None:
    jobs = [job("a", "email"), job("b", "email"), job("c", "email", "running"), job("d", "crm-sync", "dead", failed=3)]

    email, crm = lines(jobs, SERVICES, {"a": 1, "b": 3})

    assert (email.jobs, email.states["succeeded"], email.once, email.doubled) == (3, 2, 1, 2)
    assert (crm.jobs, crm.states["dead"], crm.failed, crm.once) == (1, 1, 3, 0)
    assert str(email).split() == ["email", "mail", "3", "2", "·", "1", "·", "1", "2"]


@pytest.mark.parametrize(
    ("seconds", "ms"), [([], 0), ([0.5], 500), ([n / 1000 for n in range(1, 101)], 95), ([0.001] * 18 + [1, 2], 1000)]
)
def test_p95_is_one_that_was_seen(seconds: list[float], ms: float) -> None:
    assert p95_ms(seconds) == pytest.approx(ms)


@pytest.mark.parametrize(
    ("calm", "hung", "wrong"),
    [
        ([200, 200, 200], [200, 390, 380], 0),
        ([200, 200, 200], [200, 410, 420], 1),
        ([200, 200, 200], [200, 200, 4000], 0),  # One round is no rule.
        ([10, 10, 10], [19, 19, 19], 0),
        ([10, 10, 10], [21, 21, 21], 1),  # However little that is.
        ([200, 200, 200], [4000, 4000, 4000], 1),  # They waited for the one that hangs.
    ],
)
def test_neighbours_that_are_half_as_quick_in_most_pairs_of_rounds_did_not_keep_their_pace(
    calm: list[int], hung: list[int], wrong: int
) -> None:
    findings = Findings()
    judge_pace(findings, [[ms / 1000] * 20 for ms in calm], [[ms / 1000] * 20 for ms in hung])
    assert len(findings.wrong) == wrong


def test_rounds_without_jobs_show_nothing() -> None:
    findings = Findings()
    judge_pace(findings, [[]], [[0.1]])
    assert findings.wrong


def test_what_this_machine_can_not_show_is_said() -> None:
    findings = Findings(not_shown=["a service in Node"])
    findings.add("jobs", 1, exactly=1)
    assert findings.told().splitlines() == ["jobs=1", "NOT SHOWN: a service in Node"]


def test_a_figure_that_is_not_as_it_has_to_be_is_told_below_all_of_them() -> None:
    findings = Findings()
    findings.add("jobs", 1999, exactly=2000)
    findings.add("connections", 41, at_most=40)
    findings.add("doubled", 0, exactly=0)

    assert findings.told().splitlines() == [
        "jobs=1999",
        "connections=41",
        "doubled=0",
        "WRONG: jobs is 1999, and has to be 2000",
        "WRONG: connections is 41, and may be 40 at most",
    ]
