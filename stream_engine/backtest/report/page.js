(() => {
  const table = document.getElementById("sensors");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const key = (row, n) => n ? parseFloat(row.cells[n].dataset.v) : row.cells[0].textContent;
  const order = (a, b) => typeof a === "string"
    ? a.localeCompare(b, undefined, { numeric: true })
    : (isNaN(a) - isNaN(b)) || a - b;
  [...table.tHead.rows[0].cells].forEach((head, n) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== (n ? "descending" : "ascending") ? (n ? -1 : 1) : (n ? 1 : -1);
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up > 0 ? "ascending" : "descending");
      rows.sort((a, b) => up * order(key(a, n), key(b, n)));
      body.append(...rows);
    });
  });
  const find = document.getElementById("find");
  if (find) find.addEventListener("input", () => {
    const wanted = find.value.toLowerCase();
    for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
  });
})();
