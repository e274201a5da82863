"""Every page in every state: axe finds nothing, light and dark, and nothing is wider than the window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page, expect

from tests.browser.customer import choose, fill, place
from tests.browser.deployment import Shop, page_of
from web.shop.progress import STATUS

# All rules once; what the dark colours can change is the contrast.
ALL = {"resultTypes": ["violations"]}
COLOURS = {**ALL, "runOnly": ["color-contrast", "link-in-text-block"]}

LONG_NAME = "Wolfeschlegelsteinhausenbergerdorff-Maximiliane von und zu Hohenlohe-Langenburg-Überkingen"
LONG_EMAIL = "an.address.that.nobody.would.type@" + "department-of-glaze." * 8 + "example.com"


def empty_basket(page: Page, shop: Shop) -> None:
    page.goto("/basket")


def no_orders(page: Page, shop: Shop) -> None:
    page.goto("/orders")


def catalogue(page: Page, shop: Shop) -> None:
    choose(page, "Tea bowl", "Moon jar")


def basket(page: Page, shop: Shop) -> None:
    choose(page, "Tea bowl", "Moon jar", "Moon jar", "Moon jar", "Moon jar")
    page.goto("/basket")


def basket_to_mend(page: Page, shop: Shop) -> None:
    basket(page, shop)
    page.get_by_label("Quantity of Moon jar").fill("100")
    fill(page, name="", email="mina")
    page.get_by_role("button", name="Place order").click()
    expect(page.get_by_role("alert")).to_be_visible()


def form_to_send_again(page: Page, shop: Shop) -> None:
    basket(page, shop)
    page.locator("form.columns [name=csrf_token]").evaluate("field => field.value = 'old'")
    page.get_by_role("button", name="Place order").click()
    expect(page.get_by_role("button", name="Send it again")).to_be_visible()


def order_at_work(page: Page, shop: Shop) -> None:
    shop.mail.hold()
    choose(page, "Tea bowl")
    page.goto("/basket")
    fill(page, LONG_NAME, LONG_EMAIL)
    page.get_by_role("button", name="Place order").click()
    expect(page.get_by_text("Writing to")).to_be_visible()


def order_short_of_stock(page: Page, shop: Shop) -> None:
    page.goto(page_of(shop.order("JAR-MOON", 99)))
    expect(page.get_by_text("Moon jar is short")).to_be_visible()
    expect(page.get_by_text("Next try at")).to_be_visible()


def order_complete(page: Page, shop: Shop) -> None:
    place(page, "Tea bowl")
    expect(page.get_by_text(STATUS["complete"])).to_be_visible()


def order_given_up(page: Page, shop: Shop) -> None:
    shop.mail.answers = ["550 no such user"]
    place(page, "Tea bowl")
    expect(page.get_by_text(STATUS["failed"])).to_be_visible()


def orders(page: Page, shop: Shop) -> None:
    order_given_up(page, shop)
    order_complete(page, shop)
    page.goto("/orders")


def nowhere(page: Page, shop: Shop) -> None:
    page.goto("/nowhere")


def unavailable(page: Page, shop: Shop) -> None:
    with shop.without_ledger() as url:
        page.goto(url)
    expect(page.get_by_text("We will be back in a moment")).to_be_visible()


STATES = [
    catalogue, empty_basket, basket, basket_to_mend, form_to_send_again, no_orders, orders,
    order_at_work, order_short_of_stock, order_complete, order_given_up, nowhere, unavailable,
]  # fmt: skip


def faults(page: Page, options: dict[str, Any]) -> str:
    """axe's report on the page, into which its script has been brought; empty if there is nothing to say."""
    found = AxeResults(page.evaluate("options => axe.run(options)", options))
    return str(found.generate_report()) if found.violations_count else ""


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_a_page_is_for_everybody(shop: Shop, page: Page, state: Callable[[Page, Shop], None]) -> None:
    state(page, shop)

    assert page.locator("h1").count() == 1
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider == 0, f"at {width} px the page is {wider} px wider than the window"
    page.evaluate(AXE_SCRIPT)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    assert faults(page, ALL) == ""
    page.emulate_media(color_scheme="dark")
    assert faults(page, COLOURS) == ""
