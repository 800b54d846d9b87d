"""Take the README's screenshot, docs/screenshot.png, of the demo."""  # noqa: INP001

from demo import ROOT, signed_in

SCREENSHOT = ROOT / "docs" / "screenshot.png"
COLLECTION = "US Monitors"


def main() -> None:
    """Save a screenshot of a collection's download page."""
    with signed_in(
        viewport={"width": 1280, "height": 800}, timezone_id="Australia/Sydney", locale="en-AU"
    ) as page:
        page.get_by_role("link", name=COLLECTION).click()
        page.get_by_role("heading", name=COLLECTION).wait_for()
        page.screenshot(path=SCREENSHOT)


if __name__ == "__main__":
    main()
