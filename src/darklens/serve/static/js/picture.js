// A picture: a map of numbers as coloured pixels, lines over it, a colour bar under it, and what the pointer is on.

import { brief, extremes, glow, quantiles, stretched, table } from "./colour.js";

export class Picture {
  /**
   * @param figure element made by the template's macro `picture`, or by `Picture.make`.
   * @param style {kind: "image" | "difference" | "positive", unit}
   */
  constructor(figure, style) {
    this.figure = figure;
    this.style = { unit: "", digits: 3, ...style };
    this.screen = figure.querySelector(".screen");
    this.pixels = Object.assign(document.createElement("canvas"), { className: "pixels" });
    this.lines = Object.assign(document.createElement("canvas"), { className: "lines" });
    this.screen.append(this.pixels, this.lines);
    this.half = 1;
    this.curves = [];
    this.marks = [];
    this.screen.addEventListener("pointermove", (event) => this.read(event));
    this.screen.addEventListener("pointerleave", () => { this.readout(""); });
    new ResizeObserver(() => this.drawLines()).observe(this.screen);
  }

  /** Make a figure like the template's. */
  static make(title, style, hint = title) {
    const figure = document.createElement("figure");
    figure.className = "picture";
    figure.innerHTML = `<figcaption><h2></h2><output class="readout number"></output></figcaption><div class="screen" role="img"></div>
      <div class="bar" aria-hidden="true"><span class="low number"></span><canvas width="256" height="1"></canvas><span class="high number"></span></div>`;
    figure.querySelector("h2").textContent = title;
    figure.querySelector(".screen").setAttribute("aria-label", hint);
    return new Picture(figure, style);
  }

  /** Give it another title, and another name for those who do not see it. */
  title(words, hint = words) {
    this.figure.querySelector("h2").textContent = words;
    this.screen.setAttribute("aria-label", hint);
  }

  /** Show a map {shape: [h, w], data} of a field of half-width `half` arcsec. */
  show(map, half = this.half) {
    this.map = map;
    this.half = half;
    this.draw();
  }

  restyle(style) {
    Object.assign(this.style, style);
    if (this.map) this.draw();
  }

  draw() {
    const { shape: [height, width], data } = this.map;
    if (this.pixels.width !== width || this.pixels.height !== height) Object.assign(this.pixels, { width, height });
    const context = this.pixels.getContext("2d");
    const picture = context.createImageData(width, height);
    const out = new Uint32Array(picture.data.buffer);
    const { low, high, place, palette } = this.scale(data);
    const colours = table(palette);
    for (let row = 0; row < height; row += 1) {
      const from = (height - 1 - row) * width; // the first row of an image is its lowest
      for (let column = 0; column < width; column += 1) {
        const level = 255 * place(data[from + column]);
        out[row * width + column] = colours[level > 0 ? (level < 255 ? level | 0 : 255) : 0];
      }
    }
    context.putImageData(picture, 0, 0);
    this.drawBar(low, high, colours);
    this.drawLines();
  }

  /** Return the ends of the scale, value -> 0..1, and the colour map. */
  scale(data) {
    const { kind } = this.style;
    if (kind === "difference") {
      const [least, most] = extremes(data);
      const reach = Math.max(this.style.least ?? 1, Math.abs(least), Math.abs(most));
      const limit = this.style.limit ? Math.min(reach, this.style.limit) : reach;
      return { low: -limit, high: limit, place: (v) => 0.5 + (0.5 * v) / limit, palette: "difference" };
    }
    if (kind === "positive") {
      const [, most] = extremes(data);
      const [top] = quantiles(data, 0.997);
      const high = this.style.high ?? Math.max(top, 1e-3 * most, 1e-9);
      return { low: 0, high, place: (v) => Math.sqrt(Math.max(v, 0) / high), palette: this.style.palette ?? "viridis" };
    }
    const [low, quarter, middle] = quantiles(data, 0.02, 0.16, 0.5);
    const [, high] = extremes(data);
    const place = stretched(this.style.stretch ?? "asinh", low, high, Math.max(middle - quarter, 1e-3 * (high - low)));
    return { low, high, place, palette: this.style.palette ?? "inferno" };
  }

  drawBar(low, high, colours) {
    const canvas = this.figure.querySelector(".bar canvas");
    const context = canvas.getContext("2d");
    const strip = context.createImageData(256, 1);
    new Uint32Array(strip.data.buffer).set(colours);
    context.putImageData(strip, 0, 0);
    this.figure.querySelector(".low").textContent = brief(low);
    this.figure.querySelector(".high").textContent = `${brief(high)}${this.style.unit ? ` ${this.style.unit}` : ""}`;
  }

