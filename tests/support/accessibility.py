"""Check the accessibility of a page with axe."""

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page

from tests.support.server import AXE

# Rows are compared by the attributes of their elements, except for those that identify a row, file or time.
CHECK = r"""async (within) => {
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
        const parent = part.contains(row) + path(row.parentElement);
        if (!seen.has(parent)) seen.set(parent, new Map());
        const times = seen.get(parent);
        const all = new Set(kinds(row, ""));
        if (!row.contains(part) && [...all].every((kind) => times.get(kind) >= 2)) hidden.push(row);
        else for (const kind of all) times.set(kind, (times.get(kind) ?? 0) + 1);
    }

    for (const row of hidden) row.style.setProperty("visibility", "hidden", "important");
    // Report only violations, which is much faster if a page has many rows.
    const { violations } = await axe.run(part, { resultTypes: ["violations"] });
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


def check_accessibility(page: Page, within: str | None = None) -> None:
    """Check the current state of a page, or of the element that a selector finds. A violation fails the test.

    axe is slow for long tables, whose rows mostly come from one template. So it checks each kind of element
    in a row (or list item) twice, and rows without any other kind of element are hidden from it. Elements are
    of the same kind if their names, attributes, states and ancestors are the same, and both or neither have
    text. Their texts, addresses and ids may differ.
    """
    # axe remains loaded until the browser leaves the page.
    if not page.evaluate("'axe' in window"):
        if page.evaluate("'htmx' in window"):  # a page of the site, with scripts
            page.evaluate(LOAD, f"/static/{AXE}")
        else:
            page.evaluate(AXE_SCRIPT)
    found = AxeResults(page.evaluate(CHECK, within))
    assert found.violations_count == 0, found.generate_report()
