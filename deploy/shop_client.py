"""A customer's view of the shop: the HTTP API and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

# The shop is on this machine: whatever proxy the user's environment names is not asked.
_open = build_opener(ProxyHandler({})).open
_TIMEOUT_S = 15


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An accepted order, and what the receipt said about its job."""

    order_id: str
    email: str
    lines: dict[str, int]
    receipt: dict[str, Any]

    @property
    def job_id(self) -> str:
        return str(self.receipt["job_id"])


class Shop:
    """The API at `base`, such as `http://127.0.0.1:8000`. A call that is not answered raises OSError.

    key: an API key with the scope `read`, needed to look at jobs.
    """

    def __init__(self, base: str, key: str = "") -> None:
        self._base, self._key = base, key

    def place(self, name: str, email: str, lines: dict[str, int]) -> Placed:
        """Order; returns when the shop has accepted (202)."""
        wanted = [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()]
        body = {"customer": {"name": name, "email": email}, "lines": wanted}
        request = Request(
            f"{self._base}/api/orders",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        answer = json.loads(self._answer(request))
        return Placed(order_id=answer["id"], email=email, lines=lines, receipt=answer["receipt"])

    def order(self, order_id: str) -> dict[str, Any]:
        """The order with its steps."""
        found: dict[str, Any] = json.loads(self._get(f"/api/orders/{order_id}"))
        return found

    def job(self, job_id: str) -> dict[str, Any]:
        """The job with its attempts."""
        request = Request(f"{self._base}/api/jobs/{job_id}", headers={"Authorization": f"Bearer {self._key}"})
        found: dict[str, Any] = json.loads(self._answer(request))
        return found

    def invoice(self, order_id: str) -> bytes:
        """The invoice's PDF; nothing while there is none."""
        invoice = self.order(order_id)["invoice"]
        return self._get(invoice["href"]) if invoice else b""

    def stock(self) -> dict[str, int]:
        """How many of each product, by SKU, lie on the shelf."""
        return {product["sku"]: product["stock"] for product in json.loads(self._get("/api/products"))}

    def ready(self) -> bool:
        """Whether the shop says that it can take orders."""
        try:
            self._get("/ready")
        except OSError:
            return False
        return True

    def _get(self, path: str) -> bytes:
        return self._answer(Request(self._base + path))

    def _answer(self, request: Request) -> bytes:
        with _open(request, timeout=_TIMEOUT_S) as response:
            read: bytes = response.read()
            return read
