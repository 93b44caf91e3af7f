// The laboratory: sliders to a bench, the bench to the server, frames to pictures.

import { PALETTES } from "./colour.js";
import { starting } from "./frames.js";
import { Judge } from "./judge.js";
import { Live } from "./live.js";
import { Picture } from "./picture.js";
import { SCENES, surprise } from "./scenes.js";
import { make, notice, post, save } from "./talk.js";

const $ = (id) => document.getElementById(id);
const form = $("controls");
const sliders = [...form.querySelectorAll('input[type="range"]')];
const CRITICAL = "#58b7ff";
const CAUSTIC = "#ffb347";

// ---- the bench: what the sliders say ----

const defaults = {};
for (const s of sliders) defaults[s.name] = Number(s.dataset.default);
Object.assign(defaults, { substructure: "none", instrument: $("instrument").dataset.default, noise: true });

const bench = () => ({
  ...Object.fromEntries(sliders.map((s) => [s.name, Number(s.value)])),
  substructure: $("substructure").value,
  instrument: $("instrument").value,
  noise: $("noise").checked,
});

/** Put numbers on the bench; what is not named keeps its place, or goes to its default. */
function put(values, { fresh = false } = {}) {
  const all = fresh ? { ...defaults, ...values } : values;
  for (const [name, value] of Object.entries(all)) {
    const control = form.elements[name];
    if (!control) continue;
    if (control.type === "checkbox") control.checked = value === true || value === "true";
    else control.value = value;
  }
  changed();
}

function changed() {
  for (const s of sliders) {
    const number = $(`${s.name}-number`);
    if (document.activeElement !== number) number.value = Number(s.value);
  }
  const kind = $("substructure").value;
  for (const row of form.querySelectorAll(".slider[data-kinds]")) {
    const kinds = row.dataset.kinds.split(" ").filter(Boolean);
    row.hidden = kinds.length > 0 && !kinds.includes(kind);
  }
  const fixed = $("instrument").selectedOptions[0]?.dataset.size;
  $("size").closest(".slider").hidden = Boolean(fixed);
  $("image").querySelector(".screen").classList.toggle("movable", ["clump", "vortex"].includes(kind));
  live.ask(bench());
  judge.changed();
  settled();
}

let timer = 0;
/** When nothing has moved for a moment: the link in the address bar. */
function settled() {
  clearTimeout(timer);
  timer = setTimeout(() => history.replaceState(null, "", `#${permalink()}`), 450);
}

function permalink() {
  const now = bench();
  const changedOnes = Object.entries(now).filter(([name, value]) => value !== defaults[name]);
  const model = $("model").selectedIndex ? [["model", $("model").value]] : [];
  return new URLSearchParams([...changedOnes, ...model]).toString();
}

/** Tell whether a control can have a value. */
function takes(name, value) {
  if (!Object.hasOwn(defaults, name)) return false;
  const control = form.elements[name];
  if (control.type === "checkbox") return ["true", "false"].includes(value);
  if (control.options) return [...control.options].some((o) => o.value === value);
  return value.trim() !== "" && Number(value) >= Number(control.min) && Number(value) <= Number(control.max);
}

function fromLink() {
  const wished = [...new URLSearchParams(location.hash.slice(1))];
  const wrong = wished.filter(([name, value]) => (name === "model" ? ![...$("model").options].some((o) => o.value === value) : !takes(name, value)));
  const found = Object.fromEntries(wished.filter((one) => !wrong.includes(one)));
  if (found.model) $("model").value = found.model;
  put(found, { fresh: true });
  const named = wrong.slice(0, 3).map(([name, value]) => `${name} ${value.slice(0, 20) || "nothing"}`).join(", ");
  if (wrong.length) notice(`The link asks for ${named}${wrong.length > 3 ? ", ..." : ""}, which is not on offer here: the default stands instead.`, "error");
}

// ---- pictures ----

const pictures = {
  image: new Picture($("image"), { kind: "image", unit: "e⁻/s" }),
  difference: new Picture($("difference"), { kind: "difference", unit: "σ", least: 1 }),
  kappa: new Picture($("kappa"), { kind: "positive", high: 2 }),
  source: new Picture($("source"), { kind: "positive", high: 1, palette: "inferno" }),
};
let outlines = { critical: [], caustic: [] };

function lines() {
  const shown = $("curves").checked;
  const drawn = (curves, colour, width) => (shown ? curves.map((points) => ({ points, colour, width })) : []);
  const now = bench();
  const marks = ["clump", "vortex"].includes(now.substructure) ? [{ x: now.x_sub, y: now.y_sub, colour: "#ffffffcc", radius: 9, dash: [3, 3] }] : [];
  pictures.image.overlay(drawn(outlines.critical, CRITICAL, 1.3), marks);
  pictures.difference.overlay([], marks.map((m) => ({ ...m, radius: 6 })));
  pictures.kappa.overlay(drawn(outlines.critical, CRITICAL, 1.3));
  pictures.source.overlay(drawn(outlines.caustic, CAUSTIC, 1.3));
}

