// Tables that sort by the column whose head is pressed.

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = el("button", { type: "button", click: () => sortBy(table, heads, column) });
    button.append(...head.childNodes);
    head.replaceChildren(button);
  });
}

function sortBy(table, heads, column) {
  const rising = heads[column].getAttribute("aria-sort") !== "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", rising ? "ascending" : "descending");
  const body = table.tBodies[0]; // published rows stand in a second body and stay where they are
  const keyed = [...body.rows].map((row) => [sortKey(row.cells[column]), row]);
  keyed.sort(([a], [b]) => compareKeys(a, b, rising));
  body.append(...keyed.map(([, row]) => row));
}

/** The unrounded value of a cell where it has one, else its text; "—" and the like are no number. */
function sortKey(cell) {
  const value = cell.dataset.value ?? cell.firstChild?.textContent.trim() ?? "";
  const count = Number(value.replaceAll(",", ""));
  return value !== "" && !Number.isNaN(count) ? count : value;
}

/** Numbers before words whichever way they are sorted: what has no number is never the best. */
function compareKeys(a, b, rising) {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  const order = typeof a === "number" ? a - b : a.localeCompare(b);
  return rising ? order : -order;
}
