// In tables with data-open-rows, a click anywhere on a row opens it. Links, menus and selected text work as elsewhere.

const INTERACTIVE = "a, button, summary, input, select, label, details";

function rowLink({ target, button }) {
  const isPlain = button === 0 && !target.closest(INTERACTIVE) && getSelection().isCollapsed;
  return isPlain ? target.closest("[data-open-rows] > tbody > tr")?.querySelector("a.row-title") : null;
}

let closesMenu = false;

// Captured, because menu.js closes open menus. A click that closes one opens nothing.
document.addEventListener(
  "pointerdown",
  () => {
    closesMenu = Boolean(document.querySelector("details[data-menu][open]"));
  },
  true,
);

document.addEventListener("click", (event) => {
  const link = rowLink(event);
  if (!link || closesMenu) return;
  const { ctrlKey, metaKey, shiftKey } = event;
  link.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, ctrlKey, metaKey, shiftKey }));
});
