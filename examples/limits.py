"""Limits: two starts in any ten seconds, and the customers take turns. A pause holds one of them.

Run it: `.venv/bin/python -m examples.limits`
"""

from __future__ import annotations

from datetime import timedelta

from celadon import job, submit
from celadon.ledger import limits, switches
from celadon.limits import Limit
from celadon.testing import sandbox

called: list[str] = []  # For whom, in order.


@job("examples.call", queue="default")
def call(customer: str) -> str:
    called.append(customer)
    return customer


def main() -> None:
    with sandbox() as box:
        limits.set_limits("job", "examples.call", [Limit(starts=2, per_s=10)], actor="example")
        for customer in ("acme", "acme", "acme", "acme", "bolt"):
            receipt = submit("examples.call", {"customer": customer}, tenant=customer)
        print(f"the last receipt: {receipt.outcome}, {receipt.reason}")

        box.run_due()
        print(f"at once: {', '.join(called)}")

        gate = limits.find("job", "examples.call")
        [use] = gate.uses
        print(f"use: {use.starts} of {use.rule}, room for {use.room}, {gate.waiting} wait")

        box.advance(timedelta(seconds=11))  # The window, and a little more.
        box.run_due()
        print(f"eleven seconds later: {', '.join(called)}")

        switches.pause("tenant", "acme", reason="unpaid", actor="example")
        limits.reset("job", "examples.call", actor="example")
        print(f"unlimited, and paused: {len(box.run_due())} ran")
        switches.resume("tenant", "acme", actor="example")
        print(f"resumed: {len(box.run_due())} ran")


if __name__ == "__main__":
    main()
