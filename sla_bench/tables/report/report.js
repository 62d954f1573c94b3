"use strict";
// Texts from the records reach the page through textContent and setAttribute only.

const SVG = "http://www.w3.org/2000/svg";
let details = null;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawn(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function number(value) {
  return value.toLocaleString("en", { maximumFractionDigits: 1 });
}

/* Sorting and filtering */

function sortRows(table, heading) {
  const headings = [...table.tHead.rows[0].cells];
  const column = headings.indexOf(heading);
  const first = heading.querySelector("button").dataset.first;
  const second = first === "ascending" ? "descending" : "ascending";
  const next = { none: first, [first]: second, [second]: "none" }[heading.getAttribute("aria-sort")];
  for (const other of headings) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", next);
  const rows = mainRows(table);
  const byNumber = rows.some((row) => row.cells[column].dataset.value !== undefined);
  const keys = new Map(rows.map((row) => [row, keyOf(row, column, next, byNumber)]));
  const direction = next === "descending" ? -1 : 1;
  rows.sort((a, b) => compare(keys.get(a), keys.get(b), direction) || a.dataset.row - b.dataset.row);
  const body = table.tBodies[0];
  for (const row of rows) {
    const expanded = detailsRow(row);
    body.append(row);
    if (expanded) body.append(expanded);
  }
}

function keyOf(row, column, order, byNumber) {
  if (order === "none") return Number(row.dataset.row);
  const cell = row.cells[column];
  if (!byNumber) return (cell.querySelector("button") ?? cell).textContent || null;
  return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
}

const words = new Intl.Collator("en", { numeric: true });

function compare(a, b, direction) {
  // What is missing comes last in either order.
  if (a === null || b === null) return (a === null) - (b === null);
  return direction * (typeof a === "string" ? words.compare(a, b) : a - b);
}

function mainRows(table) {
  return [...table.tBodies[0].rows].filter((row) => row.dataset.row !== undefined);
}

function detailsRow(row) {
  const next = row.nextElementSibling;
  return next && next.classList.contains("details") ? next : null;
}

function filterRows(form, table, more) {
  const wanted = form.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
  const headings = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const chosen = [...form.querySelectorAll("select")]
    .filter((select) => select.selectedIndex > 0)
    .map((select) => [headings.indexOf(select.dataset.heading), select.value]);
  const most = more.classList.contains("used") ? Infinity : Number(table.dataset.most);
  const rows = mainRows(table);
  let fitting = 0;
  for (const row of rows) {
    const text = wanted.length ? row.textContent.toLowerCase() : "";
    const fits = wanted.every((word) => text.includes(word)) && chosen.every(([column, value]) => {
      const cell = row.cells[column];
      return (cell.querySelector("button") ?? cell).textContent === value;
    });
    fitting += fits;
    row.hidden = !fits || fitting > most;
    const expanded = detailsRow(row);
    if (expanded) expanded.hidden = row.hidden;
  }
  more.hidden = fitting <= most;
  more.textContent = `Show ${number(fitting - most)} more rows`;
  form.querySelector("[role=status]").textContent =
    `${number(fitting)} of ${number(rows.length)} rows` + (fitting ? "" : ": nothing fits");
}

/* Expanding */

function toggle(row, button) {
  const open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  if (open) {
    button.removeAttribute("aria-controls");
    detailsRow(row).remove();
    return;
  }
  const made = element("tr", { class: "details", id: `details-${row.dataset.row}` });
  made.append(element("td", { colspan: row.cells.length }, expanded(Number(row.dataset.row))));
  row.after(made);
  button.setAttribute("aria-controls", made.id);
}

function expanded(place) {
  details ??= JSON.parse(document.getElementById("details").textContent);
  const row = details.rows[place];
  const cell = details.cells[row.cell];
  const reference = row.reference === undefined ? null : details.cells[row.reference];
  const parts = [
    part("Reproduce", "wide", ...commands(cell, reference)),
    part("Seeds", "", seeds(cell.seeds)),
    part("Test", "", list(details.facts[row.figures])),
  ];
  if (row.gain.length) parts.push(part(reference ? `Gain over ${reference.method}` : "Gain", "", list(row.gain)));
  const curves = Object.entries(details.quantities)
    .map(([quantity, name]) => curve(quantity, name, cell, reference))
    .filter((figure) => figure !== null);
  if (curves.length) parts.push(part("Learning curves", "wide", element("div", { class: "curves" }, ...curves)));
  parts.push(part("Settings", "", list(details.facts[cell.settings])));
  for (const [environment, runs] of cell.environments) {
    const whose = runs.length < cell.runs.length ? ` of ${runs.join(", ")}` : "";
    parts.push(part(`Environment${whose}`, "", list(details.environments[environment])));
  }
  return element("div", { class: "expanded" }, ...parts);
}

function part(title, kind, ...children) {
  return element("section", kind ? { class: kind } : {}, element("h3", {}, title), ...children);
}

function list(facts) {
  return element("dl", {}, ...facts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
}

function commands(cell, reference) {
  const shown = cell.commands.map(block);
  const further = reference ? reference.commands.filter((command) => !cell.commands.includes(command)) : [];
  if (further.length) shown.push(element("p", {}, `and for its reference, ${reference.method}:`), ...further.map(block));
  return shown;
}

function block(command) {
  // An option and its value stay on one line where they can.
  const options = command.split(/ (?=--)/).flatMap((option) => [" ", element("span", {}, option)]);
  return element("pre", {}, element("code", {}, ...options.slice(1)));
}

function seeds({ head, body }) {
  const cells = (tag, texts, scope) => texts.map((text) => element(tag, scope ? { scope } : {}, text));
  return element("table", {},
    element("thead", {}, element("tr", {}, ...cells("th", head, "col"))),
    element("tbody", {}, ...body.map(([first, ...rest]) =>
      element("tr", {}, element("th", { scope: "row" }, first), ...cells("td", rest)))));
}

/* Learning curves */

const FRAME = { left: 34, right: 310, top: 8, bottom: 130 };

function curve(quantity, name, cell, reference) {
  const lines = [[reference, "reference"], [cell, "own"]]
    .filter(([source], place, all) => source && (place === 1 || source !== all[1][0]))
    .flatMap(([source, kind]) => source.runs.map((run, seed) => ({ kind, run, source, seed, points: details.curves[run][quantity] })))
    .filter((line) => line.points);
  if (!lines.some((line) => line.kind === "own")) return null;
  const all = lines.flatMap((line) => line.points);
  const [low, high] = [Math.min(...all.map((p) => p[1])), Math.max(...all.map((p) => p[1]))];
  const most = Math.max(...all.map((p) => p[0])) || 1;
  const x = (value) => FRAME.left + (value / most) * (FRAME.right - FRAME.left);
  const y = (value) => FRAME.bottom - ((value - low) / (high - low || 1)) * (FRAME.bottom - FRAME.top);
  const ends = lines.filter((line) => line.kind === "own").map((line) => number(line.points.at(-1)[1]));
  const picture = drawn("svg", { class: "curve", viewBox: "0 0 320 150", role: "img",
    "aria-label": `${name} of ${cell.method}, one line per seed, ends at ${ends.join(", ")}` });
  for (const value of new Set([low, high])) {
    picture.append(drawn("line", { class: "frame", x1: FRAME.left, x2: FRAME.right, y1: y(value), y2: y(value) }));
    picture.append(drawn("text", { x: FRAME.left - 4, y: y(value) + 4, "text-anchor": "end" }, number(value)));
  }
  picture.append(drawn("text", { x: FRAME.right, y: 146, "text-anchor": "end" }, `${number(most)} training images`));
  for (const line of lines) {
    const points = line.points.length > 1 ? line.points : [[0, line.points[0][1]], line.points[0]];
    const made = drawn("polyline", { class: line.kind, points: points.map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join(" ") });
    made.append(drawn("title", {}, `${line.source.method}, run ${line.run}`));
    picture.append(made);
  }
  const keys = [element("span", { class: "key own" }, cell.method)];
  if (lines.some((line) => line.kind === "reference")) {
    keys.push(" and, dashed, ", element("span", { class: "key reference" }, reference.method));
  }
  return element("figure", {}, element("figcaption", {}, `${name}: `, ...keys), picture);
}

for (const table of document.querySelectorAll(".scroll > table")) {
  const section = table.closest("section");
  const [form, more] = [section.querySelector("form"), section.querySelector(".more")];
  const refresh = () => filterRows(form, table, more);
  form.hidden = false;
  form.addEventListener("input", refresh);
  form.addEventListener("change", refresh);
  form.addEventListener("reset", () => setTimeout(refresh));
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    const next = mainRows(table).filter((row) => !row.hidden).length;
    more.classList.add("used");
    refresh();
    mainRows(table).filter((row) => !row.hidden)[next].querySelector("button").focus();
  });
  table.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.classList.contains("sort")) {
      sortRows(table, button.closest("th"));
      refresh();
    } else toggle(button.closest("tr"), button);
  });
  refresh();
}
