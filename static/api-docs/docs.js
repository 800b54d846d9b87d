// Swagger UI draws the page; this names what it leaves without a name, for people who don't see the page
// or don't use a mouse. It runs again whenever Swagger UI has drawn something.

const NAMES = {
  "select.examples-select-element": "Example",
  "select[data-variable]": "Server",
  ".content-type": "Media type",
  ".body-param__text": "Request body",
  ".modal-ux": "API key",
  ".close-modal": "Close",
  ".copy-to-clipboard button": "Copy",
};

const page = document.getElementById("swagger-ui");

function giveNames() {
  for (const [selector, name] of Object.entries(NAMES)) {
    for (const element of page.querySelectorAll(`${selector}:not([aria-label])`)) {
      element.setAttribute("aria-label", name);
    }
  }
}

// A heading is at most one level below the one before it.
function orderHeadings() {
  let level = 0;
  for (const heading of page.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    level = Math.min(Number(heading.tagName[1]), level + 1);
    heading.setAttribute("aria-level", level);
  }
}

function improve() {
  giveNames();
  orderHeadings();
  // A table is a table, not a landmark of the page.
  page.querySelectorAll("table[role=region]").forEach((table) => table.removeAttribute("role"));
  page.querySelectorAll(".modal-ux").forEach((dialog) => dialog.setAttribute("role", "dialog"));
  // What can be scrolled can be scrolled by keyboard.
  page.querySelectorAll("pre:not([tabindex])").forEach((code) => code.setAttribute("tabindex", "0"));
}

new MutationObserver(improve).observe(page, { childList: true, subtree: true });
improve();
