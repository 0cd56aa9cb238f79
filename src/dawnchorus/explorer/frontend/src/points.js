// The points in the browser: the first level at once, the others level after level, cell after cell.
//
// In: /api/space, what the map shows. Out: blocks, each {level, row, xy, paint, and a typed array per column}. As many
// points as can be drawn are fetched for what is looked at; blocks long out of sight are dropped.

import { ask } from "./api.js";

const KINDS = { "<u4": Uint32Array, "<f4": Float32Array, "<u2": Uint16Array };
const AT_ONCE = 262144;   // points asked for in one question
const KEPT = 2.5;         // times the budget that may be in memory

export class Points {
  // budget: points that may be drawn at a time. onBlock(block), onDrop(block), onDone().
  constructor(space, budget) {
    Object.assign(this, { space, budget, blocks: [], onBlock: () => {}, onDrop: () => {}, onDone: () => {} });
    this.have = space.levels.map((counts) => new Uint8Array(counts.length));
    this.turn = 0;
    this.working = this.begun = false;
    this.wanted = null;
  }

  get loaded() { return this.blocks.reduce((sum, block) => sum + block.row.length, 0); }

  read(bytes, n) {
    const block = { xy: new Float32Array(2 * n), paint: new Uint32Array(n) };
    let at = 0;
    for (const { name, dtype } of this.space.columns) {
      block[name] = new KINDS[dtype](bytes, at, n);
      at += n * KINDS[dtype].BYTES_PER_ELEMENT;
    }
    for (let i = 0; i < n; i++) { block.xy[2 * i] = block.x[i]; block.xy[2 * i + 1] = block.y[i]; }
    return block;
  }

  async fetchBlock(level, cells) {
    const counts = this.space.levels[level];
    const n = cells ? cells.reduce((sum, cell) => sum + counts[cell], 0) : counts.reduce((sum, of) => sum + of, 0);
    const answer = await ask(`/api/points/${level}${cells ? `?cells=${cells.join(",")}` : ""}`);
    const block = this.read(await answer.arrayBuffer(), n);
    Object.assign(block, { level, cells, seen: this.turn });
    for (const cell of cells ?? counts.keys()) this.have[level][cell] = 1;
    this.blocks.push(block);
    this.blocks.sort((a, b) => a.level - b.level);
    this.onBlock(block);
  }

  async first() {
    await this.fetchBlock(0, null);
    this.begun = true;
  }

  // Cells of the grid that a part of the map touches.
  cellsIn({ left, right, low, high }) {
    const [mapLeft, mapLow, mapRight, mapHigh] = this.space.bounds, grid = this.space.grid;
    const clamp = (value) => Math.max(0, Math.min(grid - 1, Math.floor(value)));
    const columns = [left, right].map((x) => clamp(((x - mapLeft) * grid) / (mapRight - mapLeft)));
    const rows = [low, high].map((y) => clamp(((y - mapLow) * grid) / (mapHigh - mapLow)));
    const cells = [];
    for (let r = rows[0]; r <= rows[1]; r++) for (let c = columns[0]; c <= columns[1]; c++) cells.push(r * grid + c);
    return cells;
  }

  // Levels that fit into the budget for these cells: as many whole ones as can be drawn.
  levelsFor(cells) {
    let sum = 0;
    for (let level = 0; level < this.space.levels.length; level++) {
      const counts = this.space.levels[level];
      for (const cell of cells) sum += counts[cell];
      if (level && sum > this.budget) return level;
    }
    return this.space.levels.length;
  }

  // Fetch what is missing for a part of the map; a later call takes the place of an earlier one.
  async show(view) {
    if (!this.begun) return;   // the first level comes first
    this.wanted = view;
    if (this.working) return;
    this.working = true;
    try {
      while (this.wanted) {
        const cells = this.cellsIn(this.wanted);
        this.wanted = null;
        this.turn += 1;
        const among = new Set(cells);
        for (const block of this.blocks) if (!block.cells || block.cells.some((cell) => among.has(cell))) block.seen = this.turn;
        this.depth = this.levelsFor(cells);
        for (let level = 1; level < this.depth && !this.wanted; level++) await this.complete(level, cells);
      }
      this.forget();
    } finally {
      this.working = false;
    }
    this.onDone();
  }

  async complete(level, cells) {
    const counts = this.space.levels[level];
    let asked = [], sum = 0;
    for (const cell of cells) {
      if (this.have[level][cell] || !counts[cell]) continue;
      asked.push(cell);
      sum += counts[cell];
      if (sum >= AT_ONCE) {
        await this.fetchBlock(level, asked);
        if (this.wanted) return;
        asked = [];
        sum = 0;
      }
    }
    if (asked.length) await this.fetchBlock(level, asked);
  }

  forget() {
    const old = this.blocks.filter((block) => block.level && block.seen < this.turn).sort((a, b) => a.seen - b.seen || b.level - a.level);
    let loaded = this.loaded;
    while (loaded > KEPT * this.budget && old.length) {
      const block = old.shift();
      loaded -= block.row.length;
      for (const cell of block.cells) this.have[block.level][cell] = 0;
      this.blocks.splice(this.blocks.indexOf(block), 1);
      this.onDrop(block);
    }
  }
}
