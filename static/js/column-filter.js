// Filters the list of columns as the user types, and checks all visible columns or none.

const labels = (form) => [...form.querySelectorAll("fieldset label")];

document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-column-filter]")) return;
  const text = event.target.value.trim().toLowerCase();
  const { form } = event.target;
  for (const label of labels(form)) label.hidden = !label.textContent.toLowerCase().includes(text);
  const folded = form.querySelector("[data-folded]");
  if (folded && text) folded.open = true;
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-check]");
  if (!button) return;
  for (const label of labels(button.form))
    if (!label.hidden) label.control.checked = button.dataset.check === "all";
});

function showButtons() {
  for (const buttons of document.querySelectorAll("[data-check-buttons][hidden]")) buttons.hidden = false;
}

showButtons();
document.addEventListener("htmx:afterSwap", showButtons);
