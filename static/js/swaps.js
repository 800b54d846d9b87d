// After htmx has put something new on the page: says what came, and moves the focus to rows or pages that
// were asked for by "Load more" or "+4,988 more" (whose own place is gone). A request that fails is never silent.

export function announce(...texts) {
  if (texts.length) document.getElementById("announcements").textContent = texts.join(" ");
}

document.addEventListener("htmx:afterSwap", (event) => {
  const added = event.target;
  const asker = event.detail.requestConfig.elt;
  if (!asker.matches("[data-focus-added]")) return;
  // Rows that came because somebody scrolled to their place leave the focus where it is.
  if (event.detail.requestConfig.triggeringEvent?.type === "intersect") return;
  if (added.matches("tbody")) {
    const row = added.rows[0];
    row.tabIndex = -1;
    row.focus();
  } else if (added.matches("li[data-announce]")) {
    added.querySelector("a").focus();
  }
});

document.addEventListener("htmx:afterSettle", (event) => {
  const added = event.target;
  const news = added.matches("[data-announce]") ? added : added.querySelector("[data-announce]");
  if (news) announce(news.dataset.announce);
});

// What nobody asked for may fail in silence: the page is whole without it.
function isUnasked(elt) {
  return elt.matches("[data-unasked]");
}

// Nor does anybody see it in a hidden tab. There it waits, however often it comes up, and is asked once at the end.
const waiting = new Map();

document.addEventListener("htmx:confirm", (event) => {
  if (!document.hidden || !isUnasked(event.target)) return;
  event.preventDefault();
  waiting.set(event.target, event.detail.issueRequest);
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  for (const issueRequest of waiting.values()) issueRequest(true);
  waiting.clear();
});

// The page that says what is wrong is behind the link itself.
document.addEventListener("htmx:responseError", (event) => {
  const { elt } = event.detail.requestConfig;
  if (isUnasked(elt)) return;
  if (elt.href) location.assign(elt.href);
  else elt.form.requestSubmit();
});

document.addEventListener("htmx:sendError", (event) => {
  const { elt } = event.detail.requestConfig;
  if (isUnasked(elt)) return;
  const problem = document.createElement("p");
  problem.className = "message error";
  problem.role = "alert";
  problem.textContent = "The server can't be reached. Try again in a moment.";
  elt.parentElement.querySelector(".message")?.remove();
  elt.after(problem);
});
