"use strict";
// Fills in the confusion matrix of the run group chosen in each select of a .confusions box.

for (const box of document.querySelectorAll(".confusions")) {
  const { classes, groups } = JSON.parse(box.querySelector("script").textContent);
  for (const part of box.querySelectorAll(".confusion")) {
    const select = part.querySelector("select");
    const fill = () => fillConfusion(part.querySelector("table"), classes, groups[select.value]);
    select.addEventListener("change", fill);
    fill();
  }
}

// Rows are true classes; a cell has its share of the row in percent, and its count.
function fillConfusion(table, classes, { label, seeds, counts }) {
  const body = document.createElement("tbody");
  counts.forEach((row, index) => {
    const samples = row.reduce((sum, count) => sum + count, 0);
    const line = body.insertRow();
    line.append(headingCell("row", classes[index], `n = ${(samples / seeds).toLocaleString("en")}`));
    for (const count of row) {
      const cell = line.insertCell();
      if (samples === 0) continue;
      const share = (100 * count) / samples;
      cell.style.setProperty("--share", `${share}%`);
      cell.append(element("b", `${share.toFixed(0)}\u00a0%`), element("span", count.toLocaleString("en")));
    }
  });
  const head = document.createElement("thead");
  const names = head.insertRow();
  names.append(headingCell("col", "true ↓  predicted →", ""));
  classes.forEach((name) => names.append(headingCell("col", name, "")));
  const over = seeds === 1 ? "one seed" : `${seeds} seeds`;
  table.replaceChildren(element("caption", ""), head, body);
  table.caption.append(element("span", `${label}, counts of ${over}`));
}

function headingCell(scope, name, samples) {
  const cell = element("th", "");
  cell.scope = scope;
  cell.append(element("span", name));
  if (samples) cell.append(element("small", samples));
  return cell;
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
