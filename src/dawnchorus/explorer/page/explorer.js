// The page: fetches the space and the labels, wires map, clip, legend, naming and keys together.

import { UNKNOWN, categorical, css, hours } from "/static/colours.js";
import { ClipView } from "/static/clip.js";
import { ScatterMap } from "/static/map.js";

const $ = (id) => document.getElementById(id);
const map = new ScatterMap($("scatter"));
const clip = new ClipView($("spectrogram"), $("audio"), $("clip-error"));
const count = (n) => n.toLocaleString("en");
const LEGEND_ROWS = 60;

let space = null;        // /api/space
let columns = {};        // name -> typed array
let labels = null;       // /api/labels
let codes = null;        // Uint16Array: label code per window
let alone = null;        // code shown alone in the legend
let selection = null;    // {region, members, rows}
let current = -1;

async function ask(path, body) {
  const answer = await fetch(path, body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  if (!answer.ok) {
    const problem = new Error((await answer.json()).error);
    problem.status = answer.status;
    throw problem;
  }
  return answer;
}

let messageTimer = 0;
function tell(text) {
  $("message").textContent = text;
  $("message").hidden = false;
  clearTimeout(messageTimer);
  messageTimer = setTimeout(() => { $("message").hidden = true; }, 6000);
}

const guarded = (action) => async (...given) => {
  try { await action(...given); } catch (problem) { tell(problem.message); }
};

// Colours and legend -------------------------------------------------------------------------------

function scheme() {
  const by = $("colour").value;
  if (by === "label") {
    return { codes, colours: [UNKNOWN, ...categorical(labels.names.length)], names: ["no label", ...labels.names] };
  }
  if (by === "cluster") {
    const names = Array.from({ length: space.clusters }, (_, k) => `cluster ${k}`);
    return { codes: columns.cluster, colours: categorical(space.clusters), names };
  }
  if (by === "species") {
    return { codes: columns.species, colours: categorical(space.species.length), names: space.species.map((s) => s.common) };
  }
  if (by === "recorder") {
    return { codes: columns.recorder, colours: categorical(space.recorders.length), names: space.recorders };
  }
  return { codes: columns.hour, colours: hours(), names: Array.from({ length: 24 }, (_, h) => `${String(h).padStart(2, "0")} h`) };
}

const packed = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

function recolour() {
  const { codes: of, colours, names } = scheme();
  const paints = colours.map(packed), unknown = packed(UNKNOWN);
  const counts = new Uint32Array(colours.length + 1);
  for (let i = 0; i < of.length; i++) {
    const code = of[i] < paints.length ? of[i] : paints.length;
    counts[code]++;
    const shown = alone === null || alone === code;
    map.paint[i] = shown ? (code < paints.length ? paints[code] : unknown) : 0;
  }
  const rows = names.map((name, code) => ({ name, code, colour: colours[code] }));
  rows.push({ name: $("colour").value === "species" ? "no detection" : "not known", code: colours.length, colour: UNKNOWN });
  const filled = rows.filter((row) => counts[row.code]);
  const drawn = filled.slice(0, LEGEND_ROWS).map(({ name, code, colour }) => {
    const row = element("button", { type: "button" }, swatch(colour), element("span", {}, name),
      element("span", { className: "count" }, count(counts[code])));
    row.setAttribute("aria-pressed", String(alone === code));
    row.addEventListener("click", guarded(async () => {
      alone = alone === code ? null : code;
      recolour();
      if (alone !== null && $("colour").value === "cluster" && code < space.clusters) await pickCluster(code);
    }));
    return row;
  });
  if (filled.length > LEGEND_ROWS) drawn.push(element("span", {}, `and ${filled.length - LEGEND_ROWS} more`));
  $("legend").replaceChildren(...drawn);
  const colourOf = new Map(labels.names.map((name, k) => [name, css(categorical(labels.names.length)[k])]));
  map.outlines = labels.standing.filter((entry) => entry.region.kind === "polygon")
    .map((entry) => ({ points: entry.region.points, colour: colourOf.get(entry.label) || "#888" }));
  map.draw();
}

function element(kind, properties, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

function swatch(colour) {
  const made = document.createElement("i");
  made.style.background = css(colour);
  return made;
}

// Labels -------------------------------------------------------------------------------------------

async function readLabels() {
  // Names and codes come apart: ask again if someone labelled between the two.
  for (let attempt = 0; attempt < 5; attempt++) {
    const [said, held] = await Promise.all([ask("/api/labels"), ask("/api/labels/codes")]);
    const next = await said.json();
    if (held.headers.get("X-Revision") !== String(next.revision)) continue;
    labels = next;
    codes = new Uint16Array(await held.arrayBuffer());
    break;
  }
  const share = space.windows ? (100 * labels.labelled / space.windows).toFixed(1) : "0";
  $("labelled").textContent = `${count(labels.labelled)} windows labelled (${share} %)`;
  $("undo").disabled = !labels.standing.length;
  $("redo").disabled = labels.redo === null;
  const elsewhere = labels.elsewhere ? [`${labels.elsewhere} labels of other experiments or maps are kept and not shown.`] : [];
  $("complaints").textContent = [...labels.complaints, ...elsewhere].join(" ");
  const colours = categorical(labels.names.length);
  $("regions").replaceChildren(...labels.standing.toReversed().map((entry) => {
    const where = entry.region.kind === "cluster" ? `cluster ${entry.region.cluster}` : "lasso";
    const what = element("span", { className: "what" }, entry.label === null ? "(labels taken away)" : entry.label, " ",
      element("small", {}, `${where}, holds ${count(entry.holds)}, ${entry.who}, ${entry.when.slice(0, 16).replace("T", " ")} UTC`));
    const away = element("button", { type: "button", title: "Take this label back" }, "×");
    away.setAttribute("aria-label", `Take back ${entry.label ?? "this"}`);
    away.addEventListener("click", guarded(() => change("/api/undo", entry.id)));
    return element("li", {}, swatch(entry.label === null ? UNKNOWN : colours[labels.names.indexOf(entry.label)]), what, away);
  }));
  const known = new Set([...labels.names, ...space.species.map((s) => s.common)]);
  $("names").replaceChildren(...[...known].map((name) => element("option", { value: name })));
}

const who = () => $("who").value.trim() || null;

async function change(path, of) {
  try {
    await ask(path, { of, who: who() });
  } finally {
    await readLabels();
    recolour();
  }
}

const undo = guarded(async () => {
  if (labels.standing.length) await change("/api/undo", labels.standing[labels.standing.length - 1].id);
});
const redo = guarded(async () => { if (labels.redo !== null) await change("/api/redo", labels.redo); });

async function give(label) {
  if (!selection) return;
  const answer = await (await ask("/api/labels", { region: selection.region, label, who: who() })).json();
  tell(label === null ? `${count(answer.members)} windows without label` : `${count(answer.members)} windows are ${answer.label}`);
  $("name").value = "";
  $("name").blur();
  await readLabels();
  if ($("colour").value !== "label") { $("colour").value = "label"; alone = null; }
  recolour();
  if (current >= 0) await describe(current);
}

// Selection ----------------------------------------------------------------------------------------

async function select(region) {
  const answer = await (await ask("/api/members", { region })).json();
  if (!answer.members) { drop(); tell("no window lies in the region"); return; }
  selection = { region, ...answer };
  map.selected = region.kind === "polygon" ? region.points : null;
  $("selected").textContent = region.kind === "polygon"
    ? `${count(answer.members)} windows` : `cluster ${region.cluster}, ${count(answer.members)} windows`;
  $("give").textContent = `Label ${count(answer.members)}`;
  $("give").disabled = $("take").disabled = false;
  map.draw();
}

function pickCluster(cluster) { return select({ kind: "cluster", cluster }); }

function drop() {
  selection = map.selected = alone = null;
  $("selected").textContent = "none";
  $("give").textContent = "Label";
  $("give").disabled = $("take").disabled = true;
  recolour();
}

function lassoMode(on) {
  map.lassoMode = on;
  $("lasso").setAttribute("aria-pressed", String(on));
  $("scatter").classList.toggle("lasso", on);
}

// Windows ------------------------------------------------------------------------------------------

async function show(row, play = true) {
  if (row < 0 || row >= space.windows) return;
  current = map.current = row;
  map.draw();
  await Promise.all([clip.show(row, play), describe(row)]);
}

async function describe(row) {
  const window = await (await ask(`/api/windows/${row}`)).json();
  if (row !== current) return;
  $("place").textContent = `${window.recorder} ${window.date}`;
  const local = columns.hour[row] === space.none ? "" : `, ${columns.hour[row]} h local`;
  const facts = {
    recording: window.recording,
    from: window.start_s === null ? "not known" : `${window.start_s.toFixed(2)} s`,
    time: window.time === null ? "not known" : `${window.time.slice(0, 19).replace("T", " ")} UTC${local}`,
    cluster: window.cluster ?? "none",
    BirdNET: window.species === null ? "nothing" : `${window.species} (${window.confidence.toFixed(2)})`,
    label: window.label ?? "none",
  };
  $("about").replaceChildren(...Object.entries(facts).flatMap(([key, value]) =>
    [element("dt", {}, key), element("dd", { id: `about-${key}` }, String(value))]));
}

// Steps through the selection, or through the windows in their order.
const step = guarded(async (by) => {
  if (!selection) { await show(Math.max(0, Math.min(space.windows - 1, current + by))); return; }
  const { rows } = selection;
  const at = rows.indexOf(current);
  await show(rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : (at + by + rows.length) % rows.length]);
});

let hovered = -1;
map.onHover = (row, [px, py]) => {
  const box = $("hover");
  if (row < 0) { box.hidden = true; hovered = -1; return; }
  box.style.left = `${px + 290 > map.width ? px - 282 : px + 16}px`;
  box.style.top = `${Math.min(py + 16, map.height - 180)}px`;
  if (row === hovered) return;
  hovered = row;
  const cluster = columns.cluster[row], species = columns.species[row];
  $("hover-image").src = `/api/windows/${row}/spectrogram.png`;
  $("hover-text").textContent = [
    space.recorders[columns.recorder[row]], cluster === space.none ? null : `cluster ${cluster}`,
    species === space.none ? null : `BirdNET: ${space.species[species].common}`,
    codes[row] ? `label: ${labels.names[codes[row] - 1]}` : null,
  ].filter(Boolean).join(" · ");
  box.hidden = false;
};
map.onClick = guarded((row) => (row < 0 ? undefined : show(row)));
map.onLasso = guarded(async (points) => { lassoMode(false); await select({ kind: "polygon", points }); });

// Controls and keys --------------------------------------------------------------------------------

$("colour").addEventListener("change", () => { alone = null; recolour(); $("scatter").focus(); });
$("lasso").addEventListener("click", () => lassoMode(!map.lassoMode));
$("whole").addEventListener("click", () => map.whole());
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("play").addEventListener("click", () => clip.toggle());
$("undo").addEventListener("click", undo);
$("redo").addEventListener("click", redo);
$("take").addEventListener("click", guarded(() => give(null)));
const pickOfCurrent = guarded(async () => {
  if (current >= 0 && columns.cluster[current] !== space.none) await pickCluster(columns.cluster[current]);
});
$("pick").addEventListener("click", pickOfCurrent);
$("naming").addEventListener("submit", guarded(async (event) => {
  event.preventDefault();
  if ($("name").value.trim()) await give($("name").value);
}));
$("who").addEventListener("change", () => localStorage.setItem("annotator", $("who").value));

const KEYS = {
  " ": () => clip.toggle(), ArrowRight: () => step(1), ArrowLeft: () => step(-1),
  l: () => lassoMode(!map.lassoMode), c: pickOfCurrent, n: () => $("name").focus(),
  u: undo, r: redo, 0: () => map.whole(), Escape: () => { lassoMode(false); drop(); },
};
document.addEventListener("keydown", (event) => {
  if (!labels || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, audio");
  if (typing) { if (event.key === "Escape") typing.blur(); return; }
  if (event.key === " " && event.target.closest("button")) return;
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (action) { event.preventDefault(); action(); }
});
document.addEventListener("visibilitychange", guarded(async () => {
  // Another tab may have labelled meanwhile.
  if (!document.hidden && labels) { await readLabels(); recolour(); }
}));

// Start --------------------------------------------------------------------------------------------

const start = guarded(async () => {
  const [described, points] = await Promise.all([ask("/api/space"), ask("/api/points")]);
  space = clip.space = await described.json();
  const bytes = await points.arrayBuffer();
  for (const { name, dtype, start: first } of space.columns) {
    const Kind = dtype === "<f4" ? Float32Array : Uint16Array;
    columns[name] = new Kind(bytes, first, space.windows);
  }
  $("who").value = localStorage.getItem("annotator") ?? space.annotator;
  await readLabels();
  map.setPoints(columns.x, columns.y);
  recolour();
  $("facts").textContent = `${space.experiment}: ${count(space.windows)} windows, ${space.recorders.length} recorders, ${space.clusters} clusters`;
  document.body.dataset.ready = "true";
});
start();
