// Runs or pages are selected by checkboxes, one by one, (with Shift) from the last one on, or all that are shown.
// The bar says how much that is, and leads to the ZIP. Without this, the bar is a form with a button, and always there.

import { announce } from "./swaps.js";

const WAIT_MS = 200;

function watchAll() {
  document.querySelectorAll("form[data-selection]:not(.floating)").forEach(watch);
}

function watch(form) {
  const said = form.querySelector("[data-selected]");
  const whole = document.querySelector(`[data-pick-all="${form.id}"]`);
  const all = () => [...form.elements].filter((each) => each.type === "checkbox");
  let last = null;
  let shown = "";
  let timer = 0;
  let request = new AbortController();

  function show() {
    showWhole();
    const query = queryOf(all().filter((box) => box.checked));
    form.hidden = !query;
    if (query === shown) return;
    shown = query;
    clearTimeout(timer);
    request.abort();
    if (!query) {
      announce("Nothing is selected.");
      return;
    }
    said.setAttribute("aria-busy", "true");
    timer = setTimeout(() => ask(query), WAIT_MS);
  }

  function showWhole() {
    const boxes = all();
    const count = boxes.filter((box) => box.checked).length;
    const box = whole.querySelector("input");
    whole.hidden = !boxes.length;
    box.checked = count > 0 && count === boxes.length;
    box.indeterminate = count > 0 && count < boxes.length;
  }

  async function ask(query) {
    request = new AbortController();
    try {
      const answer = await fetch(`${form.dataset.selection}?${query}`, { signal: request.signal });
      if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
      said.innerHTML = await answer.text();
    } catch (error) {
      if (error.name === "AbortError") return;
      said.textContent = "How much this is can't be found out now. Reload the page and try again.";
    }
    said.removeAttribute("aria-busy");
    const news = said.querySelector("[data-announce]");
    announce(news?.dataset.announce ?? said.textContent);
  }

  // "click" also comes from the space bar, and knows about Shift, which "change" doesn't.
  document.addEventListener("click", ({ target, shiftKey }) => {
    if (target.form !== form || target.type !== "checkbox") return;
    const boxes = all();
    if (shiftKey && last?.isConnected) {
      const [from, to] = [boxes.indexOf(last), boxes.indexOf(target)].sort((a, b) => a - b);
      for (const box of boxes.slice(from, to + 1)) box.checked = target.checked;
    }
    last = target;
    show();
  });

  whole.querySelector("input").addEventListener("change", ({ target }) => {
    for (const box of all()) box.checked = target.checked;
    show();
  });

  // Rows that come or go later.
  document.addEventListener("htmx:afterSwap", show);
  document.addEventListener("page:changed", show);

  form.querySelector("[data-clear]").addEventListener("click", () => {
    const first = all().find((box) => box.checked);
    for (const box of all()) box.checked = false;
    show();
    first?.focus();
  });

  form.classList.add("floating");
  show(); // A browser that comes back to the page may have kept what was selected.
}

// "runs=88-91,95&pages=90.1-3": spans are short, however much is selected.
function queryOf(boxes) {
  const spans = new Map();
  for (const box of boxes) {
    const [run, page] = box.value.split(".");
    const group = page === undefined ? "runs=" : `pages=${run}.`;
    spans.set(group, [...(spans.get(group) ?? []), Number(page ?? run)]);
  }
  const found = { runs: [], pages: [] };
  for (const [group, numbers] of spans) {
    const [name, before] = group.split("=");
    for (const [first, end] of joined(numbers)) {
      found[name].push(before + (first === end ? first : `${first}-${end}`));
    }
  }
  return Object.entries(found)
    .filter(([, items]) => items.length)
    .map(([name, items]) => `${name}=${items.join(",")}`)
    .join("&");
}

function joined(numbers) {
  const spans = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    if (spans.length && spans.at(-1)[1] === number - 1) spans.at(-1)[1] = number;
    else spans.push([number, number]);
  }
  return spans;
}

watchAll();
document.addEventListener("page:changed", watchAll);
