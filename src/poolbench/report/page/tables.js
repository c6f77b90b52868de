// A table that sorts and filters; and the one of the variants.

const PAGE_OF_ROWS = 200;
const spell = new Intl.Collator("en", { numeric: true });

/** Values in order, empty ones last whichever way it goes. */
function compare(a, b, direction) {
  if (!given(a) || !given(b)) return given(a) ? -1 : given(b) ? 1 : 0;
  return direction * (typeof a === "number" && typeof b === "number" ? a - b : spell.compare(String(a), String(b)));
}

/**
 * A sortable table. A column has `key`, `title`, `value(row)` to sort by, `cell(row)` for the text or element shown,
 * and may have `tip`, `number`, `head` (a row's heading), `kind` (a class).
 */
class Sortable {
  constructor(table, more, columns, rows) {
    Object.assign(this, { table, more, columns, rows, keep: () => true, sorted: null, direction: 1, limit: PAGE_OF_ROWS });
    more.addEventListener("click", () => { this.limit = Infinity; this.fill(); });
  }

  setColumns(columns) {
    this.columns = columns;
    if (!columns.some((column) => column.key === this.sorted)) this.sorted = null;
    this.draw();
  }

  sortBy(key) {
    // Upwards, downwards, and back to the order of the report.
    if (this.sorted !== key) [this.sorted, this.direction] = [key, 1];
    else if (this.direction === 1) this.direction = -1;
    else this.sorted = null;
    this.mark();
    this.fill();
  }

  draw() {
    this.headings = this.columns.map((column) => element(
      "th",
      { scope: "col", class: [column.number && "number", column.head && "pinned", column.kind].filter(Boolean).join(" ") || null, "data-key": column.key },
      element("button", { type: "button", title: column.tip, class: column.raw ? "raw" : null, onclick: () => this.sortBy(column.key) },
        column.title, element("span", { class: "arrow", "aria-hidden": "true" }, "↕")),
    ));
    this.table.tHead.replaceChildren(element("tr", {}, ...this.headings));
    this.mark();
    this.fill();
  }

  mark() {
    this.columns.forEach((column, index) => {
      const heading = this.headings[index], on = column.key === this.sorted;
      if (on) heading.setAttribute("aria-sort", this.direction === 1 ? "ascending" : "descending");
      else heading.removeAttribute("aria-sort");
      heading.querySelector(".arrow").textContent = on ? (this.direction === 1 ? "▲" : "▼") : "↕";
    });
  }

  /** Fill the body with the rows that are kept, in order. */
  fill() {
    let rows = this.rows.filter(this.keep);
    const column = this.columns.find((one) => one.key === this.sorted);
    if (column) {
      const keyed = rows.map((row, place) => [column.value(row), place, row]);
      rows = keyed.sort((a, b) => compare(a[0], b[0], this.direction) || a[1] - b[1]).map((entry) => entry[2]);
    }
    const visible = rows.slice(0, this.limit);
    this.table.tBodies[0].replaceChildren(...visible.map((row) => this.line(row)));
    this.more.hidden = visible.length === rows.length;
    this.more.textContent = `Show all ${count(rows.length)}`;
    this.kept = rows.length;
    if (this.onfill) this.onfill();
  }

  line(row) {
    const made = element("tr", {}, ...this.columns.map((column) => {
      const kinds = [column.number && "number", column.head && "pinned", column.kind].filter(Boolean).join(" ");
      return element(column.head ? "th" : "td", { class: kinds || null, scope: column.head ? "row" : null, "data-label": column.head ? null : column.title }, column.cell(row));
    }));
    if (this.online) this.online(made, row);
    return made;
  }
}

// What the entries of the column `flags` mean, by a word that they hold.
const FLAGS = {
  geometry: "its kernels, strides or padding are not the reference's at every site, or are not known",
  recipe: "it was trained by another recipe: the difference is not the pooling's alone",
  "unpaired seeds": "only one of the two finished these seeds, so they do not count in the difference",
  "code revision": "the two were run with different revisions of the code",
  "uncommitted changes": "code with uncommitted changes was run, which no revision names",
};

