"use strict";
// Tables that sort by a click on a heading and filter as one types, figures that say what a point is, light and dark.

const number = (text) => {
  const found = text.replace(/,/g, "").match(/^[^\d-]*(-?\d+(\.\d+)?(e[-+]?\d+)?)/i);
  return found ? Number(found[1]) : null;
};

function sortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [row.cells[column].textContent.trim(), row]);
      const numeric = rows.some(([text]) => number(text) !== null && /^[^a-z]*\d/i.test(text));
      rows.sort(([a], [b]) => {
        const [x, y] = [number(a), number(b)];
        if (!numeric) return (up ? 1 : -1) * a.localeCompare(b, "en", { numeric: true });
        if (x === null || y === null) return (x === null) - (y === null); // what has no value comes last either way
        return up ? x - y : y - x;
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}

function filterable(holder, table) {
  if (table.tBodies[0].rows.length < 6) return;
  const field = document.createElement("input");
  field.type = "search";
  field.className = "filter";
  field.placeholder = "filter rows";
  field.setAttribute("aria-label", "filter the rows of the next table");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
  holder.before(field);
}

for (const holder of document.querySelectorAll(".table")) {
  const table = holder.querySelector("table");
  sortable(table);
  filterable(holder, table);
}

const tip = document.getElementById("tip");
const show = (point) => {
  tip.textContent = point.dataset.tip;
  tip.style.display = "block";
  const [spot, box] = [point.getBoundingClientRect(), tip.getBoundingClientRect()];
  const left = Math.min(spot.right + 8, innerWidth - box.width - 8);
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, Math.min(spot.bottom + 8, innerHeight - box.height - 8))}px`;
};
const hide = () => { tip.style.display = "none"; };
for (const point of document.querySelectorAll(".point")) {
  point.addEventListener("pointerenter", () => show(point));
  point.addEventListener("focus", () => show(point));
  point.addEventListener("pointerleave", hide);
  point.addEventListener("blur", hide);
}
addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
addEventListener("scroll", hide, { passive: true });

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
