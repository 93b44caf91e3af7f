// The vetting room: what people decide, and what they look at next.
import { askJson, make, notice, postJson } from "../talk.js";
import { answerKeys, describe, meaningOf } from "./keys.js";
import { Outbox } from "./outbox.js";
import { $, ZOOMS, address, agreementTable, columns, look, makeGallery, markAnswer, segments, showGallery, showOne } from "./show.js";

const WHO = "darklens-vet-who";
const POLL = 10000;
const HANDED = 8;
const LINES = { saved: () => "saved", sending: (n) => `saving ${n}`, away: (n) => `server away, ${n} kept here` };

const state = { at: 0, mine: new Map(), view: "", stretch: "asinh", zoom: 1, model: false, invert: false, gallery: false, filter: "all", who: "", handed: [] };
const undone = [];
let about, keys, outbox, press;

const said = (text) => { $("said").textContent = text; };
const wanted = (answer) => state.filter === "all" || (state.filter === "undecided" ? !answer : answer === state.filter);

function show() {
  const finished = state.mine.size >= about.images.length;
  $("single").hidden = state.gallery;
  $("gallery").hidden = $("gallery-bar").hidden = !state.gallery;
  if ($("answers").parentElement.id !== (state.gallery ? "gallery-bar" : "single-bar")) $(state.gallery ? "gallery-bar" : "single-bar").append($("answers"));
  $("finished").hidden = !finished;
  $("one").setAttribute("aria-pressed", String(!state.gallery));
  $("all").setAttribute("aria-pressed", String(state.gallery));
  $("model").setAttribute("aria-pressed", String(state.model));
  $("invert").setAttribute("aria-pressed", String(state.invert));
  document.body.classList.toggle("inverted", state.invert);
  $("view").value = state.view;
  press.stretch(state.stretch);
  press.zoom(state.zoom);
  $("undo").disabled = !undone.length;
  $("bar").max = about.images.length;
  $("bar").value = state.mine.size;
  $("done").textContent = `${state.mine.size} of ${about.images.length} by you${others()}`;
  markAnswer(about, state);
  if (state.gallery) {
    if (!showGallery(about, state, wanted)) said("No image is shown: change what is shown.");
  } else showOne(about, state);
}

function others() {
  const names = Object.keys(state.people || {}).filter((name) => name !== state.who);
  return names.length ? `, ${names.length} other${names.length > 1 ? "s" : ""} at work` : "";
}

function go(index, focus = true) {
  state.at = Math.min(about.images.length - 1, Math.max(0, index));
  show();
  if (state.gallery && focus) $("gallery").children[state.at].focus();
  for (const ahead of [1, 2, 3]) {
    const image = about.images[state.at + ahead];
    if (image && !image.missing && !state.gallery) new Image().src = address(about, state.at + ahead, state.view, state.stretch);
  }
}

/** The image to look at after this one: what was handed out, else the next one without an answer. */
async function onward() {
  if (about.voters) {
    if (waitingForMe().length < HANDED / 2) {
      const more = refill();
      if (!waitingForMe().length) {
        state.turning = true; // what is pressed now is not meant for the image that was just decided about
        await more;
        state.turning = false;
      }
    }
    const next = about.images.findIndex((image) => image.id === waitingForMe()[0]);
    if (next >= 0) return go(next);
    show();
    $("done").textContent += "; no image waits for you, others have looked or are looking";
    return said("No image waits for you.");
  }
  const n = about.images.length;
  for (let step = 1; step <= n; step++) {
    const index = (state.at + step) % n;
    if (!state.mine.has(about.images[index].id)) return go(index);
  }
  return show();
}

const waitingForMe = () => state.handed.filter((id) => !state.mine.has(id));

async function refill() {
  const who = state.who;
  try {
    const { ids } = await postJson("/api/vet/next", { who, n: HANDED });
    if (who === state.who) state.handed = ids;
  } catch { /* the server is away: go on with what was handed out */ }
}

function decide(answer) {
  if (!state.who) return askWho();
  if (state.turning) return undefined;
  const { id } = about.images[state.at], before = state.mine.get(id) ?? null;
  if (before === answer) return onward();
  undone.push({ at: state.at, id, before });
  enter(id, answer);
  said(`${answer}.`);
  return onward();
}

