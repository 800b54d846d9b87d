// Updates the rows of the Overview and of the list of collections. Rows keep their order, even if their sort key changes.

import { announce, elementFrom, notifyChanged, replace } from "./dom.js";
import { poll } from "./polling.js";

const MAX_ANNOUNCED = 3;

const list = document.querySelector("[data-live-collections]");
const rows = () => [...list.querySelectorAll("[data-latest]")].slice(0, 200);

function url() {
  const seen = rows().map((row) => row.dataset.latest);
  return seen.length ? `${list.dataset.liveCollections}?seen=${seen.join()}` : "";
}

function update(changes) {
  const shown = changes.filter(({ id, html }) => updateRow(id, elementFrom(html)));
  if (!shown.length) return false;
  notifyChanged();
  if (shown.length > MAX_ANNOUNCED) announce(`${shown.length} collections have changed.`);
  else announce(...shown.map(({ news }) => news));
  return true;
}

// A cell with selected text stays, and so does the version: the next response replaces it.
function updateRow(id, fresh) {
  const row = rows().find(({ dataset }) => dataset.latest.startsWith(`${id}.`));
  if (!row) return false;
  const replaced = [...fresh.cells].map((cell) => replace(row.querySelector(`[data-label="${cell.dataset.label}"]`), cell));
  if (!replaced.every(Boolean)) return false;
  row.dataset.latest = fresh.dataset.latest;
  return true;
}

if (list) {
  poll({ url, isLive: rows().some((row) => row.dataset.latest.endsWith(".processing")), update });
}