  /** Lines over the pixels: curves [{points, colour, width}] in arcsec, marks [{x, y, colour}]. */
  overlay(curves, marks = this.marks) {
    this.curves = curves;
    this.marks = marks;
    this.drawLines();
  }

  /**
   * Lay a map of what matters over the pixels; null takes it away.
   * @param half half-width of its field, arcsec.
   * @param window row, column, height and width of what the network sees, framed if it is a part.
   */
  heat(map, half = this.half, window = null) {
    this.glow = map && { canvas: glow(map), half, window };
    this.drawLines();
  }

  drawLines() {
    const ratio = window.devicePixelRatio || 1;
    const size = Math.round(this.screen.clientWidth * ratio);
    if (!size) return;
    if (this.lines.width !== size) Object.assign(this.lines, { width: size, height: size });
    this.paintLines(this.lines.getContext("2d"), size, ratio);
  }

  paintLines(context, size, ratio) {
    context.clearRect(0, 0, size, size);
    if (this.glow) this.paintGlow(context, size, ratio);
    const at = (x, y) => [((x / this.half + 1) / 2) * size, ((1 - y / this.half) / 2) * size];
    for (const { points, colour, width = 1.5 } of this.curves) {
      context.beginPath();
      for (let i = 0; i < points.length; i += 2) context[i ? "lineTo" : "moveTo"](...at(points[i], points[i + 1]));
      Object.assign(context, { strokeStyle: colour, lineWidth: width * ratio, lineJoin: "round" });
      context.stroke();
    }
    for (const { x, y, colour = "#fff", radius = 6, dash = [] } of this.marks) {
      context.beginPath();
      context.setLineDash(dash.map((d) => d * ratio));
      context.arc(...at(x, y), radius * ratio, 0, 2 * Math.PI);
      Object.assign(context, { strokeStyle: colour, lineWidth: 1.5 * ratio });
      context.stroke();
      context.setLineDash([]);
    }
  }

  paintGlow(context, size, ratio) {
    const { canvas, half, window } = this.glow;
    const side = (half / this.half) * size;
    const corner = (size - side) / 2;
    context.drawImage(canvas, corner, corner, side, side);
    if (!window || window[3] >= canvas.width) return;
    const [row, column, height, width] = window.map((pixels) => (pixels / canvas.width) * side);
    context.setLineDash([2 * ratio, 4 * ratio]);
    Object.assign(context, { strokeStyle: "#ffffff88", lineWidth: ratio });
    context.strokeRect(corner + column, corner + side - row - height, width, height);
    context.setLineDash([]);
  }

  /** Arcsec under a pointer. */
  position(event) {
    const box = this.screen.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width * 2 - 1) * this.half, (1 - (event.clientY - box.top) / box.height * 2) * this.half];
  }

  read(event) {
    if (!this.map) return;
    const [x, y] = this.position(event);
    const [height, width] = this.map.shape;
    const column = Math.floor(((x / this.half + 1) / 2) * width);
    const row = Math.floor(((y / this.half + 1) / 2) * height);
    if (column < 0 || row < 0 || column >= width || row >= height) return;
    const value = this.map.data[row * width + column];
    this.readout(`${x.toFixed(2)}″, ${y.toFixed(2)}″: ${brief(value)}${this.style.unit ? ` ${this.style.unit}` : ""}`);
  }

  readout(text) {
    const output = this.figure.querySelector(".readout");
    if (output) output.textContent = text;
  }

  /** Let the pointer move something: `move(x, y)` in arcsec; `allowed()` says whether there is something to move. */
  movable(allowed, move) {
    this.screen.addEventListener("pointerdown", (event) => {
      if (!allowed() || event.button !== 0) return;
      this.screen.setPointerCapture(event.pointerId);
      move(...this.position(event));
      const drag = (e) => move(...this.position(e));
      const stop = () => { this.screen.removeEventListener("pointermove", drag); };
      this.screen.addEventListener("pointermove", drag);
      this.screen.addEventListener("pointerup", stop, { once: true });
      this.screen.addEventListener("pointercancel", stop, { once: true });
    });
  }

  /** Return the picture with its lines as a PNG. */
  toBlob(side = 768) {
    const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(this.pixels, 0, 0, side, side);
    const over = Object.assign(document.createElement("canvas"), { width: side, height: side });
    this.paintLines(over.getContext("2d"), side, side / 512);
    context.drawImage(over, 0, 0);
    return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  }
}
