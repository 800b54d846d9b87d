// Keeps the latest runs of the collections up to date while somebody looks at the list. The rows stay in their
// order, also where that is by these runs.

import { follow } from "./asking.js";
import { made, replace, tellChanged } from "./replacing.js";
import { announce } from "./swaps.js";

const MOST_NAMED = 3;

const list = document.querySelector("[data-live-collections]");
const cells = () => [...list.querySelectorAll("[data-latest]")].slice(0, 200);

follow({
  address() {
    const seen = cells().map((cell) => cell.dataset.latest);
    return seen.length ? `${list.dataset.liveCollections}?seen=${seen.join()}` : "";
  },
  isLive: cells().some((cell) => cell.dataset.latest.endsWith(".processing")),
  show(changes) {
    const shown = changes.filter(({ id, html }) => swap(id, made(html)));
    if (!shown.length) return false;
    tellChanged();
    if (shown.length > MOST_NAMED) announce(`The latest runs of ${shown.length} collections have changed.`);
    else announce(...shown.map(({ news }) => news));
    return true;
  },
});

function swap(id, cell) {
  const old = cells().find(({ dataset }) => dataset.latest.startsWith(`${id}.`));
  return Boolean(old) && replace(old, cell);
}
