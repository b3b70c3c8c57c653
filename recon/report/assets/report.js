// The copy button, the crosshair of the curves, and a count of script errors (data-errors on <html>).
"use strict";

document.documentElement.dataset.errors = 0;
addEventListener("error", () => { document.documentElement.dataset.errors++; });
addEventListener("unhandledrejection", () => { document.documentElement.dataset.errors++; });

addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const source = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch { // pages from disk may not be allowed to write; then the text is selected for the user
        getSelection().selectAllChildren(source);
        button.textContent = "Press Ctrl+C";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
  for (const plot of document.querySelectorAll(".plot")) {
    const svg = plot.querySelector("svg"), line = svg.querySelector(".cross"), readout = plot.querySelector(".readout");
    const series = JSON.parse(svg.dataset.series), first = readout.textContent;
    svg.addEventListener("pointermove", (event) => {
      const spot = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const near = series.map(({ name, at }) => [name, at.reduce((best, each) =>
        Math.abs(each[0] - spot.x) < Math.abs(best[0] - spot.x) ? each : best)]);
      line.setAttribute("x1", near[0][1][0]);
      line.setAttribute("x2", near[0][1][0]);
      line.style.display = "";
      readout.textContent = `step ${near[0][1][1]}: ` + near.map(([name, [, , value]]) => `${name} ${value}`).join(", ");
    });
    svg.addEventListener("pointerleave", () => { line.style.display = "none"; readout.textContent = first; });
  }
});
