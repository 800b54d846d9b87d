// Updates the page of a run until the run has completed.

import { announce, elementFrom, notifyChanged, replace } from "./dom.js";
import { poll } from "./polling.js";

const run = () => document.getElementById("run");

function update({ html, news }) {
  if (!replace(run(), elementFrom(html))) return false;
  notifyChanged();
  announce(...news);
  return true;
}

if (run()?.dataset.live) poll({ url: () => run().dataset.live, isLive: true, update });
