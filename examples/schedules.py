"""Schedules: a rule is looked at, kept, fired, and told what to do with what it missed.

Run it: `.venv/bin/python -m examples.schedules`
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from celadon import find, job, schedules
from celadon.due import preview
from celadon.errors import InvalidOption
from celadon.firing import fire_due
from examples.scratch import run_what_is_due, scratch_ledger

BERLIN = ZoneInfo("Europe/Berlin")


@job("examples.digest")
def digest(days: int) -> str:
    return f"of {days} days"


def main() -> None:
    # Due times are a pure function of a rule and an instant: on the 28th of March 2027 the clocks skip half past two.
    rule = schedules.rule_of({"crontab": "30 2 * * sun", "timezone": "Europe/Berlin"})
    for due in preview(rule, datetime(2027, 3, 20, tzinfo=BERLIN), count=3):
        print(f"due {due.astimezone(BERLIN).isoformat()}")

    with scratch_ledger():
        view = schedules.add("weekly", "examples.digest", payload={"days": 7}, crontab="30 2 * * sun", overlap="skip")
        print(f"{view.name}: {view.when}, missed: {view.missed}, overlap: {view.overlap}")
        try:
            schedules.edit("weekly", crontab="30 25 * * sun")
        except InvalidOption as refused:
            print(f"refused: {str(refused).partition(';')[0]}")

        # Beat does this four times a second; whoever comes first fires a due time, and all others find it fired.
        print(f"due now: {fire_due().fired}")

        job_id = schedules.run_now("weekly")
        run_what_is_due()
        done = find(job_id)
        assert done is not None
        print(f"run now: {done.state}, {done.result!r}")

        paused = schedules.pause("weekly", reason="holidays")
        print(f"{paused.status}: {paused.reason}; next: {paused.next_due}")


if __name__ == "__main__":
    main()
