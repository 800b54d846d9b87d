// Starts a download that the user requested before the file was ready.

function start() {
  const link = document.querySelector("a[data-start]");
  if (!link) return;
  delete link.dataset.start;
  // Reloading the page doesn't download the file again.
  const here = new URL(location.href);
  here.searchParams.delete("start");
  here.searchParams.delete("saved");
  history.replaceState(history.state, "", here);
  link.click();
}

start();
document.addEventListener("htmx:afterSwap", start);