function undo() {
  const last = undone.pop();
  if (!last) return;
  enter(last.id, last.before);
  said(`Taken back: ${last.id} ${last.before ? `is ${last.before} again` : "is not decided"}.`);
  go(last.at);
}

function enter(id, answer) {
  if (answer === null) state.mine.delete(id); else state.mine.set(id, answer);
  outbox.add(state.who, id, answer);
}

/** Take over what the server has of this person, but for what it does not know yet. */
async function refresh() {
  if (!state.who) return;
  const who = state.who, arrived = outbox.arrived;
  const found = await askJson(`/api/vet/state?${new URLSearchParams({ who })}`);
  if (who !== state.who) return;
  if (arrived !== outbox.arrived) return void await refresh(); // it was asked before the server had a decision that is no longer waiting
  state.people = found.people;
  state.mine = new Map(Object.entries(found.mine));
  for (const { id } of about.images) {
    const pending = outbox.pending(who, id);
    if (pending === null) state.mine.delete(id);
    else if (pending) state.mine.set(id, pending);
  }
  show();
}

/** See what others did meanwhile, and whether an image that somebody let go of is free now. */
async function poll() {
  await refresh();
  const idle = state.who && about.voters && !waitingForMe().length && state.mine.has(about.images[state.at].id) && !state.turning;
  if (idle && !state.gallery && state.mine.size < about.images.length) await onward();
}

function askWho() {
  $("name-field").value = state.who;
  if (!$("who-box").open) $("who-box").showModal();
}

async function become(name) {
  state.who = name;
  undone.length = 0;
  state.handed = [];
  try { localStorage.setItem(WHO, name); } catch { /* storage is refused: the name holds for this page */ }
  $("who").textContent = name;
  try { await refresh(); } catch (error) { notice(error.message, "error"); }
  if (about.voters || state.mine.has(about.images[state.at].id)) await onward();
}

function move(how) {
  const at = state.at, n = about.images.length;
  const steps = { up: -columns(), down: columns(), first: -n, last: n };
  let to = at + (steps[how] ?? how);
  if (!state.gallery) return ["up", "down"].includes(how) ? undefined : go(to);
  const shown = [...$("gallery").children].filter((tile) => !tile.hidden).map((tile) => Number(tile.dataset.index));
  const place = shown.indexOf(at);
  to = shown[Math.min(shown.length - 1, Math.max(0, (place < 0 ? 0 : place) + (steps[how] ?? how)))];
  return to === undefined ? undefined : go(to);
}

const cycle = (list, now) => list[(list.indexOf(now) + 1) % list.length];
const commands = {
  undo,
  band: () => { state.view = cycle(about.views, state.view); show(); },
  stretch: () => { state.stretch = cycle(about.stretches, state.stretch); show(); },
  invert: () => { state.invert = !state.invert; show(); },
  model: () => { state.model = !state.model; show(); },
  layout: () => layout(!state.gallery),
  closer: () => { state.zoom = ZOOMS[Math.min(ZOOMS.length - 1, ZOOMS.indexOf(state.zoom) + 1)]; show(); },
  farther: () => { state.zoom = ZOOMS[Math.max(0, ZOOMS.indexOf(state.zoom) - 1)]; show(); },
  whole: () => { state.zoom = 1; show(); },
  help: () => $("help-box").showModal(),
  open: () => { if (state.gallery) layout(false); },
  close: () => layout(true),
};

function layout(gallery) {
  state.gallery = gallery;
  show();
  if (gallery) { $("gallery").children[state.at].scrollIntoView({ block: "center" }); $("gallery").children[state.at].focus(); }
}

function pressed(event) {
  if (event.target.closest("input, select, textarea, dialog") || document.querySelector("dialog[open]")) return;
  const onButton = event.target.closest("button, a");
  if (onButton && ["Enter", " "].includes(event.key)) return;
  if (event.target.id === "frame" && state.zoom > 1 && event.key.startsWith("Arrow")) return; // the zoomed image scrolls
  const meaning = meaningOf(event, about.answers, keys);
  if (!meaning || event.repeat && meaning.answer) return;
  event.preventDefault();
  if (meaning.answer) decide(meaning.answer);
  else if (meaning.move !== undefined) move(meaning.move);
  else commands[meaning.command]();
}

