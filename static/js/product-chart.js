// Shows what a run says about a product, beside its chart: for the run under the pointer, or the one that the arrow keys
// choose. Enter or a click opens its record. Without this, the table has the same values.

const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
const SVG = "http://www.w3.org/2000/svg";

for (const plot of document.querySelectorAll("[data-chart]")) setUp(plot);

function setUp(plot) {
  const points = JSON.parse(document.getElementById(plot.dataset.chart).textContent);
  const svg = plot.querySelector("svg");
  const { width, height } = svg.viewBox.baseVal;
  const cursor = document.createElementNS(SVG, "path");
  cursor.setAttribute("class", "cursor");
  svg.append(cursor);
  const output = document.createElement("output");
  plot.parentElement.querySelector("figcaption").before(output);
  let current = points.length - 1;

  Object.assign(plot, { tabIndex: 0, role: "slider", ariaLabel: "Price over time", ariaValueMin: 1, ariaValueMax: points.length });

  function choose(index) {
    current = Math.min(Math.max(index, 0), points.length - 1);
    const [x, , text] = points[current];
    cursor.setAttribute("d", `M${x} 0V${height}`);
    output.textContent = plot.ariaValueText = text;
    plot.ariaValueNow = current + 1;
  }

  choose(current);

  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const after = points.findIndex((point) => point[0] > x);
    const index = after < 0 ? points.length - 1 : after;
    choose(index && x - points[index - 1][0] < points[index][0] - x ? index - 1 : index);
  });

  plot.addEventListener("keydown", (event) => {
    if (event.key in STEPS) {
      event.preventDefault();
      choose(current + STEPS[event.key]);
    } else if (event.key === "Enter") {
      open();
    }
  });

  plot.addEventListener("click", open);

  function open() {
    location.assign(points[current][3]);
  }
}
