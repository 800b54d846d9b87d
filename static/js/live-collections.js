// Updates the latest runs in the list of collections. The rows keep their order, even if the list is sorted by them.

import { announce, elementFrom, notifyChanged, replace } from "./dom.js";
import { poll } from "./polling.js";

const MAX_ANNOUNCED = 3;

const list = document.querySelector("[data-live-collections]");
const cells = () => [...list.querySelectorAll("[data-latest]")].slice(0, 200);

function url() {
  const seen = cells().map((cell) => cell.dataset.latest);
  return seen.length ? `${list.dataset.liveCollections}?seen=${seen.join()}` : "";
}

function update(changes) {
  const shown = changes.filter(({ id, html }) => replaceCell(id, elementFrom(html)));
  if (!shown.length) return false;
  notifyChanged();
  if (shown.length > MAX_ANNOUNCED) announce(`The latest runs of ${shown.length} collections have changed.`);
  else announce(...shown.map(({ news }) => news));
  return true;
}

function replaceCell(id, cell) {
  const old = cells().find(({ dataset }) => dataset.latest.startsWith(`${id}.`));
  return Boolean(old) && replace(old, cell);
}

if (list) {
  poll({ url, isLive: cells().some((cell) => cell.dataset.latest.endsWith(".processing")), update });
}
