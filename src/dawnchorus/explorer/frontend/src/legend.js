// The left side: what colours the points, how many windows have each value, and what is filtered.
//
// In: facets, the filter, the server's counts. Out: calls to onColour and onFilter.

import { askJson } from "./api.js";
import { $, count, element, swatch } from "./dom.js";
import { UNKNOWN, conditionOf, css, isNumber, sequential } from "./facets.js";

const ROWS = 120;
const RANGES = ["hour", "date", "confidence", "activity"];

export const emptyFilter = () => ({
  any: { cluster: new Set(), species: new Set(), recorder: new Set(), habitat: new Set(), label: new Set() },
  hours: null, dates: null, confidence: null, activity: null, unlabelled: false,
});

export class Legend {
  constructor(facets, space) {
    Object.assign(this, { facets, space, filter: emptyFilter(), by: "cluster", onFilter: () => {}, onColour: () => {}, asked: 0 });
    $("colour").replaceChildren(...Object.entries(facets).map(([name, { title }]) => element("option", { value: name, textContent: title })));
    $("colour").addEventListener("change", () => { this.by = $("colour").value; this.onColour(); });
    $("nofilter").addEventListener("click", () => this.clear());
    $("unlabelled").addEventListener("change", () => { this.filter.unlabelled = $("unlabelled").checked; this.changed(); });
    $("date-from").min = $("date-to").min = space.dates[0];
    $("date-from").max = $("date-to").max = space.dates[space.dates.length - 1];
    for (const name of RANGES) for (const end of ["from", "to"]) $(`${name}-${end}`).addEventListener("change", () => this.readRanges());
  }

  get facet() { return this.facets[this.by]; }

  get where() { return conditionOf(this.filter, this.facets, this.space); }

  get filtered() { return this.where !== null; }

  colourBy(name) {
    $("colour").value = this.by = name;
    this.onColour();
  }

  clear() {
    this.filter = emptyFilter();
    for (const name of RANGES) for (const end of ["from", "to"]) $(`${name}-${end}`).value = "";
    $("unlabelled").checked = false;
    this.changed();
  }

  readRanges() {
    const number = (id, otherwise) => ($(id).value === "" ? otherwise : Number($(id).value));
    const given = (name) => $(`${name}-from`).value !== "" || $(`${name}-to`).value !== "";
    const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
    const { filter, space } = this;
    filter.hours = given("hour") ? [clamp(Math.trunc(number("hour-from", 0)), 0, 23), clamp(Math.trunc(number("hour-to", 23)), 0, 23)] : null;
    filter.confidence = given("confidence") ? [clamp(number("confidence-from", 0), 0, 1), clamp(number("confidence-to", 1), 0, 1)] : null;
    filter.activity = given("activity") ? [clamp(number("activity-from", -1000), -1000, 1000), clamp(number("activity-to", 1000), -1000, 1000)] : null;
    filter.dates = null;
    if (given("date")) {
      const from = $("date-from").value || space.dates[0], to = $("date-to").value || space.dates[space.dates.length - 1];
      const first = space.dates.findIndex((date) => date >= from), last = space.dates.findLastIndex((date) => date <= to);
      filter.dates = [first < 0 ? space.dates.length - 1 : first, Math.max(0, last)];
    }
    this.changed();
  }

  changed() {
    $("nofilter").disabled = !this.filtered;
    this.onFilter();
  }

  toggle(name, code) {
    const chosen = this.filter.any[name];
    if (chosen.has(code)) chosen.delete(code); else chosen.add(code);
    this.changed();
  }

  // Ask the server how many windows have each value, and draw the legend.
  async draw() {
    const turn = ++this.asked, { facet, by } = this, { none } = this.space;
    const counted = await askJson("/api/counts", { by: isNumber(facet) ? "recorder" : by, where: this.where });
    if (turn !== this.asked) return;
    $("shown").textContent = this.filtered ? `${count(counted.shown)} of ${count(this.space.windows)} windows` : "";
    $("scale").hidden = !isNumber(facet);
    this.drawChips();
    if (isNumber(facet)) { this.drawScale(facet); $("legend").replaceChildren(); return; }
    const chosen = this.filter.any[by];
    const rows = facet.names.map((name, code) => ({ name, code, colour: facet.colours[code], windows: counted.counts[code] ?? 0 }));
    rows.push({ name: facet.none, code: none, colour: UNKNOWN, windows: counted.none });
    const filled = rows.filter(({ windows, code }) => windows || chosen?.has(code));
    const drawn = filled.slice(0, ROWS).map(({ name, code, colour, windows }) => {
      const row = element("button", { type: "button", title: name, disabled: !chosen || (code === none && by !== "label") },
        swatch(css(colour)), element("span", {}, name), element("span", { className: "count" }, count(windows)));
      if (chosen) {
        row.setAttribute("aria-pressed", String(chosen.has(code)));
        row.addEventListener("click", () => this.toggle(by, code));
      }
      return row;
    });
    if (filled.length > ROWS) drawn.push(element("span", { className: "soft" }, `and ${filled.length - ROWS} more`));
    $("legend").replaceChildren(...drawn);
  }

  drawChips() {
    const chips = [];
    for (const [name, set] of Object.entries(this.filter.any)) {
      for (const code of set) {
        const chip = element("button", { type: "button", title: "Take this filter away" }, `${this.facets[name].names[code]} ×`);
        chip.addEventListener("click", () => this.toggle(name, code));
        chips.push(chip);
      }
    }
    $("chips").replaceChildren(...chips);
  }

  drawScale(facet) {
    const colours = sequential(), canvas = element("canvas", { width: colours.length, height: 1 }), context = canvas.getContext("2d");
    colours.forEach((colour, x) => { context.fillStyle = css(colour); context.fillRect(x, 0, 1, 1); });
    $("scale").replaceChildren(canvas, element("div", {}, element("span", {}, String(facet.low)), element("span", {}, `${facet.high}${facet.high === 1 ? "" : " and more"}`)),
      element("div", {}, swatch(css(UNKNOWN)), element("span", {}, facet.none)));
  }
}
