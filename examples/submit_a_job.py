"""Declare a job, submit it, read the receipt, ask for the outcome.

Run it: `.venv/bin/python -m examples.submit_a_job`
"""

from __future__ import annotations

from celadon import find, job, submit
from examples.scratch import scratch_ledger


@job("examples.greet")
def greet(name: str, punctuation: str = "!") -> str:
    """The parameters are the payload's fields; what it returns is the job's result."""
    return f"Hello, {name}{punctuation}"


def main() -> None:
    with scratch_ledger():
        receipt = submit("examples.greet", {"name": "Ada"})
        # No broker here, so the job ran in this process: same claim, same steps, same ledger as on a worker.
        print(f"receipt: {receipt.outcome}, because {receipt.reason}")

        job_view = find(receipt.job_id)
        assert job_view is not None
        print(f"job: {job_view.state}, result {job_view.result!r}, engine {job_view.engine}")

        # The task knows its payload too, and its result reads like Celery's.
        print(f"delay(): {greet.delay('Grace', punctuation='.').get(timeout=5)!r}")

        # The same key gives the first job back instead of a second one.
        first = submit("examples.greet", {"name": "Linus"}, key="greet-linus")
        again = submit("examples.greet", {"name": "Linus"}, key="greet-linus")
        print(f"same key: {again.outcome}, same job: {again.job_id == first.job_id}")


if __name__ == "__main__":
    main()
