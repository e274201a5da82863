"""Every page in every state: axe finds nothing, light and dark, and nothing is wider than the window."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page, expect

from tests.browser.customer import choose, fill, place
from tests.browser.deployment import Shop, page_of
from web.shop.progress import STATUS

# All rules at each width; what the dark colours can change is the contrast.
ALL = {"resultTypes": ["violations"]}
COLOURS = {**ALL, "runOnly": ["color-contrast", "link-in-text-block"]}

LONG_NAME = "Wolfeschlegelsteinhausenbergerdorff-Maximiliane von und zu Hohenlohe-Langenburg-Überkingen"
LONG_EMAIL = "an.address.that.nobody.would.type@" + "department-of-glaze." * 8 + "example.com"


def is_for_everybody(page: Page) -> None:
    """Assert that the page, as it is now, can be used by eye, ear and keyboard, on a telephone and on a desk."""
    assert page.locator("h1").count() == 1
    page.evaluate(AXE_SCRIPT)
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider == 0, f"at {width} px {page.url} is {wider} px wider than the window"
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        assert faults(page, ALL) == ""
    page.emulate_media(color_scheme="dark")
    assert faults(page, COLOURS) == ""


def faults(page: Page, options: dict[str, Any]) -> str:
    """axe's report on the page, into which its script has been brought; empty if there is nothing to say."""
    found = AxeResults(page.evaluate("options => axe.run(options)", options))
    return str(found.generate_report()) if found.violations_count else ""


def test_the_pages_before_an_order(page: Page) -> None:
    for path in ("/basket", "/orders", "/nowhere"):  # Empty, empty, and not there.
        page.goto(path)
        is_for_everybody(page)

    choose(page, "Tea bowl", "Moon jar", "Moon jar", "Moon jar", "Moon jar")
    is_for_everybody(page)

    page.goto("/basket")
    expect(page.get_by_text("Only 3 on the shelf now")).to_be_visible()
    is_for_everybody(page)

    page.get_by_label("Quantity of Moon jar").fill("100")
    fill(page, name="", email="mina")
    page.get_by_role("button", name="Place order").click()
    expect(page.get_by_role("alert")).to_be_visible()
    is_for_everybody(page)

    page.locator("form.columns [name=csrf_token]").evaluate("field => field.value = 'old'")
    page.get_by_role("button", name="Place order").click()
    expect(page.get_by_role("button", name="Send it again")).to_be_visible()
    is_for_everybody(page)


def test_the_pages_of_orders(shop: Shop, page: Page) -> None:
    # At work, with a name and an address that fit no line.
    shop.mail.hold()
    choose(page, "Tea bowl")
    page.goto("/basket")
    fill(page, LONG_NAME, LONG_EMAIL)
    page.get_by_role("button", name="Place order").click()
    expect(page.get_by_text("Writing to")).to_be_visible()
    is_for_everybody(page)

    # Complete.
    shop.mail.release()
    expect(page.get_by_text(STATUS["complete"])).to_be_visible()
    is_for_everybody(page)

    # Given up.
    shop.mail.answers = ["550 no such user"]
    place(page, "Teapot", "Tea bowl", "Milk jug")
    expect(page.get_by_text(STATUS["failed"])).to_be_visible()
    is_for_everybody(page)

    # Short of stock, and to be tried again.
    page.goto(page_of(shop.order("JAR-MOON", 99)))
    expect(page.get_by_text("Moon jar is short")).to_be_visible()
    expect(page.get_by_text("Next try at")).to_be_visible()
    is_for_everybody(page)

    page.goto("/orders")
    expect(page.get_by_text("Needs attention")).to_be_visible()
    is_for_everybody(page)


def test_the_page_without_a_ledger(shop: Shop, page: Page) -> None:
    with shop.without_ledger() as url:
        page.goto(url)

    expect(page.get_by_text("We will be back in a moment")).to_be_visible()
    is_for_everybody(page)