/** ⚑ with what is unequal, to be opened by pointer and keyboard. */
function flagButton(arm) {
  const entries = arm.flags.split("; ");
  return element("button", {
    type: "button", class: "flag", "aria-expanded": "false", "aria-label": `Unequal: ${arm.flags}`, title: `unequal: ${arm.flags}`,
    onclick: (event) => {
      const button = event.currentTarget, note = byId("flag-note"), opened = button.getAttribute("aria-expanded") === "true";
      closeFlag();
      if (opened) return;
      button.setAttribute("aria-expanded", "true");
      const entered = entries.map((entry) => {
        const known = Object.keys(FLAGS).find((name) => entry.includes(name));
        return element("li", {}, element("strong", {}, entry), known ? `: ${FLAGS[known]}` : "");
      });
      note.replaceChildren(`${arm.variant} and ${arm.reference || "the reference"} differ in more than the pooling:`, element("ul", {}, ...entered));
      note.hidden = false;
      const at = button.getBoundingClientRect();
      note.style.top = `${at.bottom + scrollY + 6}px`;
      note.style.left = `${Math.max(8, Math.min(at.left + scrollX, document.documentElement.clientWidth - note.offsetWidth - 8))}px`;
    },
  }, "⚑");
}

function closeFlag() {
  byId("flag-note").hidden = true;
  document.querySelectorAll('.flag[aria-expanded="true"]').forEach((button) => button.setAttribute("aria-expanded", "false"));
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeFlag(); });
document.addEventListener("click", (event) => { if (!event.target.closest(".flag, #flag-note")) closeFlag(); });

const MOST_SEEDS = 10;
/** The cells of an arm, a button a seed. */
function seedButtons(arm) {
  const buttons = arm.cells.slice(0, MOST_SEEDS).map((cell) => element("button", {
    type: "button", class: cell.status === "ok" ? "seed" : "seed bad", onclick: () => openCell(cell, [...arm.cells]),
    "aria-label": `Open ${arm.variant}, seed ${cell.seed}, ${cell.status === "ok" ? "finished" : cell.status}`,
    title: cell.status === "ok" ? `seed ${cell.seed}: ${reachedText(arm, cell.test_score)}` : `seed ${cell.seed}: ${cell.status}. ${cell.reason}`,
  }, cell.status === "ok" ? String(cell.seed) : `${cell.seed} ✕`));
  if (arm.cells.length > MOST_SEEDS) buttons.push(element("span", { class: "small" }, `and ${arm.cells.length - MOST_SEEDS} more below`));
  return element("span", {}, ...buttons);
}

const settled = (arm, quantity) => (arm[`${quantity}_settled`] === false ? "~" : "");
// An arm with the reference's own window operators differs in its head alone.
const ownReference = (arm) => ARMS.find((one) => one.block === arm.block && one.variant === arm.reference);
const windowsOf = (arm) => ((arm && arm.downsample_operators) || "").replace(/implementation=\w+(, )?|, implementation=\w+/g, "").replaceAll("()", "");
const unlike = (arm) => (arm.implementation && arm.reference_implementation && arm.implementation !== arm.reference_implementation
  && windowsOf(ownReference(arm)) !== windowsOf(arm) ? "‡" : "");
const unfinished = (arm) => ["failed", "diverged", "unsupported", "interrupted"].map((status) => [arm[`n_${status}`] || 0, status]).filter(([n]) => n);
const references = [...new Set(ARMS.map((arm) => arm.reference).filter(given))];
const against = references.length === 1 ? references[0] : "reference";
const meaning = Object.fromEntries(DATA.columns.map((column) => [column.name, column.unit ? `${column.meaning} (${column.unit})` : column.meaning]));
const order = Object.keys(VERDICTS);

