// Keeps the rows of runs up to date while somebody looks at them. One request asks for all of them. A row that has
// changed takes the old one's place.

import { follow } from "./asking.js";
import { focusOn, made, replace, still, tellChanged } from "./replacing.js";
import { announce } from "./swaps.js";

const MOST_BROUGHT = 50;

const list = document.querySelector("[data-live-list]");
const newRuns = list.querySelector("[data-new-runs]");
const liveRows = () => [...document.querySelectorAll("tr[data-live]")];

let told = 0; // how many new runs the page speaks of

const { ask, isOver } = follow({ address, isLive: liveRows().length > 0, show });

function address(more = {}) {
  const rows = liveRows().map((row) => `${row.id.replace("run-", "")}.${row.dataset.live}`);
  if (!rows.length && !("newest" in list.dataset)) return "";
  const asked = new URLSearchParams(list.dataset.query);
  if (rows.length) asked.set("runs", rows.slice(0, 200).join());
  if ("newest" in list.dataset) asked.set("newest", list.dataset.newest);
  asked.set("new", told);
  for (const [name, value] of Object.entries(more)) asked.set(name, value);
  return `${list.dataset.liveList}?${asked}`;
}

function show({ rows, gone, brought, newest, ...counted }) {
  const swapped = rows.filter(({ number, html }) => swap(number, html));
  gone.forEach(remove);
  if (brought.length) bring(brought, newest);
  const more = counted.new > told;
  tell(counted.new);
  const changed = swapped.length + gone.length + brought.length > 0;
  if (changed) tellChanged();
  announce(
    ...swapped.map(({ news }) => news).filter(Boolean),
    ...gone.map((number) => `Run ${number} was deleted.`),
    ...(more ? [newRuns.textContent.trim()] : []),
    ...(brought.length ? [`${brought.length} new run${brought.length === 1 ? "" : "s"} shown`] : []),
  );
  return changed || more;
}

function swap(number, html) {
  const old = document.getElementById(`run-${number}`);
  const row = made(html);
  if (!old || !replace(old, row)) return false;
  if (!row.dataset.live) row.classList.add("just-ended");
  return true;
}

function remove(number) {
  const row = document.getElementById(`run-${number}`);
  const next = row.nextElementSibling ?? row.previousElementSibling;
  if (row.contains(document.activeElement) && next) focusOn(next);
  still(() => row.remove());
}

function bring(htmls, newest) {
  const rows = htmls.map(made);
  document.querySelector("table.runs > tbody").prepend(...rows);
  for (const row of rows) window.htmx.process(row);
  list.dataset.newest = newest;
  focusOn(rows[0]);
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
  if (!plain || isOver() || told > MOST_BROUGHT || !document.querySelector("table.runs > tbody")) return;
  event.preventDefault();
  ask({ bring: 1 });
});
