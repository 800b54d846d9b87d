// Keeps the rows of runs up to date while somebody looks at them. One request asks for all of them: every two
// seconds while something changes, less and less often while nothing does, never in a tab that is hidden.
// A row that has changed takes the old one's place with its focus and whatever is open or selected in it.

const QUICK_MS = 2000;
const SLOW_MS = 30_000;
const MOST_BROUGHT = 50;
const UNITS = [
  [86_400, "day"],
  [3_600, "hour"],
  [60, "minute"],
];

const list = document.querySelector("[data-live-list]");
const newRuns = list.querySelector("[data-new-runs]");
const problem = document.querySelector("[data-live-problem]");
const liveRows = () => [...document.querySelectorAll("tr[data-live]")];

let wait = liveRows().length ? QUICK_MS : SLOW_MS;
let timer = 0;
let request = null;
let told = 0; // how many new runs the page speaks of
let stopped = false;

function announce(texts) {
  if (texts.length) document.getElementById("announcements").textContent = texts.join(" ");
}

// --- asking -----------------------------------------------------------------------------------

function address(more = {}) {
  const asked = new URLSearchParams(list.dataset.query);
  const rows = liveRows().map((row) => `${numberOf(row)}.${row.dataset.live}`);
  if (rows.length) asked.set("runs", rows.slice(0, 200).join());
  if ("newest" in list.dataset) asked.set("newest", list.dataset.newest);
  asked.set("new", told);
  for (const [name, value] of Object.entries(more)) asked.set(name, value);
  return `${list.dataset.liveList}?${asked}`;
}

function later() {
  clearTimeout(timer);
  const watches = liveRows().length || "newest" in list.dataset;
  if (!stopped && !document.hidden && watches) timer = setTimeout(ask, wait);
}

async function ask(more) {
  clearTimeout(timer);
  request?.abort();
  request = new AbortController();
  try {
    const answer = await fetch(address(more), { redirect: "manual", signal: request.signal });
    await take(answer);
  } catch (error) {
    if (error.name === "AbortError") return;
    unreachable();
  }
  showTime();
  later();
}

async function take(answer) {
  if (answer.type === "opaqueredirect") {
    stop("You are signed out, so these rows don't change any more. ", "Sign in again");
  } else if ([400, 403, 404].includes(answer.status)) {
    stop("These rows can't be followed any more; you may have lost access to the collection. ", "Look again");
  } else if (!answer.ok) {
    unreachable();
  } else {
    still(() => (problem.hidden = true));
    const changed = answer.status === 200 && show(await answer.json());
    wait = changed ? QUICK_MS : Math.min(SLOW_MS, wait * 1.5);
    if (!liveRows().length) wait = SLOW_MS;
  }
}

function unreachable() {
  wait = Math.min(SLOW_MS, wait * 2);
  say("The server can't be reached, so these rows may be out of date. They go on by themselves.");
}

// The page stays where it is: whoever reads or selects something there isn't interrupted.
function stop(text, link) {
  stopped = true;
  say(text);
  const again = document.createElement("a");
  again.href = location.href;
  again.textContent = link;
  problem.querySelector("p").append(again);
}

function say(text) {
  if (problem.hidden) announce([text]);
  still(() => {
    problem.querySelector("p").textContent = text;
    problem.hidden = false;
  });
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (document.hidden) request?.abort();
  else if (!stopped) ask();
});

// --- showing ----------------------------------------------------------------------------------

// Returns whether anything on the page is different now.
function show({ rows, gone, brought, newest, ...counted }) {
  const swapped = rows.filter(({ number, html }) => swap(number, html));
  gone.forEach(remove);
  if (brought.length) bring(brought, newest);
  const more = counted.new > told;
  tell(counted.new);
  if (swapped.length || gone.length || brought.length) document.dispatchEvent(new Event("rows:changed"));
  announce([
    ...swapped.map(({ news }) => news).filter(Boolean),
    ...gone.map((number) => `Run ${number} was deleted.`),
    ...(more ? [newRuns.textContent] : []),
    ...(brought.length ? [`${brought.length} new run${brought.length === 1 ? "" : "s"} shown`] : []),
  ]);
  return swapped.length + gone.length + brought.length > 0 || more;
}

