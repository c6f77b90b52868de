// The plots of one block: paired differences, and the score against a cost. Both in Vega-Lite.

const MIB = 2 ** 20;
// `less`: whether less of it is better, which turns the Pareto front.
const COSTS = [
  { key: "training_ratio", title: "training speed / the reference's", less: false, write: (v) => fixed(v, 2), ends: true },
  { key: "inference_ratio", title: "inference speed / the reference's", less: false, write: (v) => fixed(v, 2), ends: true },
  { key: "latency_ms", title: "latency, ms", less: true, write: figure, ends: true },
  { key: "parameters", title: "parameters", less: true, write: count },
  { key: "multiply_adds", title: "multiply-adds of an example, M", less: true, scale: 1e6, write: figure },
  { key: "kept_bytes", title: "kept for backward, MiB", less: true, scale: MIB, write: figure },
];
const measure = document.createElement("canvas").getContext("2d");
const textWidth = (text, size) => { measure.font = `${size}px system-ui, sans-serif`; return measure.measureText(text).width; };

/** A long name in two lines, broken before or between its settings where the first line is then as full as it can be. */
function inTwoLines(name, room) {
  if (textWidth(name, 12) <= room) return [name];
  const ends = [...name.matchAll(/(?=\[)|(?<=,)/g)].map((found) => found.index).filter((at) => at > 0 && textWidth(name.slice(0, at), 12) <= room);
  return ends.length ? [name.slice(0, ends.at(-1)), name.slice(ends.at(-1))] : [name];
}

const MOST_LABELLED = 14;
// A line a variant: more of them no one reads as a plot.
const MOST_LINES = 60;
// `picked`: a cost that the reader chose; else the plot takes the first in which the variants differ.
const shown = { block: 0, cost: COSTS[0], picked: null, views: [] };

const finished = (arm) => given(arm.score_mean);
const armsOf = (block) => ARMS.filter((arm) => arm.block === block && finished(arm));

/** What plots take over from the style sheet. */
function plotConfig() {
  const ink = theme.colour("ink"), soft = theme.colour("soft"), line = theme.colour("line");
  return {
    background: null,
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: { labelSeparation: 6, labelColor: ink, titleColor: ink, gridColor: line, gridOpacity: 0.6, domainColor: soft, tickColor: soft, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500 },
    legend: { labelColor: ink, titleColor: ink, labelFontSize: 12, orient: "top", direction: "horizontal", title: null },
    text: { color: ink, fontSize: 11 },
  };
}

/** Draw a plot; no expression is compiled (`ast`), so that the page's policy can forbid it. */
async function draw(place, spec, linked = true) {
  place.dataset.drawn = theme.isDark() ? "dark" : "light";
  const result = await vegaEmbed(place, { ...spec, config: plotConfig() }, {
    mode: "vega-lite", ast: true, renderer: "svg", tooltip: { theme: "custom" },
    actions: { export: true, source: false, compiled: false, editor: false },
  });
  if (linked) {
    result.view.addEventListener("click", (event, item) => {
      const found = item && item.datum && (item.datum.variant ?? (item.mark.role === "axis-label" ? item.datum.value : null));
      if (found) choice.set(found);
      else if (choice.variant !== null) choice.set(choice.variant);
    });
    shown.views.push(result.view);
  }
  return result;
}

const faded = { condition: { test: "chosen === null || datum.variant === chosen", value: 1 }, value: 0.2 };
const verdictsShown = () => Object.keys(VERDICTS).filter((name) => armsOf(shown.block).some((arm) => arm.verdict === name));
// The shape says the verdict, the colour the variant; one legend of the shapes stands above the plots.
const looks = () => {
  const names = verdictsShown();
  const asItIs = (field) => ({ field, type: "nominal", legend: null, scale: null });
  return {
    colour: asItIs("colour"),
    mark: {
      stroke: asItIs("colour"),
      fill: asItIs("fill"),
      shape: { field: "verdict", type: "nominal", legend: null, scale: { domain: names, range: names.map((name) => VERDICTS[name].shape) } },
    },
  };
};
// What a tip shows: the field of the datum and its title. A title may hold any character, a field may not.
const TIPS = { variant: "variant", verdict: "verdict", tipDifference: "difference", tip95: "95 % interval", tipDecides: "interval that decides", tipAccuracy: "test score", tipCost: "cost", tipSeeds: "seeds", tipFlags: "unequal" };
const tips = (fields, titles = {}) => fields.map((field) => ({ field, type: "nominal", title: titles[field] || TIPS[field] }));

/** The values of an arm for both plots, and the texts of its tip. */
function datum(arm) {
  const reference = arm.variant === arm.reference, score = scoreOf(arm);
  const shown = (value) => (given(value) ? value * score.scale : null), write = (value) => changed(arm, value);
  return {
    variant: arm.variant,
    verdict: arm.verdict,
    colour: colourOf(arm.variant),
    fill: verdictOf(arm).hollow ? theme.colour("paper") : colourOf(arm.variant),
    diff: reference ? 0 : shown(arm.difference_mean),
    low: shown(arm.difference_ci95_low),
    high: shown(arm.difference_ci95_high),
    holmLow: shown(arm.difference_holm_low),
    holmHigh: shown(arm.difference_holm_high),
    tieLow: arm.verdict === "tie" ? shown(arm.tie_low) : null,
    tieHigh: arm.verdict === "tie" ? shown(arm.tie_high) : null,
    acc: shown(arm.score_mean),
    accLow: shown(arm.score_ci95_low),
    accHigh: shown(arm.score_ci95_high),
    tipDifference: reference ? "reference" : withUnit(changed(arm, arm.difference_mean), score.difference),
    tip95: interval(arm.difference_ci95_low, arm.difference_ci95_high, write),
    tipDecides: interval(arm.deciding_low, arm.deciding_high, write),
    tipAccuracy: withUnit(estimate(arm), score.unit === "%" ? "" : score.unit),
    tipSeeds: count(arm.n_seeds),
    tipFlags: arm.flags || "nothing but the pooling",
  };
}

/** The differences of the shown block. */
function forest(width) {
  const score = DATA.blocks[shown.block].score;
  const compared = armsOf(shown.block).map(datum).filter((row) => row.diff !== null).sort((a, b) => score.sign * (b.diff - a.diff));
  const values = compared.filter((row, place) => place < MOST_LINES || row.verdict === "reference");
  byId("forest-tie").hidden = !values.some((row) => row.tieLow !== null);
  byId("forest-more").textContent = values.length < compared.length ? ` Of ${count(compared.length)} variants the ${MOST_LINES} best; all are in the table.` : "";
  if (values.length < 2) return null;
  const arm = armsOf(shown.block).find((one) => given(one.margin) && one.margin > 0);
  const margin = arm ? arm.margin * score.scale : 0;
  byId("forest-margin").textContent = margin ? ` Grey band: the margin of ±\u00a0${withUnit(score.unit === "%" ? margin.toFixed(2) : figure(margin), score.difference)}, set before the runs: a difference within it is a tie.` : "";
  const scales = looks();
  // An interval of two seeds may be so wide that no other can be read: the axis then ends, and an arrow says so.
  const means = values.map((row) => row.diff), ends = values.flatMap((row) => [row.low, row.high]).filter(given).map(Math.abs);
  const typical = Math.max(...means.map(Math.abs), ends.sort((a, b) => a - b)[Math.floor(ends.length * 0.75)] || 0, margin);
  const all = values.flatMap((row) => [row.diff, row.low, row.high, row.holmLow, row.holmHigh]).filter(given);
  const edge = 3 * typical || 1;
  const domain = [Math.max(Math.min(...all, -margin), -edge), Math.min(Math.max(...all, margin), edge)];
  const rows = values.map((row) => ({ ...row, cut: (row.holmLow < domain[0] || row.low < domain[0]) ? domain[0] : null, cutHigh: (row.holmHigh > domain[1] || row.high > domain[1]) ? domain[1] : null }));
  const room = Math.max(80, Math.min(260, width * 0.42)), labels = Object.fromEntries(values.map((row) => [row.variant, inTwoLines(row.variant, room)]));
  const y = { field: "variant", type: "nominal", sort: values.map((row) => row.variant), title: null, axis: { labelExpr: "labels[datum.label]", labelOffset: { condition: { test: "length(labels[datum.label]) > 1", value: -7 }, value: 0 }, labelLineHeight: 13, labelLimit: room, grid: false, ticks: false, domain: false, labelPadding: 8 } };
  const title = `difference to ${DATA.blocks[shown.block].reference}${score.difference ? `, ${score.difference}` : ""}${score.sign < 0 ? " (left is better)" : ""}`;
  const x = { field: "diff", type: "quantitative", title, scale: { domain, nice: true, clamp: true }, axis: { tickCount: Math.max(3, Math.floor(width / 90)) } };
  const tooltip = tips(["variant", "verdict", "tipDifference", "tip95", "tipDecides", "tipAccuracy", "tipSeeds", "tipFlags"]);
  // A layer without a row would have no scale.
  const some = (field) => rows.some((row) => row[field] !== null);
  const span = (low, high, size, cap = "round") => some(low) && ({
    mark: { type: "rule", strokeWidth: size, strokeCap: cap },
    transform: [{ filter: `isValid(datum.${low})` }],
    encoding: { y, x: { ...x, field: low }, x2: { field: high }, color: scales.colour, opacity: faded, tooltip },
  });
  const arrow = (field, angle) => some(field) && ({
    transform: [{ filter: `isValid(datum.${field})` }],
    mark: { type: "point", shape: "arrow", size: 90, angle, filled: true, opacity: 1 },
    encoding: { y, x: { ...x, field }, color: scales.colour, opacity: faded, tooltip },
  });
  return {
    width: "container", height: values.length * Math.max(26, Math.min(44, 340 / values.length)), autosize: { type: "fit-x", contains: "padding" },
    description: `Differences in test ${score.words} of ${values.length} variants, block ${DATA.blocks[shown.block].title}.`,
    params: [{ name: "chosen", value: choice.variant }, { name: "labels", value: labels }],
    data: { values: rows },
    layer: [
      ...(margin ? [{ data: { values: [{ from: -margin, to: margin }] }, mark: { type: "rect", color: theme.colour("grey"), opacity: 0.2 }, encoding: { x: { ...x, field: "from" }, x2: { field: "to" } } }] : []),
      { data: { values: [{ zero: 0 }] }, mark: { type: "rule", strokeDash: [4, 3], color: theme.colour("ink") }, encoding: { x: { ...x, field: "zero" } } },
      span("holmLow", "holmHigh", 1.2),
      span("low", "high", 3.2),
      span("tieLow", "tieHigh", 5, "butt"),
      arrow("cut", -90), arrow("cutHigh", 90),
      { mark: { type: "point", filled: true, size: 110, opacity: 1, strokeWidth: 1.8 }, encoding: { y, x, ...scales.mark, opacity: faded, tooltip } },
    ].filter(Boolean),
  };
}

/** The variants that no other beats in cost and score at once, by cost. */
function front(values, less, sign) {
  const ordered = [...values].sort((a, b) => (less ? a.cost - b.cost : b.cost - a.cost) || sign * (b.acc - a.acc));
  let best = -Infinity;
  return ordered.filter((row) => sign * row.acc > best && (best = sign * row.acc, true));
}

/** The range of values with room around it. */
function padded(values, part = 0.06) {
  const low = Math.min(...values), high = Math.max(...values), room = part * (high - low) || Math.abs(high) * 0.01 || 1;
  return [low - room, high + room];
}

/** The same for a score: an axis of per cents ends at 0 and 100 unless values lie beyond. */
function within(score, values) {
  const [low, high] = padded(values);
  if (score.unit !== "%") return [low, high];
  return [Math.min(...values) < 0 ? low : Math.max(low, 0), Math.max(...values) > 100 ? high : Math.min(high, 100)];
}

// Where a name may stand beside its point, in pixels: near it first, then further away, to the right and to the left.
const OFFSETS = [[0, 8], [-13, 6], [13, 6], [-26, 10], [26, 10], [-40, 14], [40, 14], [-56, 18], [56, 18]];

// Free pixels between a name and the ends of the plot.
const EDGE = 4;

/** The horizontal and vertical parts of the stepped line through the front, and of the intervals: [[cost, score], [cost, score]]. */
function segments(best, points, less) {
  const path = [...best].sort((a, b) => a.cost - b.cost), found = [];
  path.slice(1).forEach((next, index) => {
    const from = path[index], corner = less ? [next.cost, from.acc] : [from.cost, next.acc];
    found.push([[from.cost, from.acc], corner], [corner, [next.cost, next.acc]]);
  });
  for (const row of points) {
    if (given(row.accLow)) found.push([[row.cost, row.accLow], [row.cost, row.accHigh]]);
    if (given(row.costLow)) found.push([[row.costLow, row.acc], [row.costHigh, row.acc]]);
  }
  return found;
}

/** Names with the place of each, in the units of the axes, so that none lies on another or on a point, and on lines where it must. */
function placed(named, points, lines, xScale, yDomain, width, height) {
  const along = xScale.type === "log" ? Math.log10 : (value) => value, back = xScale.type === "log" ? (value) => 10 ** value : (value) => value;
  const [left, right] = xScale.domain.map(along), [bottom, top] = yDomain;
  const toX = (value) => (along(value) - left) / (right - left) * width, fromX = (at) => back(left + at / width * (right - left));
  const toY = (value) => (top - value) / (top - bottom) * height, fromY = (at) => top - at / height * (top - bottom);
  const taken = points.map((row) => ({ x: toX(row.cost) - 6, y: toY(row.acc) - 6, w: 12, h: 12 }));
  for (const ends of lines) {
    const x = ends.map(([cost]) => toX(cost)), y = ends.map(([, acc]) => toY(acc));
    taken.push({ x: Math.min(...x) - 2, y: Math.min(...y) - 2, w: Math.abs(x[0] - x[1]) + 4, h: Math.abs(y[0] - y[1]) + 4 });
  }
  const overlap = (a, b) => Math.max(0, Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x)) * Math.max(0, Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y));
  return [...named].sort((a, b) => b.acc - a.acc).map((row) => {
    const w = textWidth(row.variant, 11), px = toX(row.cost), py = toY(row.acc);
    let best = null;
    for (const [dy, dx] of OFFSETS) {
      for (const side of ["left", "right"]) {
        const box = { x: side === "left" ? px + dx : px - dx - w, y: py + dy - 7, w, h: 14 };
        const outside = Math.max(0, EDGE - box.x) + Math.max(0, box.x + w + EDGE - width) + Math.max(0, -box.y) + Math.max(0, box.y + box.h - height);
        const cost = taken.reduce((sum, other) => sum + overlap(box, other), 0) + 20 * outside;
        if (best === null || cost < best.cost - 1e-9) best = { cost, box, side, dy, dx };
      }
      if (best.cost === 0) break;
    }
    taken.push(best.box);
    return { ...row, align: best.side, far: Math.abs(best.dy) > 20, textX: fromX(px + (best.side === "left" ? best.dx : -best.dx)), textY: fromY(py + best.dy) };
  });
}

