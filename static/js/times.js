// Shows every <time datetime> in the reader's own zone; the UTC text, which is what stands there
// without JavaScript, stays as the title. And for how long something goes on already.

const UNITS = [
  [86_400, "day", "days"],
  [3_600, "h", "h"],
  [60, "min", "min"],
];
const readable = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    time.title = time.textContent.trim();
    time.textContent = readable.format(new Date(time.dateTime));
  }
}

showTimes(document);
document.addEventListener("htmx:afterSwap", () => showTimes(document));
document.addEventListener("page:changed", () => showTimes(document));

export function showElapsed() {
  for (const part of document.querySelectorAll("[data-since]")) {
    part.textContent = lasting((Date.now() - new Date(part.dataset.since)) / 1000);
  }
}

function lasting(seconds) {
  const [length, one, many] = UNITS.find(([least]) => seconds >= least) ?? [];
  if (!length) return "less than a minute";
  const count = Math.floor(seconds / length);
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

// Forms that ask for days mean the reader's.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) {
  for (const field of document.querySelectorAll("input[data-zone]")) field.value = zone;
  for (const name of document.querySelectorAll("[data-zone-name]")) name.textContent = zone;
}
