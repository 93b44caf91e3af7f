// The API, drawn from openapi.json.

import { askJson, make } from "./talk.js";

const box = document.getElementById("operations");

const kind = (schema = {}) => {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(kind).filter((k) => k !== "null").join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.const !== undefined) return String(schema.const);
  if (schema.type === "array") return `list of ${kind(schema.items)}`;
  return schema.format === "binary" ? "file" : schema.type || "anything";
};

const range = (s) => {
  const low = s.minimum ?? s.exclusiveMinimum;
  const high = s.maximum ?? s.exclusiveMaximum;
  return low !== undefined || high !== undefined ? `${low ?? ""} to ${high ?? ""}` : "";
};

function rows(title, list) {
  if (!list.length) return null;
  const body = list.map(([name, schema, words]) => {
    const plain = schema.anyOf?.find((s) => s.type !== "null") ?? schema;
    const fallback = schema.default !== undefined && schema.default !== null ? `default ${JSON.stringify(schema.default)}` : "";
    return make("tr", {}, make("td", {}, name), make("td", {}, kind(schema)), make("td", {}, [words, range(plain), fallback].filter(Boolean).join("; ")));
  });
  return make("div", { class: "scroll" }, make("table", {}, make("caption", { class: "sr" }, title), make("tbody", {}, ...body)));
}

function operation(path, method, about, schemas) {
  const parameters = (about.parameters || []).map((p) => [p.name, p.schema, p.description]);
  const content = about.requestBody?.content ?? {};
  const body = Object.entries(content).flatMap(([type, { schema }]) => {
    const named = schema.$ref ? schemas[kind(schema)] : schema;
    return Object.entries(named?.properties ?? { [type]: named }).map(([name, s]) => [name, s, s.description]);
  });
  const inside = make("div", { class: "inside" }, about.description ? make("p", { class: "small" }, about.description) : null,
    parameters.length ? make("h3", {}, "In the address") : null, rows("Parameters", parameters),
    body.length ? make("h3", {}, `In the body (${Object.keys(content).join(" or ")})`) : null, rows("Body", body));
  return make("details", { class: "operation" },
    make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), make("span", { class: "path" }, path), make("span", { class: "soft small" }, about.description?.split(/[.:](?:\s|$)/)[0] ?? about.summary)),
    inside);
}

try {
  const { paths, components } = await askJson("/openapi.json");
  const groups = new Map();
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, about] of Object.entries(methods)) {
      const tag = about.tags?.[0] ?? "more";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(path, method, about, components?.schemas ?? {}));
    }
  }
  const order = ["prediction", "laboratory", "game"];
  const place = (tag) => (order.indexOf(tag) + 1 || 99);
  const sorted = [...groups].sort(([a], [b]) => place(a) - place(b));
  box.replaceChildren(...sorted.flatMap(([tag, list]) => [make("h2", {}, tag), ...list]));
} catch (error) {
  box.replaceChildren(make("p", { class: "wrong" }, error.message));
}