function made(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.querySelector("tr");
}

function swap(number, html) {
  const old = document.getElementById(`run-${number}`);
  // What somebody is just selecting to copy isn't taken away; the row comes with the next request.
  if (!old || isBeingSelected(old)) return false;
  const row = made(html);
  const focused = old.contains(document.activeElement) ? signature(document.activeElement, old) : null;
  carryOver(old, row);
  still(() => old.replaceWith(row));
  window.htmx.process(row);
  if (focused !== null) focusAgain(row, focused);
  if (!row.dataset.live) row.classList.add("just-ended");
  return true;
}

function remove(number) {
  const row = document.getElementById(`run-${number}`);
  const next = row.nextElementSibling ?? row.previousElementSibling;
  if (row.contains(document.activeElement) && next) focusRow(next);
  still(() => row.remove());
}

function bring(htmls, newest) {
  const rows = htmls.map(made);
  document.querySelector("table.runs > tbody").prepend(...rows);
  for (const row of rows) window.htmx.process(row);
  list.dataset.newest = newest;
  focusRow(rows[0]);
}

function tell(count) {
  told = count;
  newRuns.hidden = !count;
  const said = count > MOST_BROUGHT ? `${MOST_BROUGHT}+` : count;
  newRuns.querySelector("span").textContent = `${said} new run${count === 1 ? "" : "s"}`;
}

newRuns.addEventListener("click", (event) => {
  // The first rows of an empty list, and very many, come with the page itself.
  const plain = !(event.ctrlKey || event.metaKey || event.shiftKey);
  if (!plain || stopped || told > MOST_BROUGHT || !document.querySelector("table.runs > tbody")) return;
  event.preventDefault();
  ask({ bring: 1 });
});

function showTime() {
  for (const part of document.querySelectorAll("[data-since]")) {
    part.textContent = lasting((Date.now() - new Date(part.dataset.since)) / 1000);
  }
}

function lasting(seconds) {
  const [length, unit] = UNITS.find(([least]) => seconds >= least) ?? [];
  if (!length) return "less than a minute";
  const count = Math.floor(seconds / length);
  return `${count.toLocaleString("en")} ${unit}${count > 1 ? "s" : ""}`;
}

// --- what stays as it is ----------------------------------------------------------------------

function numberOf(row) {
  return row.id.replace("run-", "");
}

function isBeingSelected(row) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(row, true);
}

function signature(element, row) {
  if (element === row) return "";
  return [element.tagName, element.getAttribute("href"), element.name, element.ariaLabel].join("|");
}

function focusAgain(row, focused) {
  const all = [...row.querySelectorAll("a, button, input, select, summary")];
  const same = focused && all.find((element) => signature(element, row) === focused);
  if (same) same.focus({ preventScroll: true });
  else focusRow(row);
}

function focusRow(row) {
  row.tabIndex = -1;
  row.focus({ preventScroll: true });
}

function carryOver(old, row) {
  const menus = row.querySelectorAll("details");
  old.querySelectorAll("details").forEach((menu, place) => {
    if (menus[place]) menus[place].open = menu.open;
  });
  for (const box of old.querySelectorAll("input:checked")) {
    const same = [...row.querySelectorAll("input")].find((each) => each.name === box.name && each.value === box.value);
    if (same) same.checked = true;
  }
}

// Holds still what is looked at while something above it grows or shrinks. Browsers do that for text, but not
// for all tables, and not all of them.
document.documentElement.style.overflowAnchor = "none";

function still(change) {
  const top = (row) => row.getBoundingClientRect().top;
  const looked = [...document.querySelectorAll("table.runs > tbody > tr")].find((row) => top(row) >= 0);
  const before = looked && top(looked);
  change();
  if (looked?.isConnected && scrollY > 0) scrollBy(0, top(looked) - before);
}

later();
