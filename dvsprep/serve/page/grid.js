// Thumbnails of any number of samples: only those in sight have elements, and what scrolls by fast is not fetched.

import { Kept } from "./cache.js";
import { paint, robustMax, shrunk, summed } from "./paint.js";

const LEAST = 132,
  CAPTION = 40,
  GAP = 8; // CSS pixels
const TALLEST = 8e6; // browsers lay out no more; a taller grid scrolls faster instead
const AT_ONCE = 6,
  SETTLED = 80,
  FRAME = 100; // requests; ms before one is made; ms a frame of a playing thumbnail
const SIDE = 360; // pixels of a thumbnail at most: of a 1280 x 720 sensor, all in sight would not be kept otherwise
const thumbs = new Kept(32 * 2 ** 20);

/** Return how `count` cells lie in a width: columns, cell size, rows, and the height that is scrolled through. */
export function layout(width, count) {
  const columns = Math.max(2, Math.floor((width + GAP) / (LEAST + GAP)));
  const cell = Math.floor((width - (columns - 1) * GAP) / columns);
  const pitch = cell + CAPTION + GAP,
    rows = Math.ceil(count / columns);
  return { columns, cell, pitch, rows, full: rows * pitch, height: Math.min(rows * pitch, TALLEST) };
}

/** Return where the content begins when scrolled to `top`, and the first and last cell in sight. */
export function visible({ columns, pitch, rows, full, height }, top, view, count) {
  const range = Math.max(1, height - view),
    begin = (Math.min(top, range) / range) * Math.max(0, full - view);
  const first = Math.max(0, Math.floor(begin / pitch) - 1),
    last = Math.min(rows, Math.ceil((begin + view) / pitch) + 1);
  return { shift: top - begin, first: first * columns, last: Math.min(count, last * columns) };
}

