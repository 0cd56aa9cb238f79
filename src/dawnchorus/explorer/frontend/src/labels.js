// Labels: naming a selection, undo and redo, what stands, export, progress, agreement.
//
// In: the server's labels. Out: codes and marks per window, the lists on the right, calls to onChange.

import { ask, askJson } from "./api.js";
import { $, count, element, guarded, swatch, tell } from "./dom.js";
import { UNKNOWN, categorical, css } from "./facets.js";

const INHERITED = 1, HEARD = 2, SINGLE = 4;
const QUICK = 9;

export class Labels {
  constructor(space) {
    Object.assign(this, { space, said: null, codes: new Uint16Array(0), marks: new Uint8Array(0), onChange: () => {} });
    $("who").value = localStorage.getItem("annotator") ?? space.annotator;
    $("who").addEventListener("change", () => localStorage.setItem("annotator", $("who").value));
    $("undo").addEventListener("click", () => this.undo());
    $("redo").addEventListener("click", () => this.redo());
    $("format").addEventListener("change", () => { $("export").href = `/api/export/${$("format").value}`; });
    $("name").addEventListener("input", guarded(() => this.complete()));
    $("agreement").addEventListener("submit", guarded(async (event) => { event.preventDefault(); await this.compare(); }));
    this.undo = guarded(this.undo.bind(this));
    this.redo = guarded(this.redo.bind(this));
  }

  get who() { return $("who").value.trim() || null; }

  get names() { return this.said.names; }

  get colours() { return categorical(this.names.length); }

  of(row) { return this.codes[row] ? this.names[this.codes[row] - 1] : null; }

  inherited(row) { return Boolean(this.marks[row] & INHERITED); }

  heard(row) { return Boolean(this.marks[row] & HEARD); }

  alone(row) { return Boolean(this.marks[row] & SINGLE); }

  // Names, codes and marks come apart: ask again if someone labelled between them.
  async read() {
    for (let attempt = 0; attempt < 5; attempt++) {
      const [said, codes, marks] = await Promise.all([askJson("/api/labels"), ask("/api/labels/codes"), ask("/api/labels/marks")]);
      const revisions = [codes, marks].map((answer) => answer.headers.get("X-Revision"));
      if (revisions.some((revision) => revision !== String(said.revision))) continue;
      this.said = said;
      this.codes = new Uint16Array(await codes.arrayBuffer());
      this.marks = new Uint8Array(await marks.arrayBuffer());
      break;
    }
    this.show();
    await this.onChange();
  }

  show() {
    const { said, space, colours } = this;
    const share = space.windows ? (100 * said.labelled / space.windows).toFixed(1) : "0";
    const inherited = said.inherited ? `, ${count(said.inherited)} inherited` : "";
    $("labelled").textContent = `${count(said.labelled)} windows labelled (${share} %)${inherited}`;
    $("rule").textContent = said.rule;
    $("undo").disabled = !said.standing.length;
    $("redo").disabled = said.redo === null;
    const elsewhere = said.elsewhere ? [`${said.elsewhere} labels of other experiments or maps are kept and not shown.`] : [];
    $("complaints").textContent = [...said.complaints, ...elsewhere].join(" ");
    $("regions").replaceChildren(...said.standing.toReversed().map((entry) => this.entry(entry, colours)));
    this.quick = quickNames(said);
    $("quick").replaceChildren(...this.quick.map((name, at) => {
      const button = element("button", { type: "button", data: { name } }, element("b", {}, String(at + 1)), name);
      button.addEventListener("click", () => this.onQuick(at));
      return element("li", {}, button);
    }));
  }

