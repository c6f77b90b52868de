// The list of cells, and one cell opened. `#cell=RUN_ID` leads to a cell.

const addressOf = (cell) => `#cell=${encodeURIComponent(cell.run)}`;

const statusText = (cell) => (cell.status === "ok" ? "finished" : cell.status);
const cellName = (cell) => `${cell.arm.variant}, seed ${cell.seed}`;
const cellsTable = new Sortable(byId("list"), byId("more-cells"), [
  {
    key: "cell", title: "cell", head: true, value: cellName,
    cell: (cell) => element("a", { class: "name", href: addressOf(cell), title: "open it; this link leads to it" }, breakable(cellName(cell))),
  },
  ...(DATA.blocks.length > 1 ? [{ key: "block", title: "block", kind: "block", value: (cell) => cell.arm.title, cell: (cell) => breakable(cell.arm.title) }] : []),
  { key: "seed", title: "seed", kind: "further", number: true, value: (cell) => cell.seed, cell: (cell) => String(cell.seed) },
  { key: "status", title: "ended", kind: CELLS.every((cell) => cell.status === "ok") ? "further" : null, value: statusText, cell: (cell) => (cell.status === "ok" ? "finished" : element("strong", { class: "dirty" }, `✕ ${cell.status}`)) },
  { key: "accuracy", title: `test ${oneQuantity((score) => score.quantity) || "score"}`, number: true, value: (cell) => cell.test_score, cell: (cell) => scored(cell.arm, cell.test_score) },
  { key: "val", title: `validation ${oneQuantity((score) => score.quantity) || "score"}`, kind: "further", number: true, value: (cell) => cell.val_score, cell: (cell) => scored(cell.arm, cell.val_score) },
  { key: "loss", title: "test loss", kind: "further", number: true, value: (cell) => cell.test_loss, cell: (cell) => fixed(cell.test_loss, 4) },
  { key: "epochs", title: "epochs", kind: "further", number: true, value: (cell) => cell.epochs, cell: (cell) => count(cell.epochs) },
  ...(CELLS.some((cell) => cell.reason) ? [{ key: "reason", title: "reason", kind: "long", value: (cell) => cell.reason, cell: (cell) => cell.reason }] : []),
], CELLS);
cellsTable.onfill = () => {
  byId("count-cells").textContent = cellsTable.kept === CELLS.length ? `All ${count(CELLS.length)} cells.` : `${count(cellsTable.kept)} of ${count(CELLS.length)} cells match.`;
};

function filterCells() {
  const words = byId("find-cell").value.toLowerCase().split(/\s+/).filter(Boolean), status = byId("filter-status").value;
  cellsTable.keep = (cell) => (status === "" || cell.status === status)
    && words.every((word) => `${cellName(cell)} ${cell.arm.title} ${cell.run} ${cell.reason}`.toLowerCase().includes(word));
  cellsTable.fill();
}
options(byId("filter-status"), [["", "all"], ...[...new Set(CELLS.map((cell) => cell.status))].map((status) => [status, status === "ok" ? "finished" : status])]);
byId("find-cell").addEventListener("input", filterCells);
byId("filter-status").addEventListener("change", filterCells);

/** Nested settings as [dotted key, text]. */
function flat(value, key = "") {
  if (value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length) {
    return Object.entries(value).flatMap(([name, inner]) => flat(inner, key ? `${key}.${name}` : name));
  }
  return [[key, typeof value === "string" ? value : JSON.stringify(value)]];
}

function pairs(rows) {
  return element("table", { class: "pairs" }, element("tbody", {}, ...rows.map(([key, value]) => element("tr", {}, element("th", { scope: "row" }, key), element("td", {}, value)))));
}

/** The heading of a part and its content, folded where it is long. */
function part(title, content, folded = false) {
  return folded ? element("details", {}, element("summary", {}, title), content) : element("div", {}, element("h3", {}, title), content);
}

/** A metric as people read it; `units` has those of the scores by their name. */
const measured = (key, value, units = {}) => {
  if (typeof value !== "number") return value === null ? NOTHING : String(value);
  // Records count epochs from 0, people from 1.
  if (key === "selected_epoch") return count(value + 1);
  const unit = units[key] ?? units[key.replace(/^(train|val|test)_/, "")];
  if (unit === "%" || (unit === undefined && /accuracy|^ece$|_iou$|^macro_f1$/.test(key))) return `${percent(value)} %`;
  if (unit) return `${figure(value)} ${unit}`;
  return Number.isInteger(value) ? count(value) : figure(value);
};

