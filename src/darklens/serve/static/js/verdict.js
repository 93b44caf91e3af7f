// What a network says, drawn: a bar for each class, how often such a probability came true, a flag for what is unusual.

import { askJson, make } from "./talk.js";

/** Write a probability so that what is not certain never looks as if it were. */
function percent(p) {
  if (p < 5e-5) return "<0.01%";
  if (p > 1 - 5e-5) return ">99.99%";
  return `${(100 * p).toFixed(p > 0.995 || p < 0.005 ? 2 : 1)}%`;
}

const known = new Map();

/** Resolve to how often each class of a network came true, asked once; to null where it is not known. */
export function reliable(model) {
  if (!known.has(model)) {
    known.set(model, askJson(`/api/reliability?model=${encodeURIComponent(model)}`).then((a) => a.classes).catch(() => null));
  }
  return known.get(model);
}

/** What is said of a smooth fit in a line. */
export const fitted = (fit) => `The smooth lens: reduced χ² ${fit.chi2.toFixed(3)}${fit.converged ? "" : ", not converged"}`;

/**
 * Return the bars.
 * @param verdict {predicted, probabilities, set}
 * @param others another verdict, drawn as a mark on each bar, with what it is.
 * @param reliability class -> bins with an interval of how often it was true, or nothing.
 */
export function bars(verdict, { other = null, otherName = "", reliability = null } = {}) {
  const list = make("ul", { class: "bars" });
  for (const [name, p] of Object.entries(verdict.probabilities)) {
    const track = make("div", { class: "track" });
    const fill = make("div", { class: "fill" });
    fill.style.width = `${100 * p}%`;
    track.append(fill);
    let words = `${name}: ${percent(p)}`;
    const bin = reliability?.[name]?.find((b) => p >= b.from && (p < b.to || b.to === 1));
    if (bin && bin.n >= 5) {
      const whisker = make("div", { class: "whisker", title: `of ${bin.n} validation images with a probability from ${bin.from} to ${bin.to}, ${percent(bin.low)} to ${percent(bin.high)} were ${name}` });
      whisker.style.left = `${100 * bin.low}%`;
      whisker.style.width = `${Math.max(100 * (bin.high - bin.low), 0.8)}%`;
      track.append(whisker);
      words += `; among validation images given such a probability ${percent(bin.low)} to ${percent(bin.high)} were ${name}`;
    }
    if (other) {
      const ghost = make("div", { class: "ghost", title: `${otherName}: ${percent(other.probabilities[name])}` });
      ghost.style.left = `calc(${100 * other.probabilities[name]}% - 1px)`;
      track.append(ghost);
      words += `; ${otherName} ${percent(other.probabilities[name])}`;
    }
    track.setAttribute("role", "img");
    track.setAttribute("aria-label", words);
    const label = make("div", { class: "name" }, make("span", {}, name), make("span", { class: "number" }, percent(p)));
    list.append(make("li", { class: name === verdict.predicted ? "likely" : "" }, label, track));
  }
  return list;
}

/** Return a sentence on whether an image is like those that the network knows; nothing where it cannot tell. */
export function flag(verdict) {
  if (verdict.unusual === undefined) return null;
  if (!verdict.unusual) return make("p", { class: "flag fine" }, "Like the images that it was trained on.");
  return make("p", { class: "flag" }, `Unlike its training images (${verdict.unusual_because}): do not trust the bars.`);
}
