"""One warm deployment and one Chromium for all browser tests; each test has a browser profile of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.deployment import HeldMail, Shop
from tests.conftest import need
from tests.ledgers import Ledgers
from tests.servers import RedisServer
from tests.servers.process import find_program

FLAGS = [
    "--no-sandbox",  # The tests may run as root.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 20_000  # For a page to become so.


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory, ledgers: Ledgers) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    redis = need(lambda: RedisServer(folder))
    redis.start()
    mail = HeldMail()
    mail.start()
    deployment = Shop(folder, redis, ledgers.fresh("sqlite"))
    deployment.start(mail)
    yield deployment
    deployment.stop()
    mail.stop()
    redis.stop()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    chromium = need(lambda: find_program("chromium"))
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(chromium), args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser, shop: Shop, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A new profile. `@pytest.mark.parametrize("context", [{…}], indirect=True)` changes it."""
    made = browser.new_context(base_url=shop.url, **getattr(request, "param", {}))
    made.set_default_timeout(PATIENCE_MS)
    yield made
    shop.mail.release()
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