export class Grid {
  /** @param open called with the number of the sample chosen */
  constructor(scroller, open) {
    Object.assign(this, { scroller, open, cache: null, indices: [], active: 0, cells: new Map(), spare: [] });
    this.inner = scroller.appendChild(document.createElement("div"));
    this.inner.className = "inner";
    this.inner.setAttribute("role", "presentation");
    this.waiting = [];
    this.loading = 0;
    this.palette = "colorblind";
    scroller.addEventListener("scroll", () => this.#soon(), { passive: true });
    scroller.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#soon()).observe(scroller);
  }

  show(cache, indices) {
    if (cache !== this.cache || indices.length !== this.indices.length) this.scroller.scrollTop = 0;
    Object.assign(this, { cache, indices, active: 0 });
    for (const at of [...this.cells.keys()]) this.#release(at);
    this.render();
  }

  repaint(palette) {
    this.palette = palette;
    if (this.cache) this.show(this.cache, this.indices);
  }

  #soon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.render();
    });
  }

  render() {
    const count = this.indices.length,
      width = this.inner.clientWidth,
      view = this.scroller.clientHeight;
    if (!this.cache || !width) return;
    const plan = (this.plan = layout(width, count));
    this.inner.style.height = `${plan.height}px`;
    const { shift, first, last } = visible(plan, this.scroller.scrollTop, view, count);
    for (const at of [...this.cells.keys()]) if (at < first || at >= last) this.#release(at);
    for (let at = first; at < last; at++) {
      const cell = this.cells.get(at) ?? this.#fill(at);
      const x = (at % plan.columns) * (plan.cell + GAP),
        y = Math.floor(at / plan.columns) * plan.pitch + shift;
      cell.style.transform = `translate(${x}px, ${y}px)`;
      cell.style.width = `${plan.cell}px`;
      cell.tabIndex = at === this.active ? 0 : -1;
      cell.setAttribute("aria-selected", at === this.active);
    }
  }

  #cell() {
    const cell = document.createElement("button");
    cell.type = "button";
    cell.className = "cell";
    cell.setAttribute("role", "option");
    cell.append(
      document.createElement("canvas"),
      document.createElement("span"),
      document.createElement("small"),
    );
    cell.addEventListener("click", () => {
      this.active = cell.at;
      this.open(this.indices[cell.at]);
    });
    for (const name of ["pointerenter", "focus"]) cell.addEventListener(name, () => this.#play(cell));
    for (const name of ["pointerleave", "blur"]) cell.addEventListener(name, () => this.#still(cell));
    return cell;
  }

  #fill(at) {
    const cell = this.spare.pop() ?? this.#cell(),
      i = this.indices[at],
      { cache } = this;
    const [canvas, name, small] = cell.children,
      [H, W] = cache.facts.sensor;
    Object.assign(canvas, { width: W, height: H });
    Object.assign(cell, { at, i, abort: new AbortController() });
    name.textContent = cache.className(i);
    small.textContent = `#${i} · ${cache.n_events[i].toLocaleString()} events`;
    cell.setAttribute(
      "aria-label",
      `sample ${i}, ${name.textContent}, ${cache.n_events[i].toLocaleString()} events`,
    );
    cell.setAttribute("aria-posinset", at + 1);
    cell.setAttribute("aria-setsize", this.indices.length);
    cell.dataset.state = "empty";
    this.cells.set(at, cell);
    this.inner.append(cell);
    const known = thumbs.get(this.#name(i));
    if (known) this.#draw(cell, known);
    else
      cell.timer = setTimeout(() => {
        this.waiting.push(cell);
        this.#next();
      }, SETTLED);
    return cell;
  }

  #name(i) {
    return `${this.cache.id} ${this.cache.facts.version} ${i} ${this.palette}`;
  }

  #release(at) {
    const cell = this.cells.get(at);
    this.cells.delete(at);
    clearTimeout(cell.timer);
    this.#still(cell, false);
    cell.abort.abort();
    this.waiting = this.waiting.filter((other) => other !== cell);
    cell.remove();
    this.spare.push(cell);
  }

  #next() {
    while (this.loading < AT_ONCE && this.waiting.length) this.#load(this.waiting.shift());
  }

  async #load(cell) {
    const { i, abort, at } = cell,
      key = this.#name(i),
      { palette } = this;
    this.loading++;
    try {
      const sum = shrunk(summed(await this.cache.clip(i, abort.signal)), SIDE);
      const image = paint(sum, 0, { palette });
      thumbs.set(key, image, image.data.byteLength);
      if (this.cells.get(at) === cell && cell.i === i) this.#draw(cell, image);
    } catch (error) {
      if (error.name !== "AbortError" && cell.i === i) {
        cell.dataset.state = "failed";
        cell.title = error.message;
      }
    } finally {
      this.loading--;
      this.#next();
    }
  }

  #draw(cell, image) {
    const [canvas] = cell.children;
    Object.assign(canvas, { width: image.width, height: image.height });
    canvas.getContext("2d").putImageData(image, 0, 0);
    cell.dataset.state = "drawn";
  }

  async #play(cell) {
    if (cell.playing || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const turn = (cell.playing = {}),
      { i, abort } = cell;
    let clip;
    try {
      clip = shrunk(await this.cache.clip(i, abort.signal), SIDE);
    } catch {
      return; // its thumbnail tells why
    }
    const top = robustMax(clip);
    for (let t = 0; cell.playing === turn && cell.i === i; t = (t + 1) % clip.T) {
      cell.children[0].getContext("2d").putImageData(paint(clip, t, { palette: this.palette, top }), 0, 0);
      cell.dataset.frame = t;
      await new Promise((done) => {
        setTimeout(done, FRAME);
      });
    }
  }

  #still(cell, draw = true) {
    if (!cell.playing) return;
    cell.playing = null;
    delete cell.dataset.frame;
    const known = draw && thumbs.get(this.#name(cell.i));
    if (known) this.#draw(cell, known);
  }

  /** Make a cell the active one, in sight and focused. */
  focus(at) {
    this.active = Math.max(0, Math.min(this.indices.length - 1, at));
    const { pitch, columns, full, height } = this.plan,
      view = this.scroller.clientHeight;
    const top = Math.floor(this.active / columns) * pitch,
      range = Math.max(1, height - view);
    const scale = Math.max(1e-9, (full - view) / range),
      now = this.scroller.scrollTop * scale;
    if (top < now) this.scroller.scrollTop = top / scale;
    else if (top + pitch > now + view) this.scroller.scrollTop = (top + pitch - view) / scale;
    this.render();
    this.cells.get(this.active)?.focus({ preventScroll: true });
  }

  #key(event) {
    const { columns, pitch } = this.plan ?? {},
      page = columns * Math.max(1, Math.floor(this.scroller.clientHeight / pitch));
    const steps = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: columns,
      ArrowUp: -columns,
      PageDown: page,
      PageUp: -page,
      Home: -Infinity,
      End: Infinity,
    };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.focus(this.active + steps[event.key]);
  }
}