/** The sites of a network, as the audit found them. */
function auditTable(audit) {
  const size = (value) => (Array.isArray(value) ? value.join("×") : given(value) ? String(value) : NOTHING);
  const called = (one) => (one.arguments ? `${one.operator}(${one.arguments})` : String(one.operator ?? NOTHING));
  const headings = ["site", "native", "operator", "kernel", "stride", "padding", "ceil", "geometry", "input", "output", "parameters", "multiply-adds", "receptive field"];
  const lines = (audit.sites || []).map((site) => [site.name, site.native, site.note ? `${called(site)}: ${site.note}` : called(site), size(site.kernel_size), size(site.stride), size(site.padding), site.ceil_mode ? "yes" : "no",
    site.geometry, size(site.input_shape), size(site.output_shape), count(site.parameters), count(site.multiply_adds), size(site.receptive_field) + (given(site.receptive_field_ms) ? ` (${count(Math.round(site.receptive_field_ms))} ms)` : "")]);
  if (audit.head && audit.head.operator) lines.push(["head", audit.head.native, called(audit.head), ...Array(6).fill(NOTHING), `${count(audit.head.features)} features`, NOTHING, NOTHING, NOTHING]);
  const others = flat(Object.fromEntries(Object.entries(audit).filter(([key]) => key !== "sites" && key !== "head"))).filter(([key, value]) => key && value !== "[]" && value !== "");
  return element("div", {},
    element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Sites of the network" }, element("table", {},
      element("thead", {}, element("tr", {}, ...headings.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...lines.map((line) => element("tr", {}, ...line.map((text, index) => element(index ? "td" : "th", index ? {} : { scope: "row" }, text ?? NOTHING))))))),
    others.length ? pairs(others) : null);
}

/** The learning curves as Vega-Lite, or null where the cell has none. */
function curve(history, what, title, selected, scale = 1) {
  const values = [];
  for (const [name, label] of [[`train_${what}`, "training"], [`val_${what}`, "validation"]]) {
    (history[name] || []).forEach((value, index) => { if (given(value)) values.push({ epoch: ((history.epoch || [])[index] ?? index) + 1, value: value * scale, part: label }); });
  }
  if (!values.length) return null;
  const x = { field: "epoch", type: "quantitative", title: "epoch", scale: { nice: false, zero: false }, axis: { tickMinStep: 1, format: "d" } };
  const parts = ["training", "validation"];
  const encoding = {
    x, y: { field: "value", type: "quantitative", title, scale: { zero: false } },
    color: { field: "part", type: "nominal", scale: { domain: parts, range: [theme.colour("orange"), theme.colour("accent")] } },
    strokeDash: { field: "part", type: "nominal", scale: { domain: parts, range: [[4, 3], [1, 0]] } },
  };
  return {
    width: "container", height: 170, autosize: { type: "fit-x", contains: "padding" }, description: `Learning curve: ${title} by epoch.`,
    layer: [
      ...(given(selected) ? [{ data: { values: [{ epoch: selected + 1 }] }, mark: { type: "rule", color: theme.colour("soft"), strokeDash: [2, 3] }, encoding: { x } }] : []),
      { data: { values }, mark: { type: "line", strokeWidth: 2 }, encoding },
      { data: { values }, mark: { type: "point", filled: true, size: 40, opacity: values.length > 80 ? 0.01 : 0.9 }, encoding: { x, y: encoding.y, color: encoding.color, tooltip: [{ field: "part", type: "nominal" }, { field: "epoch", type: "quantitative" }, { field: "value", type: "quantitative", title, format: ".4~g" }] } },
    ],
  };
}

const dialog = byId("cell");
const opened = { cell: null, among: CELLS, plots: [] };

/** Open a cell; `among` are those that Previous and Next lead to. */
function openCell(cell, among = null) {
  opened.cell = cell;
  opened.among = among || [...CELLS];
  history.replaceState(null, "", addressOf(cell));
  showCell();
  if (!dialog.open) dialog.showModal();
  drawCurves();
  byId("cell-h").focus();
}

