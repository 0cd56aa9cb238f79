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
    this.pixels = new Int32Array(this.image.data.buffer);   // small integers: half the time of unsigned ones
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
    const inside = { width, left: margin, top: margin, right, low };
    for (const { xy, paint } of blocks) {
      drawn += paint.length;
      const colours = new Int32Array(paint.buffer, paint.byteOffset, paint.length);
      if (margin === 0) dots(pixels, xy, colours, scale, shiftX, shiftY, inside);
      else discs(pixels, xy, colours, scale, shiftX, shiftY, inside, Int32Array.from(steps));
    }
    this.context.putImageData(this.image, 0, 0);
    const took = performance.now() - begun;
    if (drawn > 10000) this.perPoint = 0.7 * this.perPoint + 0.3 * (took / drawn);
    this.drawn = drawn;
  }
}

// The two inner loops, each a function of its own that a browser compiles once.
function dots(pixels, xy, colours, scale, shiftX, shiftY, { width, right, low }) {
  for (let i = 0, k = 0; i < colours.length; i++, k += 2) {
    const px = (xy[k] * scale + shiftX) | 0, py = (shiftY - xy[k + 1] * scale) | 0, colour = colours[i];
    if (colour !== 0 && px >= 0 && py >= 0 && px < right && py < low) pixels[py * width + px] = colour;
  }
}

function discs(pixels, xy, colours, scale, shiftX, shiftY, { width, left, top, right, low }, steps) {
  for (let i = 0, k = 0; i < colours.length; i++, k += 2) {
    const px = (xy[k] * scale + shiftX) | 0, py = (shiftY - xy[k + 1] * scale) | 0, colour = colours[i];
    if (colour === 0 || px < left || py < top || px >= right || py >= low) continue;
    const at = py * width + px;
    for (let s = 0; s < steps.length; s++) pixels[at + steps[s]] = colour;
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
