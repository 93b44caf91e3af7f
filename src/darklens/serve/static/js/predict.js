// The page for own images: files to the server, answers to cards.

import { brief } from "./colour.js";
import { unframe } from "./frames.js";
import { Picture } from "./picture.js";
import { ask, askJson, make, notice, save } from "./talk.js";
import { bars, fitted, flag, reliable } from "./verdict.js";
import { why } from "./why.js";

const $ = (id) => document.getElementById(id);
const drop = $("drop");
const rows = []; // what has been answered, for the CSV
let models = [];
let atWork = 0;

const chosen = () => models.find((m) => m.name === $("model").value);

function about() {
  const m = chosen();
  if (!m) return;
  const [bands, height, width] = m.shape;
  const accuracy = m.metrics.accuracy ? ` On ${m.metrics.accuracy.n.toLocaleString("en")} test images of its own kind ${(100 * m.metrics.accuracy.value).toFixed(1)}% were right.` : "";
  $("about").textContent = `${m.classes.join(" / ")}; ${bands > 1 ? `${bands} bands of ` : ""}${height}×${width} pixels${m.pixel_scale ? ` of ${m.pixel_scale}″` : ""}.${accuracy}`;
}

/** Send files, a few at a time, and show what comes back. */
async function judge(files) {
  if (!files.length) return;
  const model = $("model").value;
  const options = new URLSearchParams({ model, maps: "true", resize: $("resize").checked });
  for (const name of ["hdu", "key", "bands"]) if ($(name).value.trim()) options.set(name, $(name).value.trim());
  working(files.length);
  const known = await reliable(model);
  for (const part of parts(files)) {
    const form = new FormData();
    for (const file of part) form.append("files", file, file.name);
    try {
      const { header, arrays } = unframe(await (await ask(`/api/predict?${options}`, { method: "POST", body: form })).arrayBuffer());
      const answered = header.predictions.map((row, k) => show(row, k, arrays, header, known, explained(row, part, options)));
      list([...answered, ...header.refused.map(refusal)]);
      for (const sentence of header.noticed) notice(sentence, "error");
    } catch (error) {
      list((error.about?.refused || [{ name: part.map((f) => f.name).join(", "), error: error.message }]).map(refusal));
    }
    working(-part.length);
  }
}

/** Cut a list of files into parts that one request may have; one that is too large goes alone, and the server says so. */
function parts(files) {
  const limit = Number(drop.dataset.bytes);
  const found = [];
  let size = Infinity;
  for (const file of files) {
    const much = file.size + 1000; // with what a form writes around it
    if (size + much > limit || found.at(-1).length === 16) {
      found.push([]);
      size = 0;
    }
    found.at(-1).push(file);
    size += much;
  }
  return found;
}

function working(change) {
  atWork += change;
  $("working").hidden = atWork === 0;
  $("working").lastElementChild.textContent = `${atWork} ${atWork === 1 ? "file" : "files"} being looked at`;
}

/** Put cards before those that are there already, in the order of their files. */
function list(cards) {
  $("empty").hidden = true;
  $("answers").prepend(...cards.map((card) => card.element));
  for (const { draw } of cards) draw();
  $("csv").disabled = rows.length === 0;
  $("clear").disabled = false;
  $("count").textContent = rows.length ? `${rows.length} ${rows.length === 1 ? "image" : "images"}` : "";
}

function refusal({ name, error }) {
  return { element: make("li", { class: "card one refused", role: "alert" }, make("header", {}, make("h3", {}, name)), make("p", {}, error)), draw() {} };
}

/** Ask where the network looked in one of the images that were sent together. */
const explained = (row, files, options) => async (method, target) => {
  const form = new FormData();
  const mine = files.filter((f) => f.name === row.file); // the server changes names that are odd: all go again then
  for (const file of mine.length ? mine : files) form.append("files", file, file.name);
  const asked = new URLSearchParams({ ...Object.fromEntries(options), method, target, image: row.name });
  asked.delete("maps");
  const { header, arrays } = unframe(await (await ask(`/api/explain?${asked}`, { method: "POST", body: form })).arrayBuffer());
  return { image: arrays["image/0"], map: arrays["map/0"], window: header.explanations[0].window };
};

