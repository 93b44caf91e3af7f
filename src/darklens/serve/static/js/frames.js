// Frames: a JSON header and float32 arrays in one binary message; see darklens/serve/frames.py.

/** Return {header, arrays: {name: {shape, data}}} of a frame that starts at an offset. */
export function unframe(buffer, start = 0) {
  const length = new DataView(buffer).getUint32(start, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, start + 4, length)));
  const arrays = {};
  for (const { name, shape, offset } of header.arrays) {
    const count = shape.reduce((a, b) => a * b, 1);
    arrays[name] = { shape, data: new Float32Array(buffer, start + 4 + length + offset, count) };
  }
  return { header, arrays };
}

/** Return the frames of a message in which each stands behind its length. */
export function unjoin(buffer) {
  const found = [];
  const view = new DataView(buffer);
  for (let start = 0; start < buffer.byteLength;) {
    const length = view.getUint32(start, true);
    found.push(unframe(buffer, start + 4));
    start += 4 + length;
  }
  return found;
}

/** Return the arrays whose names begin with a prefix, in order. */
export const starting = (arrays, prefix) => Object.keys(arrays).filter((k) => k.startsWith(prefix)).map((k) => arrays[k]);
