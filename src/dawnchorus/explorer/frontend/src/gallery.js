// Members of a selection, to hear before it is named: central, random and border ones.
//
// In: the selection's rows by kind. Out: pictures to choose from; calls to onChoose.

import { $, element } from "./dom.js";

const TITLES = { central: "central", random: "random", border: "border", next: "next" };

export class Gallery {
  constructor() {
    Object.assign(this, { rows: [], buttons: new Map(), heard: new Set(), onChoose: () => {}, onMore: () => {} });
  }

  // kinds: {central: [rows], ...}; title and whether other random ones can be had.
  show(title, kinds, more) {
    this.rows = Object.values(kinds).flat();
    this.buttons.clear();
    const heading = element("h2", {}, element("span", {}, title));
    if (more) {
      const others = element("button", { type: "button" }, "Other random ones");
      others.addEventListener("click", () => this.onMore());
      heading.append(others);
    }
    const strips = Object.entries(kinds).filter(([, rows]) => rows.length).map(([kind, rows]) => element("div", { className: "strip" },
      element("span", {}, TITLES[kind]), element("ul", { aria: { label: `${TITLES[kind]} members` } }, ...rows.map((row) => this.item(kind, row)))));
    $("gallery").replaceChildren(heading, ...strips);
    $("gallery").hidden = !this.rows.length;
  }

  item(kind, row) {
    const button = element("button", { type: "button", data: { row }, aria: { label: `${TITLES[kind]} member, window ${row}` } },
      element("img", { src: `/api/windows/${row}/spectrogram.png`, alt: "", loading: "lazy" }));
    button.classList.toggle("heard", this.heard.has(row));
    button.addEventListener("click", () => this.onChoose(row));
    this.buttons.set(row, button);
    return element("li", {}, button);
  }

  hide() {
    this.rows = [];
    this.buttons.clear();
    $("gallery").hidden = true;
  }

  mark(current, without) {
    for (const [row, button] of this.buttons) {
      button.classList.toggle("current", row === current);
      button.classList.toggle("out", without.has(row));
    }
    this.buttons.get(current)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  hear(row) {
    this.heard.add(row);
    this.buttons.get(row)?.classList.add("heard");
  }
}
