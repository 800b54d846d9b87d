"""A demo of its own, served and signed in to, for what looks at the pages.

Needs Chromium on the PATH, or its shell.
"""  # noqa: INP001

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.server import environment, free_port, manage, wait_until_it_answers  # noqa: E402


@contextmanager
def signed_in(*arguments: str, **options: Any) -> Iterator[Page]:
    """Serve a demo and give a page of its owner's, in a Chromium with these arguments, of these options."""
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder)) as url,
        sync_playwright() as playwright,
        # The first context of a browser, which others that connect to it share.
        playwright.chromium.launch_persistent_context(
            Path(folder) / "profile",
            executable_path=shutil.which("chromium") or shutil.which("chromium-headless-shell"),
            args=["--no-sandbox", "--disable-quic", "--no-first-run", *arguments],
            base_url=url,
            **options,
        ) as context,
    ):
        account = json.loads((Path(folder) / "demo.json").read_text())
        page = context.pages[0]
        page.goto("/")
        page.get_by_label("E-mail address").fill(account["email"])
        page.get_by_label("Password").fill(account["password"])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Collections").wait_for()
        yield page


@contextmanager
def served(data_dir: Path) -> Iterator[str]:
    """Serve a demo that is made in this folder; gives its address."""
    port, log = free_port(), data_dir / "log"
    manage(data_dir, "migrate", "--verbosity=0")
    manage(data_dir, "createcachetable")
    manage(data_dir, "demo")
    manage(data_dir, "collectstatic", "--noinput", "--verbosity=0")
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "manage.py", "serve"],
            cwd=ROOT,
            env=environment(data_dir, PORT=str(port)),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_it_answers(url, server, log)
            yield url
        finally:
            server.terminate()
