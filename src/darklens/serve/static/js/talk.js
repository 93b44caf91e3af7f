// Talking with the server: every failure becomes one sentence.

/** A failure, with the server's sentence, and what else it says: `refused` has a sentence for each file. */
export class Failure extends Error {
  constructor(sentence, status, about = {}) { super(sentence); this.status = status; this.about = about; }
}

/** Fetch; resolve to the response, or throw a Failure with one sentence. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The server does not answer: is it still running?", 0);
  }
  if (answer.ok) return answer;
  if (answer.status === 401) location.assign(`/login?to=${encodeURIComponent(location.pathname + location.search)}${location.hash}`);
  let about = {};
  try { about = await answer.json(); } catch { /* no JSON: the status has to do */ }
  throw new Failure(about.error || `The server answered ${answer.status}.`, answer.status, about);
}

/** Fetch JSON. */
export const askJson = async (path, options) => (await ask(path, options)).json();

/** Send JSON, and return what comes back as a response. */
export const post = (path, content, options = {}) => ask(path, {
  method: "POST", body: JSON.stringify(content), headers: { "content-type": "application/json" }, ...options,
});

/** Send JSON, get JSON. */
export const postJson = async (path, content, options) => (await post(path, content, options)).json();

/** Show a sentence for a while; the same sentence is not shown twice at once. */
export function notice(sentence, kind = "info") {
  const box = document.getElementById("notices");
  if ([...box.children].some((c) => c.firstChild.textContent === sentence)) return;
  const one = document.createElement("div");
  one.className = `notice ${kind}`;
  const text = document.createElement("span");
  text.textContent = sentence;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "quiet";
  close.setAttribute("aria-label", "Close this message");
  close.textContent = "×";
  close.addEventListener("click", () => one.remove());
  one.append(text, close);
  box.append(one);
  setTimeout(() => one.remove(), kind === "error" ? 12000 : 5000);
}

/** Give the browser a file to keep. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Make an element: make("p", {class: "x"}, "text", child). */
export function make(tag, attributes = {}, ...children) {
  const found = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) found.addEventListener(key.slice(2), value);
    else if (value === true) found.setAttribute(key, "");
    else if (value !== false && value != null) found.setAttribute(key, value);
  }
  found.append(...children.filter((c) => c != null));
  return found;
}
