// Sends a form once if its button is clicked twice. Without this, the second click would, for example, create another
// API key.

// A form can be sent again, in case the user has stopped the page.
const PAUSE = 5000;

const sent = new WeakMap();

document.addEventListener("submit", (event) => {
  const { target: form, timeStamp: now } = event;
  if (event.defaultPrevented || form.method !== "post") return;
  if (now - sent.get(form) < PAUSE) event.preventDefault();
  else sent.set(form, now);
});

// The page is shown again, from the browser's memory.
addEventListener("pageshow", () => {
  for (const form of document.forms) sent.delete(form);
});
