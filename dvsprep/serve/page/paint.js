// Counts to colours, the same ones as dvsprep/show/paint.py: the more events, the stronger the colour.
//
// A clip is {T, planes, H, W, data}: data [T, planes, H, W], planes OFF and ON, or one without polarity.

// Each row: no event, only OFF, only ON, both. Every common colour blindness can tell blue from orange.
export const PALETTES = {
  colorblind: [
    [15, 17, 23],
    [255, 145, 20],
    [45, 150, 255],
    [255, 255, 255],
  ],
  classic: [
    [255, 255, 255],
    [225, 30, 45],
    [25, 65, 225],
    [0, 0, 0],
  ],
  gray: [
    [120, 120, 120],
    [0, 0, 0],
    [255, 255, 255],
    [220, 220, 220],
  ],
};
export const SHADES = { 1: 225, 2: 15 };
const FAINTEST = 0.45,
  BULK = 0.98;

/** Return a clip of frames [T, C, H, W]: channel 0 is OFF, the sum of the others ON. */
export function clipOf(data, [T, C, H, W]) {
  if (C === 2) return { T, planes: 2, H, W, data };
  const area = H * W,
    signed = C === 1 && data.some((value) => value < 0);
  if (C === 1 && !signed) return { T, planes: 1, H, W, data };
  const out = new Float64Array(T * 2 * area);
  for (let t = 0; t < T; t++) {
    for (let c = 0; c < C; c++) {
      for (let i = 0; i < area; i++) {
        const value = data[(t * C + c) * area + i];
        if (signed) out[(t * 2 + (value > 0)) * area + i] += Math.abs(value);
        else out[(t * 2 + (c > 0)) * area + i] += value;
      }
    }
  }
  return { T, planes: 2, H, W, data: out };
}

/** Return a clip of events, `T` frames by number: d = N // T, the last one takes the rest. */
export function integrate({ x, y, p }, T, [H, W]) {
  const data = new Uint32Array(T * 2 * H * W),
    n = x.length,
    d = Math.floor(n / T);
  for (let i = 0; i < n; i++) {
    const t = d ? Math.min(T - 1, Math.floor(i / d)) : T - 1;
    data[((t * 2 + p[i]) * H + y[i]) * W + x[i]]++;
  }
  return { T, planes: 2, H, W, data };
}

/** Return a clip of one frame, the sum of all: a thumbnail. */
export function summed({ T, planes, H, W, data }) {
  const size = planes * H * W,
    out = new Float64Array(size);
  for (let t = 0; t < T; t++) for (let i = 0; i < size; i++) out[i] += Math.max(0, data[t * size + i]);
  return { T: 1, planes, H, W, data: out };
}

/** Return a clip no side of which is longer than `most`: events of k x k pixels summed up. */
export function shrunk(clip, most) {
  const { T, planes, H, W, data } = clip,
    k = Math.ceil(Math.max(H, W) / most);
  if (k <= 1) return clip;
  const h = Math.ceil(H / k),
    w = Math.ceil(W / k),
    out = new Float64Array(T * planes * h * w);
  for (let n = 0; n < T * planes; n++) {
    for (let y = 0; y < H; y++) {
      const to = (n * h + Math.floor(y / k)) * w,
        from = (n * H + y) * W;
      for (let x = 0; x < W; x++) out[to + Math.floor(x / k)] += data[from + x];
    }
  }
  return { T, planes, H: h, W: w, data: out };
}

/** Return [OFF, ON] of every frame, or [all, 0] without polarity. */
export function counts({ T, planes, H, W, data }) {
  const area = H * W,
    found = [];
  for (let t = 0; t < T; t++) {
    const sums = [0, 0];
    for (let c = 0; c < planes; c++) {
      const from = (t * planes + c) * area;
      for (let i = from; i < from + area; i++) if (data[i] > 0) sums[c] += data[i];
    }
    found.push(sums);
  }
  return found;
}

/** Return the value that 98 % of the active pixels do not exceed: it gets the full colour. */
export function robustMax({ data }) {
  const active = data.filter((value) => value > 0 && value < Infinity);
  if (!active.length) return 1;
  return active.sort()[Math.floor(BULK * (active.length - 1))]; // typed arrays sort by number
}

const round = (value) => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value)); // as NumPy does

/** Return [r, g, b] of every shade, or of every pair of an OFF and an ON shade. */
export function colours(palette, planes) {
  const [none, off, on, both] = PALETTES[palette],
    n = SHADES[planes],
    found = [];
  const way = (i) => (i ? FAINTEST + ((1 - FAINTEST) * (i - 1)) / (n - 2) : 0);
  for (let k = 0; k < n ** planes; k++) {
    const a = way(planes === 1 ? k : Math.floor(k / n)),
      b = way(k % n);
    found.push(
      none.map((_, c) =>
        round(
          planes === 1
            ? none[c] + a * (both[c] - none[c])
            : (1 - b) * ((1 - a) * none[c] + a * off[c]) + b * ((1 - a) * on[c] + a * both[c]),
        ),
      ),
    );
  }
  return found;
}

/** Fill `out` (one number a pixel) with the shades of frame t: an index into colours(). */
export function shade(clip, t, top, out, { off = true, on = true } = {}) {
  const { planes, H, W, data } = clip,
    area = H * W,
    n = SHADES[planes];
  const part = (value) => (value > 0 ? Math.max(1, Math.ceil((Math.min(value, top) / top) * (n - 1))) : 0);
  const first = t * planes * area;
  for (let i = 0; i < area; i++) {
    if (planes === 1) out[i] = part(data[first + i]);
    else out[i] = (off ? part(data[first + i]) : 0) * n + (on ? part(data[first + area + i]) : 0);
  }
  return out;
}

/** Return frame t as ImageData. */
export function paint(
  clip,
  t,
  { palette = "colorblind", top = robustMax(clip), off = true, on = true } = {},
) {
  const image = new ImageData(clip.W, clip.H),
    table = packed(palette, clip.planes);
  const shades = shade(clip, t, top, new Uint16Array(clip.H * clip.W), { off, on });
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[shades[i]];
  return image;
}

const tables = new Map();
function packed(palette, planes) {
  const key = `${palette}${planes}`;
  if (!tables.has(key)) {
    const bytes = new Uint8Array(colours(palette, planes).flatMap((colour) => [...colour, 255]));
    tables.set(key, new Uint32Array(bytes.buffer));
  }
  return tables.get(key);
}
