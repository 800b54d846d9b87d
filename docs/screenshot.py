"""Takes the README's picture, docs/screenshot.png, of the demo. Needs Chromium on the PATH, or its shell."""  # noqa: INP001

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.server import environment, free_port, manage, wait_until_it_answers  # noqa: E402

PICTURE = ROOT / "docs" / "screenshot.png"
COLLECTION = "US Monitors"


def main() -> None:
    """Serve a demo of its own, sign in as its owner, and take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir, port = Path(folder), free_port()
        manage(data_dir, "collectstatic", "--noinput", "--verbosity=0")
        with (data_dir / "log").open("wb") as log:
            server = subprocess.Popen(
                [sys.executable, "manage.py", "serve", "--demo"],
                cwd=ROOT,
                env=environment(data_dir, PORT=str(port)),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_it_answers(url, server, data_dir / "log")
            take(url, json.loads((data_dir / "demo.json").read_text()))
        finally:
            server.terminate()
            server.wait()


def take(url: str, account: dict[str, str]) -> None:
    """Write the picture of the collection's download page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-headless-shell"),
            args=["--no-sandbox", "--disable-quic", "--no-first-run"],
        )
        page = browser.new_page(
            base_url=url,
            viewport={"width": 1280, "height": 800},
            timezone_id="Australia/Sydney",
            locale="en-AU",
        )
        page.goto("/")
        page.get_by_label("E-mail address").fill(account["email"])
        page.get_by_label("Password").fill(account["password"])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name=COLLECTION).click()
        page.get_by_role("heading", name=COLLECTION).wait_for()
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
