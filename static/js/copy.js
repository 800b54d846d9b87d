// Copy buttons: <button data-copy="id of what is copied" hidden>. They stay hidden without this, and
// where the browser lets no page copy (plain HTTP on another machine).

import { announce } from "./swaps.js";

const FEEDBACK_MS = 2000;

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const label = button.querySelector("[data-copy-label]");
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
  } catch {
    source.select?.();
    label.textContent = "Press Ctrl+C";
    return;
  }
  label.textContent = "Copied";
  announce("Copied");
  setTimeout(() => {
    label.textContent = "Copy";
    announce("");
  }, FEEDBACK_MS);
}

function offer() {
  for (const button of document.querySelectorAll("[data-copy][hidden]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
}

if (navigator.clipboard) {
  offer();
  document.addEventListener("page:changed", offer);
}