const number = (key, title, text, tip) => ({ key, title, number: true, value: (arm) => arm[key], cell: text, tip: tip || meaning[key] });
const MAIN = [
  {
    key: "variant", title: "variant", head: true, value: (arm) => arm.variant, tip: meaning.variant,
    cell: (arm) => element("span", {}, element("button", { type: "button", class: "name", "aria-pressed": String(arm.variant === choice.variant), onclick: () => choice.set(arm.variant), title: "mark it here and in the plots" }, breakable(arm.variant)),
      arm.identical_to ? element("span", { class: "small" }, ` identical to ${arm.identical_to}`) : null),
  },
  ...(DATA.blocks.length > 1 ? [{ key: "block", title: "block", kind: "block", value: (arm) => arm.title, cell: (arm) => breakable(arm.title), tip: "backbone and data set" }] : []),
  {
    key: "verdict", title: "verdict", kind: "verdict", tip: meaning.verdict,
    value: (arm) => (arm.verdict ? order.indexOf(arm.verdict) : null),
    cell: (arm) => element("span", { class: `v-${arm.verdict.replaceAll(" ", "-")}` },
      element("span", { class: "mark", "aria-hidden": "true" }, verdictOf(arm).mark), arm.verdict ? ` ${arm.verdict}` : finished(arm) ? NOTHING : "no finished cell",
      arm.verdict === "undecided" && given(arm.chance_10_seeds) ? element("span", { class: "small", title: meaning.chance_10_seeds }, ` (${Math.round(arm.chance_10_seeds * 100)} % with 10 seeds)`) : null,
      arm.below_image_se ? element("span", { title: "the difference is smaller than the test set's own standard error" }, " ≈", element("span", { class: "unseen" }, " below the test set's own standard error")) : null,
      arm.flags ? flagButton(arm) : null),
  },
  number("difference_mean", `Δ to ${against}${oneQuantity((score) => score.difference) ? `, ${oneQuantity((score) => score.difference)}` : ""}`, (arm) => changed(arm, arm.difference_mean)),
  { ...number("difference_holm_low", "interval that decides", (arm) => interval(arm.deciding_low, arm.deciding_high, (value) => changed(arm, value))), value: (arm) => arm.deciding_low, tip: "interval of the difference: of a tie that of the two one-sided tests, else corrected for the number of arms in the block; sorts by its lower end" },
  number(classified ? "test_accuracy_mean" : "score_mean", oneQuantity((score) => score.quantity) ? `test ${oneQuantity((score) => score.quantity)}` : "test score", (arm) => estimate(arm), "the primary score on the test set: mean over the seeds ± half its 95 % interval"),
  number("n_seeds", "n", (arm) => count(arm.n_seeds)),
  number("parameters", "parameters", (arm) => count(arm.parameters)),
  number("multiply_adds", "multiply-adds, M", (arm) => figure(given(arm.multiply_adds) ? arm.multiply_adds / 1e6 : null)),
  number("kept_bytes", "kept, MiB", (arm) => figure(given(arm.kept_bytes) ? arm.kept_bytes / MIB : null)),
  number("training_ratio", "training ×", (arm) => (given(arm.training_ratio) ? fixed(arm.training_ratio, 2) + settled(arm, "training") + unlike(arm) : NOTHING)),
  number("latency_ms", "latency, ms", (arm) => (given(arm.latency_ms) ? figure(arm.latency_ms) + settled(arm, "latency") : NOTHING)),
  ...(ARMS.some((arm) => unfinished(arm).length) ? [{
    key: "unfinished", title: "not finished", value: (arm) => unfinished(arm).reduce((sum, [n]) => sum + n, 0), tip: "cells that failed, diverged, were unsupported or interrupted",
    cell: (arm) => (unfinished(arm).length ? element("strong", { class: "dirty" }, unfinished(arm).map(([n, status]) => `${n} ${status}`).join(", ")) : "0"),
  }] : []),
  { key: "seeds", title: "cells by seed", kind: "seeds", value: (arm) => arm.cells.length, cell: seedButtons, tip: "open a cell" },
];
// A column that says nothing for any arm takes room from those that do.
const usual = MAIN.filter((column) => !DATA.columns.some((one) => one.name === column.key) || ["variant", "verdict"].includes(column.key) || ARMS.some((arm) => given(arm[column.key])));

