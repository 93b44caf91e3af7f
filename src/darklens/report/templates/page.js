"use strict";
// What makes a page answer to hand and keyboard. It works without: tables are in a good order, curves have their figures in a
// table or a caption, and every picture is on the page.

// a table is sorted by a click, or Enter, on the head of a column; a second time the other way round
for (const table of document.querySelectorAll(".scroll > table")) {
  const body = table.tBodies[0], heads = [...table.querySelectorAll("thead th")];
  if (!body || body.rows.length < 2 || table.querySelector("[rowspan]")) continue;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "descending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const value = row => {
        const text = (row.cells[column]?.dataset.value ?? row.cells[column]?.firstChild?.textContent ?? "").trim();
        const figure = parseFloat(text.replace(/,/g, "").replace("\u2212", "-"));
        return Number.isNaN(figure) ? text : figure;
      };
      const compared = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1; // what has no figure stands last, either way
        const order = typeof x === "number" ? x - y : x.localeCompare(y);
        return down ? order : -order;
      };
      body.append(...[...body.rows].sort(compared));
    });
  });
}

// an image is opened in a dialog; a slider lays the maps over it
for (const button of document.querySelectorAll("[data-opens]")) {
  const dialog = document.getElementById(button.dataset.opens);
  button.addEventListener("click", () => dialog.showModal());
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  dialog.querySelector(".blend input").addEventListener("input", event => {
    for (const image of dialog.querySelectorAll(".under")) image.style.opacity = event.target.value / 100;
  });
}

// a curve says its figures where the pointer is, or where the arrow keys have gone
for (const chart of document.querySelectorAll("figure.chart")) {
  const drawing = chart.querySelector("svg"), said = chart.querySelector("output");
  const lines = [...drawing.querySelectorAll("polyline")], cursor = drawing.querySelector(".cursor");
  const points = lines.map(line => JSON.parse(line.dataset.points));
  const box = drawing.viewBox.baseVal;
  let at = null;
  const scale = JSON.parse(drawing.dataset.scale);
  const place = x => scale.left + (scale.right - scale.left) * (x - scale.x0) / (scale.x1 - scale.x0);
  const show = x => {
    at = Math.min(scale.x1, Math.max(scale.x0, x));
    cursor.setAttribute("x1", place(at));
    cursor.setAttribute("x2", place(at));
    cursor.style.display = "";
    const near = lines.map((line, k) => {
      const best = points[k].reduce((a, b) => Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a);
      return `${line.dataset.name} ${best[3] ?? +best[1].toPrecision(4)}`;
    });
    const here = points[0].reduce((a, b) => Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a);
    said.textContent = `${drawing.dataset.x} ${here[2] ?? +here[0].toPrecision(3)}: ${near.join(" · ")}`;
  };
  drawing.addEventListener("pointermove", event => {
    const frame = drawing.getBoundingClientRect();
    const x = (event.clientX - frame.left) / frame.width * box.width;
    show(scale.x0 + (x - scale.left) / (scale.right - scale.left) * (scale.x1 - scale.x0));
  });
  drawing.addEventListener("keydown", event => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    show((at ?? scale.x0) + step * (scale.x1 - scale.x0) / 40);
    event.preventDefault();
  });
}
