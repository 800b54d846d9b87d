// Checkboxes select runs or pages: one, a range (with Shift), or all that are shown. A floating bar shows how much is
// selected and links to the ZIP. Without scripts, the bar is a form that is always shown.

import { announce } from "./dom.js";

const WAIT_MS = 200;

function setUpForms() {
  document.querySelectorAll("form[data-selection]:not(.floating)").forEach(setUp);
}

function setUp(form) {
  const summary = form.querySelector("[data-selected]");
  const selectAll = document.querySelector(`[data-select-all="${form.id}"]`);
  const allBoxes = () => [...form.elements].filter((each) => each.type === "checkbox");
  let lastClicked = null;
  let shownQuery = "";
  let timer = 0;
  let request = new AbortController();

  function update() {
    updateSelectAll();
    const query = queryOf(allBoxes().filter((box) => box.checked));
    form.hidden = !query;
    if (query === shownQuery) return;
    shownQuery = query;
    clearTimeout(timer);
    request.abort();
    if (!query) {
      announce("Nothing is selected.");
      return;
    }
    summary.setAttribute("aria-busy", "true");
    timer = setTimeout(() => fetchSummary(query), WAIT_MS);
  }

  function updateSelectAll() {
    const boxes = allBoxes();
    const count = boxes.filter((box) => box.checked).length;
    const box = selectAll.querySelector("input");
    selectAll.hidden = !boxes.length;
    box.checked = count > 0 && count === boxes.length;
    box.indeterminate = count > 0 && count < boxes.length;
  }

  async function fetchSummary(query) {
    request = new AbortController();
    try {
      const response = await fetch(`${form.dataset.selection}?${query}`, { signal: request.signal });
      if (!response.ok || response.redirected) throw new Error(response.statusText);
      summary.innerHTML = await response.text();
    } catch (error) {
      if (error.name === "AbortError") return;
      summary.textContent = "Couldn't calculate the size of the selection. Reload the page and try again.";
    }
    summary.removeAttribute("aria-busy");
    const news = summary.querySelector("[data-announce]");
    announce(news?.dataset.announce ?? summary.textContent);
  }

  // "click" also fires for the space bar and, unlike "change", reports Shift.
  document.addEventListener("click", ({ target, shiftKey }) => {
    if (target.form !== form || target.type !== "checkbox") return;
    const boxes = allBoxes();
    if (shiftKey && lastClicked?.isConnected) {
      const [from, to] = [boxes.indexOf(lastClicked), boxes.indexOf(target)].sort((a, b) => a - b);
      for (const box of boxes.slice(from, to + 1)) box.checked = target.checked;
    }
    lastClicked = target;
    update();
  });

  selectAll.querySelector("input").addEventListener("change", ({ target }) => {
    for (const box of allBoxes()) box.checked = target.checked;
    update();
  });

  // Rows were added or removed.
  document.addEventListener("htmx:afterSwap", update);
  document.addEventListener("page:changed", update);

  form.querySelector("[data-clear]").addEventListener("click", () => {
    const first = allBoxes().find((box) => box.checked);
    for (const box of allBoxes()) box.checked = false;
    update();
    first?.focus();
  });

  form.classList.add("floating");
  update(); // The browser may have restored the selection.
}

// For example "runs=88-91,95&pages=90.1-3": ranges keep the query short.
function queryOf(boxes) {
  const groups = new Map();
  for (const box of boxes) {
    const [run, page] = box.value.split(".");
    const group = page === undefined ? "runs=" : `pages=${run}.`;
    groups.set(group, [...(groups.get(group) ?? []), Number(page ?? run)]);
  }
  const items = { runs: [], pages: [] };
  for (const [group, numbers] of groups) {
    const [name, prefix] = group.split("=");
    for (const [first, end] of ranges(numbers)) {
      items[name].push(prefix + (first === end ? first : `${first}-${end}`));
    }
  }
  return Object.entries(items)
    .filter(([, values]) => values.length)
    .map(([name, values]) => `${name}=${values.join(",")}`)
    .join("&");
}

function ranges(numbers) {
  const spans = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    if (spans.length && spans.at(-1)[1] === number - 1) spans.at(-1)[1] = number;
    else spans.push([number, number]);
  }
  return spans;
}

setUpForms();
document.addEventListener("page:changed", setUpForms);
