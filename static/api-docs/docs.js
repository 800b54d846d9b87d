// Swagger UI draws the page; this gives it the reader's colours, light or dark, and names what it leaves
// without a name, for people who don't see the page or don't use a mouse. The names are given again whenever
// Swagger UI has drawn something.

const NAMES = {
  "select.examples-select-element": "Example",
  "select[data-variable]": "Server",
  ".parameters select": "Value",
  ".content-type": "Media type",
  ".body-param__text": "Request body",
  ".modal-ux": "API key",
  ".close-modal": "Close",
  ".copy-to-clipboard button": "Copy",
};

const dark = matchMedia("screen and (prefers-color-scheme: dark)"); // paper is light
const page = document.getElementById("swagger-ui");

function chooseColours() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

function giveNames() {
  for (const [selector, name] of Object.entries(NAMES)) {
    for (const element of page.querySelectorAll(`${selector}:not([aria-label])`)) {
      element.setAttribute("aria-label", name);
    }
  }
  // The field of a parameter has its name as the placeholder.
  for (const field of page.querySelectorAll("input[placeholder]:not([aria-label])")) {
    field.setAttribute("aria-label", field.placeholder);
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

dark.addEventListener("change", chooseColours);
chooseColours();
new MutationObserver(improve).observe(page, { childList: true, subtree: true });
improve();
