"""Measure pages of the demo with Lighthouse, which `npm install --global lighthouse` installs.

Print the scores of each page, as a phone and as a desktop: the median of three runs, because other work on
the machine affects some. Exit with 1 if a score is lower than required.
"""  # noqa: INP001

import json
import shutil
import subprocess
import sys
from typing import Any

from demo import signed_in

from tests.support.server import free_port

PAGES = {
    "Overview": "/",
    "Collections": "/collections/",
    "Download results": "/collections/101/download",
    "Run": "/collections/101/runs/88/",
    "API docs": "/api/v1/docs",
}
MODES: dict[str, list[str]] = {"mobile": [], "desktop": ["--preset=desktop"]}
LEAST = {"performance": 95, "accessibility": 100, "best-practices": 100}
TIMES = 3
GOOD = 0.9  # what Lighthouse shows in green


def main() -> int:
    """Measure each page in each mode."""
    program = shutil.which("lighthouse")
    if program is None:
        print("Lighthouse isn't installed. Install it with: npm install --global lighthouse", file=sys.stderr)
        return 2
    port = free_port()
    missed = False
    with signed_in(f"--remote-debugging-port={port}") as page:
        url = page.url.removesuffix("/")
        for name, path in PAGES.items():
            for mode, arguments in MODES.items():
                command = [program, url + path, f"--port={port}", *arguments]
                report = sorted((measured(command) for _ in range(TIMES)), key=sum_of_scores)[TIMES // 2]
                print(f"{name}, {mode}: {format_report(report)}", flush=True)
                missed |= any(score(report, what) < least for what, least in LEAST.items())
    return int(missed)


def measured(command: list[str]) -> dict[str, Any]:
    """Return Lighthouse's report of a page, and keep the browser's storage, which has the session."""
    done = subprocess.run(  # noqa: S603  # we looked up the program
        [
            *command,
            f"--only-categories={','.join(LEAST)}",
            "--disable-storage-reset",
            "--output=json",
            "--quiet",
        ],
        check=True,
        stdout=subprocess.PIPE,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    if report["finalDisplayedUrl"] != report["requestedUrl"]:
        sys.exit(f"{report['requestedUrl']} redirected to {report['finalDisplayedUrl']}.")
    return report


def score(report: dict[str, Any], category: str) -> int:
    """Return the score of a category, from 0 to 100."""
    value: float = report["categories"][category]["score"] * 100
    return round(value)


def sum_of_scores(report: dict[str, Any]) -> int:
    """Return the sum of the scores of all categories."""
    return sum(score(report, what) for what in LEAST)


def format_report(report: dict[str, Any]) -> str:
    """Return a line with the scores, and a line for each audit that lowers them."""
    counted = {
        audit["id"]
        for what in LEAST
        for audit in report["categories"][what]["auditRefs"]
        if audit["weight"] > 0
    }
    lost = [
        f"\n  {audit['title']}: {audit.get('displayValue', audit['score'])}"
        for audit in report["audits"].values()
        if audit["id"] in counted and audit["score"] is not None and audit["score"] < GOOD
    ]
    return ", ".join(f"{what} {score(report, what)}" for what in LEAST) + "".join(lost)


if __name__ == "__main__":
    sys.exit(main())