async function agreement() {
  try { $("agree-content").replaceChildren(...agreementTable(await askJson("/api/vet/agreement"))); } catch (error) { return notice(error.message, "error"); }
  return $("agree-box").showModal();
}

function wire() {
  document.addEventListener("keydown", pressed);
  for (const [id, name] of [["undo", "undo"], ["invert", "invert"], ["model", "model"], ["help", "help"]]) $(id).addEventListener("click", () => commands[name]());
  $("one").addEventListener("click", () => layout(false));
  $("all").addEventListener("click", () => layout(true));
  $("before").addEventListener("click", () => move(-1));
  $("after").addEventListener("click", () => move(1));
  $("view").addEventListener("change", () => { state.view = $("view").value; show(); });
  $("filter").addEventListener("change", () => { state.filter = $("filter").value; if (!state.gallery) state.gallery = true; show(); });
  $("bands").addEventListener("click", (event) => { const one = event.target.closest("[data-view]"); if (one) { state.view = one.dataset.view; show(); } });
  $("gallery").addEventListener("click", (event) => { const tile = event.target.closest("figure"); if (tile) go(Number(tile.dataset.index)); });
  $("gallery").addEventListener("dblclick", (event) => { if (event.target.closest("figure")) layout(false); });
  $("picture").addEventListener("click", () => { state.zoom = cycle(ZOOMS, state.zoom); show(); });
  $("who").addEventListener("click", askWho);
  $("agree").addEventListener("click", agreement);
  $("agree-2").addEventListener("click", agreement);
  $("files").addEventListener("click", () => $("files-box").showModal());
  $("line").addEventListener("click", () => outbox.hurry());
  $("who-box").addEventListener("submit", (event) => {
    const name = $("name-field").value.trim();
    $("name-wrong").hidden = /^[\p{L}\p{N}_]/u.test(name);
    if (!$("name-wrong").hidden) return event.preventDefault();
    return become(name);
  });
  setInterval(() => { if (!document.hidden) poll().catch(() => { /* the line says so */ }); }, POLL);
}

function furnish() {
  $("answers").replaceChildren(...about.answers.map((answer, i) => make("button", { type: "button", "data-answer": answer, "data-look": look(about, answer), "aria-pressed": "false", "aria-keyshortcuts": keys[i].join(" "), onclick: () => decide(answer) },
    make("span", {}, answer), make("kbd", {}, keys[i].at(-1) ?? ""))));
  $("view").replaceChildren(...about.views.map((view) => make("option", {}, view)));
  $("filter").replaceChildren(...["all", "undecided", ...about.answers].map((name) => make("option", {}, name)));
  $("keys").replaceChildren(...describe(about.answers, keys).flatMap(([some, does]) => [make("dt", {}, ...some.map((key) => make("kbd", {}, key))), make("dd", {}, does)]));
  press = {
    stretch: segments($("stretches"), about.stretches, about.stretches, (name) => { state.stretch = name; show(); }),
    zoom: segments($("zooms"), ZOOMS, ZOOMS.map((z) => `${z}×`), (times) => { state.zoom = times; show(); }),
  };
  if (about.images.every((image) => image.probability === undefined && !image.known && !image.unusual)) $("model").hidden = true;
  makeGallery(about);
}

async function begin() {
  about = await askJson("/api/vet");
  keys = answerKeys(about.answers);
  state.view = about.views[0] ?? "";
  outbox = new Outbox(about.name, {
    changed: (now, n) => { $("line").dataset.state = now; $("line").textContent = LINES[now](n); },
    kept: (sent, kept) => kept.forEach((one, i) => {  // another browser of the same person may have said something later
      const { who, candidate } = sent[i];
      if (who !== state.who || outbox.pending(who, candidate) !== undefined || (state.mine.get(candidate) ?? null) === one.decision) return;
      if (one.decision === null) state.mine.delete(candidate); else state.mine.set(candidate, one.decision);
      show();
    }),
    refused: (one, why) => { notice(`Your decision on ${one.candidate} was not taken: ${why}`, "error"); refresh().catch(() => {}); },
  });
  furnish();
  wire();
  if (about.left_out) notice(`This sitting has the first ${about.images.length} images; ${about.left_out} more are in the list.`);
  show();
  const name = localStorage.getItem(WHO);
  if (name) await become(name); else askWho();
}

begin().catch((error) => notice(error.message, "error"));
