// The page: fetches the space, the labels and the points, wires map, clip, legend, labels and keys together.

import { askJson } from "./api.js";
import { Classifier } from "./classifier.js";
import { ClipView } from "./clip.js";
import { $, count, element, guarded, tell } from "./dom.js";
import { CpuDrawer } from "./draw_cpu.js";
import { GpuDrawer, hasCard } from "./draw_gpu.js";
import { css, facetsOf, keptOf, paintBlock } from "./facets.js";
import { Gallery } from "./gallery.js";
import { listen, tabs } from "./keys.js";
import { Labels } from "./labels.js";
import { Legend } from "./legend.js";
import { ScatterMap } from "./map.js";
import { Points } from "./points.js";

// Points drawn at a time: what a card, or a processor without one, draws in well under a second.
const BUDGET = { gpu: 3_000_000, cpu: 1_500_000 };

const asked = new URLSearchParams(location.search).get("draw");
const draw = asked === "gpu" || asked === "cpu" ? asked : hasCard() ? "gpu" : "cpu";
const drawer = draw === "gpu" ? new GpuDrawer($("points"), failed) : new CpuDrawer($("points"));
const map = new ScatterMap($("scatter"), drawer);
const clip = new ClipView({ canvas: $("spectrogram"), audio: $("audio"), error: $("clip-error"), overlay: $("overlay"), strength: $("strength") });
const gallery = new Gallery();

let space, facets, legend, labels, points, classifier;
let selection = null;    // {region, members, rows, without}, or {region: null, rows, title} of windows to hear next
let current = -1;
let seed = 0;

// A card that was taken for one that draws, and does not, must not leave the map empty.
function failed(problem) {
  if (asked === null) location.replace("/?draw=cpu"); else tell(`the graphics card does not draw: ${problem}`);
}

// Points and colours -------------------------------------------------------------------------------

function paint(block) {
  paintBlock(block, legend.facet, keptOf(block, legend.filter, labels.codes), labels.codes);
  drawer.touched(block);
}

function repaint() {
  map.filtered = legend.filtered;
  for (const block of points.blocks) paint(block);
  map.draw();
}

async function recolour() {
  Object.assign(facets.label, { names: ["no label", ...labels.names], colours: [[128, 138, 146], ...labels.colours] });
  repaint();
  const colourOf = new Map(labels.names.map((name, k) => [name, css(labels.colours[k])]));
  map.outlines = labels.said.standing.filter((entry) => entry.region.kind === "polygon")
    .map((entry) => ({ points: entry.region.points, colour: colourOf.get(entry.label) ?? "#888" }));
  map.draw();
  await legend.draw();
}

function showDetail() {
  const all = points.loaded >= space.windows;
  $("detail").textContent = all ? `all ${count(space.windows)} points, drawn by the ${drawer.name}`
    : `${count(points.loaded)} of ${count(space.windows)} points, drawn by the ${drawer.name}; zoom in for more`;
  document.body.dataset.points = points.loaded;
}

// Selection ----------------------------------------------------------------------------------------

const PANELS = {
  "tab-labels": () => labels.showOverlaps(), "tab-classifier": () => classifier.show(), "tab-work": () => labels.showWork(),
};
const openTab = tabs($("tabs"), guarded((id) => PANELS[id]?.()));

async function select(shape) {
  const where = legend.where, region = where ? { ...shape, where } : shape;
  const answer = await askJson("/api/members", { region });
  if (!answer.members) { drop(); tell("no window lies in the region"); return; }
  selection = { region, ...answer, without: new Set() };
  map.selected = shape.kind === "polygon" ? shape.points : null;
  seed = 0;
  $("hover").hidden = true;
  if ($("tab-name").getAttribute("aria-selected") !== "true") openTab("tab-name");
  showSelection();
  map.draw();
  await fillGallery();
}

function showSelection() {
  if (!selection?.region) {
    $("selected").textContent = selection ? selection.title : "none";
    $("give").textContent = "Label";
    $("give").disabled = $("take").disabled = true;
    return;
  }
  const { region, members, without } = selection, left = members - without.size;
  const kind = region.kind === "cluster" ? `cluster ${region.cluster}, ` : "";
  $("selected").textContent = `${kind}${count(left)} windows${region.where ? " that the filters show" : ""}${without.size ? `, ${without.size} left out` : ""}`;
  $("give").textContent = `Label ${count(left)}`;
  $("give").disabled = $("take").disabled = left < 1;
}

async function fillGallery() {
  const { region } = selection;
  const kinds = await askJson("/api/gallery", { region, each: 12, seed });
  if (selection?.region !== region) return;
  const { central, random, border } = kinds;
  selection.heard = [...central, ...random, ...border];
  gallery.show("Hear before you name", { central, random, border }, true);
  gallery.mark(current, selection.without);
}

const pickCluster = (cluster) => select({ kind: "cluster", cluster });

function drop() {
  selection = map.selected = null;
  gallery.hide();
  showSelection();
  map.draw();
}

