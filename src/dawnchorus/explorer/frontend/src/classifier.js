// The classifier: train it on the labels, see what it is worth, hear what it proposes, apply it.
//
// In: the server's classifier. Out: a table; calls to onRows with windows to hear next.

import { ask, askJson } from "./api.js";
import { $, count, element, guarded, tell } from "./dom.js";

export class Classifier {
  constructor() {
    this.onRows = () => {};
    $("train").addEventListener("click", guarded(() => this.busy($("train"), "/api/classifier")));
    $("apply").addEventListener("click", guarded(() => this.busy($("apply"), "/api/classifier/apply")));
    $("uncertain").addEventListener("click", guarded(() => this.hear(null)));
  }

  async busy(button, path) {
    const text = button.textContent;
    button.disabled = true;
    button.textContent = "working ...";
    try {
      const said = await askJson(path, {});
      if (path.endsWith("apply")) tell(`${count(said.windows)} windows have a likeliest label`);
      await this.show();
    } finally {
      button.disabled = false;
      button.textContent = text;
    }
  }

  async show() {
    let known;
    try { known = await askJson("/api/classifier"); } catch (problem) {
      if (problem.status !== 404) throw problem;
      return;   // none has been trained yet
    }
    const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(0)} %`);
    $("held-out").hidden = false;
    $("apply").disabled = $("uncertain").disabled = false;
    $("held-out").tBodies[0].replaceChildren(...known.held_out.map((row) => {
      const hear = element("button", { type: "button", title: "Hear likely windows without a label" }, "Hear likely");
      hear.addEventListener("click", guarded(() => this.hear(row.label)));
      return element("tr", { title: row.note }, ...[row.label, percent(row.precision), percent(row.recall), count(row.windows)]
        .map((text) => element("td", {}, text)), element("td", {}, hear));
    }));
  }

  async hear(label) {
    const found = await (await ask(`/api/classifier/next${label === null ? "" : `?label=${encodeURIComponent(label)}`}`)).json();
    if (!found.length) { tell("nothing to hear: apply the classifier, or all proposals are heard"); return; }
    this.onRows(found.map(({ row }) => row), label === null ? "Uncertain windows" : `Likely ${label}`);
  }
}
