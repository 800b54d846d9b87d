// Sorting the records keeps their scroll position.

let position = null;

document.addEventListener("htmx:beforeSwap", (event) => {
  const table = document.getElementById("records-table");
  position = null;
  if (!table || event.detail.target.id !== "results") return;
  const isSorted = event.detail.requestConfig.elt.matches("thead a");
  position = { left: table.scrollLeft, top: isSorted ? table.scrollTop : 0 };
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (position && event.target.id === "results") document.getElementById("records-table")?.scrollTo(position);
});
