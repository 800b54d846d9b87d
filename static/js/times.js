// Shows every <time datetime> in the reader's own zone; the UTC text, which is what stands there
// without JavaScript, stays as the title.

const readable = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    time.title = time.textContent.trim();
    time.textContent = readable.format(new Date(time.dateTime));
  }
}

showTimes(document);
document.addEventListener("htmx:afterSwap", () => showTimes(document));
document.addEventListener("rows:changed", () => showTimes(document));

// Forms that ask for days mean the reader's.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) {
  for (const field of document.querySelectorAll("input[data-zone]")) field.value = zone;
  for (const name of document.querySelectorAll("[data-zone-name]")) name.textContent = zone;
}
