// Filters the list of columns as the user types.

document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-column-filter]")) return;
  const text = event.target.value.trim().toLowerCase();
  for (const label of event.target.form.querySelectorAll("fieldset label"))
    label.hidden = !label.textContent.toLowerCase().includes(text);
});
