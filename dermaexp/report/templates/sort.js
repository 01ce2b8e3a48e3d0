"use strict";
// Sorts the body of every table.sortable by a click on a heading: first ascending, then descending.

for (const table of document.querySelectorAll("table.sortable")) {
  table.caption?.firstElementChild?.append(" Click a heading to sort.");
  const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  headings.forEach((heading, column) => {
    // A button, so that Enter, Space and screen readers find it.
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      sortRows(table.tBodies[0], column, down ? -1 : 1);
    });
  });
}

function sortRows(body, column, direction) {
  const rows = [...body.rows].map((row) => ({ row, key: sortKey(row.cells[column]) }));
  // Array.sort is stable: equal rows keep the order that they had.
  rows.sort((a, b) => compareKeys(a.key, b.key, direction));
  body.append(...rows.map(({ row }) => row));
}

// A cell's text as null where it is empty or undefined, as a number where it starts with one
// (1,234, 0.69 ± 0.01 or < 0.001).
function sortKey(cell) {
  const text = cell.textContent.trim();
  if (text === "" || text === "undefined") return null;
  const number = text.match(/^(?:< )?[-+−]?(\d[\d,]*\.?\d*|\.\d+)(e[-+]?\d+)?(?=$|[\s%±])/i);
  return number ? Number(number[0].replace("< ", "").replaceAll(",", "").replace("−", "-")) : text;
}

// Empty cells come last in both directions; numbers before texts.
function compareKeys(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return direction * (typeof a === "number" ? -1 : 1);
  if (typeof a === "number") return direction * (a - b);
  return direction * a.localeCompare(b, undefined, { numeric: true });
}