const times = [];
function rate() {
  const now = performance.now();
  times.push(now);
  while (times.length > 1 && now - times[0] > 2000) times.shift();
  const seconds = (now - times[0]) / 1000;
  if (times.length > 4 && seconds > 0.3) $("rate").textContent = `${((times.length - 1) / seconds).toFixed(0)} frames/s`;
}
setInterval(() => { if (times.length && performance.now() - times.at(-1) > 1500) $("rate").textContent = ""; }, 800);

const live = new Live({
  quick({ header, arrays }) {
    const n = header.numbers;
    pictures.image.show(arrays.image, n.half_width);
    pictures.difference.show(arrays.difference, n.half_width);
    pictures.source.show(arrays.source, n.source_half_width);
    $("image").dataset.frames = Number($("image").dataset.frames || 0) + 1;
    const words = [`S/N ${n.signal_to_noise.toFixed(0)}`];
    if (n.subhalos > 1) words.push(`${n.subhalos} subhaloes`);
    if (n.significance > 0) words.push(`substructure ${n.significance < 10 ? n.significance.toFixed(1) : n.significance.toFixed(0)}σ`);
    $("state").textContent = words.join(" · ");
    rate();
    lines();
  },
  slow({ arrays }) {
    pictures.kappa.show(arrays.kappa, pictures.image.half);
    outlines = { critical: starting(arrays, "critical/").map((a) => a.data), caustic: starting(arrays, "caustic/").map((a) => a.data) };
    lines();
  },
  said(sentence) { notice(sentence, "error"); },
  state(now) {
    $("lamp").className = `lamp ${now === "waiting" ? "" : now}`;
    if (now !== "on") $("state").textContent = now === "off" ? "the server is away: trying again" : "connecting";
    document.body.classList.toggle("stale", now === "off");
  },
});

pictures.image.movable(() => ["clump", "vortex"].includes($("substructure").value), (x, y) => put({ x_sub: x.toFixed(2), y_sub: y.toFixed(2) }));
pictures.source.movable(() => true, (x, y) => put({ source_x: x.toFixed(3), source_y: y.toFixed(3) }));
$("source").querySelector(".screen").classList.add("movable");

// ---- the network ----

const judge = new Judge(bench, (glow) => pictures.image.heat(glow?.map ?? null, glow?.half, glow?.window));

// ---- wiring ----

for (const name of PALETTES) $("palette").append(make("option", { value: name }, name));
$("palette").addEventListener("change", () => pictures.image.restyle({ palette: $("palette").value }));
$("stretch").addEventListener("change", () => pictures.image.restyle({ stretch: $("stretch").value }));
$("curves").addEventListener("change", lines);
$("model").addEventListener("change", () => { judge.changed(); settled(); });

$("scene").append(make("option", { value: "" }, "a lens of your own"), ...SCENES.map(({ title }, i) => make("option", { value: i }, title)));
$("scene").addEventListener("change", () => {
  const scene = SCENES[$("scene").value];
  if (scene) put(scene.bench, { fresh: true });
});
$("surprise").addEventListener("click", () => { $("scene").value = ""; put(surprise(), { fresh: true }); });

form.addEventListener("input", (event) => {
  const { target } = event;
  if (target.type === "number") {
    const slider = $(target.id.replace(/-number$/, ""));
    if (target.value !== "" && target.checkValidity()) slider.value = target.value; else return;
  }
  if (target.id !== "scene") changed();
});
form.addEventListener("change", (event) => {
  if (event.target.type === "number") changed();
  if (event.target.id === "instrument") { // about the same field on the sky, whatever the pixels
    const { scale, size } = $("instrument").selectedOptions[0].dataset;
    if (!size) $("size").value = Math.round(Math.min(256, Math.max(32, 5.12 / Number(scale))) / 16) * 16;
    changed();
  }
});
form.addEventListener("dblclick", (event) => {
  const slider = event.target.closest("label")?.htmlFor;
  if (slider in defaults) put({ [slider]: defaults[slider] });
});
form.addEventListener("reset", (event) => { event.preventDefault(); $("scene").value = ""; put({}, { fresh: true }); });
form.addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", fromLink);

$("keep").addEventListener("click", async ({ target }) => {
  const { format } = target.dataset;
  if (target.id === "link") {
    history.replaceState(null, "", `#${permalink()}`);
    try {
      await navigator.clipboard.writeText(location.href);
      notice("The link to this lens is in the clipboard.");
    } catch {
      notice("The link to this lens stands in the address bar.");
    }
  }
  if (!format) return;
  try {
    const name = `darklens-${$("substructure").value}`;
    if (format === "png") return save(await pictures.image.toBlob(), `${name}.png`);
    const answer = await post(`/api/render?format=${format}`, bench());
    if (format === "coolest" && bench().substructure !== "none") notice("COOLEST has no such substructure: the smooth lens is written, and says so.");
    save(await answer.blob(), name + { fits: ".fits", coolest: ".json", python: ".py" }[format]);
  } catch (error) {
    notice(error.message, "error");
  }
});

fromLink();
