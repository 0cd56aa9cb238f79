// What points are coloured, filtered and counted by.
//
// In: /api/space. Out: facets; each says which column it reads and how its values are named and coloured. A facet of
// codes has names and a colour per name, a facet of numbers has a scale.

export const UNKNOWN = [128, 138, 146];
const STEPS = 64;

function fromHsl(hue, saturation, lightness) {
  const a = saturation * Math.min(lightness, 1 - lightness);
  return [0, 8, 4].map((n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

// Neighbouring codes lie a golden angle apart, and lightness varies too: far apart for 20, still apart for 100.
export function categorical(count) {
  return Array.from({ length: count }, (_, code) =>
    fromHsl((code * 137.508) % 360, 0.72, [0.62, 0.5, 0.74][code % 3]));
}

// The hours go round: midnight is blue, dawn red, noon yellow, dusk green.
const hours = () => Array.from({ length: 24 }, (_, hour) => fromHsl((230 + hour * 15) % 360, 0.75, 0.6));

// Viridis by its corner colours: even in brightness, also for the colour-blind; its dark end is lightened, since the
// map is dark.
const CORNERS = [[92, 60, 140], [72, 98, 160], [45, 140, 150], [60, 180, 120], [150, 210, 70], [253, 231, 37]];
export function sequential(steps = STEPS) {
  return Array.from({ length: steps }, (_, step) => {
    const at = (step / Math.max(1, steps - 1)) * (CORNERS.length - 1), low = Math.min(CORNERS.length - 2, Math.floor(at));
    return CORNERS[low].map((from, channel) => Math.round(from + (at - low) * (CORNERS[low + 1][channel] - from)));
  });
}

export const css = ([red, green, blue]) => `rgb(${red},${green},${blue})`;
export const packed = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

export function facetsOf(space) {
  const names = (values) => values.map(String);
  return {
    cluster: {
      title: "cluster", column: "cluster", none: "no cluster", condition: "clusters", values: (codes) => codes,
      names: Array.from({ length: space.clusters }, (_, k) => `cluster ${k}`), colours: categorical(space.clusters),
    },
    label: {
      title: "label", column: null, none: "not known", condition: "labels",
      values(codes) { return codes.map((code) => (code ? this.names[code] : null)); }, names: [], colours: [],
    },
    species: {
      title: "BirdNET species", column: "species", none: "no detection", condition: "species",
      values: (codes) => codes.map((code) => space.species[code].species),
      names: space.species.map((one) => one.common), colours: categorical(space.species.length),
    },
    confidence: { title: "BirdNET confidence", column: "confidence", none: "no detection", low: 0, high: 1, zeroIsNone: true },
    recorder: {
      title: "recorder", column: "recorder", none: "not known", condition: "recorders",
      values: (codes) => codes.map((code) => space.recorders[code]),
      names: names(space.recorders), colours: categorical(space.recorders.length),
    },
    habitat: {
      title: "habitat", column: "habitat", none: "no deployment says", condition: "habitats",
      values: (codes) => codes.map((code) => space.habitats[code]),
      names: names(space.habitats), colours: categorical(space.habitats.length),
    },
    hour: {
      title: "local hour", column: "hour", none: "not known", colours: hours(),
      names: Array.from({ length: 24 }, (_, hour) => `${String(hour).padStart(2, "0")} h`),
    },
    date: {
      title: "local date", column: "date", none: "not known", names: names(space.dates),
      colours: sequential(space.dates.length),
    },
    activity: { title: "activity (dB)", column: "activity", none: "not known", low: 0, high: 20 },
  };
}

export const isNumber = (facet) => facet.low !== undefined;

// Colour of every point of a block. `kept` is 0 where the filter hides the point; `codes` are label codes by row.
export function paintBlock(block, facet, kept, codes) {
  const unknown = packed(UNKNOWN), { paint } = block;
  if (isNumber(facet)) {
    const paints = sequential().map(packed), values = block[facet.column];
    const scale = STEPS / (facet.high - facet.low);
    for (let i = 0; i < paint.length; i++) {
      const value = values[i];
      if (kept && !kept[i]) paint[i] = 0;
      else if (!(value >= facet.low) || (facet.zeroIsNone && value === 0)) paint[i] = unknown;
      else paint[i] = paints[Math.min(STEPS - 1, ((value - facet.low) * scale) | 0)];
    }
    return;
  }
  const paints = facet.colours.map(packed), { row } = block;
  const of = facet.column === null ? null : block[facet.column];
  for (let i = 0; i < paint.length; i++) {
    if (kept && !kept[i]) { paint[i] = 0; continue; }
    const code = of === null ? codes[row[i]] : of[i];
    paint[i] = code < paints.length ? paints[code] : unknown;
  }
}

// Which points of a block a filter keeps; null: all. The same question as the server's conditions.
export function keptOf(block, filter, codes) {
  const choices = Object.entries(filter.any).filter(([, set]) => set.size).map(([name, set]) => [name, set]);
  const { hours: hour, dates: date, confidence, activity, unlabelled } = filter;
  if (!choices.length && !hour && !date && !confidence && !activity && !unlabelled) return null;
  const n = block.paint.length, kept = new Uint8Array(n).fill(1);
  for (const [name, set] of choices) {
    const table = new Uint8Array(65536);
    for (const code of set) table[code] = 1;
    if (name === "label") for (let i = 0; i < n; i++) kept[i] &= table[codes[block.row[i]]];
    else { const of = block[name]; for (let i = 0; i < n; i++) kept[i] &= table[of[i]]; }
  }
  if (hour) {
    const [first, last] = hour, of = block.hour;
    for (let i = 0; i < n; i++) {
      const h = of[i];
      if (!(h < 24 && (first <= last ? h >= first && h <= last : h >= first || h <= last))) kept[i] = 0;
    }
  }
  if (date) between(kept, block.date, date);
  if (confidence) between(kept, block.confidence, confidence.map(Math.fround));
  if (activity) between(kept, block.activity, activity.map(Math.fround));
  if (unlabelled) for (let i = 0; i < n; i++) if (codes[block.row[i]]) kept[i] = 0;
  return kept;
}

function between(kept, values, [low, high]) {
  for (let i = 0; i < kept.length; i++) if (!(values[i] >= low && values[i] <= high)) kept[i] = 0;
}

// The filter as the server's condition; null if it asks nothing. Where it asks what points are called, a region means
// what those before it call them: its members do not depend on its own name.
export function conditionOf(filter, facets, space) {
  const where = {};
  for (const [name, set] of Object.entries(filter.any)) {
    if (set.size && facets[name].condition) where[facets[name].condition] = facets[name].values([...set].sort((a, b) => a - b));
  }
  if (filter.hours) where.hours = filter.hours;
  if (filter.dates) where.dates = filter.dates.map((code) => space.dates[code]);
  if (filter.confidence) where.confidence = filter.confidence;
  if (filter.activity) where.activity = filter.activity;
  if (filter.unlabelled) where.unlabelled = true;
  return Object.keys(where).length ? where : null;
}
