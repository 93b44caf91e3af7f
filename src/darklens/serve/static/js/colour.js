// Colour maps and stretches: numbers to colours.

const STOPS = {
  inferno: "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 d24644 e45a31 f1731d f98e09 fcac11 f9cb35 f2ea69 fcffa4",
  magma: "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf",
  viridis: "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 3fbc73 5ec962 84d44b addc30 d8e219 fde725",
  cividis: "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838",
  difference: "c6e4ff 8fc7fb 5aa6ec 3383cc 1e63a4 17487a 123153 0e2035 0b111a 271413 481a17 6d201b 94301f b94a28 d86f3c ee9a63 ffc998",
  grey: "000000 ffffff",
  paper: "ffffff 10131c",
};

/** Names of the maps for images. */
export const PALETTES = ["inferno", "magma", "viridis", "cividis", "grey", "paper"];

const made = new Map();

/** Return 256 colours as 32-bit pixels of ImageData. */
export function table(name) {
  if (made.has(name)) return made.get(name);
  const stops = STOPS[name].split(" ").map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const bytes = new Uint8ClampedArray(256 * 4);
  for (let i = 0; i < 256; i += 1) {
    const at = (i / 255) * (stops.length - 1);
    const k = Math.min(Math.floor(at), stops.length - 2);
    for (let c = 0; c < 3; c += 1) bytes[4 * i + c] = stops[k][c] + (at - k) * (stops[k + 1][c] - stops[k][c]);
    bytes[4 * i + 3] = 255;
  }
  made.set(name, new Uint32Array(bytes.buffer));
  return made.get(name);
}

const GLOW = [70, 255, 150]; // a green that no map of an image has
const FAINTEST = 0.12; // part of the top below which nothing is drawn, so that the image stays to be seen

/** Return a canvas of a map {shape, data}, clear where it is small and green where it is large. */
export function glow({ shape: [height, width], data }) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  const [, most] = extremes(data);
  const [top] = quantiles(data, 0.998);
  const high = Math.max(top, 0.3 * most, 1e-30);
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      const share = Math.min(data[(height - 1 - row) * width + column] / high, 1);
      const alpha = Math.max(share - FAINTEST, 0) / (1 - FAINTEST);
      picture.data.set([...GLOW, 215 * alpha], 4 * (row * width + column));
    }
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

/** Return value -> 0..1 for an image: {low, high} are its ends, `scale` the noise that asinh and log are soft below. */
export function stretched(kind, low, high, scale) {
  const span = Math.max(high - low, 1e-30);
  if (kind === "linear") return (v) => (v - low) / span;
  const soft = Math.max(scale, 1e-4 * span);
  if (kind === "log") {
    const top = Math.log1p(span / soft);
    return (v) => Math.log1p(Math.max(v - low, 0) / soft) / top;
  }
  const top = Math.asinh(span / (2 * soft));
  return (v) => Math.asinh((v - low) / (2 * soft)) / top;
}

/** Return low, middle and high of numbers: quantiles of a sample of them. */
export function quantiles(data, ...shares) {
  const step = Math.max(1, Math.floor(data.length / 4096));
  const sample = [];
  for (let i = 0; i < data.length; i += step) if (Number.isFinite(data[i])) sample.push(data[i]);
  sample.sort((a, b) => a - b);
  return shares.map((q) => sample[Math.min(sample.length - 1, Math.floor(q * sample.length))] ?? 0);
}

/** Return the smallest and the largest number. */
export function extremes(data) {
  let low = Infinity;
  let high = -Infinity;
  for (const v of data) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return low <= high ? [low, high] : [0, 1];
}

/** A number in few characters. */
export function brief(value) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e4 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}
