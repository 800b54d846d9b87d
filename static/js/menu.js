// Menus are <details data-menu>, which work without scripts. This keeps at most one open, closes it on Escape or a
// click outside, and lets the arrow keys move through it.

const openMenus = () => document.querySelectorAll("details[data-menu][open]");
const items = (menu) => [...menu.querySelectorAll(".menu-items :is(a, button)")];

function close(menu) {
  const hadFocus = menu.contains(document.activeElement);
  menu.open = false;
  if (hadFocus) menu.querySelector("summary").focus();
}

function move(menu, key) {
  const all = items(menu);
  const current = all.indexOf(document.activeElement);
  const next = { ArrowDown: current + 1, ArrowUp: current < 0 ? -1 : current - 1, Home: 0, End: -1 }[key];
  all.at(next % all.length).focus();
}

// "toggle" doesn't bubble, hence the capturing listener.
document.addEventListener(
  "toggle",
  (event) => {
    if (!event.target.matches("details[data-menu][open]")) return;
    for (const menu of openMenus()) if (menu !== event.target) menu.open = false;
  },
  true,
);

document.addEventListener("click", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details[data-menu]");
  if (!menu) return;
  if (event.key === "Escape" && menu.open) {
    close(menu);
  } else if (["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key) && !event.target.matches("input")) {
    if (!menu.open && !event.key.startsWith("Arrow")) return;
    menu.open = true;
    event.preventDefault();
    move(menu, event.key);
  }
});

// Close a menu when Tab leaves it.
document.addEventListener("focusout", (event) => {
  const menu = event.target.closest("details[data-menu][open]");
  if (menu && event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
});
