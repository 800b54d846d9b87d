// Shows every <time datetime> in the user's time zone, with the UTC text as its title, and updates durations.

const DAY = 86_400_000;

const UNITS = [
  [86_400, "day", "days"],
  [3_600, "h", "h"],
  [60, "min", "min"],
];
const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const dateFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
// Days of the calendar are the same in all time zones.
const dayFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });

function showTimes() {
  for (const time of document.querySelectorAll("time[datetime]:not([title])")) {
    time.title = time.textContent.trim();
    show(time, new Date(time.dateTime));
  }
}

function show(time, at) {
  if (!time.dateTime.includes("T")) time.textContent = dayFormat.format(at);
  else if ("relative" in time.dataset) time.title = withOffset(at);
  else if ("date" in time.dataset) [time.title, time.textContent] = [withOffset(at), dateFormat.format(at)];
  else time.textContent = withOffset(at);
}

showTimes();
document.addEventListener("htmx:afterSwap", showTimes);
document.addEventListener("page:changed", showTimes);

export function exactTime(iso) {
  return withOffset(new Date(iso));
}

// When clocks go back, an hour is repeated. Only the UTC offset tells the two apart.
function withOffset(at) {
  const text = format.format(at);
  return isRepeated(at) ? `${text} UTC${offset(at)}` : text;
}

function isRepeated(at) {
  const here = at.getTimezoneOffset();
  return [-DAY, DAY].some((step) => {
    const there = new Date(at.getTime() + step).getTimezoneOffset();
    const twin = new Date(at.getTime() + (there - here) * 60_000);
    return there !== here && twin.getTimezoneOffset() === there;
  });
}

function offset(at) {
  const minutes = -at.getTimezoneOffset();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `${minutes < 0 ? "-" : "+"}${two(hours)}:${two(rest)}`;
}

function two(number) {
  return String(number).padStart(2, "0");
}

export function showElapsed() {
  for (const part of document.querySelectorAll("[data-since]")) {
    part.textContent = duration((Date.now() - new Date(part.dataset.since)) / 1000);
  }
}

function duration(seconds) {
  const [length, one, many] = UNITS.find(([least]) => seconds >= least) ?? [];
  if (!length) return "less than a minute";
  const count = Math.floor(seconds / length);
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

// Dates in forms are in the user's time zone.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) {
  for (const field of document.querySelectorAll("input[data-zone]")) field.value = zone;
  for (const name of document.querySelectorAll("[data-zone-name]")) name.textContent = zone;
}
