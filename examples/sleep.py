"""Sleeping: the job goes back to the ledger, frees its worker, and goes on later after the steps that are done.

Run it: `.venv/bin/python -m examples.sleep`
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from celadon import Steps, find, job, submit
from examples.scratch import scratch_ledger


def note(own: Session, what: str) -> str:
    return what


@job("examples.trial")
def trial(days: float, steps: Steps) -> str:
    """Welcome now, remind when the trial is over. A process need not live that long."""
    steps.run("welcome", note, "welcomed")
    steps.sleep("trial", days * 86_400)
    return str(steps.run("remind", note, "reminded"))


def main() -> None:
    with scratch_ledger():
        receipt = submit("examples.trial", {"days": 14})
        asleep = find(receipt.job_id)
        assert asleep is not None
        assert asleep.run_at is not None
        days = (asleep.run_at - datetime.now(UTC)).total_seconds() / 86_400
        print(f"receipt: {receipt.outcome}; the job is {asleep.state} and wakes in {days:.0f} days")
        print("steps: " + ", ".join(f"{step.name} {step.state}" for step in asleep.steps))
        print(f"tries that failed: {asleep.attempt}")

        # A sleep that fits into an inline run's budget is simply waited out.
        short = submit("examples.trial", {"days": 0.05 / 86_400})
        done = find(short.job_id)
        assert done is not None
        print(f"short sleep: {short.outcome}, {done.result!r}")


if __name__ == "__main__":
    main()