/** Score against the chosen cost in the shown block. */
function tradeoff(width) {
  const cost = shown.cost, scale = cost.scale || 1;
  const values = armsOf(shown.block).filter((arm) => given(arm[cost.key])).map((arm) => ({
    ...datum(arm),
    cost: arm[cost.key] / scale,
    costLow: cost.ends && given(arm[`${cost.key}_ci95_low`]) ? arm[`${cost.key}_ci95_low`] : null,
    costHigh: cost.ends && given(arm[`${cost.key}_ci95_high`]) ? arm[`${cost.key}_ci95_high`] : null,
    tipCost: cost.write(arm[cost.key] / scale) + (cost.ends && given(arm[`${cost.key}_ci95_low`]) ? ` (${interval(arm[`${cost.key}_ci95_low`], arm[`${cost.key}_ci95_high`], cost.write)})` : ""),
  }));
  if (!values.length) return null;
  const score = DATA.blocks[shown.block].score, best = front(values, cost.less, score.sign);
  const named = values.length <= MOST_LABELLED ? values : values.filter((row) => best.includes(row) || row.verdict === "reference");
  const scales = looks();
  const costs = values.map((row) => row.cost), ends = values.flatMap((row) => [row.cost, row.costLow, row.costHigh]).filter(given);
  const wide = Math.min(...costs) > 0 && Math.max(...costs) / Math.min(...costs) > 10;
  const x = { field: "cost", type: "quantitative", title: `${cost.title} (${cost.less ? "left" : "right"} is better)`, axis: { tickCount: Math.max(3, Math.floor(width / 110)), grid: true } };
  const y = { field: "acc", type: "quantitative", title: `test ${score.quantity}${score.sign < 0 ? " (lower is better)" : ""}` };
  const tooltip = tips(["variant", "verdict", "tipAccuracy", "tipCost", "tipDifference", "tipSeeds"], { tipCost: cost.title });
  const across = (low, high, size, channel) => values.some((row) => row[low] !== null) && ({
    mark: { type: "rule", strokeWidth: size, strokeCap: "round" },
    transform: [{ filter: `isValid(datum.${low})` }],
    encoding: { x, y, [channel]: { ...(channel === "x" ? x : y), field: low }, [`${channel}2`]: { field: high }, color: scales.colour, opacity: { ...faded, condition: { ...faded.condition, value: 0.6 } }, tooltip },
  });
  const yDomain = within(score, values.flatMap((row) => [row.acc, row.accLow, row.accHigh]).filter(given));
  y.scale = { domain: yDomain, nice: false, zero: false };
  x.scale = { domain: wide ? padded(ends.map(Math.log10), 0.1).map((end) => 10 ** end) : padded(ends, 0.1), type: wide ? "log" : "linear", nice: false, ...(wide ? {} : { zero: false }) };
  const place = placed(named, values, segments(best, values, cost.less), x.scale, yDomain, Math.max(120, width - 56), 300);
  const limit = Math.max(150, Math.min(320, width * 0.6));
  const label = (align) => place.some((row) => row.align === align) && ({
    data: { values: place.filter((row) => row.align === align) },
    // Under each name a broad outline in the colour of the page, so that a line that it must lie on does not strike it out.
    layer: [{ mark: { type: "text", align, baseline: "middle", limit, stroke: theme.colour("paper"), strokeWidth: 4, strokeJoin: "round" } }, { mark: { type: "text", align, baseline: "middle", limit } }],
    encoding: { x: { ...x, field: "textX" }, y: { ...y, field: "textY" }, text: { field: "variant" }, opacity: faded, tooltip },
  });
  const leader = place.some((row) => row.far) && ({
    data: { values: place.filter((row) => row.far) },
    mark: { type: "rule", strokeWidth: 0.8, color: theme.colour("soft") },
    encoding: { x, y, x2: { field: "textX" }, y2: { field: "textY" }, opacity: faded },
  });
  return {
    width: "container", height: 360, autosize: { type: "fit-x", contains: "padding" },
    description: `Test ${score.words} against ${cost.title} of ${values.length} variants, block ${DATA.blocks[shown.block].title}.`,
    params: [{ name: "chosen", value: choice.variant }],
    data: { values },
    layer: [
      { data: { values: best.map((row) => ({ cost: row.cost, acc: row.acc })) }, mark: { type: "line", interpolate: cost.less ? "step-after" : "step-before", strokeWidth: 1.5, strokeDash: [5, 3], color: theme.colour("soft"), tooltip: null }, encoding: { x, y, order: { field: "cost" } } },
      leader,
      across("accLow", "accHigh", 1.5, "y"),
      across("costLow", "costHigh", 1.5, "x"),
      { mark: { type: "point", filled: true, size: 120, opacity: 1, strokeWidth: 1.8 }, encoding: { x, y, ...scales.mark, opacity: faded, tooltip } },
      label("left"), label("right"),
    ].filter(Boolean),
  };
}

