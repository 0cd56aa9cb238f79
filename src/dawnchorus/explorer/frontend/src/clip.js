// One window, seen and heard: spectrogram with hertz and seconds, sound, attention, detections.
//
// In: the number of a window. Out: a picture with axes, a playing audio element with a moving line, what is overlaid.

import { ask, askJson } from "./api.js";
import { element } from "./dom.js";

const LEFT = 50, RIGHT = 10, TOP = 22, BOTTOM = 34;
const HERTZ = [200, 500, 1000, 2000, 3000, 5000, 8000, 12000, 16000, 24000];
const INK = "#e8ecef", SOFT = "#b4bec6", HEARD = "#8fd0ff";

export class ClipView {
  constructor({ canvas, audio, error, overlay, strength }) {
    Object.assign(this, { canvas, audio, error, overlay, strength, row: -1, lead: 0, image: null, maps: null, detections: [] });
    this.context = canvas.getContext("2d");
    this.space = null;
    this.onHeard = () => {};
    const follow = () => { this.render(); if (!audio.paused) requestAnimationFrame(follow); };
    audio.addEventListener("play", () => { this.onHeard(this.row); follow(); });
    audio.addEventListener("seeked", () => this.render());
    overlay.addEventListener("change", () => this.look());
    strength.addEventListener("input", () => this.render());
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.width = Math.max(1, this.canvas.clientWidth);
    this.height = Math.max(1, this.canvas.clientHeight);
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.render();
  }

  async show(row, play) {
    this.row = row;
    this.image = this.maps = null;
    this.detections = [];
    this.audio.pause();
    this.audio.dataset.row = "";
    this.error.hidden = true;
    await Promise.all([this.load(row), this.loadSound(row, play), this.look()]);
  }

  async load(row) {
    try {
      const answer = await ask(`/api/windows/${row}/spectrogram.png?context=${this.space.context_seconds}`);
      const decibels = answer.headers.get("X-Decibels"), span = answer.headers.get("X-Span").split(" ").map(Number);
      const image = await createImageBitmap(await answer.blob());
      if (row !== this.row) return;
      Object.assign(this, { image, decibels, span });
      this.canvas.dataset.row = row;
      this.render();
    } catch (problem) { this.fail(row, problem.message); }
  }

  async loadSound(row, play) {
    let answer;
    try {
      answer = await ask(`/api/windows/${row}/audio.wav?context=${this.space.context_seconds}`);
    } catch (problem) {
      if (row === this.row) this.audio.removeAttribute("src");
      this.fail(row, problem.message);
      return;
    }
    const lead = Number(answer.headers.get("X-Lead-Seconds"));
    const blob = await answer.blob();
    if (row !== this.row) return;
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = URL.createObjectURL(blob);
    this.lead = lead;
    this.audio.src = this.address;
    this.audio.dataset.row = row;
    if (play) this.play();
  }

  // What the network looks at, where somebody asks for it.
  async look() {
    const { row } = this, wanted = this.overlay.value;
    this.canvas.dataset.overlay = "";
    if (wanted === "" || row < 0) { this.render(); return; }
    if (!this.maps) {
      try {
        const seen = await askJson(`/api/windows/${row}/attention`);
        if (row !== this.row) return;
        this.maps = seen.maps;
        this.offer(seen.maps, seen.source);
      } catch (problem) {
        this.fail(row, problem.message);
        this.overlay.value = "";
        return;
      }
    }
    const chosen = this.maps.find((map) => map.name === this.overlay.value);
    this.heat = chosen ? heatOf(chosen.values) : null;
    this.canvas.dataset.overlay = chosen ? `${row} ${chosen.name}` : "";
    this.render();
  }

  // The names of the maps are those of the network: known with the first answer.
  offer(maps, source) {
    if (this.overlay.dataset.known) return;
    const first = this.overlay.value;
    this.overlay.dataset.known = "true";
    const options = maps.map(({ name }) => element("option", { value: name, textContent: name === source ? `${name} (makes the masks)` : name }));
    this.overlay.replaceChildren(this.overlay.options[0], ...options);
    this.overlay.value = first === "any" ? source : first;
  }

