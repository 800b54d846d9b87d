// Copy buttons: <button data-copy="id of the text" hidden>. They stay hidden if the browser doesn't let pages copy,
// as over plain HTTP from another machine.

import { announce } from "./dom.js";

const FEEDBACK_MS = 2000;

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const label = button.querySelector("[data-copy-label]");
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
  } catch {
    if (source.select) source.select();
    else getSelection().selectAllChildren(source);
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

function showButtons() {
  for (const button of document.querySelectorAll("[data-copy][hidden]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
}

if (navigator.clipboard) {
  showButtons();
  document.addEventListener("page:changed", showButtons);
  document.addEventListener("htmx:afterSwap", showButtons);
}
