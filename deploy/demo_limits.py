"""`make demo-limits`: 30 orders at once, 10 of which may begin in 10 s, and 5 be at work at a time per worker.

Prints the beginnings as they come. Exit 0 only if the limit was kept in every window of 10 s and every order was worked
through.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

from deploy.demo_limits_report import Noted, Verdict, at_work, begins, most_at_work, most_in_any_window, read
from deploy.demo_signals import LIMITS_FOLDER, LIMITS_HISTORY
from deploy.demo_stage import Stage, play
from deploy.shop_client import Placed

ORDERS = 30
STARTS, PER_S, PER_WORKER = 10, 10, 5
WORKERS = 2
WITHIN_S = 60  # For all to be complete: at that pace the last begin after some 21 s.
LIMIT = {"ORDERS_STARTS": str(STARTS), "ORDERS_PER_S": str(PER_S), "ORDERS_PER_WORKER": str(PER_WORKER)}
# A busy machine is no reason to run an order in the shop's own process instead of a worker.
PATIENT = {"CONFIRM_MS": "3000"}
PROGRAMS = ["redis", "mail", "web", "beat", "worker-default", "worker-default-2"]


class Story:
    """30 orders, and what becomes of them second by second."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.shop = stage, stage.shop

    def tell(self) -> bool:
        print(f"  The limit of `orders.process`: {STARTS} in any {PER_S} s over all workers, {PER_WORKER} at a time")
        print(f"  for each worker. Started are the shop and {WORKERS} workers, whose orders take 1.5 s and a moment.")
        LIMITS_HISTORY.touch()
        self.stage.wait_until_ready()
        sku, _ = max(self.shop.stock().items(), key=lambda item: item[1])
        print(f"\n  {ORDERS} orders at once:\n")
        with ThreadPoolExecutor(max_workers=10) as customers:
            orders = [customers.submit(self.place, number, sku) for number in range(1, ORDERS + 1)]
            self.watch(orders)
        return self.report([order.result() for order in orders])

    def place(self, number: int, sku: str) -> Placed:
        return self.shop.place(f"Customer {number}", f"customer-{number}@example.com", {sku: 1})

    def watch(self, orders: list[Future[Placed]]) -> None:
        """A line a second, until all are complete."""
        print(f"  {'second':>6}  {'begun':>5}  {f'in the last {PER_S} s':>16}  {'at work':>9}  {'to begin':>8}")
        since, before = time.monotonic(), 0
        while time.monotonic() - since < WITHIN_S:
            time.sleep(1 - (time.monotonic() - since) % 1)
            notes = self.notes()
            print(self.line(time.monotonic() - since, notes, before), flush=True)
            before = len(begins(notes))
            accepted = [order.result() for order in orders if order.done()]
            if len(accepted) == ORDERS <= before and self.complete(accepted) == ORDERS:
                return

    def line(self, second: float, notes: list[Noted], before: int) -> str:
        now, times = time.monotonic(), begins(notes)
        new, recent = len(times) - before, sum(now - at < PER_S for at in times)
        hands = "+".join(str(count) for _, count in sorted(at_work(notes).items())) or "0"
        told = f"  {second:>6.0f}  {new or '':>5}  {recent:>16}  {hands:>9}  {ORDERS - len(times):>8}  {'#' * new}"
        return told.rstrip()

    def notes(self) -> list[Noted]:
        with LIMITS_HISTORY.open() as history:
            return read(history)

    def complete(self, placed: list[Placed]) -> int:
        return sum(self.shop.order(order.order_id)["status"] == "complete" for order in placed)

    def report(self, placed: list[Placed]) -> bool:
        notes = self.notes()
        verdict = Verdict(
            orders=len(placed),
            complete=self.complete(placed),
            receipts_waiting=sum(order.receipt["outcome"] == "waiting" for order in placed),
            workers=len(at_work(notes)),
            most_starts_in_window=most_in_any_window(begins(notes), PER_S),
            most_at_once_per_worker=most_at_work(notes),
        )
        said = [order.receipt["outcome"] for order in placed]
        print("\n  receipts: " + ", ".join(f"{said.count(word)} {word}" for word in dict.fromkeys(said)) + "\n")
        print("\n".join(verdict.lines(PER_S)))
        return verdict.good(starts=STARTS, per_worker=PER_WORKER)


def main() -> None:
    play(
        LIMITS_FOLDER,
        lambda stage: Story(stage).tell(),
        only=PROGRAMS,
        settings={**LIMIT, **PATIENT, "CELERY_CONFIG_MODULE": "deploy.demo_limits_config"},
        copies={"default": WORKERS},
        next_=["make up   the same, to play with: shop, API, Flower", "docs/guides/limits.md   limits of your own"],
    )


if __name__ == "__main__":
    main()
