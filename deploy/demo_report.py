"""What the demo found: one line per order, and the figures that its closing sentence is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path
from typing import Any

from deploy.shop_client import Placed


@dataclass(frozen=True, kw_only=True)
class Row:
    """One order at the end."""

    placed: Placed
    order: Mapping[str, Any]
    job: Mapping[str, Any]
    invoice: bytes

    @property
    def complete(self) -> bool:
        return bool(self.order["status"] == "complete" and self.job["state"] == "succeeded")

    @property
    def runs_to_the_end(self) -> int:
        """Attempts that succeeded: one, or the order was worked through twice."""
        return sum(attempt["outcome"] == "succeeded" for attempt in self.job["attempts"])

    @property
    def seconds(self) -> float:
        """From the order's acceptance to the end of its job."""
        begun, ended = (datetime.fromisoformat(self.job[key]) for key in ("created_at", "finished_at"))
        return (ended - begun).total_seconds()

    def line(self) -> str:
        steps = "  ".join(f"{name} {step['state']}" for name, step in self.order["processing"].items())
        tries = " → ".join(f"{attempt['outcome']}" for attempt in self.job["attempts"])
        time = f"{self.seconds:6.2f} s" if self.job["finished_at"] else "      –"
        outcome, engine = self.placed.receipt["outcome"], self.job["engine"] or "–"
        return f"  {self.order['number']:<10} {steps:<52} {outcome:<10} {engine:<7} {time}  {tries}"


HEADING = f"  {'order':<10} {'steps':<52} {'receipt':<10} {'engine':<7} {'time':>8}  attempts"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The figures, each counted from what is really there."""

    orders: int
    mails: int
    mail_repeats: int
    invoices: int
    stock_errors: Mapping[str, int]
    lost: int
    doubled: int

    def sentence(self) -> str:
        stock = "exact" if not self.stock_errors else f"WRONG by {dict(self.stock_errors)}"
        return (
            f"{self.orders} orders, {self.mails} e-mails, {self.invoices} invoices, stock {stock}, "
            f"{self.lost} lost, {self.doubled} doubled"
        )

    def good(self, expected: int) -> bool:
        """Whether everything was done, once, for exactly the expected number of orders."""
        return (
            self.orders == self.mails == self.invoices == expected
            and not self.stock_errors
            and self.lost == self.doubled == 0
        )


Stock = Mapping[str, int]
"""How many of each product, by SKU, lie on the shelf."""


def judge(rows: Sequence[Row], mails: Iterable[EmailMessage], before: Stock, after: Stock) -> Verdict:
    """Count what the orders left behind: in the shop, in the mail folder, on the shelf before and after."""
    customers = {row.placed.email for row in rows}
    ids: dict[str, set[str]] = {email: set() for email in customers}
    messages = 0
    for mail in mails:
        for address in mail["To"].addresses:
            if address.addr_spec in customers:  # The administrator's alerts are not counted.
                ids[address.addr_spec].add(str(mail["Message-ID"]))
                messages += 1
    distinct = {message_id for found in ids.values() for message_id in found}
    invoices = Counter(row.invoice for row in rows if row.invoice.startswith(b"%PDF-"))
    sold: Counter[str] = Counter()
    for row in rows:
        sold.update(row.placed.lines)
    errors = {sku: after[sku] - (before[sku] - sold[sku]) for sku in before}
    return Verdict(
        orders=len({row.order["id"] for row in rows}),
        mails=len(distinct),
        mail_repeats=messages - len(distinct),
        invoices=len(invoices),
        stock_errors={sku: error for sku, error in errors.items() if error},
        lost=sum(not row.complete for row in rows),
        doubled=sum(row.runs_to_the_end > 1 for row in rows)
        + sum(len(found) > 1 for found in ids.values())
        + sum(count - 1 for count in invoices.values()),
    )


def kept_mail(folder: Path) -> list[EmailMessage]:
    """Every message that the mail server accepted."""
    return [message_from_bytes(file.read_bytes(), policy=modern) for file in sorted(folder.glob("*.eml"))]