/** Validation score by epoch in the shown block: a line a variant, the mean of the seeds that this page holds in detail. */
function learning(width) {
  const score = DATA.blocks[shown.block].score, arms = armsOf(shown.block).slice(0, MOST_LINES), values = [], names = [];
  for (const arm of arms) {
    const sums = new Map();
    for (const cell of arm.cells) {
      const history = cell.detail && cell.status === "ok" ? cell.detail.history : {};
      (history[`val_${score.name}`] || []).forEach((value, index) => {
        if (!given(value)) return;
        const epoch = (history.epoch || [])[index] + 1, sum = sums.get(epoch) || [0, 0];
        sums.set(epoch, [sum[0] + value * score.scale, sum[1] + 1]);
      });
    }
    if (sums.size > 1) names.push(arm.variant);
    if (sums.size > 1) sums.forEach(([sum, n], epoch) => values.push({ variant: arm.variant, epoch, value: sum / n }));
  }
  if (!values.length) return null;
  // The rise of the first epochs would press all later differences together.
  const last = Math.max(...values.map((row) => row.epoch)), later = values.filter((row) => row.epoch > last / 4).map((row) => row.value);
  const widest = Math.max(...names.map((name) => textWidth(name, 12)));
  const colour = { field: "variant", type: "nominal", scale: { domain: names, range: names.map(colourOf) }, legend: { symbolType: "stroke", symbolStrokeWidth: 3, columns: Math.max(1, Math.floor((width - 90) / (widest + 40))), labelLimit: width - 100 } };
  return {
    width: "container", height: 320, autosize: { type: "fit-x", contains: "padding" },
    description: `Validation ${score.words} by epoch of ${names.length} variants, block ${DATA.blocks[shown.block].title}.`,
    params: [{ name: "chosen", value: choice.variant }],
    data: { values },
    mark: { type: "line", strokeWidth: 1.8, clip: true },
    encoding: {
      x: { field: "epoch", type: "quantitative", title: "epoch", scale: { nice: false, zero: false }, axis: { tickMinStep: 1, format: "d" } },
      y: { field: "value", type: "quantitative", title: `validation ${score.quantity}`, scale: { domain: within(score, later), nice: true, zero: false } },
      color: colour, opacity: faded,
      tooltip: [{ field: "variant", type: "nominal" }, { field: "epoch", type: "quantitative" }, { field: "value", type: "quantitative", title: `validation ${score.quantity}`, format: `.${score.decimals}f` }],
    },
  };
}

