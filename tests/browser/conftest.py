"""One Chromium per test process, signed in once. Any message in the browser's console fails the test."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, ViewportSize, expect

from tests.support import tools
from tests.support.server import DemoServer
from tests.support.shell import Shell, running

# The headless shell is the same browser without a screen, and a quarter faster.
CHROMIUM = ("chromium-headless-shell", "chromium")
QUIET = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--js-flags=--no-turbofan,--no-maglev",  # pages are closed before optimizing their scripts pays off
)
NewPage = Callable[..., Page]

WIDE = ViewportSize(width=1280, height=720)
NARROW = ViewportSize(width=360, height=740)

PATIENCE = 1000 * tools.PATIENCE  # in milliseconds
expect.set_options(timeout=PATIENCE)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests with a browser as thorough. `make test` runs only those that are a `main_case`."""
    folder = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(folder):
            item.add_marker("browser")
            item.add_marker("thorough")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    return browser_type_launch_args | {"executable_path": tools.needs(*CHROMIUM), "args": list(QUIET)}


@pytest.fixture(scope="session")
def shell(demo_server: DemoServer) -> Iterator[Shell]:
    """A shell that runs code on the server's data and returns its output."""
    with running(demo_server.data_dir) as run:
        yield run


@pytest.fixture(scope="session")
def signed_in(browser: Browser, demo_server: DemoServer) -> StorageState:
    """The cookies of the demo's owner, signed in."""
    with browser.new_context(base_url=demo_server.url) as context:
        page = context.new_page()
        sign_in(page, demo_server.email, demo_server.password)
        return context.storage_state()


def sign_in(page: Page, email: str, password: str) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def expected_in_console() -> list[str]:
    """Regular expressions for console messages that a test expects. Tests add to them."""
    return [r"the server responded with a status of [45]\d\d"]  # a page can't prevent these


class Tab:
    """A page in its own browser window, and the messages in its console."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        context = browser.new_context(base_url=url, reduced_motion="reduce", **options)
        context.set_default_timeout(PATIENCE)
        self.complaints: list[str] = []
        context.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self.page = context.new_page()

    def clear(self) -> None:
        """Remove everything that a test has left."""
        page, context = self.page, self.page.context
        page.unroute_all()
        page.goto("/healthz")  # a small page of the same site, since another site would use another process
        clock = page.evaluate("localStorage.clear(), sessionStorage.clear(), `${Date.now}`")
        assert "[native code]" in clock, "A clock stays where it is installed: take open_page()."
        assert context.pages == [page]
        page.set_viewport_size(WIDE)
        page.emulate_media(media="null", color_scheme="light", reduced_motion="reduce")
        context.clear_cookies()
        context.clear_permissions()


@pytest.fixture
def console(expected_in_console: list[str]) -> Iterator[list[str]]:
    """The console messages of a test's pages. Unexpected ones fail the test at its end."""
    complaints: list[str] = []
    yield complaints
    assert [text for text in complaints if not re.search("|".join(expected_in_console), text)] == []


@pytest.fixture
def open_page(
    browser: Browser, demo_server: DemoServer, signed_in: StorageState, console: list[str]
) -> Iterator[NewPage]:
    """Open new pages, signed in as the owner unless `anonymous=True`, with any options of a context.

    They are for tests that add to a page what can't be taken out again: a clock, a listener, a script.
    """
    tabs: list[Tab] = []

    def make(*, anonymous: bool = False, **options: Any) -> Page:
        state = None if anonymous else signed_in
        tabs.append(Tab(browser, demo_server.url, storage_state=state, **options))
        return tabs[-1].page

    yield make
    for tab in tabs:
        tab.page.context.close()
        console += tab.complaints


@pytest.fixture(scope="session")
def kept_tabs(browser: Browser) -> defaultdict[bool, list[Tab]]:
    """The browser's unused tabs, with and without JavaScript."""
    return defaultdict(list)


@pytest.fixture
def borrow_page(
    browser: Browser, demo_server: DemoServer, console: list[str], kept_tabs: defaultdict[bool, list[Tab]]
) -> Iterator[NewPage]:
    """Reuse pages: opening one takes longer than most tests."""
    borrowed: list[tuple[bool, Tab]] = []

    def borrow(state: StorageState | None, *, javascript: bool) -> Page:
        kept = kept_tabs[javascript]
        tab = kept.pop() if kept else Tab(browser, demo_server.url, java_script_enabled=javascript)
        borrowed.append((javascript, tab))
        if state:
            tab.page.context.add_cookies(state["cookies"])  # type: ignore[arg-type]
        return tab.page

    yield borrow
    for javascript, tab in borrowed:
        tab.clear()
        console += tab.complaints
        tab.complaints.clear()
        kept_tabs[javascript].append(tab)


@pytest.fixture
def javascript() -> bool:
    """Whether the browser runs scripts. Tests that must pass with and without them parametrize it."""
    return True


def hide(page: Page, *, hidden: bool = True) -> None:
    """Hide the page's tab or show it again."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


@pytest.fixture
def page(borrow_page: NewPage, signed_in: StorageState, *, javascript: bool) -> Page:
    """A page, signed in as the owner."""
    return borrow_page(signed_in, javascript=javascript)


@pytest.fixture
def page_without_javascript(borrow_page: NewPage, signed_in: StorageState) -> Page:
    """A page without JavaScript, signed in as the owner."""
    return borrow_page(signed_in, javascript=False)


@pytest.fixture
def visitors_page(borrow_page: NewPage, *, javascript: bool) -> Page:
    """A page of a visitor who isn't signed in."""
    return borrow_page(None, javascript=javascript)
