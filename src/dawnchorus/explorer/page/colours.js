// Colours of the codes. In: how many codes. Out: colours as [red, green, blue].

export const UNKNOWN = [96, 105, 112];

function fromHsl(hue, saturation, lightness) {
  const a = saturation * Math.min(lightness, 1 - lightness);
  return [0, 8, 4].map((n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

// Neighbouring codes lie a golden angle apart, and lightness varies too: far apart for 20, still
// apart for 100.
export function categorical(count) {
  return Array.from({ length: count }, (_, code) =>
    fromHsl((code * 137.508) % 360, 0.75, [0.62, 0.48, 0.76][code % 3]));
}

// The hours go round: midnight is blue, dawn red, noon yellow, dusk green.
export function hours() {
  return Array.from({ length: 24 }, (_, hour) => fromHsl((230 + hour * 15) % 360, 0.8, 0.6));
}

export const css = ([red, green, blue]) => `rgb(${red},${green},${blue})`;
