// The map: camera, pointer, lasso, the nearest point, and what is drawn above the points.
//
// In: blocks of points, a drawer. Out: calls to onHover, onClick, onLasso and onView. The points lie on a canvas of
// their drawer, outlines and marks on a canvas above it.

const CELLS = 128;          // of a block's grid that finds the nearest point, per side
const REACH = 12;           // pixels around the pointer in which a point counts
const CLICK = 4;            // pixels that a click may move
const REST = 140;           // milliseconds after which the picture is at rest
const MOVING = 14;          // milliseconds that drawing a moving picture may take at most,
const HASTY = 6;            // and at least: what is slow may be the hand or the browser, and fewer points do not help it
const SMOOTH = [22, 29];    // milliseconds between two pictures: below there is time for more points, above there is none
const PAUSE = 70;           // a longer time is the hand's, not the drawing's
const THEMES = {
  dark: { ground: 0xff1a1714, faint: 0xff3a342e, mark: "#ffffff", lasso: "#ffb454", fill: "#ffb45426" },
  light: { ground: 0xfffbfaf8, faint: 0xffdcd8d4, mark: "#101418", lasso: "#9a4d00", fill: "#9a4d0022" },
};

export class ScatterMap {
  constructor(canvas, drawer) {
    Object.assign(this, {
      canvas, drawer, context: canvas.getContext("2d"), blocks: [], selected: null, outlines: [], marks: [],
      current: null, drawing: null, lassoMode: false, filtered: false, pending: false, movedAt: -Infinity, pacedAt: -Infinity, budget: MOVING,
      frames: [], pointsShown: 0, theme: "dark",
    });
    this.onHover = this.onClick = this.onLasso = this.onView = () => {};
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  setBounds([left, low, right, high], total) {
    this.bounds = { left, right, low, high };
    this.total = total;
    this.whole();
  }

  setBlocks(blocks) {
    this.blocks = blocks;
    for (const block of blocks) if (!block.grid) block.grid = new Grid(block);
    this.drawer.setBlocks(blocks);
    this.draw();
  }

  // Where a window lies, if its point is here.
  find(row) {
    for (const { row: rows, xy } of this.blocks) {
      const at = rows.indexOf(row);
      if (at >= 0) return [xy[2 * at], xy[2 * at + 1]];
    }
    return null;
  }

  nearest(pixelX, pixelY, reach = REACH) {
    const [x, y] = this.toMap(pixelX, pixelY);
    let best = (reach / this.scale) ** 2, found = null;
    for (const block of this.blocks) {
      const hit = block.grid.nearest(x, y, best);
      if (hit) { best = hit.distance; found = { block, index: hit.index, row: block.row[hit.index] }; }
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
    this.drawer.resize(this.width, this.height, ratio);
    if (this.fitted) this.whole(); else this.draw();
  }

  fit() {
    const { left, right, low, high } = this.bounds;
    return 0.94 * Math.min(this.width / (right - left), this.height / (high - low));
  }

  whole() {
    if (!this.bounds) return;
    const { left, right, low, high } = this.bounds;
    this.scale = this.fit();
    this.centre = [(left + right) / 2, (low + high) / 2];
    this.fitted = true;
    this.moved();
  }

  view() {
    const [left, high] = this.toMap(0, 0), [right, low] = this.toMap(this.width, this.height);
    return { left, right, low, high };
  }

  toMap(px, py) {
    return [this.centre[0] + (px - this.width / 2) / this.scale,
            this.centre[1] - (py - this.height / 2) / this.scale];
  }

  toPixel(x, y) {
    return [(x - this.centre[0]) * this.scale + this.width / 2,
            (this.centre[1] - y) * this.scale + this.height / 2];
  }

  moved() {
    this.movedAt = performance.now();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => { this.movedAt = -Infinity; this.draw(); this.onView(this.view()); }, REST);
    this.draw();
  }

  pan(dx, dy) {
    this.centre[0] -= dx / this.scale;
    this.centre[1] += dy / this.scale;
    this.fitted = false;
    this.moved();
  }

  zoom(factor, at = [this.width / 2, this.height / 2]) {
    const before = this.toMap(...at);
    this.scale = Math.min(this.fit() * 5000, Math.max(this.fit() / 8, this.scale * factor));
    const after = this.toMap(...at);
    this.centre[0] += before[0] - after[0];
    this.centre[1] += before[1] - after[1];
    this.fitted = false;
    this.moved();
  }

  draw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.render(); });
  }

  render() {
    if (!this.bounds) return;
    const theme = THEMES[this.theme], moving = performance.now() - this.movedAt < REST && this.blocks.length > 0;
    if (moving) this.pace();
    this.drawer.render({
      scale: this.scale, centre: this.centre, radius: this.radius(), ground: theme.ground, faint: theme.faint,
      filtered: this.filtered, milliseconds: moving ? this.budget : null,
    });
    this.frames.push([performance.now(), this.drawer.drawn]);
    if (this.frames.length > 600) this.frames.shift();
    const { context } = this;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    for (const { points, colour } of this.outlines) this.outline(points, colour, null, true);
    if (this.selected) this.outline(this.selected, theme.lasso, theme.fill, true);
    if (this.drawing) this.outline(this.drawing, theme.lasso, theme.fill, false);
    for (const place of this.marks) this.ring(place, theme.lasso, 2);
    if (this.current) this.ring(this.current, theme.mark, 4);
  }

  // Drawing is not all that a picture takes: where the browser puts it together slowly, it gets fewer points.
  pace() {
    const now = performance.now(), between = now - this.pacedAt;
    this.pacedAt = now;
    if (between > PAUSE) return;
    const [quick, slow] = SMOOTH;
    if (between > slow) this.budget = Math.max(HASTY, this.budget * 0.85);
    else if (between < quick) this.budget = Math.min(MOVING, this.budget * 1.02);
  }

  ring([x, y], colour, wider) {
    const { context } = this, [px, py] = this.toPixel(x, y);
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(px, py, this.radius() + wider, 0, 2 * Math.PI);
    context.stroke();
  }

  // Fewer points, or a closer look: larger discs.
  radius() {
    const base = this.total > 300000 ? 0.5 : this.total > 30000 ? 1 : this.total > 3000 ? 2 : 4;
    return Math.min(6, base * Math.max(1, (this.scale / this.fit()) ** 0.4));
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
    let from = null, last = null, moved = false;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.bounds) return;
      canvas.setPointerCapture(event.pointerId);
      from = last = place(event);
      moved = false;
      if (this.lassoMode || event.shiftKey) this.drawing = [this.toMap(...from)];
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
        this.pan(at[0] - last[0], at[1] - last[1]);
        this.onHover(null, at);
      }
      last = at;
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
    canvas.addEventListener("pointerleave", (event) => this.onHover(null, place(event)));
    canvas.addEventListener("wheel", (event) => {
      if (!this.bounds) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0015)), place(event));
      this.onHover(null, place(event));
    }, { passive: false });
  }
}

