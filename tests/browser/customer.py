"""What a customer does, in the words of the pages."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

ORDER = re.compile(r"/orders/[0-9a-f-]{36}$")
NAMES = """() => {
    const on = document.activeElement;
    return on.getAttribute("aria-label") ?? (on.labels?.[0] ?? on).textContent.trim();
}"""


def choose(page: Page, *names: str) -> None:
    page.goto("/")
    for name in names:
        page.get_by_role("button", name=f"Add to basket: {name}").click()
    expect(page.locator("[data-pieces]")).to_have_text(str(len(names)))


def fill(page: Page, name: str = "Mina Itō", email: str = "mina@example.com") -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("E-mail").fill(email)


def place(page: Page, *names: str) -> str:
    """Order these pieces; returns the order's address."""
    choose(page, *names)
    page.goto("/basket")
    fill(page)
    page.get_by_role("button", name="Place order").click()
    page.wait_for_url(ORDER)
    return page.url


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has this name has the focus."""
    passed = []
    for _ in range(60):
        page.keyboard.press("Tab")
        passed.append(page.evaluate(NAMES))
        if passed[-1] == name:
            return
    raise AssertionError(f"no Tab leads to {name!r}; passed: {passed}")
