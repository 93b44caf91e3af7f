// What a network says of the bench: probabilities and the residual of the smooth fit as it is built, where it looks if that is wanted.

import { unframe } from "./frames.js";
import { Picture } from "./picture.js";
import { make, post } from "./talk.js";
import { bars, fitted, flag, reliable } from "./verdict.js";
import { legend, methods } from "./why.js";

const $ = (id) => document.getElementById(id);
const LEAST = 120; // milliseconds between two questions, at least
const REST = 2; // times what the last answer took: the pictures of the bench come first

/** Does work again as long as there is something new, once at a time, and rests in between. */
class Pulse {
  constructor(work) {
    this.work = work;
    this.wanted = false;
    this.beating = false;
  }

  async wake() {
    this.wanted = true;
    if (this.beating) return;
    this.beating = true;
    while (this.wanted) {
      this.wanted = false;
      const start = performance.now();
      await this.work();
      const rest = Math.max(LEAST, REST * (performance.now() - start));
      await new Promise((resolve) => { setTimeout(resolve, rest); });
    }
    this.beating = false;
  }
}

export class Judge {
  /**
   * @param bench returns the bench.
   * @param overlay takes {map, half, window}, or null when there is nothing to lay over the image.
   */
  constructor(bench, overlay) {
    this.bench = bench;
    this.overlay = overlay;
    this.seen = Picture.make("What it saw", { kind: "image" });
    this.residual = Picture.make("Residual", { kind: "difference", unit: "σ", least: 5, limit: 10 });
    this.why = Picture.make("", { kind: "image", palette: "grey" });
    this.judging = new Pulse(() => this.judge());
    this.looking = new Pulse(() => this.look());
    this.method = methods("method");
    $("choice").append(this.method);
    $("where").prepend(this.why.figure);
    $("classify").addEventListener("click", () => this.ask());
    $("explain").addEventListener("change", () => this.toggle());
    this.method.addEventListener("change", () => this.looking.wake());
  }

  /** The bench, or the network, is another: answer, if it is to answer as it is built. */
  changed() {
    if (this.glowing) this.overlay(null); // it belongs to another lens
    this.glowing = false;
    if ($("auto").checked) this.ask();
  }

  ask() {
    $("answer").setAttribute("aria-busy", "true");
    this.judging.wake();
    if ($("explain").checked) this.looking.wake();
  }

  toggle() {
    const on = $("explain").checked;
    $("where").hidden = !on;
    this.why.figure.hidden = true;
    $("looks").textContent = on ? "Looking." : "";
    if (on) this.looking.wake();
    else this.overlay(null);
  }

  async judge() {
    const box = $("answer");
    const bench = this.bench();
    const model = $("model").value;
    try {
      const [answer, known] = await Promise.all([post("/api/classify", { bench, model }), reliable(model)]);
      const { header, arrays } = unframe(await answer.arrayBuffer());
      const built = bench.substructure !== "none";
      const drawn = bars(header.with, { reliability: known, other: built ? header.without : null, otherName: "without substructure" });
      const pair = make("div", { class: "pair" }, this.seen.figure, arrays.residual ? this.residual.figure : null);
      const words = header.seen + (built ? " Orange marks: the same lens without its substructure." : "");
      const fit = header.fit ? make("p", { class: "small number" }, `${fitted(header.fit)}.`) : null;
      box.replaceChildren(...[drawn, flag(header.with), pair, fit, make("p", { class: "small soft" }, words)].filter(Boolean));
      this.seen.show(arrays.image, header.half_width);
      if (arrays.residual) this.residual.show(arrays.residual, header.half_width);
    } catch (error) {
      box.replaceChildren(make("p", { class: "flag" }, error.message));
    }
    if (!this.judging.wanted) box.setAttribute("aria-busy", "false");
  }

  async look() {
    if (!$("explain").checked) return;
    const asked = JSON.stringify(this.bench());
    try {
      const wish = { bench: JSON.parse(asked), model: $("model").value, method: this.method.value };
      const { header, arrays } = unframe(await (await post("/api/explain/bench", wish)).arrayBuffer());
      if (!$("explain").checked) return;
      this.why.figure.hidden = false;
      this.why.title(`Speaks for ${header.explained}`, `What speaks for ${header.explained}, by ${header.method}: green, over what the network saw`);
      this.why.show(arrays.image, header.half_width);
      this.why.heat(arrays.map, header.half_width, header.window);
      this.glowing = asked === JSON.stringify(this.bench());
      this.overlay(this.glowing ? { map: arrays.map, half: header.half_width, window: header.window } : null);
      $("looks").textContent = legend(arrays.map, header.window, header.explained);
    } catch (error) {
      this.why.figure.hidden = true;
      this.overlay(null);
      $("looks").textContent = error.message;
    }
  }
}
