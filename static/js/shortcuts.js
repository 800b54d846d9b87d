// Keys that do what links and buttons do as well. Never while somebody types or a dialog or menu is open, and
// never with Ctrl, Alt or Meta, which are the browser's. They can be turned off; the browser remembers that.

const OFF = "shortcuts-off";
const PAIR_MS = 1500;
const PLACES = { c: "collections", m: "members", p: "profile" };

const dialog = document.getElementById("shortcuts");
const opener = document.querySelector("[data-shortcuts]");
const onSwitch = document.getElementById("shortcuts-on");

let pair = 0; // until when a letter after "g" is the second of a pair

// --- rows -------------------------------------------------------------------------------------

const rows = () => [...document.querySelectorAll("main table.cards > tbody > tr")];
const LINK = "a.row-title, .row-detail a:not(.delete)";
const current = () => document.activeElement.closest("main tbody > tr");

function move(step) {
  const all = rows();
  const now = all.indexOf(current());
  const row = all[now < 0 ? 0 : Math.min(Math.max(now + step, 0), all.length - 1)];
  if (!row) return false;
  row.tabIndex = -1;
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
  return true;
}

function press(link) {
  link?.click();
  return Boolean(link);
}

function search() {
  const find = document.querySelector("details.find");
  if (find) find.open = true;
  const field = document.querySelector("main input[type=search]") ?? find?.querySelector("select, input");
  field?.focus();
  return Boolean(field);
}

function goTo(place) {
  return press(document.querySelector(`.nav-links [data-place="${place}"]`));
}

// --- keys -------------------------------------------------------------------------------------

const KEYS = {
  "/": search,
  j: () => move(1),
  k: () => move(-1),
  o: () => press(current()?.querySelector(LINK)),
  Enter: () => document.activeElement === current() && press(current()?.querySelector(LINK)),
  d: () => press(current()?.querySelector('[data-label="Archive"] a, .buttons a')),
  n: () => press(document.querySelector("[data-new-runs]:not([hidden])")),
  g: () => Boolean((pair = Date.now() + PAIR_MS)),
  "?": () => {
    dialog.showModal();
    return true;
  },
};

function isTyping(element) {
  return element.matches("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
}

function isElsewhere(event) {
  return (
    event.defaultPrevented ||
    event.ctrlKey ||
    event.metaKey ||
    event.altKey ||
    isTyping(event.target) ||
    document.querySelector("dialog[open], details[data-menu][open], [popover]:popover-open")
  );
}

document.addEventListener("keydown", (event) => {
  if (!onSwitch.checked || isElsewhere(event)) return;
  const place = Date.now() < pair && PLACES[event.key];
  pair = 0;
  if (place ? goTo(place) : KEYS[event.key]?.()) event.preventDefault();
});

// --- the switch -------------------------------------------------------------------------------

function remembered() {
  try {
    return localStorage.getItem(OFF) !== null;
  } catch {
    return false; // a browser that keeps nothing
  }
}

onSwitch.checked = !remembered();
onSwitch.addEventListener("change", () => {
  try {
    if (onSwitch.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  } catch {
    // It holds for this page then.
  }
});

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
opener.hidden = false;
opener.addEventListener("click", () => {
  document.getElementById("sidebar").hidePopover?.();
  dialog.showModal();
});