const rawText = (column, value) => {
  if (!given(value)) return NOTHING;
  if (column.kind === "count") return count(value);
  return column.kind === "number" ? minus(String(value)) : String(value);
};
const RAW = DATA.columns.filter((column) => !["backbone", "dataset", "variant"].includes(column.name)).map((column) => ({
  key: `raw:${column.name}`, title: column.name, raw: true, group: column.group, number: column.kind === "count" || column.kind === "number",
  tip: meaning[column.name], value: (arm) => arm[column.name], cell: (arm) => rawText(column, arm[column.name]),
}));

const armsTable = new Sortable(byId("arms"), byId("more-arms"), usual, ARMS);
const searched = new Map(ARMS.map((arm) => [arm, [arm.variant, arm.title, arm.verdict, arm.flags, arm.downsample_operators, arm.head_operator, arm.identical_to, arm.arm_id].join(" ").toLowerCase()]));
const markChosen = (line, arm) => {
  const on = arm.variant === choice.variant;
  line.classList.toggle("chosen", on);
  line.querySelector(".name").setAttribute("aria-pressed", String(on));
};
armsTable.online = (line, arm) => { line.arm = arm; markChosen(line, arm); };
armsTable.onfill = () => {
  closeFlag();
  byId("count").textContent = armsTable.kept === ARMS.length ? `All ${count(ARMS.length)} rows, a row a variant in a block.` : `${count(armsTable.kept)} of ${count(ARMS.length)} rows match.`;
};
choice.listeners.push(() => { for (const line of byId("arms").tBodies[0].rows) markChosen(line, line.arm); });

/** Keep the rows that all three filters let through. */
function filterArms() {
  const text = byId("find").value.trim().toLowerCase(), block = byId("filter-block").value, verdict = byId("filter-verdict").value;
  armsTable.keep = (arm) => (!text || searched.get(arm).includes(text)) && (block === "" || arm.block === Number(block))
    && (verdict === "" || (verdict === "⚑" ? arm.flags !== "" : verdict === "✕" ? unfinished(arm).length > 0 : arm.verdict === verdict));
  // One block needs no column to say which.
  armsTable.setColumns([...usual.filter((column) => column.key !== "block" || block === ""), ...added()]);
}
options(byId("filter-block"), [["", "all"], ...DATA.blocks.map((block, index) => [index, block.title])]);
options(byId("filter-verdict"), [["", "all"], ...order.filter((name) => name && ARMS.some((arm) => arm.verdict === name)).map((name) => [name, name]),
  ...(ARMS.some((arm) => arm.flags) ? [["⚑", "⚑ unequal"]] : []), ...(ARMS.some((arm) => unfinished(arm).length) ? [["✕", "✕ with unfinished cells"]] : [])]);
byId("find").addEventListener("input", filterArms);
byId("filter-verdict").addEventListener("change", filterArms);
byId("filter-block").addEventListener("change", (event) => {
  filterArms();
  // The plots follow: they show one block.
  if (event.target.value !== "") showBlock(Number(event.target.value));
});

const boxes = new Map();
const added = () => RAW.filter((column) => boxes.has(column.key) && boxes.get(column.key).checked);
/** Boxes for the columns of summary.csv, in its own units. */
function buildChooser() {
  const box = (label, tip, onchange) => {
    const input = element("input", { type: "checkbox", onchange });
    return [input, element("label", { title: tip }, input, label)];
  };
  const [all, allLabel] = box("all columns", "", () => { boxes.forEach((input) => { input.checked = all.checked; }); filterArms(); });
  all.id = "all-columns";
  const groups = [...new Set(RAW.map((column) => column.group))].map((group) => element("fieldset", {}, element("legend", {}, group),
    ...RAW.filter((column) => column.group === group).map((column) => {
      const [input, label] = box(column.title, column.tip, filterArms);
      boxes.set(column.key, input);
      return label;
    })));
  byId("columns").replaceChildren(element("p", { class: "note" }, "Columns of summary.csv beside the usual ones, under its names and in its units: accuracies as fractions of 1, memory in bytes."), allLabel, ...groups);
}
byId("chooser").addEventListener("toggle", () => { if (!byId("columns").hasChildNodes()) buildChooser(); });
