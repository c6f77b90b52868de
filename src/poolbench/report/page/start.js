"use strict";
// The data, how figures are written, the theme, and the variant that is chosen.

const DATA = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const given = (value) => value !== null && value !== undefined && value !== "";

/** An element with properties and children; texts go in as texts, never as markup. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A name that may break before its settings and between them: `avg[kernel_size=3,stride=2]`. */
function breakable(name) {
  const parts = name.split(/(?=\[)|(?<=,)(?=[^\W\d]|\[)/);
  return element("span", {}, ...parts.flatMap((text, index) => (index ? [element("wbr"), text] : [text])));
}

const isReference = (arm) => arm.variant === arm.reference;
const effect = (arm) => (given(arm.difference_mean) ? DATA.blocks[arm.block].score.sign * arm.difference_mean : -Infinity);

// An arm: the row of the summary as an object, with its block and its cells.
const ARMS = DATA.armBlocks.map((block, index) => ({ index, block, title: DATA.blocks[block].title, cells: [] }));
for (const column of DATA.columns) {
  column.values.forEach((value, index) => { ARMS[index][column.name] = column.words ? column.words[value] : value; });
}
for (const [name, values] of Object.entries(DATA.scores)) values.forEach((value, index) => { ARMS[index][name] = value; });
const byPlace = [...ARMS];
// Block by block, the reference first, then by effect.
ARMS.sort((a, b) => a.block - b.block || isReference(b) - isReference(a) || effect(b) - effect(a));
const CELLS = DATA.cells.arm.map((arm, index) => {
  const cell = { index, arm: byPlace[arm], detail: DATA.details[index] };
  for (const [name, values] of Object.entries(DATA.cells)) if (name !== "arm") cell[name] = values[index];
  cell.status = DATA.shared[cell.status];
  cell.reason = DATA.shared[cell.reason];
  cell.arm.cells.push(cell);
  return cell;
});

// Figures as people read them.
const NOTHING = "–";
const minus = (text) => text.replace("-", "−");
const fixed = (value, digits) => (given(value) ? minus(value.toFixed(digits)) : NOTHING);
const percent = (value) => (given(value) ? fixed(value * 100, 2) : NOTHING);
const points = (value) => (given(value) ? (value * 100 > 0.005 ? "+" : "") + percent(value).replace(/^−0\.00$/, "0.00") : NOTHING);
// Each block's score as it is written: a fraction in per cent and points, an error in its unit.
const scoreOf = (arm) => DATA.blocks[arm.block].score;
const scored = (arm, value) => (given(value) ? fixed(value * scoreOf(arm).scale, scoreOf(arm).decimals) : NOTHING);
const withUnit = (text, unit) => (unit && text !== NOTHING ? `${text} ${unit}` : text);
const reachedText = (arm, value) => withUnit(scored(arm, value), scoreOf(arm).unit);
const changed = (arm, value) => {
  if (!given(value)) return NOTHING;
  const text = scored(arm, value), least = 0.5 * 10 ** -scoreOf(arm).decimals;
  return value * scoreOf(arm).scale >= -least ? `+${text.replace("−", "")}` : text;
};
const interval = (low, high, write = points) => (given(low) && given(high) ? `${write(low)} to ${write(high)}` : NOTHING);
const count = (value) => (given(value) ? value.toLocaleString("en-US", { maximumFractionDigits: 0 }) : NOTHING);

/** Three significant digits, thousands parted, no exponent. */
function figure(value) {
  if (!given(value)) return NOTHING;
  const whole = value === 0 ? 1 : Math.floor(Math.log10(Math.abs(value))) + 1;
  const digits = Math.min(6, Math.max(0, 3 - whole));
  return minus(value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
}

/** The score's mean ± half the interval's width. */
function estimate(arm) {
  const mean = arm.score_mean, low = arm.score_ci95_low, high = arm.score_ci95_high;
  return given(low) && given(high) ? `${scored(arm, mean)} ± ${scored(arm, (high - low) / 2)}` : scored(arm, mean);
}
const oneQuantity = (write) => { const found = [...new Set(DATA.blocks.map((block) => write(block.score)))]; return found.length === 1 ? found[0] : ""; };
const classified = DATA.blocks.every((block) => block.score.task === "classification");

// The same marks as in the figures beside this page.
const VERDICTS = {
  better: { mark: "▲", shape: "triangle-up", colour: "better" },
  worse: { mark: "▼", shape: "triangle-down", colour: "worse" },
  mixed: { mark: "⬢", shape: "square", colour: "ink", hollow: true },
  "fails more often": { mark: "✚", shape: "cross", colour: "worse", hollow: true },
  tie: { mark: "◆", shape: "diamond", colour: "tie" },
  undecided: { mark: "○", shape: "circle", colour: "ink", hollow: true },
  "too few runs": { mark: "✕", shape: "cross", colour: "grey" },
  identical: { mark: "◇", shape: "diamond", colour: "grey", hollow: true },
  reference: { mark: "■", shape: "square", colour: "ink" },
  "": { mark: "", shape: "circle", colour: "grey" },
};
const verdictOf = (arm) => VERDICTS[arm.verdict] || VERDICTS[""];

/** The chosen variant; all that show variants listen. */
const choice = {
  variant: null,
  listeners: [],
  set(variant) {
    this.variant = variant === this.variant ? null : variant;
    this.listeners.forEach((listen) => listen(this.variant));
  },
};
choice.listeners.push((variant) => {
  byId("clear").hidden = variant === null;
  byId("chosen").textContent = variant === null
    ? "Choose a variant in a plot or in the table: it is marked in all of them."
    : `Chosen: ${variant}, marked in both plots and in the table.`;
});
byId("clear").addEventListener("click", () => choice.set(null));

/** Fill a select with [value, text] pairs. */
function options(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => element("option", { value }, text)));
}

// The theme: the system's until the button is pressed; kept where the browser keeps anything for a file.
const theme = {
  dark: matchMedia("(prefers-color-scheme: dark)"),
  listeners: [],
  isDark() {
    const forced = document.documentElement.dataset.theme;
    return forced ? forced === "dark" : this.dark.matches;
  },
  /** A colour of the style sheet as the browser resolves it now. */
  colour(name) {
    const probe = element("span", { style: `color: var(--${name})` });
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  },
  show() {
    const button = byId("theme");
    button.hidden = false;
    button.textContent = this.isDark() ? "Light theme" : "Dark theme";
    this.listeners.forEach((listen) => listen());
  },
};
try {
  const kept = localStorage.getItem("poolbench-theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
} catch { /* a file may have no storage */ }
byId("theme").addEventListener("click", () => {
  const name = theme.isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = name;
  try { localStorage.setItem("poolbench-theme", name); } catch { /* as above */ }
  theme.show();
});
theme.dark.addEventListener("change", () => theme.show());
/** The colour of a variant, the same as in the figures beside this page; a reference has the colour of the ink. */
function colourOf(variant) {
  const found = DATA.colours[variant];
  if (found === undefined) return theme.colour("grey");
  if (found === "") return theme.colour("ink");
  // The blue is too dark for a dark ground.
  return found === "#0072B2" && theme.isDark() ? "#4f93e6" : found;
}

document.querySelectorAll(".scripted").forEach((section) => { section.hidden = false; });
