// Keeps the page of a run that isn't completed up to date while somebody looks at it; in the end it shows the
// run's records and files.

import { follow } from "./asking.js";
import { made, replace, tellChanged } from "./replacing.js";
import { announce } from "./swaps.js";

const run = () => document.getElementById("run");

follow({
  address: () => run().dataset.live,
  isLive: true,
  show({ html, news }) {
    if (!replace(run(), made(html))) return false;
    tellChanged();
    announce(...news);
    return true;
  },
});