// Finds the nearest shown point of a block.
class Grid {
  constructor({ xy, paint, row }) {
    Object.assign(this, { xy, paint });
    const n = row.length;
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < n; i++) {
      const x = xy[2 * i], y = xy[2 * i + 1];
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < low) low = y;
      if (y > high) high = y;
    }
    Object.assign(this, { left, low, width: (right - left) / CELLS || 1, height: (high - low) / CELLS || 1 });
    const cellOf = new Uint16Array(n);
    this.start = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < n; i++) {
      cellOf[i] = this.line(xy[2 * i + 1]) * CELLS + this.column(xy[2 * i]);
      this.start[cellOf[i] + 1]++;
    }
    for (let c = 0; c < CELLS * CELLS; c++) this.start[c + 1] += this.start[c];
    const next = this.start.slice();
    this.inside = new Uint32Array(n);
    for (let i = 0; i < n; i++) this.inside[next[cellOf[i]]++] = i;
  }

  column(x) { return clamp(Math.floor((x - this.left) / this.width)); }
  line(y) { return clamp(Math.floor((y - this.low) / this.height)); }

  nearest(x, y, within) {
    const reach = Math.sqrt(within), { xy, paint, start, inside } = this;
    let best = within, found = -1;
    for (let r = this.line(y - reach); r <= this.line(y + reach); r++) {
      for (let c = this.column(x - reach); c <= this.column(x + reach); c++) {
        const cell = r * CELLS + c;
        for (let k = start[cell]; k < start[cell + 1]; k++) {
          const i = inside[k];
          if (paint[i] === 0) continue;
          const distance = (xy[2 * i] - x) ** 2 + (xy[2 * i + 1] - y) ** 2;
          if (distance <= best) { best = distance; found = i; }
        }
      }
    }
    return found < 0 ? null : { index: found, distance: best };
  }
}

const clamp = (cell) => Math.max(0, Math.min(CELLS - 1, cell));

// Corners closer than a pixel to the one before add nothing that can be seen.
function thinned(points, least) {
  const kept = [points[0]];
  for (const point of points) {
    const last = kept[kept.length - 1];
    if (Math.hypot(point[0] - last[0], point[1] - last[1]) >= least) kept.push(point);
  }
  return kept;
}
