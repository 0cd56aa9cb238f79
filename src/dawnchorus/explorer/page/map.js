// The map: a scatter of all windows on a canvas, with pan, zoom, nearest point and lasso.
//
// In: columns x and y, a code and a colour per point. Out: calls to onHover, onClick and onLasso.
// Points are written into the picture's bytes, so a million of them are one pass over two columns.

const CELLS = 256;        // of the grid that finds the nearest point, per side
const REACH = 12;         // pixels around the pointer in which a point counts
const CLICK = 4;          // pixels that a click may move
const GROUND = 0xff1a1714;  // little-endian: alpha, blue, green, red

export class ScatterMap {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.x = this.y = new Float32Array(0);
    this.paint = new Uint32Array(0);   // colour per point; 0 is drawn faintly, below the others
    this.selected = null;              // polygon in map coordinates
    this.outlines = [];                // [{points, colour}]
    this.current = -1;
    this.drawing = null;               // lasso under way
    this.lassoMode = false;
    this.onHover = this.onClick = this.onLasso = () => {};
    this.pending = false;
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  setPoints(x, y) {
    this.x = x;
    this.y = y;
    this.paint = new Uint32Array(x.length).fill(0xffffffff);
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < x.length; i++) {
      if (x[i] < left) left = x[i];
      if (x[i] > right) right = x[i];
      if (y[i] < low) low = y[i];
      if (y[i] > high) high = y[i];
    }
    if (!(right > left)) { left -= 1; right = left + 2; }
    if (!(high > low)) { low -= 1; high = low + 2; }
    this.bounds = { left, right, low, high };
    this.buildGrid();
    this.whole();
  }

  // Points sorted by grid cell (counting sort): the nearest one needs only the cells in reach.
  buildGrid() {
    const { left, right, low, high } = this.bounds;
    this.cellWidth = (right - left) / CELLS;
    this.cellHeight = (high - low) / CELLS;
    const cellOf = new Uint16Array(this.x.length);
    this.cellStart = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < this.x.length; i++) {
      cellOf[i] = this.row(this.y[i]) * CELLS + this.column(this.x[i]);
      this.cellStart[cellOf[i] + 1]++;
    }
    for (let c = 0; c < CELLS * CELLS; c++) this.cellStart[c + 1] += this.cellStart[c];
    const next = this.cellStart.slice();
    this.inCells = new Uint32Array(this.x.length);
    for (let i = 0; i < this.x.length; i++) this.inCells[next[cellOf[i]]++] = i;
  }

  column(x) { return clamp(Math.floor((x - this.bounds.left) / this.cellWidth)); }
  row(y) { return clamp(Math.floor((y - this.bounds.low) / this.cellHeight)); }

  nearest(pixelX, pixelY) {
    if (!this.x.length) return -1;
    const [x, y] = this.toMap(pixelX, pixelY);
    const reach = REACH / this.scale;
    let best = reach * reach, found = -1;
    for (let r = this.row(y - reach); r <= this.row(y + reach); r++) {
      for (let c = this.column(x - reach); c <= this.column(x + reach); c++) {
        const cell = r * CELLS + c;
        for (let k = this.cellStart[cell]; k < this.cellStart[cell + 1]; k++) {
          const i = this.inCells[k];
          if (this.paint[i] === 0) continue;
          const distance = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
          if (distance <= best) { best = distance; found = i; }
        }
      }
    }
    return found;
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.width = Math.max(1, this.canvas.clientWidth);
    this.height = Math.max(1, this.canvas.clientHeight);
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.ratio = ratio;
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    if (this.fitted) this.whole(); else this.draw();
  }

  whole() {
    if (!this.bounds) return;
    const { left, right, low, high } = this.bounds;
    this.scale = 0.94 * Math.min(this.width / (right - left), this.height / (high - low));
    this.centre = [(left + right) / 2, (low + high) / 2];
    this.fitted = true;
    this.draw();
  }

  toMap(px, py) {
    return [this.centre[0] + (px - this.width / 2) / this.scale,
            this.centre[1] - (py - this.height / 2) / this.scale];
  }

  toPixel(x, y) {
    return [(x - this.centre[0]) * this.scale + this.width / 2,
            (this.centre[1] - y) * this.scale + this.height / 2];
  }

  draw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.render(); });
  }

  render() {
    if (!this.bounds) return;
    const { pixels } = this, width = this.canvas.width, height = this.canvas.height;
    pixels.fill(GROUND);
    const scale = this.scale * this.ratio;
    const originX = width / 2 - this.centre[0] * scale, originY = height / 2 + this.centre[1] * scale;
    const stamp = disc(this.radius() * this.ratio, width);
    const margin = stamp.margin;
    for (const faint of [true, false]) {
      for (let i = 0; i < this.x.length; i++) {
        const colour = this.paint[i];
        if ((colour === 0) !== faint) continue;
        const px = (this.x[i] * scale + originX) | 0, py = (originY - this.y[i] * scale) | 0;
        if (px < margin || py < margin || px >= width - margin || py >= height - margin) continue;
        const at = py * width + px;
        if (faint) pixels[at] = 0xff38322c;
        else for (const step of stamp.steps) pixels[at + step] = colour;
      }
    }
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.putImageData(this.image, 0, 0);
    this.context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    for (const { points, colour } of this.outlines) this.outline(points, colour, null, true);
    if (this.selected) this.outline(this.selected, "#ffb454", "#ffb45426", true);
    if (this.drawing) this.outline(this.drawing, "#ffb454", "#ffb45426", false);
    if (this.current >= 0) {
      const [px, py] = this.toPixel(this.x[this.current], this.y[this.current]);
      this.context.strokeStyle = "#fff";
      this.context.lineWidth = 2;
      this.context.beginPath();
      this.context.arc(px, py, this.radius() + 4, 0, 2 * Math.PI);
      this.context.stroke();
    }
  }

  // Fewer points, or a closer look: larger discs.
  radius() {
    const { left, right, low, high } = this.bounds;
    const zoom = this.scale / (0.94 * Math.min(this.width / (right - left), this.height / (high - low)));
    const base = this.x.length > 300000 ? 0.5 : this.x.length > 30000 ? 1 : this.x.length > 3000 ? 2 : 4;
    return Math.min(6, base * Math.max(1, zoom ** 0.4));
  }

  outline(points, stroke, fill, closed) {
    const { context } = this;
    context.beginPath();
    points.forEach(([x, y], k) => {
      const [px, py] = this.toPixel(x, y);
      if (k) context.lineTo(px, py); else context.moveTo(px, py);
    });
    if (closed) context.closePath();
    if (fill) { context.fillStyle = fill; context.fill("evenodd"); }
    context.strokeStyle = stroke;
    context.lineWidth = 1.5;
    context.stroke();
  }

  listen() {
    const { canvas } = this;
    let from = null, moved = false;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.bounds) return;
      canvas.setPointerCapture(event.pointerId);
      from = place(event);
      moved = false;
      if (this.lassoMode) this.drawing = [this.toMap(...from)];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.bounds) return;
      const at = place(event);
      if (!from) { this.onHover(this.nearest(...at), at); return; }
      if (Math.hypot(at[0] - from[0], at[1] - from[1]) > CLICK) moved = true;
      if (this.drawing) {
        this.drawing.push(this.toMap(...at));
        this.draw();
      } else if (moved) {
        this.centre[0] -= event.movementX / this.scale;
        this.centre[1] += event.movementY / this.scale;
        this.fitted = false;
        this.onHover(-1, at);
        this.draw();
      }
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!from) return;
      const drawn = this.drawing;
      this.drawing = from = null;
      if (drawn && moved && drawn.length > 2) this.onLasso(thinned(drawn, 1 / this.scale));
      else if (!moved) this.onClick(this.nearest(...place(event)));
      this.draw();
    });
    canvas.addEventListener("pointercancel", () => { this.drawing = from = null; this.draw(); });
    canvas.addEventListener("pointerleave", (event) => this.onHover(-1, place(event)));
    canvas.addEventListener("wheel", (event) => {
      if (!this.bounds) return;
      event.preventDefault();
      const at = place(event), before = this.toMap(...at);
      this.scale *= Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0015));
      const after = this.toMap(...at);
      this.centre[0] += before[0] - after[0];
      this.centre[1] += before[1] - after[1];
      this.fitted = false;
      this.draw();
    }, { passive: false });
  }
}

const clamp = (cell) => Math.max(0, Math.min(CELLS - 1, cell));

function disc(radius, width) {
  const whole = Math.ceil(radius), steps = [];
  for (let dy = -whole; dy <= whole; dy++) {
    for (let dx = -whole; dx <= whole; dx++) {
      if (dx * dx + dy * dy <= radius * radius + 0.8 * radius) steps.push(dy * width + dx);
    }
  }
  return { steps, margin: whole };
}

// Corners closer than a pixel to the one before add nothing that can be seen.
function thinned(points, least) {
  const kept = [points[0]];
  for (const point of points) {
    const last = kept[kept.length - 1];
    if (Math.hypot(point[0] - last[0], point[1] - last[1]) >= least) kept.push(point);
  }
  return kept;
}
