// Adds collections to the favorites, and removes them, without reloading the page. Without this, the form reloads it.

document.addEventListener("submit", (event) => {
  const { target: form, submitter: button } = event;
  if (!form.matches("[data-favorites]")) return;
  event.preventDefault();
  const values = Object.fromEntries(new FormData(form, button));
  window.htmx.ajax("POST", form.action, { target: button, swap: "outerHTML", values });
});