/** Return the card of an answer: its element, and what draws its pictures once it is on the page. */
function show(row, k, arrays, header, known, looks) {
  rows.push({ ...row, model: header.model, classes: header.classes });
  const called = make("span", { class: "called" }, row.predicted);
  const set = row.set && row.set.length !== 1 ? make("span", { class: "soft small" }, row.set.length ? `cannot tell ${row.set.join(" from ")}` : "fits no class well") : null;
  const left = make("div", {}, bars(row, { reliability: known }), flag(row), row.note ? make("p", { class: "small soft" }, row.note) : null);
  const maps = make("div", { class: "maps" });
  const pictures = [["image", "Image", { kind: "image" }], ["model", "Smooth lens", { kind: "image" }], ["residual", "Residual", { kind: "difference", unit: "σ", least: 5, limit: 10 }]];
  const drawn = [];
  for (const [name, title, style] of pictures) {
    const map = arrays[`${name}/${k}`];
    if (!map) continue;
    const picture = Picture.make(title, style, `${title} of ${row.name}`);
    maps.append(picture.figure);
    drawn.push([picture, map]);
  }
  const asking = why({ name: row.name, classes: header.classes, predicted: row.predicted }, maps, looks);
  const element = make("li", { class: "card one" }, make("header", {}, make("h3", {}, row.name), called, set, make("span", { class: "soft small" }, header.model)), left, make("div", {}, maps, asking), lens(row.fit));
  return { element, draw: () => drawn.forEach(([picture, map]) => picture.show(map, 1)) };
}

function lens(fit) {
  if (!fit) return null;
  const body = Object.entries(fit.parameters).map(([name, { value, error }]) => make("tr", {}, make("td", {}, name), make("td", {}, brief(value)), make("td", {}, `± ${brief(error)}`)));
  return make("details", {}, make("summary", {}, fitted(fit)), make("table", {}, make("tbody", {}, ...body)));
}

/** The table of `darklens predict`, one for each network that was asked. */
function csv() {
  const cell = (v) => (/[",\n]/.test(String(v)) ? `"${String(v).replaceAll('"', '""')}"` : String(v));
  for (const model of new Set(rows.map((r) => r.model))) {
    const mine = rows.filter((r) => r.model === model);
    const { classes } = mine[0];
    const lines = [["id", "source", "predicted", ...classes, "set", "unusual", "unusual_because"]];
    for (const r of mine) lines.push([r.name, r.file, r.predicted, ...classes.map((c) => r.probabilities[c]), (r.set || []).join("|"), r.unusual ? 1 : 0, r.unusual_because || ""]);
    save(new Blob([lines.map((l) => l.map(cell).join(",")).join("\n") + "\n"], { type: "text/csv" }), `predictions-${model.replace(/[^\w-]+/g, "-")}.csv`);
  }
}

/** Return the files that were dropped, those in folders as well. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean); // before waiting: the list is gone then
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = await Promise.all(entries.map(within));
  return found.flat();
}

async function within(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => { entry.file(done, failed); })];
  const reader = entry.createReader();
  const entries = [];
  for (;;) { // a hundred at a time
    const some = await new Promise((done, failed) => { reader.readEntries(done, failed); });
    if (!some.length) break;
    entries.push(...some);
  }
  entries.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const found = await Promise.all(entries.filter((one) => !one.name.startsWith(".")).map(within));
  return found.flat();
}

// ---- wiring ----

for (const name of ["dragenter", "dragover"]) window.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) window.addEventListener(name, (event) => { event.preventDefault(); if (name === "drop" || !event.relatedTarget) drop.classList.remove("over"); });
window.addEventListener("drop", async (event) => {
  try {
    judge(await dropped(event.dataTransfer));
  } catch (error) {
    notice(`The browser could not read what was dropped: ${error.message}`, "error");
  }
});
$("files").addEventListener("change", () => { judge([...$("files").files]); $("files").value = ""; });
window.addEventListener("paste", (event) => judge([...(event.clipboardData?.files || [])]));
$("model").addEventListener("change", about);
$("csv").addEventListener("click", csv);
$("clear").addEventListener("click", () => {
  rows.length = 0;
  $("answers").replaceChildren();
  $("empty").hidden = false;
  for (const id of ["csv", "clear"]) $(id).disabled = true;
  $("count").textContent = "";
});
$("example").addEventListener("click", async () => {
  try {
    const answer = await ask(`/api/example?model=${encodeURIComponent($("model").value)}`);
    judge([new File([await answer.blob()], "example.fits")]);
  } catch (error) {
    notice(error.message, "error");
  }
});
askJson("/api/models").then((found) => { models = found; about(); }).catch((error) => notice(error.message, "error"));
