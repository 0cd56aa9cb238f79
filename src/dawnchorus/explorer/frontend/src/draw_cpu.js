// Draws points without a graphics card: their pixels are written into a picture in memory.
//
// In: blocks with xy and paint, a view. Out: the picture on a canvas. A million points are one pass over two columns.

export class CpuDrawer {
  constructor(canvas) {
    this.name = "processor";
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.blocks = [];
    this.perPoint = 3e-5;   // milliseconds, corrected with every frame
    this.drawn = 0;
  }

  resize(width, height, ratio) {
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.ratio = ratio;
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  setBlocks(blocks) { this.blocks = blocks; }
  touched() {}

  // Whole levels, as many as a moving picture has time for.
  affordable(milliseconds) {
    const most = milliseconds / this.perPoint;
    let sum = 0, level = -1;
    const chosen = [];
    for (const block of this.blocks) {
      if (block.level !== level) {
        const whole = this.blocks.filter((one) => one.level === block.level).reduce((all, one) => all + one.row.length, 0);
        if (chosen.length && sum + whole > most) break;
        sum += whole;
        level = block.level;
      }
      chosen.push(block);
    }
    return chosen;
  }

  // view: {scale, centre, radius, ground, faint, filtered, milliseconds (null: everything)}
  render(view) {
    const begun = performance.now();
    const { pixels, ratio } = this, width = this.canvas.width, height = this.canvas.height;
    pixels.fill(view.ground);
    const scale = view.scale * ratio;
    const shiftX = width / 2 - view.centre[0] * scale, shiftY = height / 2 + view.centre[1] * scale;
    const stamp = disc(view.radius * ratio, width), { steps, margin } = stamp;
    const blocks = view.milliseconds === null ? this.blocks : this.affordable(view.milliseconds);
    let drawn = 0;
    if (view.filtered && this.blocks.length) {
      // What the filter hides, as the ground that the rest stands on.
      const { xy, row } = this.blocks[0];
      for (let i = 0; i < row.length; i++) {
        const px = (xy[2 * i] * scale + shiftX) | 0, py = (shiftY - xy[2 * i + 1] * scale) | 0;
        if (px >= 0 && py >= 0 && px < width && py < height) pixels[py * width + px] = view.faint;
      }
    }
    const right = width - margin, low = height - margin;
    for (const { xy, paint } of blocks) {
      const n = paint.length;
      drawn += n;
      for (let i = 0; i < n; i++) {
        const colour = paint[i];
        if (colour === 0) continue;
        const px = (xy[2 * i] * scale + shiftX) | 0, py = (shiftY - xy[2 * i + 1] * scale) | 0;
        if (px < margin || py < margin || px >= right || py >= low) continue;
        const at = py * width + px;
        if (margin === 0) pixels[at] = colour;
        else for (let k = 0; k < steps.length; k++) pixels[at + steps[k]] = colour;
      }
    }
    this.context.putImageData(this.image, 0, 0);
    const took = performance.now() - begun;
    if (drawn > 10000) this.perPoint = 0.7 * this.perPoint + 0.3 * (took / drawn);
    this.drawn = drawn;
  }
}

function disc(radius, width) {
  const whole = radius < 0.75 ? 0 : Math.ceil(radius - 0.25), steps = [];
  for (let dy = -whole; dy <= whole; dy++) {
    for (let dx = -whole; dx <= whole; dx++) {
      if (dx * dx + dy * dy <= radius * radius + 0.5) steps.push(dy * width + dx);
    }
  }
  return { steps, margin: whole };
}
