// Guess the class: the server keeps the answer until the guess is in.

import { Picture } from "./picture.js";
import { unframe } from "./frames.js";
import { ask, askJson, make, notice, postJson } from "./talk.js";
import { bars } from "./verdict.js";

const $ = (id) => document.getElementById(id);
const KEY = "darklens-guess";
const image = new Picture($("image"), { kind: "image" });
const residual = new Picture($("residual"), { kind: "difference", unit: "σ", least: 5, limit: 10 });
let puzzle = null;
let answered = true;
let helped = false;
let next = null;

const fresh = () => ({ rounds: 0, right: 0, points: 0, streak: 0, best: 0, network: 0 });
let score = fresh();
try { score = { ...fresh(), ...JSON.parse(localStorage.getItem(KEY) || "{}") }; } catch { /* no storage: the score lasts as long as the page */ }

function keep() {
  try { localStorage.setItem(KEY, JSON.stringify(score)); } catch { /* as above */ }
  for (const [id, value] of Object.entries({ points: score.points, streak: score.streak, best: score.best })) $(id).textContent = value;
  const share = (n) => (score.rounds ? `${Math.round((100 * n) / score.rounds)}%` : "–");
  $("mine").textContent = share(score.right);
  $("theirs").textContent = share(score.network);
  $("rounds").textContent = `${score.rounds} ${score.rounds === 1 ? "image" : "images"}`;
}

const fetched = async (level) => {
  const answer = await ask(`/api/guess?level=${encodeURIComponent(level)}`);
  return unframe(await answer.arrayBuffer());
};

async function deal() {
  const level = $("level").value;
  document.body.setAttribute("aria-busy", "true");
  try {
    puzzle = await (next?.level === level ? next.promise : fetched(level));
    next = null;
  } catch (error) {
    notice(error.message, "error");
    return;
  } finally {
    document.body.removeAttribute("aria-busy");
  }
  answered = false;
  helped = false;
  const { header, arrays } = puzzle;
  image.show(arrays.image, header.half_width);
  $("residual").hidden = true;
  $("help").disabled = !arrays.residual;
  $("next").hidden = true;
  $("outcome").replaceChildren();
  $("question").textContent = header.question;
  $("choices").replaceChildren(...header.classes.map(({ name, words }, i) => make("button", { type: "button", class: "choice", "data-class": name, onclick: () => guess(name) },
    make("kbd", { "aria-hidden": "true" }, String(i + 1)), make("span", {}, make("strong", {}, words.title), make("span", { class: "soft small" }, words.hint)))));
}

async function guess(name) {
  if (answered || !puzzle) return;
  answered = true;
  let told;
  try {
    told = await postJson("/api/guess", { level: puzzle.header.level, puzzle: puzzle.header.puzzle, guess: name });
  } catch (error) {
    notice(error.message, "error");
    if (error.status === 400) deal(); else answered = false;
    return;
  }
  const right = told.truth === name;
  score.rounds += 1;
  score.right += right;
  score.network += told.network.predicted === told.truth;
  score.streak = right ? score.streak + 1 : 0;
  score.best = Math.max(score.best, score.streak);
  score.points += right ? (helped ? 1 : 2) : 0;
  keep();
  for (const button of $("choices").children) {
    button.disabled = true;
    const own = button.dataset.class;
    button.classList.toggle("right", own === told.truth);
    button.classList.toggle("missed", own === name && !right);
  }
  reveal();
  $("outcome").replaceChildren(
    make("p", { class: right ? "cheer good" : "cheer bad" }, right ? `Right${score.streak > 2 ? `, ${score.streak} in a row` : ""}!` : `No: ${told.title}.`),
    make("p", { class: "small" }, told.story),
    make("h3", {}, `What ${told.model} says`),
    bars(told.network),
  );
  $("next").hidden = false;
  $("next").focus();
  const level = $("level").value;
  next = { level, promise: fetched(level) };
  next.promise.catch(() => { next = null; });
}

function reveal() {
  const map = puzzle?.arrays.residual;
  if (!map) return;
  $("residual").hidden = false;
  residual.show(map, puzzle.header.half_width);
}

$("help").addEventListener("click", () => { helped = true; $("help").disabled = true; reveal(); $("residual").scrollIntoView({ block: "nearest" }); });
$("next").addEventListener("click", deal);
$("level").addEventListener("change", deal);
$("forget").addEventListener("click", () => { score = fresh(); keep(); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
  const i = Number(event.key) - 1;
  if (!answered && i >= 0 && i < $("choices").children.length) $("choices").children[i].click();
  else if (event.key === "h" && !answered) $("help").click();
  else if (event.key === "n" && answered) $("next").click();
});

keep();
askJson("/api/levels").then((levels) => {
  $("level").append(...levels.map(({ name, title }) => make("option", { value: name }, title)));
  deal();
}).catch((error) => notice(error.message, "error"));
