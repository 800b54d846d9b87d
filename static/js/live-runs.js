// Updates the rows of unfinished runs, all in one request, and offers new runs.

import { announce, elementFrom, focusOn, keepScroll, notifyChanged, replace } from "./dom.js";
import { poll } from "./polling.js";

const MAX_ADDED = 50;

const list = document.querySelector("[data-live-list]");
const button = list?.querySelector("[data-new-runs]");
const liveRows = () => [...document.querySelectorAll("tr[data-live]")];
const runsTable = () => document.querySelector("table.runs > tbody");
const plural = (count) => (count === 1 ? "" : "s");

let offered = 0; // the number of new runs on the button

function url(extra = {}) {
  const rows = liveRows().map((row) => `${row.id.replace("run-", "")}.${row.dataset.live}`);
  if (!rows.length && !("newest" in list.dataset)) return "";
  const query = new URLSearchParams(list.dataset.query);
  if (rows.length) query.set("runs", rows.slice(0, 200).join());
  if ("newest" in list.dataset) query.set("newest", list.dataset.newest);
  query.set("new", offered);
  for (const [name, value] of Object.entries(extra)) query.set(name, value);
  return `${list.dataset.liveList}?${query}`;
}

function update({ rows, gone, brought, newest, new: count }) {
  const replaced = rows.filter(({ number, html }) => replaceRow(number, html));
  gone.forEach(removeRow);
  if (brought.length) addRows(brought, newest);
  const hasMore = count > offered;
  offer(count);
  const changed = replaced.length + gone.length + brought.length > 0;
  if (changed) notifyChanged();
  announce(
    ...replaced.map(({ news }) => news).filter(Boolean),
    ...gone.map((number) => `Run ${number} was deleted.`),
    ...(hasMore ? [button.textContent.trim()] : []),
    ...(brought.length ? [`${brought.length} new run${plural(brought.length)} shown`] : []),
  );
  return changed || hasMore;
}

function replaceRow(number, html) {
  const old = document.getElementById(`run-${number}`);
  const row = elementFrom(html);
  if (!old || !replace(old, row)) return false;
  if (!row.dataset.live) row.classList.add("just-ended");
  return true;
}

function removeRow(number) {
  const row = document.getElementById(`run-${number}`);
  const next = row.nextElementSibling ?? row.previousElementSibling;
  if (row.contains(document.activeElement) && next) focusOn(next);
  keepScroll(() => row.remove());
}

function addRows(fragments, newest) {
  const rows = fragments.map(elementFrom);
  runsTable().prepend(...rows);
  for (const row of rows) window.htmx.process(row);
  list.dataset.newest = newest;
  focusOn(rows[0]);
}

function offer(count) {
  offered = count;
  button.hidden = !count;
  const label = count > MAX_ADDED ? `${MAX_ADDED}+` : count;
  button.querySelector("span").textContent = `${label} new run${plural(count)}`;
}

if (list) {
  const { pollNow, isStopped } = poll({ url, isLive: liveRows().length > 0, update });
  button.addEventListener("click", (event) => {
    // The first rows of an empty list, and very many, come with the page itself.
    const isPlain = !(event.ctrlKey || event.metaKey || event.shiftKey);
    if (!isPlain || isStopped() || offered > MAX_ADDED || !runsTable()) return;
    event.preventDefault();
    pollNow({ bring: 1 });
  });
}
