// Which key says what. Answers have a digit each, and their first letter where nothing else has it.

const TAKEN = new Set("ubtipg?+-0".split(""));

/** Keys of each answer, in the order of the answers: [["1", "l"], ["2", "n"], ...]. */
export function answerKeys(answers) {
  const taken = new Set(TAKEN);
  return answers.map((answer, i) => {
    const letter = answer[0].toLowerCase();
    const keys = i < 9 ? [String(i + 1)] : [];
    if (!taken.has(letter) && /[a-z]/.test(letter)) { keys.push(letter); taken.add(letter); }
    return keys;
  });
}

/** What a key press means: {answer}, {move}, {command}; null for what is not ours. */
export function meaningOf(event, answers, keys) {
  if (event.isComposing || event.altKey) return null;
  if (event.ctrlKey || event.metaKey) return event.key.toLowerCase() === "z" && !event.shiftKey ? { command: "undo" } : null;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const at = keys.findIndex((some) => some.includes(key));
  if (at >= 0) return { answer: answers[at] };
  const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: "up", ArrowDown: "down", Home: "first", End: "last" }[key];
  if (move !== undefined) return { move };
  const command = {
    u: "undo", Backspace: "undo", b: "band", t: "stretch", i: "invert", p: "model", g: "layout", "+": "closer", "=": "closer", "-": "farther",
    "0": "whole", "?": "help", Enter: "open", Escape: "close",
  }[key];
  return command ? { command } : null;
}

/** Rows of the list of keys: [keys, what they do]. */
export function describe(answers, keys) {
  return [
    ...answers.map((answer, i) => [keys[i], answer]),
    [["u", "⌫"], "take the last decision back"],
    [["←", "→"], "the image before, the next one"],
    [["g"], "one by one, or the gallery"],
    [["Enter"], "in the gallery: look closer; Esc goes back"],
    [["b"], "the next band"],
    [["t"], "the next stretch"],
    [["i"], "dark on white"],
    [["+", "−", "0"], "closer, farther, the whole image"],
    [["p"], "what the model says of it"],
  ];
}
