"use strict";
// Asks again and again what has changed, and shows it: the index anew, a report anew where it was scrolled to.
const body = document.body;
const frame = document.getElementById("report");
const LOOK_MS = 2000;
let version = body.dataset.version;
let took = 0;

async function look() {
  try {
    const state = await (await fetch(body.dataset.state, { cache: "no-store" })).json();
    if (frame) showProgress(state);
    if (state.version !== version) {
      const began = performance.now();
      await (frame ? reloadReport() : reloadIndex());
      took = performance.now() - began;
      version = state.version;
    }
    body.dataset.shown = version;
    document.title = document.title.replace(/ \(away\)$/, "");
  } catch {
    if (!document.title.endsWith(" (away)")) document.title += " (away)";
  }
  // A page that takes long to make is made seldom: training needs the processors, too.
  setTimeout(look, Math.max(LOOK_MS, 10 * took));
}

function showProgress(state) {
  const said = Object.entries(state.cells).map(([name, count]) => `${count} ${name}`).join(", ");
  document.getElementById("said").textContent = said || "no cell yet";
  document.getElementById("live").hidden = !state.live;
}

async function reloadIndex() {
  const text = await (await fetch(location.href, { cache: "no-store" })).text();
  const found = new DOMParser().parseFromString(text, "text/html");
  document.getElementById("content").replaceWith(found.getElementById("content"));
}

function reloadReport() {
  return new Promise((done) => {
    const view = frame.contentWindow;
    const [x, y] = [view.scrollX, view.scrollY];
    frame.addEventListener("load", () => { frame.contentWindow.scrollTo(x, y); done(); }, { once: true });
    view.location.reload();
  });
}

setTimeout(look, LOOK_MS);
