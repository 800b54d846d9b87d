// Menus are <details data-menu> and work without this. With it: only one is open, Escape and a click
// elsewhere close it, and the arrow keys move through it.

const openMenus = () => document.querySelectorAll("details[data-menu][open]");
const items = (menu) => [...menu.querySelectorAll(".menu-items :is(a, button)")];

function close(menu) {
  const hadFocus = menu.contains(document.activeElement);
  menu.open = false;
  if (hadFocus) menu.querySelector("summary").focus();
}

function move(menu, key) {
  const all = items(menu);
  const now = all.indexOf(document.activeElement);
  const next = { ArrowDown: now + 1, ArrowUp: now < 0 ? -1 : now - 1, Home: 0, End: -1 }[key];
  all.at(next % all.length).focus();
}

// "toggle" doesn't bubble, so it is caught on its way down.
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
  } else if (["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) {
    if (!menu.open && !event.key.startsWith("Arrow")) return;
    menu.open = true;
    event.preventDefault();
    move(menu, event.key);
  }
});

// A menu left by Tab closes behind the reader.
document.addEventListener("focusout", (event) => {
  const menu = event.target.closest("details[data-menu][open]");
  if (menu && event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
});
