"""Take the README's screenshot, docs/screenshot.png, of the demo."""  # noqa: INP001

from demo import ROOT, signed_in

SCREENSHOT = ROOT / "docs" / "screenshot.png"


def main() -> None:
    """Save a screenshot of the Overview."""
    with signed_in(
        viewport={"width": 1280, "height": 800}, timezone_id="Australia/Sydney", locale="en-AU"
    ) as page:
        page.screenshot(path=SCREENSHOT)


if __name__ == "__main__":
    main()
