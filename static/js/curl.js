// "Copy as curl": while it is on, choosing a file copies the command that downloads it by script,
// instead of downloading it. So it costs a page of a thousand files one button, and works by mouse,
// finger and keyboard alike. It isn't there where the browser lets no page copy.

import { announce } from "./swaps.js";

const FEEDBACK_MS = 2000;
const HINT = "Choose a file to copy its curl command.";
const FILE =
  /^\/collections\/\d+\/(?:runs\/(\d+)\/(?:files\/.+|records\.\w+|all\.zip|manifest\.json)|selection\.\w+)$/;
const ORIGINAL = /^\/collections\/(\d+)\/runs\/(\d+)\/files\//;

const toggle = document.querySelector("[data-curl]");
const bar = document.querySelector("[data-curl-bar]");
const hint = bar.querySelector("p");

// The address of the same file for scripts, with everything quoted that means something to a shell.
function addressOf(link) {
  const api = new URL(toggle.dataset.curl, location).href;
  const path = link.pathname.replace(ORIGINAL, "/results/$1/$2/").slice(1);
  return (api + path + link.search).replace(
    /[^\w\-.~:/?=&%,]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

// With the run's number, as the lists of all runs have one name, and they would overwrite each other.
function nameOf(link, run) {
  const name = (link.download || decodeURIComponent(link.pathname.split("/").at(-1))).replace(/["$`\\!/]/g, "_");
  return !run || name.match(/\d+/g)?.includes(run) ? name : `run_${run}_${name}`;
}

// Without `-C -`: it would go on in whatever has that name, and of another file there make a mixture.
function commandOf(link, run) {
  return [
    `curl -f -o "${nameOf(link, run)}" \\`,
    '  -H "x-api-key: YOUR_API_KEY" \\',
    `  "${addressOf(link)}"`,
  ].join("\n");
}

function turn(on) {
  toggle.setAttribute("aria-pressed", on);
  document.body.classList.toggle("copies-curl", on);
  hint.textContent = HINT;
  bar.hidden = !on;
  announce(on ? `${HINT} Escape ends it.` : "Files are downloaded again.");
}

function isOn() {
  return toggle.getAttribute("aria-pressed") === "true";
}

function leave() {
  const hadFocus = bar.contains(document.activeElement);
  turn(false);
  if (hadFocus) toggle.focus();
}

async function copy(link, run) {
  const what = link.textContent.replace(/\s+/g, " ").trim();
  try {
    await navigator.clipboard.writeText(commandOf(link, run));
  } catch {
    hint.textContent = "This browser didn't let the page copy it.";
    announce(hint.textContent);
    return;
  }
  hint.textContent = `Copied: ${what}`;
  announce(hint.textContent);
  link.classList.add("copied");
  setTimeout(() => link.classList.remove("copied"), FEEDBACK_MS);
}

if (navigator.clipboard) {
  toggle.hidden = false;
  toggle.addEventListener("click", () => turn(!isOn()));
  bar.querySelector("button").addEventListener("click", leave);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isOn()) leave();
  });
  // Rows that come later are files too, so the page listens, not each link.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("main a[href]");
    const found = isOn() && link && FILE.exec(link.pathname);
    if (!found || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    copy(link, found[1]);
  });
} else {
  toggle.remove();
}
