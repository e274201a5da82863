"""Steps: a retry skips what is done. The second step fails once; the first is not done again.

Run it: `.venv/bin/python -m examples.steps`
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from celadon import Steps, find, job, submit
from celadon.ledger import session
from examples.scratch import run_what_is_due, scratch_ledger

charges: list[str] = []  # What a payment service, which honours the key, was asked.


def reserve(own: Session, room: int) -> dict[str, int]:
    """A transactional step: the row and the step's mark commit together, or neither does."""
    own.execute(text("INSERT INTO reservations (room) VALUES (:room)"), {"room": room})
    return {"room": room}


def charge(amount_cents: int, *, key: str) -> dict[str, str]:
    """An outside step: at least once, with the same key every time, by which the receiver tells a repeat."""
    charges.append(key)
    if len(charges) == 1:
        raise ConnectionError("the payment service hung up")
    return {"payment": "paid"}


@job("examples.book", attempts=3, backoff=timedelta(0))
def book(room: int, steps: Steps) -> dict[str, object]:
    """`steps` is given by the platform and is no part of the payload."""
    reserved = steps.run("reserve", reserve, room)
    paid = steps.run("charge", charge, 12_000, outside=True)
    return {**reserved, **paid}


def main() -> None:
    with scratch_ledger():
        with session() as own:
            own.execute(text("CREATE TABLE reservations (room INTEGER NOT NULL)"))
            own.commit()

        receipt = submit("examples.book", {"room": 7})
        show("after the first try", receipt.job_id)

        run_what_is_due()
        show("after the second", receipt.job_id)

        with session(read_only=True) as own:
            rooms = own.scalars(text("SELECT room FROM reservations")).all()
        print(f"reserved once: {rooms}; charged with one key: {len(set(charges)) == 1}")


def show(when: str, job_id: str) -> None:
    view = find(job_id)
    assert view is not None
    print(f"{when}: {view.state}; " + ", ".join(f"{step.name} {step.state}" for step in view.steps))


if __name__ == "__main__":
    main()
