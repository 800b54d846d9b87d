// Changes the page without disturbing the user: keeps the focus, open menus, checked boxes, selected text and the
// scroll position.

export function announce(...texts) {
  if (texts.length) document.getElementById("announcements").textContent = texts.join(" ");
}

export function elementFrom(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

// Returns false if the user is selecting text in the old element: the next response replaces it.
export function replace(old, fresh) {
  if (hasTextSelection(old)) return false;
  const focused = old.contains(document.activeElement) ? signature(document.activeElement, old) : null;
  copyState(old, fresh);
  keepScroll(() => old.replaceWith(fresh));
  window.htmx.process(fresh);
  if (focused !== null) restoreFocus(fresh, focused);
  return true;
}

// For scripts that set up elements: the page has new ones.
export function notifyChanged() {
  document.dispatchEvent(new Event("page:changed"));
}

export function focusOn(element) {
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
}

// Not all browsers anchor the scroll position, and none does in every table.
document.documentElement.style.overflowAnchor = "none";

export function keepScroll(change) {
  const top = (row) => row.getBoundingClientRect().top;
  const anchor = [...document.querySelectorAll("table.cards > tbody > tr")].find((row) => top(row) >= 0);
  const before = anchor && top(anchor);
  change();
  if (anchor?.isConnected && scrollY > 0) scrollBy(0, top(anchor) - before);
}

function hasTextSelection(element) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(element, true);
}

function signature(element, root) {
  if (element === root) return "";
  return [element.tagName, element.getAttribute("href"), element.name, element.ariaLabel].join("|");
}

function restoreFocus(fresh, focused) {
  const all = [...fresh.querySelectorAll("a, button, input, select, summary")];
  const same = focused && all.find((element) => signature(element, fresh) === focused);
  if (same) same.focus({ preventScroll: true });
  else focusOn(fresh.querySelector("h1") ?? fresh);
}

function copyState(old, fresh) {
  const name = (menu) => menu.querySelector("summary").ariaLabel ?? menu.className;
  for (const menu of old.querySelectorAll("details[open]")) {
    const same = [...fresh.querySelectorAll("details")].find((each) => name(each) === name(menu));
    if (same) same.open = true;
  }
  for (const box of old.querySelectorAll("input:checked")) {
    const same = [...fresh.querySelectorAll("input")].find((each) => each.name === box.name && each.value === box.value);
    if (same) same.checked = true;
  }
}
