// A served cache: its facts, one value a sample of each small array, and samples as clips.

import { address, ask, json } from "./api.js";
import { decode, parseNpy, unshuffle } from "./npy.js";
import { clipOf, integrate } from "./paint.js";

const KEPT = 96 * 2 ** 20; // bytes of clips kept, of all caches
const ARRAYS = ["labels", "ids", "n_events", "t_start", "t_end"];
const EVENT_FRAMES = 20; // events are shown as that many frames by number

/** The last used values whose sizes sum up to no more than `most`. */
export class Kept {
  constructor(most) {
    this.most = most;
    this.size = 0;
    this.map = new Map();
  }

  get(key) {
    const found = this.map.get(key);
    if (!found) return undefined;
    this.map.delete(key);
    this.map.set(key, found);
    return found.value;
  }

  set(key, value, size) {
    this.size += size - (this.map.get(key)?.size ?? 0);
    this.map.delete(key);
    this.map.set(key, { value, size });
    for (const [old, { size: freed }] of this.map) {
      if (this.size <= this.most || old === key) break;
      this.map.delete(old);
      this.size -= freed;
    }
  }
}

const kept = new Kept(KEPT);

/** Return an answer about the cache of these facts, and of no other that took its place meanwhile. */
async function fetched(facts, path, signal) {
  const answer = await ask(path, { signal });
  if (answer.headers.get("X-Dvsprep-Version") === facts.version) return answer;
  throw new Error(`${facts.id} was replaced by another cache: load the page again`);
}

export class Cache {
  constructor(facts, arrays) {
    Object.assign(this, { facts, ...arrays });
    this.id = facts.id;
    this.classes = Object.keys(facts.classes);
    this.length = this.labels.length;
  }

  static async open(id, signal) {
    const facts = await json(address(id), signal);
    const found = await Promise.all(
      ARRAYS.map(async (name) => {
        const answer = await fetched(facts, `${address(id)}/arrays/${name}?format=npy`, signal);
        return [name, parseNpy(await answer.arrayBuffer()).data];
      }),
    );
    return new Cache(facts, Object.fromEntries(found));
  }

  get url() {
    return new URL(address(this.id), document.baseURI).href;
  }

  className(i) {
    return this.classes[this.labels[i]];
  }

  seconds(i) {
    return (this.t_end[i] - this.t_start[i]) / 1e6;
  }

  /** Return sample i as a clip; from memory if it was asked for a short while ago. */
  async clip(i, signal) {
    const key = `${this.id} ${this.facts.version} ${i}`;
    let clip = kept.get(key);
    if (!clip) {
      clip = await this.#fetch(i, signal);
      kept.set(key, clip, clip.data.byteLength);
    }
    return clip;
  }

  async #fetch(i, signal) {
    const path = `${address(this.id)}/samples/${i}`,
      { kind, varies, columns, sensor } = this.facts;
    const plain = kind === "frames" && !varies && columns.length === 1 && columns[0].bits === 0;
    if (!plain) {
      const { data, fields, shape } = parseNpy(
        await (await fetched(this.facts, `${path}?format=npy`, signal)).arrayBuffer(),
      );
      return fields ? integrate(fields, EVENT_FRAMES, sensor) : clipOf(data, shape);
    }
    const answer = await fetched(this.facts, path, signal); // the stored chunk, which the browser inflates
    const dtype = answer.headers.get("X-Dvsprep-Dtype"),
      shape = answer.headers.get("X-Dvsprep-Shape");
    let buffer = await answer.arrayBuffer();
    if (answer.headers.get("X-Dvsprep-Shuffled") === "1") buffer = unshuffle(buffer, Number(dtype.slice(2)));
    return clipOf(decode(buffer, dtype), shape.split(",").map(Number));
  }
}

/** Return the numbers of the samples of some classes (all if none is named) whose id or class holds a text. */
export function select(cache, classes, text = "") {
  const found = [],
    wanted = text.trim().toLowerCase();
  const named = cache.classes.map((name) => name.toLowerCase().includes(wanted));
  for (let i = 0; i < cache.length; i++) {
    const label = cache.labels[i];
    if (classes.size && !classes.has(label)) continue;
    if (!wanted || named[label] || String(cache.ids[i]).toLowerCase().includes(wanted)) found.push(i);
  }
  return found;
}
