"""Measures pages of the demo with Lighthouse, which `npm install --global lighthouse` installs.

Prints what each page has of 100, as on a phone and as on a desk: of three times the middle one, as other
work on the machine disturbs some. Ends with 1 where that is less than the project promises.
"""  # noqa: INP001

import json
import shutil
import subprocess
import sys
from typing import Any

from demo import signed_in

from tests.support.server import free_port

PAGES = {
    "Collections": "/collections/",
    "Download results": "/collections/101/download",
    "Run": "/collections/101/runs/88/",
}
FORMS: dict[str, list[str]] = {"mobile": [], "desktop": ["--preset=desktop"]}
LEAST = {"performance": 95, "accessibility": 100, "best-practices": 100}
TIMES = 3
GOOD = 0.9  # what Lighthouse shows green


def main() -> int:
    """Measure each page in each form."""
    program = shutil.which("lighthouse")
    if program is None:
        print("Lighthouse isn't here. Install it with: npm install --global lighthouse", file=sys.stderr)
        return 2
    port = free_port()
    missed = False
    with signed_in(f"--remote-debugging-port={port}") as page:
        url = page.url.removesuffix(PAGES["Collections"])
        for name, path in PAGES.items():
            for form, arguments in FORMS.items():
                command = [program, url + path, f"--port={port}", *arguments]
                report = sorted((measured(command) for _ in range(TIMES)), key=sum_of_scores)[TIMES // 2]
                print(f"{name}, {form}: {said(report)}", flush=True)
                missed |= any(score(report, what) < least for what, least in LEAST.items())
    return int(missed)


def measured(command: list[str]) -> dict[str, Any]:
    """Return Lighthouse's report of a page that is signed in to, so what the browser stores is left there."""
    done = subprocess.run(  # noqa: S603  # what is called was looked up by us
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
        sys.exit(f"{report['requestedUrl']} led to {report['finalDisplayedUrl']}.")
    return report


def score(report: dict[str, Any], category: str) -> int:
    """Return what a page has of 100 in this category."""
    return round(report["categories"][category]["score"] * 100)


def sum_of_scores(report: dict[str, Any]) -> int:
    """Return what a page has in all categories together."""
    return sum(score(report, what) for what in LEAST)


def said(report: dict[str, Any]) -> str:
    """Return the scores in a line, and in further ones what they lost most by."""
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