  entry(entry, colours) {
    const kinds = { cluster: `cluster ${entry.region.cluster}`, clusters: `clusters ${(entry.region.clusters ?? []).join(", ")}`, polygon: "lasso", windows: "by themselves" };
    const narrowed = entry.region.where ? ", filtered" : "", heard = entry.heard ? `, ${count(entry.heard)} heard` : "";
    const what = element("span", { className: "what" }, entry.label ?? "(labels taken away)",
      element("small", {}, `${kinds[entry.region.kind]}${narrowed}, holds ${count(entry.holds)} of ${count(entry.members)}${heard}, ${entry.who}, ${entry.when.slice(0, 16).replace("T", " ")} UTC`));
    const away = element("button", { type: "button", title: "Take this label back", aria: { label: `Take back ${entry.label ?? "this"}` } }, "×");
    away.addEventListener("click", guarded(() => this.change("/api/undo", entry.id)));
    return element("li", {}, swatch(css(entry.label === null ? UNKNOWN : colours[this.names.indexOf(entry.label)])), what, away);
  }

  async change(path, of) {
    try { await ask(path, { of, who: this.who }); } finally { await this.read(); }
  }

  async undo() {
    if (this.said.standing.length) await this.change("/api/undo", this.said.standing.at(-1).id);
  }

  async redo() {
    if (this.said.redo !== null) await this.change("/api/redo", this.said.redo);
  }

  // Name a region or single rows, less some; null takes labels away.
  async give(what, label) {
    let answer;
    try {
      answer = await askJson("/api/labels", { ...what, label, who: this.who, revision: this.said.revision });
    } finally {
      await this.read();
    }
    tell(label === null ? `${count(answer.members)} windows without label` : `${count(answer.members)} windows are ${answer.label}`);
    return answer;
  }

  async complete() {
    const typed = $("name").value;
    const found = await askJson(`/api/names?typed=${encodeURIComponent(typed)}`);
    if (typed !== $("name").value) return;
    $("names").replaceChildren(...found.map(({ label, scientific }) => element("option", { value: label, textContent: scientific ?? "" })));
  }

  async hear(row) {
    if (this.heard(row)) return;
    this.marks[row] |= HEARD;
    await ask("/api/heard", { rows: [row], who: this.who });
  }

  async showWork() {
    const meters = await askJson("/api/meter");
    const percent = (share) => (share === null ? "" : `${(100 * share).toFixed(0)} %`);
    $("meter").tBodies[0].replaceChildren(...meters.map((one) => element("tr", {}, ...[
      one.who, count(one.windows), one.per_hour === null ? "" : count(Math.round(one.per_hour)), count(one.heard),
      one.kept_share === null ? "" : `${percent(one.kept_share)} (${percent(one.low)} to ${percent(one.high)} of ${one.judged})`,
    ].map((text) => element("td", {}, text)))));
    $("people").replaceChildren(...meters.map(({ who }) => element("option", { value: who })));
    if (meters.length > 1 && !$("first").value) [$("first").value, $("second").value] = [meters[0].who, meters[1].who];
  }

  async compare() {
    const found = await askJson(`/api/agreement?first=${encodeURIComponent($("first").value.trim())}&second=${encodeURIComponent($("second").value.trim())}`);
    $("kappa").textContent = found.kappa === null
      ? `Both have named ${count(found.windows)} windows: too few, or one label only, for a kappa.`
      : `Cohen's kappa ${found.kappa.toFixed(2)}${found.low === null ? "" : ` (${found.low.toFixed(2)} to ${found.high.toFixed(2)})`} over ${count(found.windows)} windows that both have named; ${(100 * found.same).toFixed(0)} % the same.`;
  }

  async showOverlaps() {
    const pairs = await askJson("/api/labels/overlaps");
    const called = (id) => this.said.standing.find((entry) => entry.id === id)?.label ?? "no label";
    $("overlaps").textContent = pairs.slice(0, 5).map((pair) => `${called(pair.holds)} holds ${count(pair.windows)} windows that ${called(pair.gives_way)} named too.`).join(" ");
  }
}

// The names given last stand first, at most nine.
function quickNames(said) {
  const names = said.standing.toReversed().map((entry) => entry.label).filter((label) => label !== null);
  const stable = said.names.filter((name) => names.includes(name));
  return (stable.length > QUICK ? [...new Set(names)] : stable).slice(0, QUICK);
}
