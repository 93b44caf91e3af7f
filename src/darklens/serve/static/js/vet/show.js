// What is on the page: the image, its facts, the gallery. Nothing is decided here.
import { make } from "../talk.js";

export const $ = (id) => document.getElementById(id);
export const ZOOMS = [1, 2, 4];

/** Address of a picture; the version lets the browser keep it. */
export function address(about, index, view, stretch) {
  return `/api/vet/images/${index}?${new URLSearchParams({ view, stretch, version: about.version })}`;
}

/** A group of buttons of which one is pressed. */
export function segments(box, names, said, chosen) {
  box.replaceChildren(...names.map((name, i) => make("button", { type: "button", "aria-pressed": "false", onclick: () => chosen(name) }, said[i])));
  return (now) => names.forEach((name, i) => box.children[i].setAttribute("aria-pressed", String(name === now)));
}

/** Which of the four looks an answer has: what is searched for, maybe, skip, anything else. */
export function look(about, answer) {
  if (answer === about.searched) return "yes";
  return answer === "maybe" || answer === "skip" ? answer : "no";
}

/** Show one image. */
export function showOne(about, state) {
  const image = about.images[state.at];
  $("place").textContent = `${state.at + 1} of ${about.images.length}`;
  $("name").textContent = image.id;
  $("facts").replaceChildren(...facts(about, image, state.model).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  const picture = $("picture");
  $("frame").hidden = Boolean(image.missing);
  $("nothing").hidden = !image.missing;
  $("nothing").textContent = image.missing ? `No picture: ${image.missing}` : "";
  if (!image.missing) {
    picture.src = address(about, state.at, state.view, state.stretch);
    picture.alt = `${image.id}, ${state.view}, ${state.stretch} stretch`;
    zoom(state.zoom, image.size);
  }
  const bands = image.missing || about.views.length < 2 ? [] : about.views;
  $("bands").replaceChildren(...bands.map((view) => make("button", { type: "button", class: "band", "aria-pressed": String(view === state.view), "data-view": view },
    make("img", { src: address(about, state.at, view, state.stretch), alt: "" }), make("span", {}, view))));
}

/** Mark the answer that was given to the present image. */
export function markAnswer(about, state) {
  const said = state.mine.get(about.images[state.at].id);
  for (const button of $("answers").children) button.setAttribute("aria-pressed", String(button.dataset.answer === said));
}

function facts(about, image, model) {
  const found = [];
  if (image.ra !== undefined && image.dec !== undefined) found.push(["position", `${image.ra.toFixed(5)} ${image.dec < 0 ? "−" : "+"}${Math.abs(image.dec).toFixed(5)}`]);
  if (image.size) found.push(["pixels", image.size.join(" × ")]);
  if (model && image.known) found.push(["known as", image.known]);
  if (model && image.probability !== undefined) found.push([`p(${about.searched})`, image.probability.toFixed(4)]);
  if (model && image.unusual) found.push(["unlike the training", image.why || "yes"]);
  return found;
}

/** Show the picture at a size: 1 is the whole image; larger ones scroll, and the middle stays where it is. */
export function zoom(times, size) {
  const frame = $("frame"), picture = $("picture");
  const x = (frame.scrollLeft + frame.clientWidth / 2) / (frame.scrollWidth || 1), y = (frame.scrollTop + frame.clientHeight / 2) / (frame.scrollHeight || 1);
  const [width, height] = size || [1, 1];
  picture.style.aspectRatio = `${width} / ${height}`;
  picture.style.width = width >= height ? `${100 * times}%` : "auto";
  picture.style.height = width >= height ? "auto" : `${100 * times}%`;
  frame.scrollLeft = x * frame.scrollWidth - frame.clientWidth / 2;
  frame.scrollTop = y * frame.scrollHeight - frame.clientHeight / 2;
}

/** Make the tiles of the gallery, once. */
export function makeGallery(about) {
  $("gallery").replaceChildren(...about.images.map((image, i) => make("figure", { role: "button", "data-index": i, tabindex: -1 },
    image.missing ? make("p", { class: "nothing" }, "no picture") : make("img", { loading: "lazy", alt: `image ${i + 1}, ${image.id}` }),
    make("figcaption", {}, make("span", { class: "number" }, String(i + 1)), make("span", { class: "mark" })))));
}

/** Show the gallery as things are; returns how many tiles are shown. */
export function showGallery(about, state, wanted) {
  let shown = 0;
  for (const tile of $("gallery").children) {
    const index = Number(tile.dataset.index), image = about.images[index], said = state.mine.get(image.id);
    tile.hidden = !wanted(said);
    shown += !tile.hidden;
    tile.dataset.look = said ? look(about, said) : "";
    tile.querySelector(".mark").textContent = said || (state.model && image.probability !== undefined ? image.probability.toFixed(3) : "");
    tile.tabIndex = index === state.at ? 0 : -1;
    tile.setAttribute("aria-current", String(index === state.at));
    tile.setAttribute("aria-label", `image ${index + 1}, ${image.id}, ${said || "not decided"}`);
    const picture = tile.querySelector("img"), src = address(about, index, state.view, state.stretch);
    if (picture && picture.getAttribute("src") !== src) picture.src = src;
  }
  return shown;
}

/** How many tiles a row of the gallery has. */
export function columns() {
  const shown = [...$("gallery").children].filter((tile) => !tile.hidden);
  const top = shown[0]?.offsetTop;
  return Math.max(1, shown.filter((tile) => tile.offsetTop === top).length);
}

/** The page of people and how far they agree. */
export function agreementTable(found) {
  const kappa = (k) => k && k.value !== null ? `${k.value.toFixed(2)} [${k.low.toFixed(2)}, ${k.high.toFixed(2)}]` : "not defined";
  const people = Object.entries(found.people);
  if (!people.length) return [make("p", {}, "Nobody has decided anything yet.")];
  const row = (...cells) => make("tr", {}, ...cells.map((cell, i) => make(i ? "td" : "th", i ? {} : { scope: "row" }, String(cell))));
  const head = (...cells) => make("thead", {}, make("tr", {}, ...cells.map((cell) => make("th", { scope: "col" }, cell))));
  const parts = [make("table", {}, head("who", "images"), make("tbody", {}, ...people.map(([who, n]) => row(who, n))))];
  if (found.fleiss) {
    const { images, agreed } = found.unanimous;
    parts.push(make("p", {}, `All who answered agree on ${agreed} of ${images} ${images === 1 ? "image" : "images"} with two answers or more. `, make("strong", {}, `Fleiss’ κ ${kappa(found.fleiss)}`),
      "; 1 is full agreement, 0 what chance brings; in brackets the 95% interval of a bootstrap over images."));
    parts.push(make("table", {}, head("two people", "images", "same answer", "Cohen’s κ"),
      make("tbody", {}, ...found.pairs.map((p) => row(`${p.a}, ${p.b}`, p.kappa.n, p.same, kappa(p.kappa))))));
  } else parts.push(make("p", {}, "Agreement is measured as soon as a second person has decided."));
  return parts;
}