let drawing = 0, drawn = Promise.resolve();
/** Draw the plots anew, for a block, a cost, a theme: one drawing after another, and only the latest that was asked. */
function drawPlots() {
  const turn = ++drawing;
  drawn = drawn.then(async () => {
    if (turn !== drawing) return;
    shown.views.forEach((view) => view.finalize());
    shown.views = [];
    for (const [id, make, nothing] of [["forest", forest, "No variant of this block has a difference to a reference."], ["trade", tradeoff, "No cost was measured in this block."], ["learning", learning, "No cell of this block has two epochs."]]) {
      const place = byId(id), spec = make(place.clientWidth);
      if (spec) await draw(place, spec);
      else place.replaceChildren(element("p", { class: "note" }, nothing));
    }
  });
}

/** Show a block in the plots. */
function showBlock(block) {
  shown.block = block;
  byId("plot-block").value = String(block);
  const measured = COSTS.filter((cost) => armsOf(block).some((arm) => given(arm[cost.key])));
  options(byId("plot-cost"), measured.map((cost) => [cost.key, cost.title]));
  const differ = (cost) => new Set(armsOf(block).map((arm) => arm[cost.key]).filter(given)).size > 1;
  if (measured.length) shown.cost = measured.includes(shown.picked) ? shown.picked : measured.find(differ) || measured[0];
  byId("plot-cost").value = shown.cost.key;
  byId("plot-legend").replaceChildren(...verdictsShown().filter(Boolean).map((name) => element("span", { class: "legend" },
    element("span", { class: "mark", "aria-hidden": "true" }, VERDICTS[name].mark), ` ${name}`)));
  drawPlots();
}

options(byId("plot-block"), DATA.blocks.map((block, index) => [index, block.title]));
byId("plot-block").addEventListener("change", (event) => showBlock(Number(event.target.value)));
byId("plot-cost").addEventListener("change", (event) => {
  shown.cost = shown.picked = COSTS.find((cost) => cost.key === event.target.value);
  drawPlots();
});
choice.listeners.push((variant) => shown.views.forEach((view) => view.signal("chosen", variant).runAsync()));
theme.listeners.push(drawPlots);
