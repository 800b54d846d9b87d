// Puts what is new on the page in the place of what is old without disturbing whoever is there: the focus, what is
// open, checked or selected, and the place where somebody looks stay as they are.

export function made(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

// Returns whether it did. What somebody is just selecting to copy isn't taken away; it comes with the next answer.
export function replace(old, fresh) {
  if (isBeingSelected(old)) return false;
  const focused = old.contains(document.activeElement) ? signature(document.activeElement, old) : null;
  carryOver(old, fresh);
  still(() => old.replaceWith(fresh));
  window.htmx.process(fresh);
  if (focused !== null) focusAgain(fresh, focused);
  return true;
}

// For all that makes something of what is on a page, when that has changed.
export function tellChanged() {
  document.dispatchEvent(new Event("page:changed"));
}

export function focusOn(element) {
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
}

// Holds still what is looked at while something above it grows or shrinks. Browsers do that for text, but not
// for all tables, and not all of them.
document.documentElement.style.overflowAnchor = "none";

export function still(change) {
  const top = (row) => row.getBoundingClientRect().top;
  const looked = [...document.querySelectorAll("table.cards > tbody > tr")].find((row) => top(row) >= 0);
  const before = looked && top(looked);
  change();
  if (looked?.isConnected && scrollY > 0) scrollBy(0, top(looked) - before);
}

function isBeingSelected(old) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(old, true);
}

function signature(element, old) {
  if (element === old) return "";
  return [element.tagName, element.getAttribute("href"), element.name, element.ariaLabel].join("|");
}

function focusAgain(fresh, focused) {
  const all = [...fresh.querySelectorAll("a, button, input, select, summary")];
  const same = focused && all.find((element) => signature(element, fresh) === focused);
  if (same) same.focus({ preventScroll: true });
  else focusOn(fresh.querySelector("h1") ?? fresh);
}

function carryOver(old, fresh) {
  const menus = fresh.querySelectorAll("details");
  old.querySelectorAll("details").forEach((menu, place) => {
    if (menus[place]) menus[place].open = menu.open;
  });
  for (const box of old.querySelectorAll("input:checked")) {
    const same = [...fresh.querySelectorAll("input")].find((each) => each.name === box.name && each.value === box.value);
    if (same) same.checked = true;
  }
}
