// A clip as an animated GIF: its shades are few enough to be the palette, so every colour is exact.

import { SHADES, colours, shade } from "./paint.js";

const BITS = 8;

/** Return the bytes of a GIF. @param delay hundredths of a second a frame */
export function encodeGif(clip, { palette, top, off, on, delay }) {
  const { T, W, H } = clip,
    out = [],
    word = (n) => out.push(n & 255, n >> 8);
  const table = colours(palette, clip.planes).flat();
  out.push(...new TextEncoder().encode("GIF89a"));
  word(W);
  word(H);
  out.push(
    0x80 | (BITS - 1),
    0,
    0,
    ...table,
    ...new Array(3 * (256 - SHADES[clip.planes] ** clip.planes)).fill(0),
  );
  out.push(0x21, 0xff, 11, ...new TextEncoder().encode("NETSCAPE2.0"), 3, 1, 0, 0, 0); // for ever
  const shades = new Uint8Array(W * H);
  for (let t = 0; t < T; t++) {
    out.push(0x21, 0xf9, 4, 0);
    word(delay);
    out.push(0, 0, 0x2c, 0, 0, 0, 0);
    word(W);
    word(H);
    out.push(0, BITS);
    const packed = lzw(shade(clip, t, top, shades, { off, on }));
    for (let at = 0; at < packed.length; at += 255) {
      const block = packed.slice(at, at + 255);
      out.push(block.length, ...block);
    }
    out.push(0);
  }
  out.push(0x3b);
  return new Uint8Array(out);
}

/** Return indices compressed by the LZW of GIF89a, appendix F. */
export function lzw(indices) {
  const clear = 1 << BITS,
    out = [];
  let held = 0,
    bits = 0,
    size = BITS + 1,
    next = clear + 2,
    known = new Map();
  const put = (code) => {
    held |= code << bits;
    bits += size;
    for (; bits >= 8; bits -= 8, held >>>= 8) out.push(held & 255);
  };
  put(clear);
  let prefix = indices[0];
  for (let at = 1; at < indices.length; at++) {
    const longer = prefix * 256 + indices[at],
      code = known.get(longer);
    if (code !== undefined) {
      prefix = code;
      continue;
    }
    put(prefix);
    prefix = indices[at];
    if (next === 4096) {
      put(clear);
      size = BITS + 1;
      next = clear + 2;
      known = new Map();
    } else {
      if (next === 1 << size) size++;
      known.set(longer, next++);
    }
  }
  put(prefix);
  put(clear + 1);
  if (bits) out.push(held & 255);
  return out;
}
