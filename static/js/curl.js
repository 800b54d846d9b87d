// "Copy as curl": while it is on, clicking a file copies its curl command instead of downloading it. One button serves
// a page of a thousand files, by mouse, touch and keyboard. Removed if the browser doesn't let pages copy.

import { announce } from "./dom.js";

const FEEDBACK_MS = 2000;
const HINT = "Click a file to copy its curl command.";
const FILE =
  /^\/collections\/\d+\/(?:runs\/(\d+)\/(?:files\/.+|records\.\w+|all\.zip|manifest\.json)|selection\.\w+)$/;
const ORIGINAL = /^\/collections\/(\d+)\/runs\/(\d+)\/files\//;

const toggle = document.querySelector("[data-curl]");
const bar = document.querySelector("[data-curl-bar]");
const hint = bar?.querySelector("p");

// The API's URL of the same file, with everything quoted that means something to a shell.
function apiUrl(link) {
  const api = new URL(toggle.dataset.curl, location).href;
  const path = link.pathname.replace(ORIGINAL, "/results/$1/$2/").slice(1);
  return (api + path + link.search).replace(
    /[^\w\-.~:/?=&%,]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

// Includes the run's number: every category list has the same name, and the files would overwrite each other.
function fileName(link, run) {
  const name = (link.download || decodeURIComponent(link.pathname.split("/").at(-1))).replace(/["$`\\!/%]/g, "_");
  return !run || name.match(/\d+/g)?.includes(run) ? name : `run_${run}_${name}`;
}

// One line with double quotes, which sh, cmd.exe and PowerShell understand. Without `-C -`, which would append to any
// file of that name, even a different one.
function curlCommand(link, run) {
  return `curl -f -o "${fileName(link, run)}" -H "x-api-key: YOUR_API_KEY" "${apiUrl(link)}"`;
}

function setMode(on) {
  toggle.setAttribute("aria-pressed", on);
  document.body.classList.toggle("curl-mode", on);
  hint.textContent = HINT;
  bar.hidden = !on;
  announce(on ? `${HINT} Press Escape to stop.` : "Clicking a file downloads it again.");
}

function isOn() {
  return toggle.getAttribute("aria-pressed") === "true";
}

function stop() {
  const hadFocus = bar.contains(document.activeElement);
  setMode(false);
  if (hadFocus) toggle.focus();
}

async function copy(link, run) {
  const label = link.textContent.replace(/\s+/g, " ").trim();
  try {
    await navigator.clipboard.writeText(curlCommand(link, run));
  } catch {
    hint.textContent = "Your browser blocked copying.";
    announce(hint.textContent);
    return;
  }
  hint.textContent = `Copied: ${label}`;
  announce(hint.textContent);
  link.classList.add("copied");
  setTimeout(() => link.classList.remove("copied"), FEEDBACK_MS);
}

if (toggle && navigator.clipboard) {
  toggle.hidden = false;
  toggle.addEventListener("click", () => setMode(!isOn()));
  bar.querySelector("button").addEventListener("click", stop);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isOn()) stop();
  });
  // One listener for the page, because rows are added later.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("main a[href]");
    const match = isOn() && link && FILE.exec(link.pathname);
    if (!match || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    copy(link, match[1]);
  });
} else {
  toggle?.remove();
}
