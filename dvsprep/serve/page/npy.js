// Bytes in, typed arrays out: .npy files, and chunks as they lie in a cache.

const TYPES = {
  b1: Uint8Array,
  u1: Uint8Array,
  i1: Int8Array,
  u2: Uint16Array,
  i2: Int16Array,
  u4: Uint32Array,
  i4: Int32Array,
  f4: Float32Array,
  f8: Float64Array,
};

/** Return [values of one type], from bytes of a NumPy dtype such as "<u2" or "|u1". */
export function decode(buffer, dtype) {
  const kind = dtype.slice(1);
  if (dtype[0] === ">") throw new Error(`numbers of type ${dtype} are not shown here`);
  if (kind[0] === "S") return strings(buffer, Number(kind.slice(1)));
  if (kind === "i8" || kind === "u8") return wide(buffer, kind);
  if (kind === "f2") return Float32Array.from(new Uint16Array(buffer), half);
  if (!(kind in TYPES)) throw new Error(`numbers of type ${dtype} are not shown here`);
  return new TYPES[kind](buffer);
}

function strings(buffer, size) {
  const text = new TextDecoder(),
    found = [];
  for (let at = 0; at < buffer.byteLength && size; at += size) {
    found.push(text.decode(new Uint8Array(buffer, at, size)).replace(/\0+$/, ""));
  }
  return found;
}

// Times and counts stay far below 2**53, so a float holds them exactly.
function wide(buffer, kind) {
  const low = new Uint32Array(buffer),
    out = new Float64Array(buffer.byteLength / 8);
  const high = kind === "i8" ? new Int32Array(buffer) : low;
  for (let i = 0; i < out.length; i++) out[i] = high[2 * i + 1] * 2 ** 32 + low[2 * i];
  return out;
}

function half(bits) {
  const sign = bits >> 15 ? -1 : 1,
    exponent = (bits >> 10) & 31,
    part = bits & 1023;
  if (exponent === 31) return part ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + part / 1024) : 2 ** -14 * (part / 1024));
}

/** Undo HDF5's shuffle, which puts the first bytes of all numbers first, then the second ones. */
export function unshuffle(buffer, size) {
  const from = new Uint8Array(buffer),
    out = new Uint8Array(from.length),
    n = from.length / size;
  for (let k = 0; k < size; k++) for (let i = 0; i < n; i++) out[i * size + k] = from[k * n + i];
  return out.buffer;
}

/** Return {data, shape} of a .npy file; of records {fields: {name: values}, shape}. */
export function parseNpy(buffer) {
  const view = new DataView(buffer),
    wide = view.getUint8(6) > 1;
  if (view.getUint32(0) !== 0x934e554d) throw new Error("the answer is no .npy file");
  const start = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const head = new TextDecoder("latin1").decode(new Uint8Array(buffer, 8, start - 8));
  const shape = /'shape': \(([^)]*)\)/
    .exec(head)[1]
    .split(",")
    .filter((n) => n.trim())
    .map(Number);
  const single = /'descr': '([^']*)'/.exec(head);
  if (single) return { data: decode(buffer.slice(start), single[1]), shape };
  const described = [...head.matchAll(/\('(\w+)', '([^']*)'\)/g)].map(([, name, dtype]) => ({ name, dtype }));
  return { fields: records(new Uint8Array(buffer, start), described, shape[0]), shape };
}

function records(from, described, n) {
  const fields = {},
    size = described.reduce((sum, { dtype }) => sum + Number(dtype.slice(2)), 0);
  let at = 0;
  for (const { name, dtype } of described) {
    const width = Number(dtype.slice(2)),
      out = new Uint8Array(n * width);
    for (let i = 0; i < n; i++) for (let k = 0; k < width; k++) out[i * width + k] = from[i * size + at + k];
    fields[name] = decode(out.buffer, dtype);
    at += width;
  }
  return fields;
}
