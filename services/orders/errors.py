"""What can be wrong with an order. An error carries its facts; its docstring is the default message."""

from __future__ import annotations

from dataclasses import asdict, dataclass


class OrderError(Exception):
    """The order can't be handled."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").splitlines()[0])


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing to mend. `field` is a path into the request, such as `lines.0.quantity`."""

    field: str
    message: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


class InvalidOrder(OrderError):
    """The order has fields to mend."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{each.field}: {each.message}" for each in problems))
        self.problems = problems


class RequestReused(OrderError):
    """This request key was used before, for another order."""


class OrderNotFound(OrderError):
    """There is no such order."""

    def __init__(self, order_id: str) -> None:
        super().__init__(f"There is no order {order_id}.")
        self.order_id = order_id


class OutOfStock(OrderError):
    """There is too little of a product left. Nothing of the order was taken."""

    def __init__(self, sku: str, wanted: int, left: int) -> None:
        super().__init__(f"{sku} is short: {wanted} wanted, {left} left. Nothing was taken for this order.")
        self.sku, self.wanted, self.left = sku, wanted, left
