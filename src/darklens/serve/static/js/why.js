// Where a network looks: asked for by a button, for some methods look at an image a thousand times.

import { extremes } from "./colour.js";
import { Picture } from "./picture.js";
import { make } from "./talk.js";

/** Return a choice of the methods that the page's template lists. */
export const methods = (id) => make("select", { id, "aria-label": "Method" }, document.getElementById("methods").content.cloneNode(true));

/** Say how a map is read; some methods keep only what speaks for a class, and find nothing where all speaks against it. */
export function legend(map, window, name) {
  if (extremes(map.data)[1] <= 0) return `This method finds nothing that speaks for ${name}.`;
  return `The greener, the more it matters for ${name}.${window[3] < map.shape[1] ? " The network sees what is inside the frame." : ""}`;
}

/**
 * Return what asks for the picture of one image: a button, then choices of class and method.
 * @param about {name, classes, predicted}
 * @param pictures element that takes the picture.
 * @param ask (method, target) -> promise of {image, map, window}
 */
export function why({ name, classes, predicted }, pictures, ask) {
  const target = make("select", { "aria-label": "Class that is explained" }, ...classes.map((c) => make("option", { value: c, selected: c === predicted }, c)));
  const method = methods();
  const said = make("span", { class: "small soft", role: "status" });
  const begin = make("button", { type: "button" }, "Where does it look?");
  const choice = make("span", { class: "row", hidden: true }, make("span", { class: "small" }, "What speaks for"), target, make("span", { class: "small" }, "by"), method);
  let picture = null;
  let newest = 0;

  async function look() {
    newest += 1;
    const mine = newest;
    begin.disabled = true;
    said.textContent = "Looking: some methods take seconds.";
    try {
      const { image, map, window } = await ask(method.value, target.value);
      if (mine !== newest) return;
      if (!picture) {
        picture = Picture.make("", { kind: "image", palette: "grey" });
        pictures.append(picture.figure);
        begin.hidden = true;
        choice.hidden = false;
      }
      picture.title(`Speaks for ${target.value}`, `What in ${name} speaks for ${target.value}, by ${method.value}: green, over the image`);
      picture.show(image, 1);
      picture.heat(map, 1, window);
      said.textContent = legend(map, window, target.value);
    } catch (error) {
      if (mine === newest) said.textContent = error.message;
    } finally {
      begin.disabled = false;
    }
  }

  begin.addEventListener("click", look);
  for (const one of [target, method]) one.addEventListener("change", look);
  return make("div", { class: "row why" }, begin, choice, said);
}