function selectView() {
  const { left, right, low, high } = map.view();
  return select({ kind: "polygon", points: [[left, low], [right, low], [right, high], [left, high]] });
}

function lassoMode(on) {
  map.lassoMode = on;
  $("lasso").setAttribute("aria-pressed", String(on));
  $("scatter").classList.toggle("lasso", on);
}

async function give(label) {
  if (!selection?.region) return;
  $("name").blur();   // before the answer: the next key is already for the map
  await labels.give({ region: selection.region, without: [...selection.without] }, label);
  $("name").value = "";
  if (legend.by !== "label") legend.colourBy("label");
  if (current >= 0) await describe(current);
}

const quick = guarded(async (at) => {
  const name = labels.quick[at];
  if (name === undefined) { tell(`no label has the key ${at + 1} yet`); return; }
  if (selection?.region) { await give(name); return; }
  if (current < 0) { tell("select windows, or choose one, to label"); return; }
  await labels.give({ rows: [current] }, name);
  await describe(current);
});

function leaveOut() {
  if (!selection?.region || current < 0) return;
  const { without } = selection;
  if (without.has(current)) without.delete(current); else without.add(current);
  gallery.mark(current, without);
  showSelection();
}

// Windows ------------------------------------------------------------------------------------------

async function show(row, play = true) {
  if (row < 0 || row >= space.windows) return;
  current = row;
  map.current = map.find(row);
  map.draw();
  gallery.mark(row, selection?.without ?? new Set());
  await Promise.all([clip.show(row, play), describe(row)]);
}

async function describe(row) {
  const window = await askJson(`/api/windows/${row}`);
  if (row !== current) return;
  if (!map.current && window.x !== null) { map.current = [window.x, window.y]; map.draw(); }
  const hour = window.hour === null ? "" : `, ${String(window.hour).padStart(2, "0")} h local`;
  const label = window.label === null ? null
    : `${window.label}${labels.inherited(row) ? " (inherited: came after the label)" : ""}${labels.alone(row) ? " (by itself)" : ""}`;
  $("place").textContent = `${window.recorder} ${window.date}`;
  const facts = {
    recording: window.recording, from: window.start_s === null ? null : `${window.start_s.toFixed(2)} s`,
    time: window.time === null ? null : `${window.time.slice(0, 19).replace("T", " ")} UTC${hour}`,
    habitat: window.habitat, cluster: window.cluster, label,
    activity: window.activity === null ? null : `${window.activity.toFixed(1)} dB`,
  };
  $("about").replaceChildren(...Object.entries(facts).filter(([, text]) => text !== null && text !== undefined).flatMap(([name, text]) =>
    [element("dt", {}, name), element("dd", { id: `about-${name}` }, String(text))]));
  $("detections").replaceChildren(...window.detections.slice(0, 6).map((one) => element("li", { title: one.species }, `${one.common} ${one.confidence.toFixed(2)}`)));
  clip.detections = window.detections;
  clip.render();
}

// Steps through the selection, or through the windows in their order.
const step = guarded(async (by) => {
  const rows = selection ? (gallery.rows.length ? gallery.rows : selection.rows) : null;
  if (!rows) { await show(Math.max(0, Math.min(space.windows - 1, current + by))); return; }
  const at = rows.indexOf(current);
  await show(rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : (at + by + rows.length) % rows.length]);
});

let hovered = -1;
map.onHover = (hit, [px, py]) => {
  const box = $("hover");
  if (!hit) { box.hidden = true; hovered = -1; return; }
  box.style.left = `${px + 286 > map.width ? Math.max(0, px - 282) : px + 16}px`;
  box.style.top = `${Math.max(0, Math.min(py + 16, map.height - 180))}px`;
  const { block, index, row } = hit;
  if (row === hovered) return;
  hovered = row;
  const cluster = block.cluster[index], species = block.species[index], label = labels.of(row);
  $("hover-image").src = `/api/windows/${row}/spectrogram.png`;
  $("hover-text").textContent = [
    space.recorders[block.recorder[index]], cluster === space.none ? null : `cluster ${cluster}`,
    species === space.none ? null : `BirdNET: ${space.species[species].common} ${block.confidence[index].toFixed(2)}`,
    label === null ? null : `label: ${label}`,
  ].filter(Boolean).join(" · ");
  box.hidden = false;
};
map.onClick = guarded(async (hit) => { if (hit) await show(hit.row); });
map.onLasso = guarded(async (corners) => { lassoMode(false); await select({ kind: "polygon", points: corners }); });
map.onView = (view) => { if (points) points.show(view).catch((problem) => tell(problem.message)); };
clip.onHeard = guarded((row) => { gallery.hear(row); return labels.hear(row); });
gallery.onChoose = guarded((row) => show(row));
gallery.onMore = guarded(async () => { seed += 1; await fillGallery(); });

// Controls and keys --------------------------------------------------------------------------------

