// Polls the server for changes: every 2 seconds while something changes, then less and less often, and never in a
// hidden tab. If live updates stop or the server can't be reached, the page says so.

import { announce, keepScroll } from "./dom.js";
import { showElapsed } from "./times.js";

const FAST_MS = 2000;
const SLOW_MS = 30_000;

const notice = document.querySelector("[data-live-problem]");

// `url(extra)` returns the URL to poll, or "" if the page has nothing to update. `isLive` says whether to start fast.
// `update(data)` shows the response and returns whether the page has changed.
export function poll({ url, isLive, update }) {
  let wait = isLive ? FAST_MS : SLOW_MS;
  let timer = 0;
  let request = null;
  let isStopped = false;

  function schedule() {
    clearTimeout(timer);
    if (!isStopped && !document.hidden && url()) timer = setTimeout(pollNow, wait);
  }

  async function pollNow(extra) {
    clearTimeout(timer);
    request?.abort();
    const target = !isStopped && url(extra);
    if (!target) return;
    request = new AbortController();
    try {
      await handle(await fetch(target, { redirect: "manual", signal: request.signal }));
    } catch (error) {
      if (error.name === "AbortError") return;
      backOff();
    }
    showElapsed();
    schedule();
  }

  async function handle(response) {
    if (response.type === "opaqueredirect") {
      stop("You are signed out. Live updates have stopped. ", "Sign in again");
    } else if (response.status === 404) {
      stop("Live updates have stopped: this item was deleted. ", "Reload the page");
    } else if ([400, 403].includes(response.status)) {
      stop("Live updates have stopped. You may no longer have access. ", "Reload the page");
    } else if (!response.ok) {
      backOff();
    } else {
      keepScroll(() => (notice.hidden = true));
      const changed = response.status === 200 && update(await response.json());
      wait = changed ? FAST_MS : Math.min(SLOW_MS, wait * 1.5);
    }
  }

  function backOff() {
    wait = Math.min(SLOW_MS, wait * 2);
    show("The server can't be reached. This page may be out of date. Retrying automatically.");
  }

  // The page stays as it is, so that someone who is reading or selecting isn't interrupted.
  function stop(text, label) {
    isStopped = true;
    show(text);
    const link = document.createElement("a");
    link.href = location.href;
    link.textContent = label;
    notice.querySelector("p").append(link);
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) request?.abort();
    else pollNow();
  });
  // Rows that htmx adds may be the first ones to poll for.
  document.addEventListener("htmx:afterSettle", schedule);
  schedule();
  return { pollNow, isStopped: () => isStopped };
}

function show(text) {
  if (notice.hidden) announce(text);
  keepScroll(() => {
    notice.querySelector("p").textContent = text;
    notice.hidden = false;
  });
}
