// Draws points with a graphics card, by deck.gl.
//
// In: blocks with xy and paint, a view. Out: the picture on a canvas. A block is one layer; its arrays go to the card
// once, and again when its colours change.

import { Deck, OrthographicView } from "@deck.gl/core";
import { ScatterplotLayer } from "@deck.gl/layers";

export class GpuDrawer {
  constructor(canvas, onFailure) {
    this.name = "graphics card";
    this.blocks = [];
    this.data = new Map();
    this.drawn = 0;
    this.deck = new Deck({
      canvas, views: new OrthographicView({ id: "map", flipY: false }), controller: false, layers: [],
      width: "100%", height: "100%", useDevicePixels: true, viewState: { target: [0, 0], zoom: 0 },
      parameters: { depthWriteEnabled: false, depthCompare: "always" },
      onError: (problem) => onFailure(problem.message), onAfterRender: () => { canvas.dataset.frames = Number(canvas.dataset.frames ?? 0) + 1; },
    });
  }

  resize() {}

  setBlocks(blocks) {
    this.blocks = blocks;
    for (const block of this.data.keys()) if (!blocks.includes(block)) this.data.delete(block);
  }

  // The colours of a block have changed.
  touched(block) { this.data.delete(block); }

  dataOf(block) {
    if (!this.data.has(block)) {
      const colours = new Uint8Array(block.paint.buffer, block.paint.byteOffset, block.paint.byteLength);
      this.data.set(block, {
        length: block.row.length,
        attributes: { getPosition: { value: block.xy, size: 2 }, getFillColor: { value: colours, size: 4, normalized: true } },
      });
    }
    return this.data.get(block);
  }

  render(view) {
    const shared = {
      radiusUnits: "pixels", getRadius: Math.max(0.6, view.radius), stroked: false, antialiasing: false, pickable: false,
      updateTriggers: { getRadius: view.radius },
    };
    const layers = this.blocks.map((block, place) =>
      new ScatterplotLayer({ ...shared, id: `block-${place}`, data: this.dataOf(block) }));
    if (view.filtered && this.blocks.length) {
      const first = this.blocks[0];
      layers.unshift(new ScatterplotLayer({
        ...shared, id: "ground", getRadius: 0.6, getFillColor: bytes(view.faint),
        data: { length: first.row.length, attributes: { getPosition: { value: first.xy, size: 2 } } },
      }));
    }
    this.drawn = this.blocks.reduce((sum, block) => sum + block.row.length, 0);
    this.deck.setProps({
      layers, viewState: { target: [view.centre[0], view.centre[1], 0], zoom: Math.log2(view.scale) },
    });
  }
}

const bytes = (colour) => [colour & 255, (colour >> 8) & 255, (colour >> 16) & 255, 255];

// Whether a graphics card draws here; a WebGL that is itself software is slower than writing the pixels.
export function hasCard() {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return false;
  const told = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(gl.getParameter(told ? told.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}