const clicks = {
  lasso: () => lassoMode(!map.lassoMode), whole: () => map.whole(), plus: () => map.zoom(1.5), minus: () => map.zoom(1 / 1.5),
  inview: guarded(selectView), previous: () => step(-1), next: () => step(1), play: () => clip.toggle(),
  take: guarded(() => give(null)), theme: () => theme(map.theme === "dark" ? "light" : "dark"), help: () => help($("keys").hidden),
};
for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", action);
const pickOfCurrent = guarded(async () => {
  if (current < 0) return;
  const { cluster } = await askJson(`/api/windows/${current}`);
  if (cluster !== null) await pickCluster(cluster);
});
$("pick").addEventListener("click", pickOfCurrent);
$("naming").addEventListener("submit", guarded(async (event) => {
  event.preventDefault();
  if ($("name").value.trim()) await give($("name").value);
}));

function theme(name) {
  map.theme = document.documentElement.dataset.theme = name;
  $("theme").textContent = name === "dark" ? "Light" : "Dark";
  localStorage.setItem("theme", name);
  map.draw();
}

function help(open) {
  $("keys").hidden = !open;
  $("help").setAttribute("aria-expanded", String(open));
}

function overlayToggle() {
  const overlay = $("overlay");
  overlay.value = overlay.value === "" ? (overlay.dataset.last ?? overlay.options[1].value) : "";
  if (overlay.value !== "") overlay.dataset.last = overlay.value;
  overlay.dispatchEvent(new Event("change"));
}

const PAN = 90;
const NEWS = 60_000;   // milliseconds
listen({
  " ": clicks.play, ArrowRight: clicks.next, ArrowLeft: clicks.previous, l: clicks.lasso, c: pickOfCurrent,
  n: () => { openTab("tab-name"); $("name").focus(); }, u: () => labels.undo(), r: () => labels.redo(), 0: clicks.whole,
  "+": clicks.plus, "=": clicks.plus, "-": clicks.minus, v: clicks.inview, x: leaveOut, a: overlayToggle, t: clicks.theme,
  "?": clicks.help, number: (at) => quick(at),
  m: guarded(async () => {
    const hit = map.nearest(map.width / 2, map.height / 2, Math.max(map.width, map.height));
    if (hit) await show(hit.row);
  }),
  "Shift ArrowLeft": () => map.pan(PAN, 0), "Shift ArrowRight": () => map.pan(-PAN, 0),
  "Shift ArrowUp": () => map.pan(0, PAN), "Shift ArrowDown": () => map.pan(0, -PAN),
  Escape: () => { help(false); lassoMode(false); drop(); },
}, () => labels?.said);
document.addEventListener("visibilitychange", guarded(async () => {
  if (document.hidden || !labels?.said) return;
  await labels.read();   // another tab may have labelled meanwhile,
  await readNews();      // and the workflow may have gone on
}));

async function readNews() {
  const { recorder_days: days, refitted } = await askJson("/api/news");
  const what = refitted ? "the map was fitted anew" : days === 1 ? "a recorder-day has come" : `${count(days)} recorder-days have come`;
  $("news").hidden = !refitted && !days;
  $("news").textContent = `${what} since: start the explorer again to see it`;
}

// Start --------------------------------------------------------------------------------------------

const start = guarded(async () => {
  const wish = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
  theme(localStorage.getItem("theme") ?? wish);
  space = clip.space = await askJson("/api/space");
  facets = facetsOf(space);
  legend = new Legend(facets, space);
  labels = new Labels(space);
  classifier = new Classifier();
  points = new Points(space, BUDGET[draw]);
  facets.activity.high = Math.max(1, Math.ceil(space.activity_high ?? 20));
  map.setBounds(space.bounds, space.windows);
  points.onBlock = (block) => { paint(block); map.setBlocks(points.blocks); showDetail(); };
  points.onDrop = () => map.setBlocks(points.blocks);
  points.onDone = () => { showDetail(); requestAnimationFrame(() => setTimeout(() => { document.body.dataset.settled = "true"; })); };
  legend.onColour = legend.onFilter = guarded(async () => {
    repaint();
    await legend.draw();
    if (selection?.region) drop();
  });
  labels.onQuick = quick;
  classifier.onRows = guarded(async (rows, title) => {
    drop();
    selection = { region: null, rows, title };
    showSelection();
    gallery.show(title, { next: rows }, false);
    await show(rows[0]);
  });
  labels.codes = new Uint16Array(space.windows);
  await points.first();
  labels.onChange = recolour;
  map.onView(map.view());
  // After the next frame the first points are on the screen.
  requestAnimationFrame(() => setTimeout(() => { document.body.dataset.pictured = "true"; }));
  await labels.read();
  await labels.complete();
  $("facts").textContent = `${space.experiment}: ${count(space.windows)} windows, ${space.recorders.length} recorders, ${space.clusters} clusters`;
  setInterval(() => readNews().catch(() => {}), NEWS);   // a server that has ended says so at the next click
  document.body.dataset.ready = "true";
});
// What a measurement of the page reads; nothing of the page depends on it.
window.dawnchorus = { map, drawer: () => drawer.name };
start();
