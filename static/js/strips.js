// A strip of ticks, one for each of a collection's last runs. It is one link: arrow keys and the pointer choose the run
// that it opens. Without this, it leads to the list of runs.

import { announce } from "./dom.js";
import { exactTime } from "./times.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

function choose(strip, tick) {
  const previous = strip.querySelector(".is-current");
  if (tick === previous) return;
  previous?.classList.remove("is-current");
  tick?.classList.add("is-current");
  strip.dataset.list ??= strip.getAttribute("href");
  strip.href = tick ? strip.dataset.list.replace(/download$/, `runs/${tick.dataset.run}/`) : strip.dataset.list;
  strip.title = tick ? describe(tick) : "";
}

function describe(tick) {
  const { run, status, at } = tick.dataset;
  return `Run ${run}: ${status[0].toUpperCase()}${status.slice(1)}, ${exactTime(at)}`;
}

function move(strip, step) {
  const ticks = [...strip.children];
  const current = ticks.indexOf(strip.querySelector(".is-current"));
  const index = current < 0 ? ticks.length - 1 : Math.min(Math.max(current + step, 0), ticks.length - 1);
  choose(strip, ticks[index]);
  announce(describe(ticks[index]));
}

document.addEventListener("keydown", (event) => {
  const strip = event.target.closest?.("[data-strip]");
  if (!strip?.children.length || !(event.key in STEPS)) return;
  event.preventDefault();
  move(strip, STEPS[event.key]);
});

document.addEventListener("mouseover", (event) => {
  const tick = event.target.closest?.("[data-strip] > i");
  if (tick) choose(tick.parentElement, tick);
});

for (const name of ["mouseout", "focusout"]) {
  document.addEventListener(name, (event) => {
    const strip = event.target.closest?.("[data-strip]");
    if (strip && !strip.contains(event.relatedTarget)) choose(strip, null);
  });
}
