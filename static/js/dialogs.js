// Opens a <dialog> when htmx has filled it. A click outside closes it, as Escape does.

document.addEventListener("htmx:afterSwap", (event) => {
  const dialog = event.target;
  if (dialog.matches("dialog") && !dialog.open) dialog.showModal();
});

document.addEventListener("click", (event) => {
  if (event.target.matches("dialog[open]")) event.target.close();
});
