"use strict";
// Asks again and again what has changed, and shows it: the index anew, a report anew where it was scrolled to.
const body = document.body;
const frame = document.getElementById("report");
const LOOK_MS = 2000;
const LOAD_MS = 60000;
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

// Where the server ended meanwhile, the frame holds a page of the browser's own, which may not be read: the next look
// begins anew.
function reloadReport() {
  return new Promise((done, failed) => {
    let [x, y] = [0, 0];
    let reload = () => { frame.src = frame.src; };
    try {
      const view = frame.contentWindow;
      [x, y] = [view.scrollX, view.scrollY];
      reload = () => view.location.reload();
    } catch {
      // What is shown is no report.
    }
    const shown = () => {
      try {
        frame.contentWindow.scrollTo(x, y);
        done();
      } catch (error) {
        failed(error);
      }
    };
    frame.addEventListener("load", shown, { once: true });
    setTimeout(() => { frame.removeEventListener("load", shown); failed(new Error("not loaded")); }, LOAD_MS);
    reload();
  });
}

setTimeout(look, LOOK_MS);
