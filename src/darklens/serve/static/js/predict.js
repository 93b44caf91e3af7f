// The page for own images: files to the server, answers to cards.

import { brief } from "./colour.js";
import { unframe } from "./frames.js";
import { Picture } from "./picture.js";
import { ask, askJson, make, notice, save } from "./talk.js";
import { bars, fitted, flag, reliable } from "./verdict.js";
import { why } from "./why.js";

const $ = (id) => document.getElementById(id);
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
  for (const name of ["hdu", "bands"]) if ($(name).value.trim()) options.set(name, $(name).value.trim());
  working(files.length);
  const known = await reliable(model);
  for (let i = 0; i < files.length; i += 16) {
    const form = new FormData();
    const part = files.slice(i, i + 16);
    for (const file of part) form.append("files", file, file.name);
    try {
      const { header, arrays } = unframe(await (await ask(`/api/predict?${options}`, { method: "POST", body: form })).arrayBuffer());
      header.predictions.forEach((row, k) => show(row, k, arrays, header, known, explained(row, part, options)));
      header.refused.forEach(({ name, error }) => refuse(name, error));
    } catch (error) {
      refuse(files.slice(i, i + 16).map((f) => f.name).join(", "), error.message);
    }
    working(-Math.min(16, files.length - i));
  }
}

function working(change) {
  atWork += change;
  $("working").hidden = atWork === 0;
  $("working").lastElementChild.textContent = `${atWork} ${atWork === 1 ? "file" : "files"} being looked at`;
}

function listed(element) {
  $("empty").hidden = true;
  $("answers").prepend(element);
  $("csv").disabled = rows.length === 0;
  $("clear").disabled = false;
  $("count").textContent = rows.length ? `${rows.length} ${rows.length === 1 ? "image" : "images"}` : "";
}

function refuse(name, sentence) {
  listed(make("li", { class: "card one refused", role: "alert" }, make("header", {}, make("h3", {}, name)), make("p", {}, sentence)));
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
  const one = make("li", { class: "card one" }, make("header", {}, make("h3", {}, row.name), called, set, make("span", { class: "soft small" }, header.model)), left, make("div", {}, maps, asking), lens(row.fit));
  listed(one);
  for (const [picture, map] of drawn) picture.show(map, 1);
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

// ---- wiring ----

const drop = $("drop");
for (const name of ["dragenter", "dragover"]) window.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) window.addEventListener(name, (event) => { event.preventDefault(); if (name === "drop" || !event.relatedTarget) drop.classList.remove("over"); });
window.addEventListener("drop", (event) => judge([...event.dataTransfer.files]));
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
