"""Serve a new demo and sign in, for the scripts that load its pages.

This needs Chromium or its headless shell on the PATH.
"""  # noqa: INP001

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.server import DemoServer, add_demo, make_migrated, serving  # noqa: E402


@contextmanager
def signed_in(*arguments: str, **options: Any) -> Iterator[Page]:
    """Serve a demo and yield its owner's page in Chromium, with these arguments and options."""
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder)) as server,
        sync_playwright() as playwright,
        # Lighthouse shares this context when it connects.
        playwright.chromium.launch_persistent_context(
            Path(folder) / "profile",
            executable_path=shutil.which("chromium") or shutil.which("chromium-headless-shell"),
            args=["--no-sandbox", "--disable-quic", "--no-first-run", *arguments],
            base_url=server.url,
            **options,
        ) as context,
    ):
        page = context.pages[0]
        page.goto("/")
        page.get_by_label("Email address").fill(server.email)
        page.get_by_label("Password").fill(server.password)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Overview").wait_for()
        yield page


@contextmanager
def served(data_dir: Path) -> Iterator[DemoServer]:
    """Create and serve a demo in a new folder."""
    make_migrated(data_dir)
    add_demo(data_dir)
    with serving(data_dir, data_dir / "log") as server:
        yield server