  fail(row, why) {
    if (row !== this.row) return;
    this.error.textContent = why;
    this.error.hidden = false;
  }

  toggle() {
    if (!this.audio.src) return;
    if (this.audio.paused) this.play(); else this.audio.pause();
  }

  play() {
    if (this.audio.ended) this.audio.currentTime = 0;
    // A browser may refuse sound before the first key or click: the play button is there then.
    this.audio.play().catch((reason) => {
      if (reason.name !== "AbortError") this.fail(this.row, `press Play (${reason.message})`);
    });
  }

  render() {
    const { context, space, width: whole, height: tall } = this;
    context.fillStyle = "#0b0d0f";
    context.fillRect(0, 0, whole, tall);
    if (!this.image) return;
    const width = whole - LEFT - RIGHT, height = tall - TOP - BOTTOM, [begin, end] = this.span;
    const toX = (seconds) => LEFT + ((seconds - begin) / (end - begin)) * width;
    const length = space.window_seconds;
    context.imageSmoothingEnabled = true;
    context.drawImage(this.image, LEFT, TOP, width, height);
    if (this.heat && this.overlay.value !== "") {
      context.globalAlpha = Number(this.strength.value);
      context.drawImage(this.heat, toX(0), TOP, toX(length) - toX(0), height);
      context.globalAlpha = 1;
    }
    // What is around the window is darker.
    context.fillStyle = "rgba(11,13,15,0.55)";
    context.fillRect(LEFT, TOP, toX(0) - LEFT, height);
    context.fillRect(toX(length), TOP, LEFT + width - toX(length), height);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (const { common, confidence, begin_s: from, end_s: to } of this.detections.slice(0, 1)) {
      const left = Math.max(LEFT, toX(from)), right = Math.min(LEFT + width, toX(to));
      context.fillStyle = HEARD;
      context.fillRect(left, TOP - 3, right - left, 2);
      context.textAlign = "left";
      context.fillText(`BirdNET: ${common} ${confidence.toFixed(2)}`, left, TOP - 11, right - left);
    }
    context.textAlign = "right";
    context.fillStyle = INK;
    for (const hertz of HERTZ) {
      const band = bandOf(hertz, space.band_frequency);
      if (band === null) continue;
      const y = TOP + height * (1 - (band + 0.5) / space.band_frequency.length);
      context.fillRect(LEFT - 4, y, 4, 1);
      context.fillText(hertz < 1000 ? `${hertz} Hz` : `${hertz / 1000} kHz`, LEFT - 6, y);
    }
    context.textAlign = "center";
    context.textBaseline = "top";
    const step = length > 10 ? 5 : length > 4 ? 1 : 0.5;
    for (let s = Math.ceil(begin / step) * step; s <= end + 1e-9; s += step) {
      context.fillRect(toX(s), TOP + height, 1, 4);
      context.fillText(s ? String(s) : "0 s", Math.max(LEFT + 6, Math.min(toX(s), whole - 12)), TOP + height + 6);
    }
    context.fillStyle = SOFT;
    context.textAlign = "right";
    const [low, high] = this.decibels.split(" ");
    context.fillText(`black ${low} dB, bright ${high} dB`, whole - RIGHT, TOP + height + 20);
    const at = this.audio.currentTime - this.lead;
    if (this.audio.src && at >= begin && at <= end) {
      context.fillStyle = "#fff";
      context.fillRect(toX(at), TOP, 1.5, height);
    }
  }
}

// A map as a picture of one pixel per cell: cyan, the more opaque the more is looked at.
function heatOf(values) {
  const rows = values.length, columns = values[0].length;
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) image.data.set([70, 240, 255, Math.round(255 * values[rows - 1 - r][c])], 4 * (r * columns + c));
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// Place of a frequency among the bands' centres, between two of them; null outside.
function bandOf(hertz, centres) {
  for (let k = 1; k < centres.length; k++) {
    if (hertz >= centres[k - 1] && hertz <= centres[k]) {
      return k - 1 + (hertz - centres[k - 1]) / (centres[k] - centres[k - 1]);
    }
  }
  return null;
}
