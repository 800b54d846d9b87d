// "Copy as curl" in a run's menu: when its dialog shows the commands, copies the first one.

document.addEventListener("htmx:afterSwap", (event) => {
  const dialog = event.target;
  if (dialog.id === "commands-dialog" && event.detail.requestConfig.elt.matches("[data-curl]"))
    dialog.querySelector("[data-copy]:not([hidden])")?.click();
});
