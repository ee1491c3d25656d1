// One sample, played; beside it, if asked for, the same recording in another cache.

import { counts, paint, robustMax } from "./paint.js";
import { framesPlot } from "./plots.js";
import { encodeGif } from "./gif.js";

const $ = (id) => document.getElementById(id);
const ZOOMS = [1, 2, 3, 4, 6, 8];

export class Player {
  /** @param how {others, neighbour, closed}: caches of the same dataset, the sample beside one, what to do when closed */
  constructor(how) {
    Object.assign(this, how, { dialog: $("player"), views: [], k: 0, playing: false, zoom: 0, turn: 0 });
    this.#wire();
  }

  #wire() {
    const actions = {
      "p-play": () => this.toggle(),
      "p-first": () => this.seek(0),
      "p-back": () => this.step(-1),
      "p-next": () => this.step(1),
      "p-last": () => this.seek(this.T - 1),
      "p-in": () => this.scale(1),
      "p-out": () => this.scale(-1),
      "p-fit": () => this.scale(0),
      "p-gif": () => this.gif(),
      "p-previous": () => this.neighbour(-1),
      "p-following": () => this.neighbour(1),
      "p-close": () => this.dialog.close(),
    };
    for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);
    $("p-scrub").addEventListener("input", () => this.seek(Number($("p-scrub").value)));
    $("p-speed").addEventListener("input", () => {
      $("p-speed-told").textContent = `${$("p-speed").value} frames/s`;
    });
    for (const id of ["p-palette", "p-off", "p-on"]) $(id).addEventListener("input", () => this.draw());
    $("p-beside").addEventListener("change", () => this.beside($("p-beside").value));
    this.dialog.addEventListener("keydown", (event) => this.#key(event));
    this.dialog.addEventListener("close", () => {
      this.pause();
      this.#clear();
      this.turn++;
      this.closed();
    });
    new ResizeObserver(() => this.#size()).observe($("p-stage"));
  }

  get T() {
    return this.views[0]?.clip.T ?? 1;
  }

  /** Show sample i of a cache. */
  async show(cache, i) {
    const turn = ++this.turn,
      beside = this.views[1]?.cache.id ?? "";
    this.pause();
    Object.assign(this, { cache, i });
    this.#facts();
    if (!this.dialog.open) this.dialog.showModal();
    this.#say("loading…");
    let clip;
    try {
      clip = await cache.clip(i);
    } catch (error) {
      if (turn === this.turn) this.#say(error.message);
      return;
    }
    if (turn !== this.turn) return;
    this.#clear();
    this.views = [this.#view(cache, i, clip)];
    $("p-scrub").max = clip.T - 1;
    $("p-polarity").hidden = clip.planes === 1;
    this.plot = framesPlot($("p-plot"), this.views[0].counts, clip.planes, (k) => {
      this.pause();
      this.seek(k);
    });
    this.#others(beside);
    this.#size();
    this.seek(0);
    this.dialog.dataset.ready = `${cache.id} ${i}`;
    if (beside) await this.beside(beside);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.play();
  }

  #clear() {
    this.plot?.destroy();
    this.plot = null;
    this.views = [];
    $("p-stage").replaceChildren();
    delete this.dialog.dataset.ready;
  }

  #view(cache, i, clip) {
    const figure = document.createElement("figure"),
      canvas = document.createElement("canvas");
    const caption = document.createElement("figcaption");
    Object.assign(canvas, { width: clip.W, height: clip.H });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `frames of sample ${i}, ${cache.className(i)}, of ${cache.id}`);
    caption.textContent = cache.id;
    figure.append(canvas, caption);
    $("p-stage").append(figure);
    return { cache, i, clip, canvas, counts: counts(clip), top: robustMax(clip) };
  }

  #others(chosen) {
    const select = $("p-beside"),
      none = new Option("nothing", "");
    select.replaceChildren(
      none,
      ...this.others(this.cache).map(({ id }) => new Option(id, id, false, id === chosen)),
    );
    select.disabled = select.options.length < 2;
  }

  /** Show the same recording in another cache beside this one; "" for none. */
  async beside(id) {
    const turn = this.turn;
    this.views.splice(1).forEach(({ canvas }) => canvas.parentElement.remove());
    try {
      if (id) {
        const cache = await this.openCache(id),
          i = cache.ids.indexOf(this.cache.ids[this.i]);
        if (i < 0) throw new Error(`${id} has no sample ${this.cache.ids[this.i]}`);
        const clip = await cache.clip(i);
        if (turn === this.turn && $("p-beside").value === id) this.views.push(this.#view(cache, i, clip));
      }
      this.#size();
      this.draw();
    } catch (error) {
      if (turn === this.turn) this.#say(error.message);
    }
  }

  // -- time --

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    if (!this.views.length) return;
    this.playing = true;
    this.due = performance.now();
    if (this.k === this.T - 1) this.seek(0);
    $("p-play").textContent = "Pause";
    requestAnimationFrame((now) => this.#tick(now));
  }

  pause() {
    this.playing = false;
    $("p-play").textContent = "Play";
  }

  #tick(now) {
    if (!this.playing) return;
    const pace = 1000 / Number($("p-speed").value);
    if (now - this.due >= pace) {
      this.due = Math.max(this.due + pace, now - pace);
      if (this.k < this.T - 1) this.seek(this.k + 1);
      else if ($("p-loop").checked) this.seek(0);
      else this.pause();
    }
    requestAnimationFrame((next) => this.#tick(next));
  }

  step(by) {
    this.pause();
    this.seek((this.k + by + this.T) % this.T);
  }

  seek(k) {
    this.k = k;
    $("p-scrub").value = k;
    this.plot?.set(k);
    this.draw();
  }

  // -- picture --

  get look() {
    return { palette: $("p-palette").value, off: $("p-off").checked, on: $("p-on").checked };
  }

  draw() {
    if (!this.views.length) return;
    for (const { canvas, clip, top } of this.views) {
      // Another number of frames runs beside this one at the same part of the recording.
      const t = Math.min(clip.T - 1, Math.floor(((this.k + 0.5) * clip.T) / this.T));
      canvas.getContext("2d").putImageData(paint(clip, t, { top, ...this.look }), 0, 0);
    }
    const [{ counts: sums, clip }] = this.views,
      [off, on] = sums[this.k];
    const told =
      clip.planes === 1
        ? `${off.toLocaleString()} events`
        : `${off.toLocaleString()} OFF, ${on.toLocaleString()} ON`;
    $("p-scrub").setAttribute("aria-valuetext", `frame ${this.k + 1} of ${this.T}: ${told}`);
    this.#say(`frame ${this.k + 1} of ${this.T} · ${told}`);
  }

  #say(text) {
    $("p-told").textContent = text;
  }

  scale(by) {
    const at = ZOOMS.indexOf(this.zoom);
    this.zoom =
      by === 0 ? 0 : ZOOMS[Math.max(0, Math.min(ZOOMS.length - 1, (at < 0 ? this.#fit() - 1 : at) + by))];
    this.#size();
  }

  #fit() {
    return ZOOMS.findLastIndex((zoom) => zoom <= this.#room()) + 1 || 1;
  }

  #room() {
    const stage = $("p-stage"),
      n = Math.max(1, this.views.length),
      { W, H } = this.views[0]?.clip ?? { W: 1, H: 1 };
    return Math.min((stage.clientWidth - 16 * n) / n / W, (stage.clientHeight - 34) / H);
  }

  #size() {
    const scale = this.zoom || Math.max(0.2, this.#room());
    for (const { canvas, clip } of this.views) canvas.style.width = `${Math.floor(clip.W * scale)}px`;
    this.dialog.dataset.zoom = this.zoom || "fit";
  }

  gif() {
    const [{ clip, top }] = this.views,
      link = document.createElement("a");
    const delay = Math.max(2, Math.round(100 / Number($("p-speed").value)));
    link.href = URL.createObjectURL(
      new Blob([encodeGif(clip, { top, delay, ...this.look })], { type: "image/gif" }),
    );
    link.download = `${this.cache.id}-${this.i}.gif`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  #facts() {
    const { cache, i } = this,
      { facts } = cache;
    $("p-title").textContent = `${cache.className(i)} · #${i}`;
    const files = Object.entries(facts.provenance?.files ?? {}).map(([name, md5]) => `${name} (MD5 ${md5})`);
    const rows = {
      recording: cache.ids[i],
      class: `${cache.className(i)} (${cache.labels[i]})`,
      events: cache.n_events[i].toLocaleString(),
      duration: `${cache.seconds(i).toFixed(3)} s`,
      starts: `${(cache.t_start[i] / 1e6).toFixed(3)} s`,
      dataset: facts.dataset,
      split: facts.split,
      spec: JSON.stringify(facts.spec),
      sensor: facts.sensor.toReversed().join(" × "),
      source: files.join(", "),
      licence: facts.provenance?.licence,
      paper: facts.provenance?.paper,
      "cache key": facts.key,
      "made by": `dvsprep ${facts.provenance?.dvsprep ?? "?"}`,
    };
    $("p-facts").replaceChildren(
      ...Object.entries(rows)
        .filter(([, value]) => value)
        .flatMap(([name, value]) => {
          const term = document.createElement("dt"),
            told = document.createElement("dd");
          term.textContent = name;
          told.textContent = value;
          return [term, told];
        }),
    );
  }

  #key(event) {
    const typing = ["SELECT", "INPUT"].includes(event.target.tagName) && event.target.type !== "checkbox";
    if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== " ")) return;
    const flip = (id) => {
      $(id).checked = !$(id).checked;
      this.draw();
    };
    const keys = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      Home: () => this.seek(0),
      End: () => this.seek(this.T - 1),
      "+": () => this.scale(1),
      "=": () => this.scale(1),
      "-": () => this.scale(-1),
      0: () => this.scale(0),
      l: () => flip("p-loop"),
      f: () => flip("p-off"),
      n: () => flip("p-on"),
      PageUp: () => this.neighbour(-1),
      PageDown: () => this.neighbour(1),
    };
    // A button or box that is focused keeps its space bar.
    if (!(event.key in keys) || (event.key === " " && event.target.matches("button, input, select"))) return;
    event.preventDefault();
    keys[event.key]();
  }
}
