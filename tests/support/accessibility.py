"""What axe finds in a page."""

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page

from tests.support.server import AXE
from tests.support.tools import in_ci

# Rows are told apart by their elements' attributes, but for those that say which row, file or time it is.
CHECK = r"""async ([within, rules]) => {
    const individual =
        /^(id|name|href|download|title|datetime|value|max|for|form|hx-.*|data-(?!label$).*|aria-(label|labelledby|describedby|controls))$/;

    function* kinds(element, above) {
        const has_text = [...element.childNodes].some(
            (node) => node.nodeType === Node.TEXT_NODE && node.data.trim(),
        );
        const attributes = [...element.attributes].map(
            ({ name, value }) => name + "=" + (individual.test(name) ? value.trim() !== "" : value),
        );
        const states = [":checked", ":focus", ":target"].filter((state) => element.matches(state));
        const kind = [above, element.localName, ...attributes, ...states, has_text].join("|");
        yield kind;
        for (const child of element.children) yield* kinds(child, kind);
    }

    function path(element) {
        return element ? [path(element.parentElement), element.localName, element.className].join("|") : "";
    }

    const part = within ? document.querySelector(within) : document;
    const seen = new Map();
    const hidden = [];
    for (const row of document.querySelectorAll("tbody > tr, li")) {
        const place = part.contains(row) + path(row.parentElement);
        if (!seen.has(place)) seen.set(place, new Map());
        const times = seen.get(place);
        const all = new Set(kinds(row, ""));
        if (!row.contains(part) && [...all].every((kind) => times.get(kind) >= 2)) hidden.push(row);
        else for (const kind of all) times.set(kind, (times.get(kind) ?? 0) + 1);
    }

    for (const row of hidden) row.style.setProperty("visibility", "hidden", "important");
    // The full report lists violations alone, which is much faster where a page has many rows.
    const { violations } = await axe.run(part, { resultTypes: ["violations"], rules });
    for (const row of hidden) {
        row.style.removeProperty("visibility");
        if (!row.style.length) row.removeAttribute("style");
    }
    return { violations };
}"""

LOAD = """async (address) => {
    const script = document.createElement("script");
    script.src = address;
    await new Promise((onload, onerror) => document.head.append(Object.assign(script, { onload, onerror })));
    script.remove();
}"""


def check_accessibility(page: Page, within: str | None = None, *, contrast: bool = False) -> None:
    """Check the current state of a page, or of the element that a selector finds; a violation fails the test.

    The contrast of colors takes as long as all other rules together. CI always checks it; outside CI it is
    checked on request.

    Most rows of a long table come of one template, and axe takes its time with each. So it sees each kind of
    element that is in a row of a table (or an item of a list) in two rows; of those that have no other kind
    the rest are hidden from it, and stay where they are. Of one kind are elements of the same name,
    attributes and state, which both have a text or none, within the same elements of a row, in tables within
    elements of the same names and classes. They may differ in their texts, addresses and ids.
    """
    # It stays until the page is left.
    if not page.evaluate("'axe' in window"):
        if page.evaluate("'htmx' in window"):  # a page of the site, with scripts
            page.evaluate(LOAD, f"/static/{AXE}")
        else:
            page.evaluate(AXE_SCRIPT)
    rules = {"color-contrast": {"enabled": contrast or in_ci()}}
    found = AxeResults(page.evaluate(CHECK, [within, rules]))
    assert found.violations_count == 0, found.generate_report()
