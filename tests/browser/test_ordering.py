"""Ordering in a real browser, with a worker at work: live, by keyboard, without scripts, and through outages."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from tests.browser.customer import ORDER, choose, fill, place, tab_to
from tests.browser.deployment import Shop, page_of
from web.shop.progress import STATUS

NO_SCRIPTS = pytest.mark.parametrize("context", [{"java_script_enabled": False}], indirect=True)


def answers(page: Page) -> list[Response]:
    """Every answer the page gets from now on."""
    seen: list[Response] = []
    page.on("response", lambda answer: seen.append(answer))
    return seen


def paths(seen: list[Response], end: str) -> list[int]:
    """Statuses of the answers whose address ends so."""
    return [each.status for each in seen if each.url.endswith(end)]


def step(page: Page, name: str, state: str) -> None:
    expect(page.locator(f'[data-step="{name}"]')).to_have_attribute("data-state", state)


def completes(page: Page) -> None:
    expect(page.get_by_text(STATUS["complete"])).to_be_visible()
    for name in ("inventory", "email", "invoice"):
        step(page, name, "done")
    expect(page.get_by_role("link", name="Download the invoice")).to_be_visible()


def test_an_order_is_placed_by_keyboard_and_its_steps_are_seen_live(shop: Shop, page: Page, tmp_path: Path) -> None:
    # Given a piece chosen by keyboard
    shop.mail.hold()
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    tab_to(page, "Add to basket: Tea bowl")
    page.keyboard.press("Enter")
    tab_to(page, "1 in basket")
    page.keyboard.press("Enter")
    # And one more of it
    page.wait_for_url("/basket")
    tab_to(page, "One more Tea bowl")
    page.keyboard.press("Enter")
    expect(page.locator("[data-total]")).to_have_text("€48.00")
    expect(page.locator("[data-pieces]")).to_have_text("2")
    # When it is ordered
    tab_to(page, "Name")
    page.keyboard.type("Mina Itō")
    tab_to(page, "E-mail")
    page.keyboard.type("mina@example.com")
    seen = answers(page)
    page.keyboard.press("Enter")
    page.wait_for_url(ORDER)
    # Then the page shows each step as it happens, told by the server, and is loaded once
    page.evaluate("window.loaded = 'once'")
    step(page, "inventory", "done")
    step(page, "email", "running")
    step(page, "invoice", "waiting")
    shop.mail.release()
    completes(page)
    assert page.evaluate("window.loaded") == "once"
    streams = [each for each in seen if each.headers.get("content-type") == "text/event-stream"]
    assert [each.status for each in streams] == [200]
    assert paths(seen, ".json") == []
    # And the invoice is there
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the invoice").click()
    download.value.save_as(tmp_path / "invoice.pdf")
    assert (tmp_path / "invoice.pdf").read_bytes().startswith(b"%PDF-")
    # And the browser knows the order
    page.get_by_role("link", name="Your orders").first.click()
    row = page.get_by_role("listitem")
    expect(row).to_contain_text("€48.00")
    expect(row).to_contain_text("Complete")


def test_hurried_clicks_all_count_and_stay_in_the_basket(page: Page) -> None:
    choose(page, "Tea bowl", "Teapot", "Tea bowl", "Milk jug")

    page.goto("/basket")

    more = page.get_by_role("button", name="One more Teapot")
    for _ in range(3):
        more.click()
    expect(page.locator("[data-pieces]")).to_have_text("7")
    page.reload()
    expect(page.get_by_label("Quantity of Teapot")).to_have_value("4")
    expect(page.locator("[data-total]")).to_have_text("€470.00")


def test_clicks_in_a_hurry_to_leave_count_too(page: Page) -> None:
    page.goto("/")
    page.evaluate("""() => {
        for (const sku of ["BOWL-TEA", "POT-TEA"]) document.querySelector(`#${sku} .add`).click();
        document.querySelector("nav [href='/basket']").click();
    }""")
    page.wait_for_url("/basket")
    expect(page.locator("[data-total]")).to_have_text("€120.00")

    page.evaluate("""() => {
        for (const more of document.querySelectorAll("[data-step='1']")) more.click();
        document.querySelector(".brand").click();
    }""")
    page.wait_for_url("/")
    expect(page.locator("[data-pieces]")).to_have_text("4")
    expect(page.get_by_role("link", name="2 in basket")).to_have_count(2)


def test_a_button_that_can_do_no_more_keeps_the_focus(page: Page) -> None:
    choose(page, "Teapot")
    page.goto("/basket")
    more, less = (page.get_by_role("button", name=name) for name in ("One more Teapot", "One Teapot less"))

    more.click()
    expect(less).to_have_attribute("aria-disabled", "false")
    less.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")

    expect(less).to_be_focused()
    expect(less).to_have_attribute("aria-disabled", "true")
    expect(page.get_by_label("Quantity of Teapot")).to_have_value("1")


def test_a_basket_that_cannot_be_saved_says_so_and_can_be_ordered(context: BrowserContext, page: Page) -> None:
    # Given saving that fails
    quick = "const real = AbortSignal.timeout; AbortSignal.timeout = (ms) => real.call(AbortSignal, ms / 10);"
    context.add_init_script(quick)
    choose(page, "Teapot")
    page.goto("/basket")
    more, update = (page.get_by_role("button", name=name) for name in ("One more Teapot", "Update the basket"))
    expect(update).to_be_hidden()
    page.route("/basket", lambda route: route.fulfill(status=503))
    # When a quantity changes, then it can be saved by hand
    more.click()
    expect(update).to_be_visible()
    # And the button goes when saving works again
    page.unroute("/basket")
    more.click()
    expect(page.locator("[data-pieces]")).to_have_text("3")
    expect(update).to_be_hidden()
    # And an answer that never comes holds up no order
    page.route("/basket", lambda route: None)
    for _ in range(3):
        more.click()
    fill(page)
    page.get_by_role("button", name="Place order").click()
    page.wait_for_url(ORDER)
    expect(page.get_by_role("row", name="Teapot")).to_contain_text("6")


def test_fields_to_mend_have_the_focus_first_on_the_summary_then_on_the_field(page: Page) -> None:
    choose(page, "Tea bowl")
    page.goto("/basket")
    fill(page, name="", email="mina")

    page.get_by_role("button", name="Place order").click()

    expect(page.get_by_role("alert")).to_be_focused()
    assert page.title().startswith("To mend: ")
    tab_to(page, "Please tell us your name.")
    page.keyboard.press("Enter")
    name = page.get_by_label("Name", exact=True)
    expect(name).to_be_focused()
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(name).to_have_accessible_description("Please tell us your name.")
    expect(page.get_by_label("E-mail")).to_have_value("mina")


@NO_SCRIPTS
def test_without_scripts_everything_works(shop: Shop, page: Page) -> None:
    # Given two pieces, one of them wanted twice
    page.goto("/")
    for name in ("Tea bowl", "Teapot"):
        page.get_by_role("button", name=f"Add to basket: {name}").click()
    page.get_by_role("link", name="Basket 2").click()
    page.get_by_label("Quantity of Tea bowl").fill("3")
    page.keyboard.press("Enter")
    expect(page.locator("[data-total]")).to_have_text("€168.00")
    # When one is removed after the form was filled in, and the rest ordered
    fill(page)
    page.get_by_role("button", name="Remove Teapot").click()
    expect(page.locator("[data-total]")).to_have_text("€72.00")
    shop.mail.hold()
    page.get_by_role("button", name="Place order").click()
    # Then the page looks for news by itself
    step(page, "email", "running")
    shop.mail.release()
    completes(page)


def test_an_order_that_waits_for_its_turn_says_so_with_and_without_scripts(
    shop: Shop, browser: Browser, page: Page
) -> None:
    with browser.new_context(base_url=shop.url, java_script_enabled=False) as plain:
        pages = [page, plain.new_page()]
        # Given a worker that may work on one order at a time, and has one in its hands
        shop.mail.hold()
        with shop.limited("--concurrency", "1", "--each", "worker"):
            shop.order("DISH-DIP", 1)
            # When another one is placed
            address = page_of(shop.order("PLATE-SIDE", 1))
            # Then its page says that it waits, and no step has begun
            for each in pages:
                each.goto(address)
                expect(each.locator(".says")).to_have_text(STATUS["waiting"])
                for name in ("inventory", "email", "invoice"):
                    step(each, name, "waiting")
            # And when its turn has come, it is worked on
            shop.mail.release()
            for each in pages:
                completes(each)


@pytest.mark.parametrize("why", ["all streams are taken", "the browser knows no streams"])
def test_without_a_stream_the_page_asks_again_and_again(
    shop: Shop, context: BrowserContext, page: Page, why: str
) -> None:
    taken = []
    if why == "all streams are taken":
        taken = shop.take_all_streams()
    else:
        context.add_init_script("delete window.EventSource")
    shop.mail.hold()
    seen = answers(page)

    try:
        place(page, "Side plate")
        step(page, "email", "running")
        shop.mail.release()
        completes(page)
    finally:
        for each in taken:
            each.close()

    assert paths(seen, "/events") == ([503] if taken else [])
    assert paths(seen, ".json").count(200) > 1


def test_a_page_that_is_shown_again_asks_anew_and_no_longer_as_before(
    shop: Shop, context: BrowserContext, page: Page
) -> None:
    # Given a page that asks, and an answer that takes its time
    context.add_init_script("delete window.EventSource")
    page.route("**/*.json", lambda route: None)
    with page.expect_request("**/*.json"):
        page.goto(page_of(shop.order("JAR-MOON", 99)))
    # When it is shown again, then one question takes the place of the other
    for _ in range(2):
        with page.expect_request("**/*.json"), page.expect_event("requestfailed"):
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_a_broker_killed_in_the_middle_stops_no_order(shop: Shop, page: Page) -> None:
    # Given an order that a worker has in its hands
    shop.mail.hold()
    place(page, "Dipping dish")
    step(page, "email", "running")
    # When the broker is killed
    shop.redis.kill()
    try:
        # Then the order goes on, and so does its page
        shop.mail.release()
        completes(page)
        # And the next order is taken and done without a broker
        address = place(page, "Yunomi cup")
        completes(page)
    finally:
        shop.mend()
    page.goto("/orders")
    assert address.endswith(page.get_by_role("link", name="Order C-").first.get_attribute("href") or "none")
    assert page.get_by_role("listitem").count() == 2


def test_a_page_outlives_a_restart_of_the_web(shop: Shop, page: Page) -> None:
    shop.mail.hold()
    place(page, "Dinner plate")
    step(page, "email", "running")
    page.evaluate("window.loaded = 'once'")

    shop.kill_web()
    shop.mail.release()
    shop.serve()

    completes(page)
    assert page.evaluate("window.loaded") == "once"
