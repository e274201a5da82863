"""Testing jobs: what was submitted, what becomes of it, and time that passes when the test says so.

Run it: `.venv/bin/python -m examples.testing`
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta

from celadon import job, submit
from celadon.testing import sandbox

answers: Iterator[str | Exception] = iter([ConnectionError("the mail server does not answer"), "sent"])
logging.getLogger("celadon").setLevel(logging.ERROR)  # The failure that is meant need not be logged.


@job("examples.invite", attempts=3, backoff=timedelta(minutes=5))
def invite(email: str, language: str = "en") -> str:
    answer = next(answers)
    if isinstance(answer, Exception):
        raise answer
    return answer


def main() -> None:
    with sandbox() as box:
        receipt = submit("examples.invite", {"email": "ada@example.com"}, delay=timedelta(days=1))
        print(f"receipt: {receipt.outcome}; due now: {len(box.run_due())}")

        box.advance(timedelta(days=1))
        [view] = box.run_due()
        print(f"a day later: {view.state}, for {view.error['message'] if view.error else 'no reason'}")

        box.advance(timedelta(minutes=10))
        [view] = box.run_due()
        print(f"ten minutes later: {view.state}, {view.result!r}")

        try:
            box.assert_submitted("examples.invite", payload={"email": "grace@example.com"})
        except AssertionError as failure:
            print(failure)


if __name__ == "__main__":
    main()
