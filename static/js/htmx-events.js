// After htmx has changed the page: announces what is new and moves the focus to what "Load more" or "+4,988 more" has
// added, because the link itself is gone. Reports failed requests.

import { announce } from "./dom.js";

document.addEventListener("htmx:afterSwap", (event) => {
  const added = event.target;
  const { elt, triggeringEvent } = event.detail.requestConfig;
  if (!elt.matches("[data-focus-added]")) return;
  // Rows that were loaded by scrolling leave the focus alone.
  if (triggeringEvent?.type === "intersect") return;
  if (added.matches("tbody")) {
    const row = added.rows[0];
    row.tabIndex = -1;
    row.focus();
  } else if (added.matches("li[data-announce], ul[data-announce]")) {
    added.querySelector("a").focus();
  }
});

document.addEventListener("htmx:afterSettle", (event) => {
  const added = event.target;
  const news = added.matches("[data-announce]") ? added : added.querySelector("[data-announce]");
  if (news) announce(news.dataset.announce);
});

// Requests that the user didn't make may fail silently: the page works without them.
function isBackground(elt) {
  return elt.matches("[data-background]");
}

// Background requests of a hidden tab are sent once, when it is shown again.
const postponed = new Map();

document.addEventListener("htmx:confirm", (event) => {
  if (!document.hidden || !isBackground(event.target)) return;
  event.preventDefault();
  postponed.set(event.target, event.detail.issueRequest);
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  for (const issueRequest of postponed.values()) issueRequest(true);
  postponed.clear();
});

// Uploads report their own errors.
function isUpload(elt) {
  return elt.matches("[data-upload]");
}

// The link itself leads to the error page.
document.addEventListener("htmx:responseError", (event) => {
  const { elt } = event.detail.requestConfig;
  if (isBackground(elt) || isUpload(elt)) return;
  if (elt.href) location.assign(elt.href);
  else elt.form.requestSubmit();
});

document.addEventListener("htmx:sendError", (event) => {
  const { elt } = event.detail.requestConfig;
  if (isBackground(elt) || isUpload(elt)) return;
  const message = document.createElement("p");
  message.className = "message error";
  message.role = "alert";
  message.textContent = "The server can't be reached. Try again in a moment.";
  elt.parentElement.querySelector(".message")?.remove();
  elt.after(message);
});
