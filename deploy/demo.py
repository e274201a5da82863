"""`make demo`: 30 orders, with a worker and Redis killed in the midst. Nothing is lost, nothing doubled.

Exit 0 only if every order was worked through exactly once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from deploy.demo_report import HEADING, Row, judge, kept_mail
from deploy.demo_signals import FOLDER, HOLD, STRIKE, TAKEN
from deploy.demo_stage import Stage, play
from deploy.shop_client import Placed
from deploy.supervision import NotReady, listening, until

HELD = 6  # Of the first 20 orders, the last 6 are in their inventory step when the worker is killed.
UNFINISHED = 5  # So many at least have to be, or the demo proves nothing.
PRODUCTS = 5  # Those with the most on the shelf: no order is to fail for want of stock.
WITHIN_S = 60  # For all 30 to be done, once the last is placed.
# The shop's own limit, 10 orders in 10 s and 5 at a time per worker, would make a long story of it.
RAISED = {"ORDERS_STARTS": "1000", "ORDERS_PER_S": "10", "ORDERS_PER_WORKER": "50"}


class Demo:
    """The story, a method per chapter."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.stack, self.supervisor, self.shop = stage, stage.stack, stage.supervisor, stage.shop
        self.placed: list[Placed] = []
        self.phases: list[tuple[str, float]] = []

    def tell(self) -> bool:
        """The whole of it; returns whether every order was worked through exactly once."""
        print("  The limit of orders is raised for this demo: " + " ".join(f"{n}={v}" for n, v in RAISED.items()))
        print("  (`make demo-limits` shows it at work as it is).")
        with self.phase("everything starts: Redis, mail, web, Beat, a worker per lane"):
            self.stage.wait_until_ready()
        before = self.shop.stock()
        with self.phase("20 orders"):
            self.place(20 - HELD)
            HOLD.touch()
            self.place(HELD)
        with self.phase("the default worker is killed in mid-order (SIGKILL), then Redis"):
            self.kill()
        with self.phase("a new default worker, and 5 orders with Redis dead"):
            self.supervisor.launch("worker-default")
            self.wait_for(self.place(5))
        with self.phase("Redis is back, empty, and 5 orders more"):
            self.supervisor.launch("redis")
            until("Redis listens", partial(listening, self.stack.ports.redis), within_s=10)
            self.place(5)
        with self.phase("all 30 orders are worked through"):
            self.wait_for(self.placed)
        return self.report(before)

    def place(self, count: int) -> list[Placed]:
        """Place orders, each of its own customer, for one to three of each of two products."""
        stock = self.shop.stock()
        skus = sorted(stock, key=lambda sku: (-stock[sku], sku))[:PRODUCTS]
        new = []
        for number in range(len(self.placed) + 1, len(self.placed) + 1 + count):
            lines = {skus[number % PRODUCTS]: 1 + number % 3, skus[(number + 1) % PRODUCTS]: 1}
            new.append(self.shop.place(f"Customer {number}", f"customer-{number}@example.com", lines))
        self.placed += new
        said = [order.receipt["outcome"] for order in new]
        print("      receipts: " + ", ".join(f"{said.count(word)} {word}" for word in dict.fromkeys(said)))
        return new

    def kill(self) -> None:
        """Kill while orders are in the inventory step, one of them with its stock taken and not committed."""
        STRIKE.touch()
        until("an order has taken its stock", lambda: TAKEN.exists() and TAKEN.read_text(), within_s=10)
        orders = [self.shop.order(placed.order_id) for placed in self.placed]
        unfinished = [order for order in orders if order["status"] != "complete"]
        inside = [o for o in unfinished if o["processing"]["inventory"]["state"] == "running"]
        if len(unfinished) < UNFINISHED:
            raise NotReady(f"only {len(unfinished)} of 20 orders were unfinished")
        if TAKEN.read_text() not in {order["id"] for order in inside}:
            raise NotReady("the order that took its stock is not in its inventory step")
        worker = self.supervisor.kill("worker-default")
        redis = self.supervisor.kill("redis")
        HOLD.unlink()
        print(f"      killed: worker-default (pid {worker}) and redis (pid {redis})")
        print(f"      {len(unfinished)} orders unfinished, {len(inside)} of them in their inventory step,")
        print("      one of these with its stock taken and not committed")

    def wait_for(self, placed: list[Placed]) -> None:
        waiting = {order.order_id for order in placed}

        def finished() -> bool:
            for order_id in sorted(waiting):
                if self.shop.order(order_id)["status"] == "complete":
                    waiting.discard(order_id)
            return not waiting

        # What is not finished by then is lost, and counted so in the report.
        deadline = time.monotonic() + WITHIN_S
        while not finished() and time.monotonic() < deadline:
            time.sleep(0.2)

    def report(self, before: dict[str, int]) -> bool:
        rows = [
            Row(
                placed=placed,
                order=self.shop.order(placed.order_id),
                job=self.shop.job(placed.job_id),
                invoice=self.shop.invoice(placed.order_id),
            )
            for placed in self.placed
        ]
        verdict = judge(rows, kept_mail(self.stack.mail), before, self.shop.stock())
        print("\n" + HEADING)
        print("\n".join(row.line() for row in rows))
        print("\n" + "\n".join(f"  {seconds:6.2f} s  {title}" for title, seconds in self.phases))
        print(f"\nmail_repeats={verdict.mail_repeats}")
        print(verdict.sentence())
        return verdict.good(expected=30)

    @contextmanager
    def phase(self, title: str) -> Iterator[None]:
        print(f"  {len(self.phases) + 1}.  {title}", flush=True)
        begun = time.monotonic()
        yield
        self.phases.append((title, time.monotonic() - begun))


def main() -> None:
    play(
        FOLDER,
        lambda stage: Demo(stage).tell(),
        settings=RAISED,
        lane_settings={"default": {"CELERY_CONFIG_MODULE": "deploy.demo_config"}},
        copies={"delegated": 0},  # Orders are not delegated.
        next_=[
            "make demo-limits   how a limit holds orders back",
            "make up   the same, to play with: shop, API, Flower",
            "README.md, docs/   how to add a job of your own",
        ],
    )


if __name__ == "__main__":
    main()
