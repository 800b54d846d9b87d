// Asks again and again what has changed on a page: every two seconds while something changes, less and less often
// while nothing does, never in a tab that is hidden. Where that is over, or the server is away, the page says so.

import { still } from "./replacing.js";
import { announce } from "./swaps.js";
import { showElapsed } from "./times.js";

const QUICK_MS = 2000;
const SLOW_MS = 30_000;

const problem = document.querySelector("[data-live-problem]");

// `address(more)` is what is asked, or nothing where the page has nothing to ask for; `isLive`, whether something goes
// on there at first; `show(news)` gets what is answered, and returns whether anything on the page is different now.
export function follow({ address, isLive, show }) {
  let wait = isLive ? QUICK_MS : SLOW_MS;
  let timer = 0;
  let request = null;
  let isOver = false;

  function later() {
    clearTimeout(timer);
    if (!isOver && !document.hidden && address()) timer = setTimeout(ask, wait);
  }

  async function ask(more) {
    clearTimeout(timer);
    request?.abort();
    const asked = !isOver && address(more);
    if (!asked) return;
    request = new AbortController();
    try {
      await take(await fetch(asked, { redirect: "manual", signal: request.signal }));
    } catch (error) {
      if (error.name === "AbortError") return;
      unreachable();
    }
    showElapsed();
    later();
  }

  async function take(answer) {
    if (answer.type === "opaqueredirect") {
      end("You are signed out, so what is shown here doesn't change any more. ", "Sign in again");
    } else if (answer.status === 404) {
      end("What is shown here was deleted meanwhile. ", "Look again");
    } else if ([400, 403].includes(answer.status)) {
      end("What is shown here can't be followed any more; you may have lost access to it. ", "Look again");
    } else if (!answer.ok) {
      unreachable();
    } else {
      still(() => (problem.hidden = true));
      const changed = answer.status === 200 && show(await answer.json());
      wait = changed ? QUICK_MS : Math.min(SLOW_MS, wait * 1.5);
    }
  }

  function unreachable() {
    wait = Math.min(SLOW_MS, wait * 2);
    say("The server can't be reached, so what is shown here may be out of date. It goes on by itself.");
  }

  // The page stays where it is: whoever reads or selects something there isn't interrupted.
  function end(text, link) {
    isOver = true;
    say(text);
    const again = document.createElement("a");
    again.href = location.href;
    again.textContent = link;
    problem.querySelector("p").append(again);
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) request?.abort();
    else ask();
  });
  // What htmx brings may be the first that is to be followed.
  document.addEventListener("htmx:afterSettle", later);
  later();
  return { ask, isOver: () => isOver };
}

function say(text) {
  if (problem.hidden) announce(text);
  still(() => {
    problem.querySelector("p").textContent = text;
    problem.hidden = false;
  });
}