function showCell() {
  const { cell, among } = opened, place = among.indexOf(cell);
  byId("cell-before").disabled = place <= 0;
  byId("cell-after").disabled = place === among.length - 1;
  byId("cell-h").textContent = `${cellName(cell)}: ${cell.arm.title}`;
  const folder = `records/${encodeURIComponent(cell.run)}/`;
  const link = element("a", { href: `${folder}record.json` }, `${cell.run}/record.json`);
  const parts = [element("p", {}, cell.status === "ok" ? "Finished. " : element("strong", { class: "dirty" }, `✕ ${cell.status}. `), "The whole record: ", link)];
  const detail = cell.detail, shared = (index) => DATA.shared[index];
  const reason = detail ? shared(detail.reason) : cell.reason;
  if (reason) parts.push(part("Why", element("pre", { tabindex: "0", "aria-label": "Reason" }, reason)));
  const trace = detail ? shared(detail.traceback) : "";
  if (trace) parts.push(part("Traceback", element("pre", { tabindex: "0", "aria-label": "Traceback" }, trace), true));
  const epochs = detail ? (detail.history.epoch || []) : [];
  if (cell.status !== "ok" && epochs.length) parts.push(element("p", { class: "note" }, `It ended in or after epoch ${count(epochs[epochs.length - 1] + 1)}.`));
  opened.plots = [];
  if (!detail) {
    parts.push(pairs([[`test ${scoreOf(cell.arm).words}`, reachedText(cell.arm, cell.test_score)], [`validation ${scoreOf(cell.arm).words}`, reachedText(cell.arm, cell.val_score)], ["test loss", fixed(cell.test_loss, 4)]]),
      element("p", { class: "note" }, "This page holds more cells than it can in detail; the rest of this one is in its record."));
  } else {
    const score = scoreOf(cell.arm);
    const curves = [[score.name, score.quantity, score.scale], ["loss", "loss", 1]].map(([what, title, scale]) => curve(detail.history, what, title, detail.metrics.selected_epoch, scale)).filter(Boolean);
    opened.plots = curves.map((spec) => [element("div", { class: "plot" }), spec]);
    const metrics = Object.entries(detail.metrics).map(([key, value]) => [key, measured(key, value, score.units)]);
    const provenance = shared(detail.provenance), command = shared(detail.command);
    parts.push(element("div", { class: "columns" },
      metrics.length ? part("Metrics", pairs(metrics)) : null,
      curves.length ? part("Learning curve", element("div", {}, ...opened.plots.map(([host]) => host), element("p", { class: "note" }, "Vertical line: the selected epoch.",
        (detail.metrics.epochs || 0) > (detail.history.epoch || []).length ? " Some epochs are left out here; the record has all." : ""))) : null));
    const audit = shared(detail.audit);
    if (Object.keys(audit).length) parts.push(part("Audit of the network", auditTable(audit)));
    const config = Object.entries(detail.config).flatMap(([name, index]) => flat(shared(index), name));
    parts.push(part("Configuration", pairs(config), true));
    const cost = Object.entries(shared(detail.cost)).map(([key, value]) => [key, measured(key, value)]);
    if (cost.length) parts.push(part("Cost", pairs(cost), true));
    const data = flat(shared(detail.data)).filter(([key]) => key);
    if (data.length) parts.push(part("Data", pairs(data), true));
    const times = Object.entries(detail.times).map(([key, value]) => [key, typeof value === "number" ? `${figure(value)} s` : String(value ?? NOTHING)]);
    parts.push(part("Origin", element("div", {},
      provenance.dirty ? element("p", { class: "dirty" }, "⚠ Run from a tree with uncommitted changes.") : null,
      pairs([...flat(provenance).filter(([key]) => key), ...(command.length ? [["command", command.join(" ")]] : []), ...times])), true));
  }
  byId("cell-content").replaceChildren(...parts);
  dialog.scrollTop = 0;
}

// A plot takes its width from its place, which has one only while the dialog is open.
const drawCurves = () => opened.plots.forEach(([host, spec]) => draw(host, spec, false));

function turnTo(step) {
  const next = opened.among[opened.among.indexOf(opened.cell) + step];
  if (next) openCell(next, opened.among);
}
byId("cell-before").addEventListener("click", () => turnTo(-1));
byId("cell-after").addEventListener("click", () => turnTo(1));
byId("cell-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
// A click beside the dialog closes it.
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
theme.listeners.push(() => { if (dialog.open) { showCell(); drawCurves(); } });

armsTable.draw();
cellsTable.draw();
theme.show();
showBlock(Math.max(0, DATA.blocks.findIndex((block, index) => armsOf(index).length > 0)));
/** Open the cell that the address names. */
function followAddress() {
  const run = location.hash.startsWith("#cell=") ? decodeURIComponent(location.hash.slice(6)) : null;
  const cell = run === null ? null : CELLS.find((one) => one.run === run);
  if (cell) openCell(cell);
}
addEventListener("hashchange", followAddress);
followAddress();
document.documentElement.dataset.ready = "yes";
