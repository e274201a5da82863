"""Forms of the shop's pages, filled in and sent as a browser does."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from tests.unit.web.conftest import Client

MINA = {"customer.name": "Mina Itō", "customer.email": "mina@example.com"}


def fields(page: str, action: str) -> dict[str, str]:
    """What the page's first form to `action` would send."""
    form = re.search(rf'<form[^>]*?\saction="{re.escape(action)}".*?</form>', page, re.S)
    assert form, f"no form to {action} in {page}"
    found = re.findall(r'<input[^>]*?\sname="([^"]+)"[^>]*?\svalue="([^"]*)"', form.group(), re.S)
    return {name: unescape(value) for name, value in found}


def choose(client: Client, *skus: str) -> None:
    """Put pieces into the basket, one by one."""
    for sku in skus:
        answer = client.post("/basket/add", data={**fields(client.get("/").text, "/basket/add"), "sku": sku})
        assert answer.status_code == 303, answer.text


def order_form(client: Client, **changes: str) -> dict[str, str]:
    """The basket's form, filled in; the basket holds two tea bowls if it held nothing."""
    if "quantity." not in client.get("/basket").text:
        choose(client, "BOWL-TEA", "BOWL-TEA")
    return {**fields(client.get("/basket").text, "/orders"), **MINA, **changes}


def place(client: Client, **changes: str) -> str:
    """Order; returns the address of the order's page."""
    answer = client.post("/orders", data=order_form(client, **changes))
    assert answer.status_code == 303, answer.text
    address: str = answer.headers["Location"]
    return address


def text_of(answer: Any) -> str:
    return unescape(answer.text)
