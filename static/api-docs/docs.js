// Improves the page that Swagger UI draws: sets the color scheme, and adds what screen readers and keyboards
// need. Repeats this each time Swagger UI draws something.

const LABELS = {
  "select.examples-select-element": "Example",
  "select[data-variable]": "Server",
  ".parameters select": "Value",
  ".content-type": "Media type",
  ".body-param__text": "Request body",
  ".modal-ux": "API key",
  ".close-modal": "Close",
  ".copy-to-clipboard button": "Copy",
};

const dark = matchMedia("screen and (prefers-color-scheme: dark)"); // print light pages
const page = document.getElementById("swagger-ui");

function setColorScheme() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

function addLabels() {
  for (const [selector, label] of Object.entries(LABELS)) {
    for (const element of page.querySelectorAll(`${selector}:not([aria-label])`)) {
      element.setAttribute("aria-label", label);
    }
  }
  // The placeholder of a parameter's field is its name.
  for (const field of page.querySelectorAll("input[placeholder]:not([aria-label])")) {
    field.setAttribute("aria-label", field.placeholder);
  }
}

// Skip no heading level.
function orderHeadings() {
  let level = 0;
  for (const heading of page.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    level = Math.min(Number(heading.tagName[1]), level + 1);
    heading.setAttribute("aria-level", level);
  }
}

function improve() {
  addLabels();
  orderHeadings();
  // Tables must not be landmarks.
  page.querySelectorAll("table[role=region]").forEach((table) => table.removeAttribute("role"));
  page.querySelectorAll(".modal-ux").forEach((dialog) => dialog.setAttribute("role", "dialog"));
  // Make scrollable code focusable.
  page.querySelectorAll("pre:not([tabindex])").forEach((code) => code.setAttribute("tabindex", "0"));
}

dark.addEventListener("change", setColorScheme);
setColorScheme();
new MutationObserver(improve).observe(page, { childList: true, subtree: true });
improve();
