"""A Chromium per test process, signed in once; every test fails on a message in the browser's console."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, expect

from tests.server import DemoServer

# The shell is the same browser without what only a screen needs, and quicker by a quarter.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
QUIET = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NewPage = Callable[..., Page]

# In milliseconds: several tests share a processor, and each has a browser.
PATIENCE = 10_000
expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    if CHROMIUM is None:
        pytest.skip("There is no chromium on this machine.")
    return browser_type_launch_args | {"executable_path": CHROMIUM, "args": list(QUIET)}


@pytest.fixture(scope="session")
def signed_in(browser: Browser, demo_server: DemoServer) -> StorageState:
    """The cookies of the demo's owner, signed in."""
    with browser.new_context(base_url=demo_server.url) as context:
        page = context.new_page()
        sign_in(page, demo_server.email, demo_server.password)
        return context.storage_state()


def sign_in(page: Page, email: str, password: str) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def expected_in_console() -> list[str]:
    """What a test that provokes a failure expects in the console: it adds regular expressions."""
    return [r"the server responded with a status of [45]\d\d"]  # Chromium notes these, a page can't help it


@pytest.fixture
def open_page(
    browser: Browser, demo_server: DemoServer, signed_in: StorageState, expected_in_console: list[str]
) -> Iterator[NewPage]:
    """Make pages, of the owner or with `anonymous=True` of nobody, with any options of a context."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def make(*, anonymous: bool = False, **options: Any) -> Page:
        state = None if anonymous else signed_in
        context = browser.new_context(
            base_url=demo_server.url, storage_state=state, reduced_motion="reduce", **options
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        context.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        return context.new_page()

    yield make
    for context in contexts:
        context.close()
    assert [text for text in complaints if not re.search("|".join(expected_in_console), text)] == []


def hide(page: Page, *, hidden: bool = True) -> None:
    """Let the page's tab be one that nobody sees, or that is seen again."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


@pytest.fixture
def page(open_page: NewPage) -> Page:
    """A page of the owner's."""
    return open_page()


@pytest.fixture
def page_without_javascript(open_page: NewPage) -> Page:
    """A page of the owner's, in a browser that runs no scripts."""
    return open_page(java_script_enabled=False)
