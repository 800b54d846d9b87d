// Keyboard shortcuts for links and buttons. Ignored while the user types, while a dialog or menu is open, and with
// Ctrl, Alt or Meta, which belong to the browser. Users can turn them off in each browser.

const OFF = "shortcuts-off";
const PAIR_MS = 1500;
const DESTINATIONS = { h: "home", c: "collections", m: "members", p: "profile" };

const dialog = document.getElementById("shortcuts");
const opener = document.querySelector("[data-shortcuts]");
const toggle = document.getElementById("shortcuts-on");

let pairUntil = 0; // the time until which a letter completes "g"

const rows = () => [...document.querySelectorAll("main table.cards > tbody > tr")];
const LINK = "a.row-title, .row-detail a";
const current = () => document.activeElement.closest("main tbody > tr");

function move(step) {
  const all = rows();
  const index = all.indexOf(current());
  const row = all[index < 0 ? 0 : Math.min(Math.max(index + step, 0), all.length - 1)];
  if (!row) return false;
  row.tabIndex = -1;
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
  return true;
}

function click(link) {
  link?.click();
  return Boolean(link);
}

function openDownloadMenu() {
  const menu = current()?.querySelector("details.download-menu");
  if (!menu) return false;
  menu.open = true;
  menu.querySelector(".menu-items a").focus();
  return true;
}

function search() {
  const field = document.querySelector("main input[type=search], main .run-number input");
  field?.focus();
  return Boolean(field);
}

function goTo(destination) {
  return click(document.querySelector(`.nav-links [data-destination="${destination}"]`));
}

const KEYS = {
  "/": search,
  j: () => move(1),
  k: () => move(-1),
  o: () => click(current()?.querySelector(LINK)),
  Enter: () => document.activeElement === current() && click(current()?.querySelector(LINK)),
  d: () => click(current()?.querySelector('.buttons a, [data-label="Archive"] a')) || openDownloadMenu(),
  n: () => click(document.querySelector("[data-new-runs]:not([hidden])")),
  g: () => Boolean((pairUntil = Date.now() + PAIR_MS)),
  "?": () => {
    dialog.showModal();
    return true;
  },
};

function isTyping(element) {
  return element.matches("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
}

function isReserved(event) {
  return (
    event.defaultPrevented ||
    event.ctrlKey ||
    event.metaKey ||
    event.altKey ||
    isTyping(event.target) ||
    document.querySelector("dialog[open], details[data-menu][open], [popover]:popover-open")
  );
}

function onKey(event) {
  if (!toggle.checked || isReserved(event)) return;
  const destination = Date.now() < pairUntil && DESTINATIONS[event.key];
  pairUntil = 0;
  if (destination ? goTo(destination) : KEYS[event.key]?.()) event.preventDefault();
}

function isTurnedOff() {
  try {
    return localStorage.getItem(OFF) !== null;
  } catch {
    return false; // localStorage is blocked
  }
}

function saveToggle() {
  try {
    if (toggle.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  } catch {
    // The choice lasts until the page is left.
  }
}

if (dialog) {
  toggle.checked = !isTurnedOff();
  toggle.addEventListener("change", saveToggle);
  document.addEventListener("keydown", onKey);
  opener.hidden = false;
  opener.addEventListener("click", () => {
    document.getElementById("sidebar").hidePopover?.();
    dialog.showModal();
  });
}
